"""S3 through boto3: one conditional, checksummed put per object; AWS and compatible stores alike.

Rights needed for archiving: s3:PutObject, s3:GetObject, s3:ListBucket, and s3:AbortMultipartUpload past 5 GiB. No right
to delete is needed or wanted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, BinaryIO, Literal, cast

from botocore.config import Config as BotoConfig
from botocore.exceptions import ClientError

from recvault import __version__, trust
from recvault.errors import ConfigError, Interrupted, KeyConflict, StoreUnavailable
from recvault.stopping import Stop
from recvault.store import answers, credentials, rotation
from recvault.store.asking import Asking
from recvault.store.base import SMALL_MOST, Put, Stored
from recvault.store.body import DrainedBody, DrainOver, by_boto3
from recvault.store.bounds import bound, small
from recvault.store.errors import ABSENT, ENDED, EXISTS, NOT_DONE, RACED, WRONG_SUM, botocore_errors, code_of
from recvault.store.evidence import Evidence, KeyErrors
from recvault.store.facts import StoreFacts
from recvault.store.locking import lock
from recvault.store.options import WriteOptions
from recvault.store.patience import mend
from recvault.store.writing import CHUNK, PART_LEAST, SINGLE_PUT_MOST, SMALL, Writer

Addressing = Literal["auto", "path", "virtual"]
_TIMES = 3
_PASSING = RACED | WRONG_SUM  # another writer was in the way; a bit turned on the way


def make_client(*, region: str | None, endpoint_url: str | None, addressing_style: Addressing, pool: int) -> Any:
    """A boto3 client, built once per process and shared by its threads. Credentials come by boto3's own chain."""
    import boto3  # takes a quarter of a second, which commands that ask the ledger alone do not wait for
    import botocore.session

    config = BotoConfig(
        signature_version="s3v4",
        user_agent=f"recvault/{__version__}",  # boto3's own is put together anew for every request
        retries={"mode": "standard", "total_max_attempts": 4},
        max_pool_connections=pool,
        connect_timeout=10,
        read_timeout=60,
        # boto3's default trailer breaks older and compatible stores; our own SHA-256 is sent with every put instead.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": addressing_style},
    )
    with botocore_errors(endpoint_url or "S3"):
        try:
            core = botocore.session.get_session()
            credentials.guard(core)
            session = boto3.session.Session(botocore_session=core)
            with credentials.readable():
                session.get_credentials()  # as the client does next: here it is known of what an error tells
            client = session.client("s3", region_name=region, endpoint_url=endpoint_url, config=config)
        except ValueError as error:
            hint = "check archive.endpoint_url, archive.region and, if set, AWS_ENDPOINT_URL and AWS_DEFAULT_REGION"
            raise ConfigError(f"{error}", hint) from error
        rotation.follow(client, session)
        if client.meta.endpoint_url.startswith("https:"):
            _check_trust(core)
    mend(client)
    bound(client)
    return client


def _check_trust(core: Any) -> None:
    """ConfigError where the authorities that boto3 is told to trust cannot be read; asked as boto3 asks."""
    told = core.get_config_variable("ca_bundle")
    if told is not None:
        trust.check("AWS_CA_BUNDLE" if os.environ.get("AWS_CA_BUNDLE") else "ca_bundle in AWS's configuration", told)
    elif bundle := os.environ.get("REQUESTS_CA_BUNDLE"):
        trust.check("REQUESTS_CA_BUNDLE", bundle)


class S3Store:
    """A bucket. Thread-safe as boto3's client is. A `stop` counts for all that its client sends: one store a client.

    `send` is called in place of the client's put_object for what is archived by a single put. By `known`, an object
    that is kept there, a refusal of one key is told from one of the bucket; without it each is the bucket's.
    """

    def __init__(
        self,
        client: Any,
        bucket: str,
        *,
        options: WriteOptions | None = None,
        facts: StoreFacts | None = None,
        single_put_most: int = SINGLE_PUT_MOST,
        part_least: int = PART_LEAST,
        stop: Stop | None = None,
        send: Callable[..., Any] | None = None,
        known: Callable[[], Put] | None = None,
    ) -> None:
        self._client = client
        self._ask = by_boto3(client)  # which signs what it sends: only a sum itself is ever wrong
        self._send = send or self._ask
        self.bucket = bucket
        self.options = options or WriteOptions()
        self._writer = Writer(client, bucket, self.options, self._head, part_least)
        self._writer.facts = facts or StoreFacts()
        self._evidence = Evidence(client, bucket, lambda put: self._writer.write(put, self._ask, self._condition))
        self._evidence.known = known
        self._single_put_most = single_put_most
        self._stop = stop
        if stop is not None:
            client.meta.events.register("before-send.s3", self._before_try)
        if self.options.request_payer:
            client.meta.events.register("before-parameter-build.s3", self._pay)

    @property
    def facts(self) -> StoreFacts:
        """What is known of what the store does."""
        return self._writer.facts

    @facts.setter
    def facts(self, facts: StoreFacts) -> None:
        self._writer.facts = facts

    def _before_try(self, request: Any, **_: Any) -> None:
        """Each try of each request is a sign of life. Once a drain is over nothing is tried again: not even aborts."""
        assert self._stop is not None  # noqa: S101 - registered for it alone
        self._stop.pulse.beat()
        context = getattr(request, "context", {})  # older botocore has none there
        if context.get("retries", {}).get("attempt", 1) > 1:
            self._stop.check_enforced()

    def _pay(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        """Say with each request that knows of it that its sender pays."""
        if "RequestPayer" in model.input_shape.members:
            params.update(self.options.payer)

    def key_errors(self, key: str, *, writing: bool = False) -> KeyErrors:
        """Raise ours for botocore's, in a request about one key."""
        return KeyErrors(self._where(key), self._evidence, writing=writing)

    def put(self, put: Put) -> bool:
        """See ObjectStore.put. Interrupted in mid-stream once a drain is over, unless the body is small."""
        in_parts = put.bytes > self._single_put_most
        if self._stop is not None and put.bytes > SMALL:
            put = replace(put, body=cast("BinaryIO", DrainedBody(put.body, self._stop)))
        try:
            wrote = self._put(put, in_parts=in_parts)
        except DrainOver as over:
            raise Interrupted(f"{self._where(put.key)} was not written: {over}") from None
        if in_parts:
            self._lock(put.key)
        return wrote

    def _put(self, put: Put, *, in_parts: bool) -> bool:
        # Some stores honour the condition of a put and ignore that of a multipart upload: those look first, always.
        if (in_parts or not self.facts.conditional) and (found := self.head(put.key)) is not None:
            return self._already(put, found)
        with self.key_errors(put.key, writing=True):
            try:
                self._write(put, in_parts=in_parts)
            except ClientError as error:
                if code_of(error) not in (EXISTS | ENDED if in_parts else EXISTS):
                    raise
                return self._already(put, self.head(put.key))  # another process was first, or our own lost reply
        return True

    def head(self, key: str) -> Stored | None:
        """See ObjectStore.head."""
        with self.key_errors(key):
            return self._head(key)

    def _head(self, key: str) -> Stored | None:
        try:
            found = answers.found(self._client.head_object(Bucket=self.bucket, Key=key), self._where(key))
        except ClientError as error:
            if code_of(error) in ABSENT:
                return None
            raise
        metadata = {name.lower(): value for name, value in found.get("Metadata", {}).items()}
        return Stored(key=key, bytes=found["ContentLength"], sha256=metadata.get("sha256"), metadata=metadata)

    def get(self, key: str, most: int = SMALL_MOST) -> bytes | None:
        """See ObjectStore.get."""
        with self.key_errors(key):
            try:
                answer = self._client.get_object(Bucket=self.bucket, Key=key)
            except ClientError as error:
                if code_of(error) in ABSENT:
                    return None
                raise
            body = answer["Body"]
            try:
                answers.found(answer, self._where(key), has_body=True)
                return small(body.iter_chunks(CHUNK), answer.get("ContentLength"), most, self._where(key))
            finally:
                body.close()

    def stream(self, key: str) -> Iterator[bytes]:
        """See ObjectStore.stream."""
        with self.key_errors(key):
            answer = self._client.get_object(Bucket=self.bucket, Key=key)
            answers.found(answer, self._where(key), has_body=True)
            yield from answer["Body"].iter_chunks(CHUNK)

    def list(self, prefix: str) -> Iterator[Stored]:
        """See ObjectStore.list."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        where = self._where(prefix)
        with botocore_errors(where):
            for page in pages:
                for found in answers.contents(answers.listed(page, prefix, where)):
                    yield Stored(key=found["Key"], bytes=found["Size"], sha256=None, metadata={})

    def delete(self, key: str) -> None:
        """Delete an object: `check` removes its own probe with this, archiving never calls it."""
        with botocore_errors(self._where(key)):
            self._client.delete_object(Bucket=self.bucket, Key=key)

    def ask_facts(self, known: Put, checksums: str = "auto") -> StoreFacts:
        """Find out what the store does with a put, by one known object; see asking.py."""
        with botocore_errors(self._where(known.key)):
            return Asking(self._writer, self._ask, known, self._where(known.key)).facts(checksums)

    def abort_stale_uploads(self, prefix: str, older_than: datetime) -> int:
        """Abort multipart uploads under a prefix that were begun before a moment: what a kill left behind."""
        aborted = 0
        with botocore_errors(self._where(prefix)):
            try:
                for upload in self._uploads(prefix):
                    if upload["Initiated"] < older_than:
                        aborted += self._abort({"Key": upload["Key"], "UploadId": upload["UploadId"]})
            except ClientError as error:
                # A store that cannot list uploads ends them in its own way; another says 404 where there are none.
                if code_of(error) not in NOT_DONE | ENDED:
                    raise
        return aborted

    def _uploads(self, prefix: str) -> Iterator[dict[str, Any]]:
        pages = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=prefix)
        for page in pages:
            yield from page.get("Uploads", ())

    def _abort(self, upload: Mapping[str, str]) -> bool:
        """Abort an upload; False where it ended meanwhile."""
        try:
            self._client.abort_multipart_upload(Bucket=self.bucket, **upload)
        except ClientError as error:
            if code_of(error) not in ENDED:
                raise
            return False
        return True

    @property
    def _condition(self) -> dict[str, str]:
        return {"IfNoneMatch": "*"} if self.facts.conditional else {}

    def _write(self, put: Put, *, in_parts: bool) -> None:
        for number in range(_TIMES):
            try:
                if in_parts:
                    self._writer.write_parts(put, self._condition)
                else:
                    self._writer.write(put, self._send, self._condition)
                return
            except ClientError as error:
                if code_of(error) not in _PASSING or number == _TIMES - 1:
                    raise

    def _lock(self, key: str) -> None:
        if wanted := self.options.lock_arguments(datetime.now(UTC)):
            with botocore_errors(self._where(key)):
                lock(self._client, {"Bucket": self.bucket, "Key": key}, wanted, self.facts)

    def _where(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"

    def _already(self, put: Put, found: Stored | None) -> bool:
        """Compare where a key is met: False for the same bytes, KeyConflict for others."""
        if found is None:
            raise StoreUnavailable(f"{self._where(put.key)} was refused as one that exists, and is not there")
        if found.bytes == put.bytes and found.sha256 == put.sha256:
            return False
        raise KeyConflict(f"{put.key} holds other bytes: nothing was overwritten", "compare the two and decide")
