"""Objects that are replaced: by If-Match, so that of two writers one is refused.

A store that ignores conditions of a put is asked before each put which version it has; two writers at once could still
lose one's. Such an object never has the archive's own lock, storage class or legal hold: it is derived and replaced.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from botocore.exceptions import ClientError

from recvault.store.protocol import Put
from recvault.store.s3 import answers
from recvault.store.s3.botocore_errors import ABSENT, EXISTS, RACED, code_of
from recvault.store.s3.endings import drained_at_once
from recvault.store.s3.object_writer import PART_LEAST, Writer
from recvault.store.s3.objects import ByBoto3

if TYPE_CHECKING:
    from recvault.shutdown import Stop
    from recvault.store.s3.s3_store import S3Store

_NONE = {"IfNoneMatch": "*"}
_NOT_TAKEN = "NotImplemented"


class _Into:
    """A sink that writes an object's body to a file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._start = file, file.tell()

    def begin(self, length: int | None) -> None:
        """See Sink."""
        self._file.seek(self._start)
        self._file.truncate()

    def write(self, piece: memoryview | bytes) -> None:
        """See Sink."""
        self._file.write(piece)


class S3Replacer:
    """See store.Replacer. `retention_days`: locks each version that long (GOVERNANCE), not by the bucket's default."""

    def __init__(self, store: S3Store, stop: Stop, retention_days: int | None = None) -> None:
        self._store = store
        self._ending = drained_at_once(stop)
        self._takes_versions = True
        self._by_boto3 = ByBoto3(store.client, store.bucket)
        lock = ("GOVERNANCE", retention_days) if retention_days else ("none", 0)
        options = replace(
            store.options, storage_class="STANDARD", lock_mode=lock[0], lock_days=lock[1], legal_hold=False
        )
        self._writer = Writer(store.client, store.bucket, options, store.head, PART_LEAST, self._ending)

    def version(self, key: str) -> str | None:
        """See Replacer."""
        with self._store.key_errors(key):
            try:
                told = self._store.objects.head(key, self._ending)
            except ClientError as error:
                if code_of(error) in ABSENT:
                    return None
                raise
        return told.get("etag")

    def fetch(self, key: str, into: BinaryIO) -> str | None:
        """See Replacer."""
        with self._store.key_errors(key):
            try:
                told = self._store.objects.get(key, _Into(into), self._ending)
            except ClientError as error:
                if code_of(error) in ABSENT:
                    return None
                raise
            answers.found(told, f"s3://{self._store.bucket}/{key}", has_body=True)
        return told.get("etag")

    def replace(self, put: Put, version: str | None) -> bool:
        """See Replacer."""
        self._writer.facts = self._store.facts
        with self._store.key_errors(put.key, writing=True):
            if self._store.facts.conditional and self._takes_versions:
                try:
                    return self._written(put, {"IfMatch": version} if version else _NONE)
                except ClientError as error:
                    if code_of(error) != _NOT_TAKEN:
                        raise
                    self._takes_versions = False  # Swift knows If-None-Match alone
            if self.version(put.key) != version:
                return False
            return self._written(put, {} if version or not self._store.facts.conditional else _NONE)

    def _written(self, put: Put, condition: Mapping[str, str]) -> bool:
        """Write; False if the condition does not hold."""
        try:
            self._writer.write(put, partial(self._by_boto3.put, self._ending), condition)
        except ClientError as error:
            if code_of(error) not in EXISTS | RACED | ABSENT:
                raise
            return False
        return True
