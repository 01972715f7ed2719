"""S3 through boto3: one conditional, checksummed put per object; AWS and compatible stores alike.

Rights needed for archiving: s3:PutObject, s3:GetObject, s3:ListBucket, and s3:AbortMultipartUpload past 5 GiB. No right
to delete is needed or wanted.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, BinaryIO, Literal, cast

from botocore.config import Config as BotoConfig
from botocore.exceptions import BotoCoreError, ClientError

from recvault import __version__
from recvault.errors import ConfigError, Interrupted, KeyConflict, StoreUnavailable
from recvault.stopping import Stop
from recvault.store.base import Put, Stored
from recvault.store.body import DrainedBody, DrainOver, by_boto3, in_memory
from recvault.store.errors import ABSENT, ENDED, EXISTS, NOT_DONE, RACED, WRONG_SUM, botocore_errors, code_of, status_of
from recvault.store.facts import StoreFacts
from recvault.store.options import WriteOptions
from recvault.store.parts import Part
from recvault.store.patience import mend

SINGLE_PUT_MOST = 5 * 1024**3  # S3's own limit of one put
PART_LEAST = 64 * 1024**2
PARTS_MOST = 10_000
_CHUNK = 1024**2
_SMALL = 1024**2  # sent in one piece, and unannounced by the sender: Expect: 100-continue costs a round trip

Addressing = Literal["auto", "path", "virtual"]
_TIMES = 3
_PASSING = RACED | WRONG_SUM  # another writer was in the way; a bit turned on the way


def make_client(*, region: str | None, endpoint_url: str | None, addressing_style: Addressing, pool: int) -> Any:
    """A boto3 client, built once per process and shared by its threads. Credentials come by boto3's own chain."""
    import boto3  # takes a quarter of a second, which commands that ask the ledger alone do not wait for

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
            client = boto3.session.Session().client("s3", region_name=region, endpoint_url=endpoint_url, config=config)
        except ValueError as error:
            raise ConfigError(f"{error}", "mend archive.endpoint_url") from error
    mend(client)
    return client


class S3Store:
    """A bucket. Thread-safe as boto3's client is. A `stop` counts for all that its client sends: one store a client.

    `send` is called in place of the client's put_object for what is archived by a single put.
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
    ) -> None:
        self._client = client
        self._ask = by_boto3(client)  # which signs what it sends: only a sum itself is ever wrong
        self._send = send or self._ask
        self.bucket = bucket
        self.facts = facts or StoreFacts()
        self._options = options or WriteOptions()
        self._single_put_most = single_put_most
        self._part_least = part_least
        self._stop = stop
        if stop is not None:
            client.meta.events.register("before-send.s3", self._before_try)

    def _before_try(self, request: Any, **_: Any) -> None:
        """Each try of each request is a sign of life. Once a drain is over nothing is tried again: not even aborts."""
        assert self._stop is not None  # noqa: S101 - registered for it alone
        self._stop.pulse.beat()
        context = getattr(request, "context", {})  # older botocore has none there
        if context.get("retries", {}).get("attempt", 1) > 1:
            self._stop.check_enforced()

    def put(self, put: Put) -> bool:
        """See ObjectStore.put. Interrupted in mid-stream once a drain is over, unless the body is small."""
        in_parts = put.bytes > self._single_put_most
        if self._stop is not None and put.bytes > _SMALL:
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
        with botocore_errors(self._where(put.key)):
            try:
                self._write(put, in_parts=in_parts)
            except ClientError as error:
                if code_of(error) not in (EXISTS | ENDED if in_parts else EXISTS):
                    raise
                return self._already(put, self.head(put.key))  # another process was first, or our own lost reply
        if not (self.facts.sha256 or self.facts.md5):
            self._read_back(put)
        return True

    def head(self, key: str) -> Stored | None:
        """See ObjectStore.head."""
        with botocore_errors(self._where(key)):
            try:
                found = self._client.head_object(Bucket=self.bucket, Key=key)
            except ClientError as error:
                if code_of(error) in ABSENT:
                    return None
                raise
        metadata = {name.lower(): value for name, value in found.get("Metadata", {}).items()}
        return Stored(key=key, bytes=found["ContentLength"], sha256=metadata.get("sha256"), metadata=metadata)

    def get(self, key: str) -> bytes | None:
        """See ObjectStore.get."""
        with botocore_errors(self._where(key)):
            try:
                return bytes(self._client.get_object(Bucket=self.bucket, Key=key)["Body"].read())
            except ClientError as error:
                if code_of(error) in ABSENT:
                    return None
                raise

    def stream(self, key: str) -> Iterator[bytes]:
        """See ObjectStore.stream."""
        with botocore_errors(self._where(key)):
            yield from self._client.get_object(Bucket=self.bucket, Key=key)["Body"].iter_chunks(_CHUNK)

    def list(self, prefix: str) -> Iterator[Stored]:
        """See ObjectStore.list."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        with botocore_errors(self._where(prefix)):
            for page in pages:
                for found in page.get("Contents", ()):
                    yield Stored(key=found["Key"], bytes=found["Size"], sha256=None, metadata={})

    def delete(self, key: str) -> None:
        """Delete an object: `check` removes its own probe with this, archiving never calls it."""
        with botocore_errors(self._where(key)):
            self._client.delete_object(Bucket=self.bucket, Key=key)

    def ask_facts(self, known: Put) -> StoreFacts:
        """Find out what the store enforces, by writing one known object, wrongly on purpose first.

        Whatever the store accepts, the object ends with its own bytes: only the sums are wrong, never the body.
        """
        wrong = hashlib.sha256(b"not the body").digest()
        sha256 = self._refuses(known, ChecksumAlgorithm="SHA256", ChecksumSHA256=base64.b64encode(wrong).decode())
        md5 = not sha256 and self._refuses(known, ContentMD5=base64.b64encode(wrong[:16]).decode())
        right = self._sums(known, md5=md5)
        with botocore_errors(self._where(known.key)):
            self._put_object(known, self._ask, **right)  # the control: only the sum was wrong
            try:
                self._put_object(known, self._ask, IfNoneMatch="*", **right)
                conditional = False
            except ClientError as error:
                if code_of(error) not in EXISTS | NOT_DONE:
                    raise
                conditional = code_of(error) in EXISTS
        return StoreFacts(sha256=sha256, md5=md5, conditional=conditional)

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

    def _write(self, put: Put, *, in_parts: bool) -> None:
        condition = {"IfNoneMatch": "*"} if self.facts.conditional else {}
        for number in range(_TIMES):
            try:
                if in_parts:
                    self._write_parts(put, condition)
                else:
                    self._put_object(put, self._send, **condition, **self._sums(put, md5=self._needs_md5))
                return
            except ClientError as error:
                if code_of(error) not in _PASSING or number == _TIMES - 1:
                    raise

    def _lock(self, key: str) -> None:
        """Lock what was put in parts: some stores (Ceph 16) take the lock of such an upload, and forget it."""
        wanted = self._options.lock_arguments(datetime.now(UTC))
        if not wanted:
            return
        where = {"Bucket": self.bucket, "Key": key}
        with botocore_errors(self._where(key)):
            missing = wanted.keys() - self._client.head_object(**where).keys()
            if "ObjectLockMode" in missing:
                retention = {"Mode": wanted["ObjectLockMode"], "RetainUntilDate": wanted["ObjectLockRetainUntilDate"]}
                self._client.put_object_retention(**where, Retention=retention)
            if "ObjectLockLegalHoldStatus" in missing:
                self._client.put_object_legal_hold(**where, LegalHold={"Status": "ON"})

    def _put_object(self, put: Put, send: Callable[..., Any], **arguments: Any) -> None:
        put.body.seek(0)
        with in_memory(put.body) if put.bytes <= _SMALL else contextlib.nullcontext(put.body) as found:
            send(
                Bucket=self.bucket,
                Key=put.key,
                Body=put.body.read() if found is None else found,
                ContentLength=put.bytes,
                **self._described(put),
                **arguments,
            )

    def _write_parts(self, put: Put, condition: Mapping[str, str]) -> None:
        """Past S3's single put: parts, each with its own SHA-256; the whole file's stands in the metadata."""
        begun = self._client.create_multipart_upload(
            Bucket=self.bucket, Key=put.key, ChecksumAlgorithm="SHA256", **self._described(put)
        )
        upload = {"Key": put.key, "UploadId": begun["UploadId"]}
        size = max(self._part_least, -(-put.bytes // PARTS_MOST))
        try:
            parts = [
                self._write_part(upload, number, Part(put.body, start, min(size, put.bytes - start)))
                for number, start in enumerate(range(0, put.bytes, size), start=1)
            ]
            self._client.complete_multipart_upload(
                Bucket=self.bucket, **upload, MultipartUpload={"Parts": parts}, **condition
            )
        except BaseException:
            with contextlib.suppress(ClientError, BotoCoreError):  # the first error tells more; the next pass aborts
                self._abort(upload)
            raise

    def _write_part(self, upload: Mapping[str, str], number: int, part: Part) -> dict[str, Any]:
        digest = hashlib.sha256()
        for chunk in iter(lambda: part.read(_CHUNK), b""):
            digest.update(chunk)
        sums = self._sums_of(part, digest.hexdigest(), md5=self._needs_md5)
        part.seek(0)
        written = self._client.upload_part(
            Bucket=self.bucket, **upload, PartNumber=number, Body=part, ContentLength=part.bytes, **sums
        )
        return {"PartNumber": number, "ETag": written["ETag"], "ChecksumSHA256": sums["ChecksumSHA256"]}

    def _described(self, put: Put) -> dict[str, Any]:
        return {
            "ContentType": put.content_type,
            "Metadata": dict(put.metadata),
            **self._options.arguments(datetime.now(UTC)),
        }

    @property
    def _needs_md5(self) -> bool:
        return not self.facts.sha256

    def _sums(self, put: Put, *, md5: bool) -> dict[str, str]:
        return self._sums_of(put.body, put.sha256, md5=md5)

    @staticmethod
    def _sums_of(body: BinaryIO | Part, sha256: str, *, md5: bool) -> dict[str, str]:
        sums = {"ChecksumAlgorithm": "SHA256", "ChecksumSHA256": base64.b64encode(bytes.fromhex(sha256)).decode()}
        if md5:
            digest = hashlib.md5(usedforsecurity=False)
            body.seek(0)
            while chunk := body.read(_CHUNK):
                digest.update(chunk)
            sums["ContentMD5"] = base64.b64encode(digest.digest()).decode()
        return sums

    def _refuses(self, known: Put, **wrong: str) -> bool:
        """Whether a wrong sum is refused as such. Any other 400 proves nothing: the control that follows tells."""
        with botocore_errors(self._where(known.key)):
            try:
                self._put_object(known, self._ask, **wrong)
            except ClientError as error:
                if status_of(error) != 400:
                    raise
                return code_of(error) in WRONG_SUM
        return False

    def _where(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"

    def _already(self, put: Put, found: Stored | None) -> bool:
        """Compare where a key is met: False for the same bytes, KeyConflict for others."""
        if found is None:
            raise StoreUnavailable(f"{self._where(put.key)} was refused as one that exists, and is not there")
        if found.bytes == put.bytes and found.sha256 == put.sha256:
            return False
        raise KeyConflict(f"{put.key} holds other bytes: nothing was overwritten", "compare the two and decide")

    def _read_back(self, put: Put) -> None:
        found = self.head(put.key)
        if found is None or found.bytes != put.bytes:
            raise StoreUnavailable(f"{put.key} was written with {put.bytes} bytes and reads back otherwise")
