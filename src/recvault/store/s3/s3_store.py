"""S3 through boto3: one conditional, checksummed put per object; for AWS and compatible stores.

Permissions needed for archiving: s3:PutObject, s3:GetObject, s3:ListBucket, and s3:AbortMultipartUpload above 5 GiB.
No permission to delete is needed or wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from recvault.errors import Interrupted, KeyConflict, StoreUnavailable
from recvault.shutdown import Stop
from recvault.store.facts import StoreFacts
from recvault.store.protocol import SMALL_MOST, Put, Stored
from recvault.store.s3 import answers
from recvault.store.s3.asking import Asking
from recvault.store.s3.botocore_errors import (
    ABSENT,
    ENDED,
    EXISTS,
    NOT_DONE,
    RACED,
    WRONG_SUM,
    botocore_errors,
    code_of,
)
from recvault.store.s3.bounds import Small
from recvault.store.s3.bucket_inspection import BucketInspection
from recvault.store.s3.clients import Client
from recvault.store.s3.copying import COPY_MOST, Copying
from recvault.store.s3.endings import asked, drained, drained_at_once
from recvault.store.s3.key_refusals import Evidence, KeyErrors
from recvault.store.s3.locking import lock
from recvault.store.s3.object_writer import PART_LEAST, SINGLE_PUT_MOST, SMALL, Writer
from recvault.store.s3.objects import ByBoto3, Objects, Told, within
from recvault.store.s3.options import WriteOptions
from recvault.store.s3.pulling import pulled
from recvault.store.s3.reader import S3Reader
from recvault.store.s3.replacer import S3Replacer
from recvault.store.s3.s3_remover import S3Remover
from recvault.store.s3.straight import Straight

_TIMES = 3
_CONDITION = {"IfNoneMatch": "*"}
_PASSING = RACED | WRONG_SUM  # a concurrent writer; a bit flipped in transit
_OF_METADATA = "x-amz-meta-"


class S3Store:
    """A bucket. As thread-safe as boto3's client. `stop` applies to all of its client's requests: one store per client.

    `straight`: single puts and reads bypass boto3 if the client's transport can sign. `known`: an object kept in the
    bucket, used to distinguish a refusal of one key from one of the bucket; without it every refusal is the bucket's.
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
        straight: bool = False,
        known: Callable[[], Put] | None = None,
        endpoint_url: str | None = None,
        checksums: str = "auto",
    ) -> None:
        self.client = client
        self.bucket = bucket
        self._endpoint_url, self._checksums, self._straight = endpoint_url, checksums, straight
        self.options = options or WriteOptions()
        self._stop = stop = stop or Stop()
        self._asked, self._drained, self._at_once = asked(stop), drained(stop), drained_at_once(stop)
        self._by_boto3 = ByBoto3(client, bucket)
        self.objects: Objects = self._by_boto3
        if isinstance(client, Client):
            client.sending.stop = stop
            if straight and client.signs:
                self.objects = Straight(client, bucket, pays=self.options.request_payer)
        self._writer = Writer(client, bucket, self.options, self._head, part_least, self._drained)
        self._writer.facts = facts or StoreFacts()
        self._copying = Copying(client, bucket, self._writer, self.stream)
        self._evidence = Evidence(self._by_boto3, self._lists, self._write_by_boto3, self._drained)
        self._evidence.known = known
        self._single_put_most = single_put_most
        if self.options.request_payer:
            client.meta.events.register("before-parameter-build.s3", self._pay)

    @property
    def facts(self) -> StoreFacts:
        """How the store is known to handle a put."""
        return self._writer.facts

    @facts.setter
    def facts(self, facts: StoreFacts) -> None:
        self._writer.facts = facts

    def _pay(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        """Add requester-pays to each request that supports it."""
        if "RequestPayer" in model.input_shape.members:
            params.update(self.options.payer)

    def key_errors(self, key: str, *, writing: bool = False) -> KeyErrors:
        """Translate botocore's errors to ours, for a request about one key."""
        return KeyErrors(f"s3://{self.bucket}/{key}", self._evidence, writing=writing)

    def put(self, put: Put) -> bool:
        """See ObjectStore.put. Raises Interrupted, even in mid-stream, once a drain is over."""
        try:
            if put.bytes <= self._single_put_most:
                return self._put(put, in_parts=False)
            with within(self.client, self._at_once):
                wrote = self._put(put, in_parts=True)
                self._lock(put.key)
                return wrote
        except Interrupted as over:
            raise Interrupted(f"{self._where(put.key)} was not written: {over.message}") from None

    def _put(self, put: Put, *, in_parts: bool) -> bool:
        # Some stores honour the condition of a put but ignore it for a multipart upload, so these always check first.
        # … or for a copy.
        is_conditional, copies = self._writer.facts.conditional, put.origin is not None and put.bytes <= COPY_MOST
        if (in_parts or copies or not is_conditional) and (found := self.head(put.key)) is not None:
            return self._already(put, found)
        with self.key_errors(put.key, writing=True):
            condition = _CONDITION if is_conditional else {}
            try:
                if not (copies and self._copying.copy(put, condition, self._at_once, self._is_there)):
                    self._write(put, condition, in_parts=in_parts)
            except ClientError as error:
                if code_of(error) not in (EXISTS | ENDED if in_parts else EXISTS):
                    raise
                return self._already(put, self.head(put.key))  # another process was first, or our own response was lost
        return True

    def _is_there(self, key: str) -> bool:
        return self._head(key) is not None

    def head(self, key: str) -> Stored | None:
        """See ObjectStore.head."""
        with self.key_errors(key):
            return self._head(key)

    def _head(self, key: str) -> Stored | None:
        try:
            told = self.objects.head(key, self._drained)
        except ClientError as error:
            if code_of(error) in ABSENT:
                return None
            raise
        length = answers.found(told, self._where(key))
        metadata = {n.removeprefix(_OF_METADATA): value for n, value in told.items() if n.startswith(_OF_METADATA)}
        return Stored(key=key, bytes=length, sha256=metadata.get("sha256"), metadata=metadata)

    def get(self, key: str, most: int = SMALL_MOST) -> bytes | None:
        """See ObjectStore.get."""
        small = Small(most, self._where(key))
        with self.key_errors(key):
            try:
                told = self.objects.get(key, small, self._drained)
            except ClientError as error:
                if code_of(error) in ABSENT:
                    return None
                raise
            answers.found(told, self._where(key), has_body=True)
        return small.content

    def stream(self, key: str) -> Iterator[bytes]:
        """See ObjectStore.stream."""
        told: list[Told] = []
        with self.key_errors(key):
            yield from pulled(lambda sink: told.append(self.objects.get(key, sink, self._drained)), self._drained.check)
            answers.found(told[0], self._where(key), has_body=True)

    def _lists(self, key: str) -> None:
        """Raise unless the bucket can be listed."""
        with within(self.client, self._drained):
            page = self.client.list_objects_v2(Bucket=self.bucket, Prefix=key, MaxKeys=1)
        answers.listed(page, key, self.bucket)

    def list(self, prefix: str) -> Iterator[Stored]:
        """See ObjectStore.list."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        where = self._where(prefix)
        with botocore_errors(where):
            for page in pages:
                for found in answers.contents(answers.listed(page, prefix, where)):
                    yield Stored(key=found["Key"], bytes=found["Size"], sha256=None, metadata={})

    @property
    def where(self) -> str:
        """See Bucket.where."""
        return f"{self.bucket} at {self._endpoint_url}" if self._endpoint_url else self.bucket

    def begin(self, *, known: bool, make: bool) -> None:
        """See Bucket.begin. Does nothing: the first request shows whether the bucket exists."""

    def reader(self) -> S3Reader:
        """See Bucket.reader."""
        return S3Reader(self, self._stop, straight=self._straight)

    def replacer(self, retention_days: int | None = None) -> S3Replacer:
        """See Bucket.replacer."""
        return S3Replacer(self, self._stop, retention_days)

    def remover(self) -> S3Remover:
        """See Bucket.remover."""
        return S3Remover(self)

    def inspection(self, clock: Callable[[], datetime]) -> BucketInspection:
        """See Bucket.inspection."""
        return BucketInspection(self, clock)

    def close(self) -> None:
        """See Bucket.close."""
        self.client.close()

    def delete(self, key: str) -> None:
        """See Bucket.delete."""
        with botocore_errors(self._where(key)):
            self.client.delete_object(Bucket=self.bucket, Key=key)

    def ask_facts(self, known: Put, checksums: str = "") -> StoreFacts:
        """See Bucket.ask_facts, and asking.py."""
        with botocore_errors(self._where(known.key)):
            send = partial(self._by_boto3.put, self._asked)
            return Asking(self._writer, send, known, self._where(known.key)).facts(checksums or self._checksums)

    def clear_unfinished(self, prefix: str, older_than: datetime) -> int:
        """See Bucket.clear_unfinished. Aborts multipart uploads under a prefix."""
        aborted = 0
        with botocore_errors(self._where(prefix)):
            try:
                for upload in self._uploads(prefix):
                    if upload["Initiated"] < older_than:
                        aborted += self._abort({"Key": upload["Key"], "UploadId": upload["UploadId"]})
            except ClientError as error:
                # Stores that cannot list uploads expire them by themselves; others answer 404 if there are none.
                if code_of(error) not in NOT_DONE | ENDED:
                    raise
        return aborted

    def _uploads(self, prefix: str) -> Iterator[dict[str, Any]]:
        pages = self.client.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=prefix)
        for page in pages:
            yield from page.get("Uploads", ())

    def _abort(self, upload: Mapping[str, str]) -> bool:
        """Abort an upload; False if it has already ended."""
        try:
            self.client.abort_multipart_upload(Bucket=self.bucket, **upload)
        except ClientError as error:
            if code_of(error) not in ENDED:
                raise
            return False
        return True

    def _write_by_boto3(self, put: Put) -> None:
        """Write by boto3, which signs what it sends, for the known object's test."""
        condition = _CONDITION if self.facts.conditional else {}
        self._writer.write(put, partial(self._by_boto3.put, self._drained), condition)

    def _write(self, put: Put, condition: Mapping[str, str], *, in_parts: bool) -> None:
        for number in range(_TIMES):
            try:
                if in_parts:
                    self._writer.write_parts(put, condition)
                else:
                    ending = self._at_once if put.bytes > SMALL else self._drained
                    self._writer.write(put, partial(self.objects.put, ending), condition)
                return
            except StoreUnavailable:
                self.objects.renew()  # it may have been the response to another request
                raise
            except ClientError as error:
                if code_of(error) not in _PASSING or number == _TIMES - 1:
                    raise

    def _lock(self, key: str) -> None:
        if wanted := self.options.lock_arguments(datetime.now(UTC)):
            with botocore_errors(self._where(key)):
                lock(self.client, {"Bucket": self.bucket, "Key": key}, wanted, self.facts)

    def _where(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"

    def _already(self, put: Put, found: Stored | None) -> bool:
        """Compare with the existing object: False for the same bytes, KeyConflict for others."""
        if found is None:
            raise StoreUnavailable(f"{self._where(put.key)} was refused because it exists, but it does not")
        if found.bytes == put.bytes and found.sha256 == put.sha256:
            return False
        raise KeyConflict(
            f"{put.key} already contains other bytes: nothing was overwritten", "compare both and decide which to keep"
        )
