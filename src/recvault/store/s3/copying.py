"""Copy an object of another bucket inside the store: its bytes do not pass through this machine.

Invariant: like any write, a copy succeeds only if the store confirms its bytes: by their SHA-256, by an ETag that is
their MD5, or because they were read back and hashed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from recvault.errors import StoreUnavailable
from recvault.log.lines import get_logger
from recvault.store.facts import ETAG, SHA256
from recvault.store.protocol import Put
from recvault.store.s3 import answers
from recvault.store.s3.botocore_errors import EXISTS, code_of, status_of
from recvault.store.s3.endings import Ending
from recvault.store.s3.object_writer import Writer, b64, b64_md5, hex_of
from recvault.store.s3.objects import within

log = get_logger("recvault.store.copying")

COPY_MOST = 5 * 1024**3  # S3's limit for a single copy
_NOT_POSSIBLE = frozenset({400, 403, 404, 405, 411, 501})  # the origin may be elsewhere, or unreadable for the store


class Copying:
    """Copies into one bucket. As thread-safe as its client; raises botocore's errors."""

    def __init__(self, client: Any, bucket: str, writer: Writer, stream: Callable[[str], Iterator[bytes]]) -> None:
        self._client, self._bucket, self._writer, self._stream = client, bucket, writer, stream

    def copy(self, put: Put, condition: Mapping[str, str], ending: Ending, is_there: Callable[[str], bool]) -> bool:
        """Copy the origin of a put to its key. False if the store cannot: then its bytes must be sent.

        Raises a ClientError in EXISTS if the key is taken.
        """
        try:
            with within(self._client, ending):
                answer = self._client.copy_object(Bucket=self._bucket, **self._arguments(put), **condition)
        except ClientError as error:
            if code_of(error) in EXISTS and is_there(put.key):
                raise
            if code_of(error) in EXISTS or status_of(error) in _NOT_POSSIBLE:  # or the origin was changed meanwhile
                log.warning("store.not_copied", key=put.key, origin=str(put.origin), error=code_of(error))
                return False
            raise
        self._confirm(put, answer.get("CopyObjectResult") or {})
        return True

    def _arguments(self, put: Put) -> dict[str, Any]:
        origin = put.origin
        assert origin is not None  # noqa: S101 - the caller looked
        return {
            "Key": put.key,
            "CopySource": {"Bucket": origin.bucket, "Key": origin.key},
            "CopySourceIfMatch": f'"{origin.etag}"',
            "MetadataDirective": "REPLACE",
            "TaggingDirective": "REPLACE",  # otherwise the origin's tags are copied, which needs a right to read them
            **({"ChecksumAlgorithm": "SHA256"} if self._writer.facts.sums == SHA256 else {}),
            **self._writer.described(put),
        }

    def _confirm(self, put: Put, told: Mapping[str, Any]) -> None:
        """Raise StoreUnavailable unless the copy has the bytes of the put."""
        etag, sha256 = answers.stored(told, put.key), told.get("ChecksumSHA256")
        if sha256 and "-" not in sha256:
            is_so = sha256 == b64(bytes.fromhex(put.sha256))
        else:
            is_so = self._writer.facts.tells == ETAG and etag == hex_of(b64_md5(put.body))
            is_so = is_so or self._reads_back(put)  # an ETag may be another sum, as of an origin put in parts
        if not is_so:
            raise StoreUnavailable(f"{put.key} was copied from {put.origin}, but has other bytes")

    def _reads_back(self, put: Put) -> bool:
        digest = hashlib.sha256()
        for chunk in self._stream(put.key):
            digest.update(chunk)
        return digest.hexdigest() == put.sha256
