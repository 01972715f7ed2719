"""S3 through boto3: one conditional, checksummed put per object; AWS and compatible stores alike.

Rights needed for archiving: s3:PutObject, s3:GetObject, s3:ListBucket, and s3:AbortMultipartUpload past 5 GiB. No right
to delete is needed or wanted.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO, Literal
from urllib.parse import urlencode

import boto3
from botocore.config import Config as BotoConfig
from botocore.exceptions import ClientError

from recvault.errors import KeyConflict, StoreUnavailable
from recvault.store.base import Put, Stored
from recvault.store.errors import ABSENT, EXISTS, RACED, botocore_errors, code_of
from recvault.store.facts import StoreFacts

SINGLE_PUT_MOST = 5 * 1024**3  # S3's own limit of one put
PART_LEAST = 64 * 1024**2
PARTS_MOST = 10_000
_CHUNK = 1024**2

Addressing = Literal["auto", "path", "virtual"]
_RACES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """What every object is written with, passed through to the store."""

    storage_class: str = "STANDARD"
    sse: str = "none"  # none | AES256 | aws:kms
    kms_key_id: str | None = None
    lock_mode: str = "none"  # none | GOVERNANCE | COMPLIANCE
    lock_days: int = 0
    legal_hold: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)

    def arguments(self, now: datetime) -> dict[str, Any]:
        """As put_object and create_multipart_upload take them."""
        arguments: dict[str, Any] = {}
        if self.storage_class != "STANDARD":
            arguments["StorageClass"] = self.storage_class
        if self.sse != "none":
            arguments["ServerSideEncryption"] = self.sse
        if self.kms_key_id:
            arguments["SSEKMSKeyId"] = self.kms_key_id
        if self.lock_mode != "none":
            arguments["ObjectLockMode"] = self.lock_mode
            arguments["ObjectLockRetainUntilDate"] = now + timedelta(days=self.lock_days)
        if self.legal_hold:
            arguments["ObjectLockLegalHoldStatus"] = "ON"
        if self.tags:
            arguments["Tagging"] = urlencode(self.tags)
        return arguments


def make_client(*, region: str | None, endpoint_url: str | None, addressing_style: Addressing, pool: int) -> Any:
    """A boto3 client, built once per process and shared by its threads. Credentials come by boto3's own chain."""
    config = BotoConfig(
        signature_version="s3v4",
        retries={"mode": "standard", "total_max_attempts": 4},
        max_pool_connections=pool,
        connect_timeout=10,
        read_timeout=60,
        # boto3's default trailer breaks older and compatible stores; our own SHA-256 is sent with every put instead.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": addressing_style},
    )
    with botocore_errors("", ""):
        return boto3.session.Session().client("s3", region_name=region, endpoint_url=endpoint_url, config=config)


class S3Store:
    """A bucket. Thread-safe as boto3's client is."""

    def __init__(
        self,
        client: Any,
        bucket: str,
        *,
        options: WriteOptions | None = None,
        facts: StoreFacts | None = None,
        single_put_most: int = SINGLE_PUT_MOST,
    ) -> None:
        self._client = client
        self.bucket = bucket
        self.facts = facts or StoreFacts()
        self._options = options or WriteOptions()
        self._single_put_most = single_put_most

    def put(self, put: Put) -> bool:
        """See ObjectStore.put."""
        if not self.facts.conditional and (found := self.head(put.key)) is not None:
            return self._already(put, found)
        with botocore_errors(self.bucket, put.key):
            try:
                self._write(put)
            except ClientError as error:
                if code_of(error) not in EXISTS:
                    raise
                return self._already(put, self.head(put.key))
        if not (self.facts.sha256 or self.facts.md5):
            self._read_back(put)
        return True

    def head(self, key: str) -> Stored | None:
        """See ObjectStore.head."""
        with botocore_errors(self.bucket, key):
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
        with botocore_errors(self.bucket, key):
            try:
                return bytes(self._client.get_object(Bucket=self.bucket, Key=key)["Body"].read())
            except ClientError as error:
                if code_of(error) in ABSENT:
                    return None
                raise

    def stream(self, key: str) -> Iterator[bytes]:
        """See ObjectStore.stream."""
        with botocore_errors(self.bucket, key):
            yield from self._client.get_object(Bucket=self.bucket, Key=key)["Body"].iter_chunks(_CHUNK)

    def list(self, prefix: str) -> Iterator[Stored]:
        """See ObjectStore.list."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        with botocore_errors(self.bucket, prefix):
            for page in pages:
                for found in page.get("Contents", ()):
                    yield Stored(key=found["Key"], bytes=found["Size"], sha256=None, metadata={})

    def delete(self, key: str) -> None:
        """Delete an object: `check` removes its own probe with this, archiving never calls it."""
        with botocore_errors(self.bucket, key):
            self._client.delete_object(Bucket=self.bucket, Key=key)

    def ask_facts(self, known: Put) -> StoreFacts:
        """Find out what the store enforces, by writing one known object, wrongly on purpose first.

        Whatever the store accepts, the object ends with its own bytes: only the sums are wrong, never the body.
        """
        wrong = hashlib.sha256(b"not the body").digest()
        sha256 = self._refuses(known, ChecksumAlgorithm="SHA256", ChecksumSHA256=base64.b64encode(wrong).decode())
        md5 = not sha256 and self._refuses(known, ContentMD5=base64.b64encode(wrong[:16]).decode())
        with botocore_errors(self.bucket, known.key):
            self._put_object(known, **self._sums(known, md5=False))
            try:
                self._put_object(known, IfNoneMatch="*", **self._sums(known, md5=False))
            except ClientError as error:
                if code_of(error) not in EXISTS and not _not_implemented(error):
                    raise
                return StoreFacts(sha256=sha256, md5=md5, conditional=code_of(error) in EXISTS)
        return StoreFacts(sha256=sha256, md5=md5, conditional=False)

    def abort_stale_uploads(self, prefix: str, older_than: datetime) -> int:
        """Abort multipart uploads under a prefix that were begun before a moment: what a kill left behind."""
        aborted = 0
        with botocore_errors(self.bucket, prefix):
            for page in self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self.bucket, Prefix=prefix
            ):
                for upload in page.get("Uploads", ()):
                    if upload["Initiated"] < older_than:
                        self._client.abort_multipart_upload(
                            Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                        )
                        aborted += 1
        return aborted

    def _write(self, put: Put) -> None:
        condition = {"IfNoneMatch": "*"} if self.facts.conditional else {}
        if put.bytes > self._single_put_most:
            self._write_parts(put, condition)
            return
        for race in range(_RACES):
            try:
                self._put_object(put, **condition, **self._sums(put, md5=self._needs_md5))
                return
            except ClientError as error:
                if code_of(error) not in RACED or race == _RACES - 1:
                    raise

    def _put_object(self, put: Put, **arguments: Any) -> None:
        put.body.seek(0)
        self._client.put_object(
            Bucket=self.bucket, Key=put.key, Body=put.body, ContentLength=put.bytes, **self._described(put), **arguments
        )

    def _write_parts(self, put: Put, condition: Mapping[str, str]) -> None:
        """Past S3's single put: parts, each with its own SHA-256; the whole file's stands in the metadata."""
        where = {"Bucket": self.bucket, "Key": put.key}
        upload = {
            **where,
            "UploadId": self._client.create_multipart_upload(
                **where, ChecksumAlgorithm="SHA256", **self._described(put)
            )["UploadId"],
        }
        try:
            parts = [self._write_part(upload, number, part) for number, part in enumerate(_parts(put), start=1)]
            self._client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts}, **condition)
        except BaseException:
            self._client.abort_multipart_upload(**upload)
            raise

    def _write_part(self, upload: Mapping[str, Any], number: int, part: bytes) -> dict[str, Any]:
        sums = self._sums_of(part, hashlib.sha256(part).hexdigest(), md5=self._needs_md5)
        written = self._client.upload_part(**upload, PartNumber=number, Body=part, **sums)
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
        put.body.seek(0)
        return self._sums_of(put.body, put.sha256, md5=md5)

    @staticmethod
    def _sums_of(body: BinaryIO | bytes, sha256: str, *, md5: bool) -> dict[str, str]:
        sums = {"ChecksumAlgorithm": "SHA256", "ChecksumSHA256": base64.b64encode(bytes.fromhex(sha256)).decode()}
        if md5:
            source = io.BytesIO(body) if isinstance(body, bytes) else body
            digest = hashlib.md5(usedforsecurity=False)
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
            sums["ContentMD5"] = base64.b64encode(digest.digest()).decode()
        return sums

    def _refuses(self, known: Put, **wrong: str) -> bool:
        with botocore_errors(self.bucket, known.key):
            try:
                self._put_object(known, **wrong)
            except ClientError as error:
                if 400 <= error.response["ResponseMetadata"]["HTTPStatusCode"] < 403:
                    return True
                raise
        return False

    def _already(self, put: Put, found: Stored | None) -> bool:
        """Compare where a key is met: False for the same bytes, KeyConflict for others."""
        if found is None:
            raise StoreUnavailable(f"bucket {self.bucket} says that {put.key} exists, and then that it does not")
        if found.bytes == put.bytes and found.sha256 == put.sha256:
            return False
        raise KeyConflict(f"{put.key} holds other bytes: nothing was overwritten", "compare the two and decide")

    def _read_back(self, put: Put) -> None:
        found = self.head(put.key)
        if found is None or found.bytes != put.bytes:
            raise StoreUnavailable(f"{put.key} was written with {put.bytes} bytes and reads back otherwise")


def _parts(put: Put) -> Iterator[bytes]:
    size = max(PART_LEAST, -(-put.bytes // PARTS_MOST))
    put.body.seek(0)
    while part := put.body.read(size):
        yield part


def _not_implemented(error: ClientError) -> bool:
    return code_of(error) in ("NotImplemented", "InvalidArgument", "InvalidRequest")
