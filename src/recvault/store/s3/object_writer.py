"""Write one object, in one put or in parts, with its checksums, and verify by the response that it was stored.

Invariant: a write succeeds only if the store confirms it: by a checksum, by an ETag that is the body's MD5, or by a
HEAD with the size and the checksum it was put with.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, BinaryIO

from botocore.exceptions import BotoCoreError, ClientError

from recvault.errors import Interrupted, StoreUnavailable
from recvault.store.facts import ETAG, SHA256, StoreFacts
from recvault.store.protocol import Put, Stored
from recvault.store.s3 import answers
from recvault.store.s3.body import BODY_SHA256, Part, in_memory
from recvault.store.s3.endings import Ending
from recvault.store.s3.objects import within
from recvault.store.s3.options import WriteOptions

SINGLE_PUT_MOST = 5 * 1024**3  # S3's limit for a single put
PART_LEAST = 64 * 1024**2
PARTS_MOST = 10_000
CHUNK = 1024**2
SMALL = 1024**2  # bytes; sent in one piece without Expect: 100-continue, which costs a round trip

Sums = dict[str, str]


class Writer:
    """Writes to one bucket. As thread-safe as its client; raises botocore's errors."""

    def __init__(
        self,
        client: Any,
        bucket: str,
        options: WriteOptions,
        head: Callable[[str], Stored | None],
        part_least: int,
        at_the_end: Ending,
    ) -> None:
        self._client, self._bucket, self._options, self._head = client, bucket, options, head
        self._part_least, self._at_the_end = part_least, at_the_end
        self._lasting = None if options.changes else options.arguments(datetime.now(UTC))
        self.facts = StoreFacts()

    def write(self, put: Put, send: Callable[..., Any], condition: Mapping[str, str]) -> None:
        """Send one PUT. StoreUnavailable if its response does not confirm that these bytes were stored."""
        facts = self.facts
        sums = self.sums(put.body, put.sha256, facts)
        md5 = sums.get("ContentMD5") or (b64_md5(put.body) if facts.tells == ETAG else None)
        answer = self.send(put, send, **condition, **sums)
        told, sent = answer.get("ChecksumSHA256"), sums.get("ChecksumSHA256")
        etag = answers.stored(answer, self._where(put.key))
        if sent and told == sent:
            return
        if sent and told and _is_whole(told):
            self._hold(put.key, "SHA-256", sent, told)
        elif self.facts.tells == ETAG and md5:
            self._hold(put.key, "MD5", hex_of(md5), etag)
        else:
            self.read_back(put)

    def send(self, put: Put, send: Callable[..., Any], **arguments: Any) -> Mapping[str, Any]:
        """Send one PUT and return the response."""
        arguments = {
            "Key": put.key,
            "ContentLength": put.bytes,
            BODY_SHA256: put.sha256,
            **self.described(put),
            **arguments,
        }
        put.body.seek(0)
        answer: Mapping[str, Any]
        if put.bytes > SMALL:
            answer = send(Body=put.body, **arguments)
            return answer
        with in_memory(put.body) as found:
            answer = send(Body=memoryview(put.body.read()) if found is None else found, **arguments)
        return answer

    def read_back(self, put: Put) -> None:
        """StoreUnavailable unless the object exists with its size and the checksum it was put with."""
        found = self._head(put.key)
        if found is None or (found.bytes, found.sha256) != (put.bytes, put.metadata.get("sha256", found.sha256)):
            raise StoreUnavailable(f"{put.key} was written with {put.bytes} bytes but reads back differently")

    def write_parts(self, put: Put, condition: Mapping[str, str]) -> None:
        """Upload in parts, above the limit of a single put: each with its SHA-256; the file's is in the metadata."""
        algorithm = {"ChecksumAlgorithm": "SHA256"} if self.facts.sums == SHA256 else {}
        begun = self._client.create_multipart_upload(
            Bucket=self._bucket, Key=put.key, **algorithm, **self.described(put)
        )
        if not begun.get("UploadId"):
            raise answers.not_the_stores(self._where(put.key), "begins no upload (it names none)")
        upload = {"Key": put.key, "UploadId": begun["UploadId"], **self._options.payer}
        size = max(self._part_least, -(-put.bytes // PARTS_MOST))
        try:
            parts = [
                self._write_part(upload, number, Part(put.body, start, min(size, put.bytes - start)))
                for number, start in enumerate(range(0, put.bytes, size), start=1)
            ]
            answer = self._client.complete_multipart_upload(
                Bucket=self._bucket, **upload, MultipartUpload={"Parts": parts}, **condition
            )
            if answer.get("Key") != put.key:  # Ceph 16 returns the key, but no ETag
                answers.stored(answer, self._where(put.key))
        except BaseException:
            # The first error is the useful one; the next pass aborts leftovers.
            with contextlib.suppress(ClientError, BotoCoreError, Interrupted), within(self._client, self._at_the_end):
                self._client.abort_multipart_upload(Bucket=self._bucket, **upload)
            raise
        self.read_back(put)

    def _write_part(self, upload: Mapping[str, str], number: int, part: Part) -> dict[str, Any]:
        digest = hashlib.sha256()
        for chunk in iter(lambda: part.read(CHUNK), b""):
            digest.update(chunk)
        sums = self.sums(part, digest.hexdigest(), self.facts)
        part.seek(0)
        written = self._client.upload_part(
            Bucket=self._bucket, **upload, PartNumber=number, Body=part, ContentLength=part.bytes, **sums
        )
        where = f"{self._where(upload['Key'])}, part {number}"
        etag, told, sent = answers.stored(written, where), written.get("ChecksumSHA256"), sums.get("ChecksumSHA256")
        if sent and told and _is_whole(told):
            self._hold(upload["Key"], "SHA-256", sent, told)
        elif self.facts.tells == ETAG and (md5 := sums.get("ContentMD5") or b64_md5(part)):
            self._hold(upload["Key"], "MD5", hex_of(md5), etag)
        return {"PartNumber": number, "ETag": written["ETag"], **({"ChecksumSHA256": sent} if sent else {})}

    @staticmethod
    def sums(body: BinaryIO | Part, sha256: str, facts: StoreFacts) -> Sums:
        """Return the checksums to send with a body, of the kind that the store accepts."""
        sums: Sums = {}
        if facts.sums == SHA256:
            sums = {"ChecksumAlgorithm": "SHA256", "ChecksumSHA256": b64(bytes.fromhex(sha256))}
        if facts.needs_md5:
            sums["ContentMD5"] = b64_md5(body)
        return sums

    def described(self, put: Put) -> dict[str, Any]:
        """Return the arguments for what is kept beside the bytes: content type, metadata, class, lock."""
        options = self._lasting
        if options is None:
            options = self._options.arguments(datetime.now(UTC))
        return {"ContentType": put.content_type, "Metadata": dict(put.metadata), **options}

    def _hold(self, key: str, name: str, sent: str, told: str) -> None:
        if sent != told:
            raise StoreUnavailable(
                f"{self._where(key)} was sent with the {name} {sent}, but the store says that it stored {told}",
                "it is sent again later; if this continues, run `recvault check`",
            )

    def _where(self, key: str) -> str:
        return f"s3://{self._bucket}/{key}"


def b64(digest: bytes) -> str:
    """Encode a digest as in headers."""
    return binascii.b2a_base64(digest, newline=False).decode()


def b64_md5(body: BinaryIO | Part) -> str:
    """Return a body's MD5, encoded as in headers."""
    digest = hashlib.md5(usedforsecurity=False)
    body.seek(0)
    while chunk := body.read(CHUNK):
        digest.update(chunk)
    return b64(digest.digest())


def hex_of(encoded: str) -> str:
    """Convert a header's checksum to hex, as in an ETag."""
    return base64.b64decode(encoded).hex()


def _is_whole(told: str) -> bool:
    """Whether a checksum is of the object's bytes, not of its parts' checksums."""
    return "-" not in told
