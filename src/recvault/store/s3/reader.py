"""Read-only access to a bucket, for many requests a second.

Lists key ranges, describes objects with the store's own checksums, reads small bodies or hashes large ones as they
arrive. Most of the cost of boto3's HEAD and GET is boto3: they bypass it if the client's transport can sign.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from recvault.shutdown import Stop
from recvault.store.facts import SHA256
from recvault.store.protocol import SMALL_MOST, Body, Described, Listed, ObjectPart
from recvault.store.s3 import answers
from recvault.store.s3.botocore_errors import ABSENT, botocore_errors, code_of, status_of
from recvault.store.s3.bounds import Sink, Small
from recvault.store.s3.clients import Client
from recvault.store.s3.endings import asked
from recvault.store.s3.objects import ByBoto3, Objects, Told, within
from recvault.store.s3.straight import Straight

if TYPE_CHECKING:
    from recvault.store.s3.s3_store import S3Store

_CHECKSUM, _NOTED = "x-amz-checksum-sha256", "x-amz-meta-sha256"
_PAST_END = "InvalidRange"
_RANGE = re.compile(r"bytes ([0-9]+)-([0-9]+)/([0-9]+)")
_NOT_TAKEN = frozenset({400, 405, 501})  # a store may answer an unknown header with these


class _Hashed:
    """A sink that computes a body's size and SHA-256."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._sum, self.size = hashlib.sha256(), 0

    @property
    def sha256(self) -> str:
        return self._sum.hexdigest()

    def begin(self, length: int | None) -> None:
        """See Sink."""
        self._sum, self.size = hashlib.sha256(), 0

    def write(self, piece: memoryview | bytes) -> None:
        """See Sink."""
        self._check()
        self._sum.update(piece)
        self.size += len(piece)


class S3Reader:
    """See store.Reader."""

    def __init__(self, store: S3Store, stop: Stop, *, straight: bool = True) -> None:
        self._client, self._bucket, self._stop = store.client, store.bucket, stop
        self._ending = asked(stop)
        self._objects: Objects = ByBoto3(store.client, store.bucket)
        if straight and isinstance(store.client, Client) and store.client.signs:
            self._objects = Straight(store.client, store.bucket, pays=store.options.request_payer)
        self._lock = threading.Lock()
        self._store = store
        self._asks_sums = store.facts.sums == SHA256
        self.requests: Counter[str] = Counter()

    def listed(self, prefix: str, after: str = "", until: str | None = None) -> Iterator[Listed]:
        """See Reader.listed."""
        arguments = {"StartAfter": after} if after else {}
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix, **arguments)
        with botocore_errors(self._where(prefix)):
            for page in pages:
                self._count("LIST")
                self._stop.check()
                for each in answers.contents(answers.listed(page, prefix, self._where(prefix))):
                    if until is not None and each["Key"] >= until:
                        return
                    if each["Key"] > after:  # a store without StartAfter lists all keys
                        yield Listed(each["Key"], each["Size"], each["LastModified"])

    def describe(self, key: str) -> Described | None:
        """See Reader.describe."""
        with self._absence(key):
            told = self._head(key)
            size = answers.found(told, self._where(key))
            return Described(bytes=size, kept=_hex(told.get(_CHECKSUM)), noted=told.get(_NOTED))
        return None

    def get(self, key: str, most: int = SMALL_MOST) -> Body | None:
        """See Reader.get."""
        with self._absence(key):
            small = Small(most, self._where(key))
            noted = self._get(key, small).get(_NOTED)
            return Body(small.content, noted)
        return None

    def digest(self, key: str) -> tuple[int, str] | None:
        """See Reader.digest."""
        with self._absence(key):
            hashed = _Hashed(self._stop.check)
            self._get(key, hashed)
            return hashed.size, hashed.sha256
        return None

    def part(self, key: str, start: int, size: int) -> ObjectPart | None:
        """See Reader.part. By boto3, as the whole body of a part is in memory anyway."""
        with self._absence(key):
            self._count("GET")
            try:
                with within(self._client, self._ending):
                    told = self._client.get_object(
                        Bucket=self._bucket, Key=key, Range=f"bytes={start}-{start + size - 1}"
                    )
                    content = told["Body"].read()
            except ClientError as error:
                if code_of(error) != _PAST_END:
                    raise
                whole = self._head(key)
                return ObjectPart(b"", answers.found(whole, self._where(key)))
            return self._range(key, content, str(told.get("ContentRange", "")), start)
        return None

    def _range(self, key: str, content: bytes, told: str, start: int) -> ObjectPart:
        """Check that an answer is the part that was asked for."""
        found = _RANGE.fullmatch(told)
        if found is None or int(found[1]) != start or int(found[2]) != start + len(content) - 1:
            raise answers.not_the_stores(self._where(key), f"is another part than asked for ({told or 'no range'})")
        return ObjectPart(content, int(found[3]))

    def url(self, key: str, seconds: int) -> str:
        """See Reader.url."""
        with botocore_errors(self._where(key)):
            asked = {"Bucket": self._bucket, "Key": key}
            return str(self._client.generate_presigned_url("get_object", Params=asked, ExpiresIn=seconds))

    def _get(self, key: str, sink: Sink) -> Told:
        self._count("GET")
        told = self._objects.get(key, sink, self._ending)
        answers.found(told, self._where(key), has_body=True)
        return told

    def _head(self, key: str) -> Told:
        self._count("HEAD")
        try:
            return self._objects.head(key, self._ending, sums=self._asks_sums)
        except ClientError as error:
            if status_of(error) not in _NOT_TAKEN or not self._asks_sums:
                raise
            self._asks_sums = False  # perhaps only that header is refused
            return self._objects.head(key, self._ending)

    @contextmanager
    def _absence(self, key: str) -> Iterator[None]:
        """Continue after the block if the object does not exist."""
        with self._store.key_errors(key):
            try:
                yield
            except ClientError as error:
                if code_of(error) not in ABSENT:
                    raise

    def _count(self, operation: str) -> None:
        with self._lock:
            self.requests[operation] += 1

    def _where(self, key: str) -> str:
        return f"s3://{self._bucket}/{key}"


def _hex(kept: str | None) -> str | None:
    """Convert a checksum header to hex; None for a multipart upload's, which is a checksum of its parts' checksums."""
    try:
        found = base64.b64decode(kept or "", validate=True)
    except (binascii.Error, ValueError):
        return None
    return found.hex() if len(found) == hashlib.sha256().digest_size else None
