"""Ask what stands in a bucket: many questions a second, and none that changes anything.

Listings by key range, objects with the sums that the store keeps of them, bodies whole or hashed as they come. A HEAD
or GET by boto3 is mostly boto3: they are signed and sent here as puts are (see sender.py), and what that cannot do is
left to boto3.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError, ConnectionError, HTTPClientError, ResponseStreamingError
from botocore.parsers import DEFAULT_TIMESTAMP_PARSER

from recvault.errors import Cold
from recvault.stopping import Stop
from recvault.store import answers
from recvault.store.base import SMALL_MOST
from recvault.store.bounds import small
from recvault.store.errors import ABSENT, ELSEWHERE, STALE, botocore_errors, code_of, status_of
from recvault.store.facts import SHA256
from recvault.store.s3 import S3Store
from recvault.store.straight import Straight, make_straight

__all__ = ["Body", "Cold", "Described", "Listed", "Reader"]

_CHUNK = 1024**2
_TRIES = 3  # of a body that breaks off
_BROKEN_OFF = (HTTPClientError, ConnectionError, ResponseStreamingError)
_CHECKSUM = "x-amz-checksum-sha256"
_TELL_SUM = {"x-amz-checksum-mode": "ENABLED"}
_NOT_TAKEN = frozenset({400, 405, 501})  # of a header that a store does not know


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as a listing shows it."""

    key: str
    bytes: int
    modified: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """An object as a HEAD shows it; its SHA-256 in hex, as the store itself keeps it and as its metadata say."""

    bytes: int
    kept: str | None = None
    noted: str | None = None


@dataclass(frozen=True, slots=True)
class Body:
    """A small object, whole."""

    content: bytes
    noted: str | None  # its SHA-256 as its metadata say


class Reader:
    """Questions to one bucket. Thread-safe. Raises StoreUnavailable, CredentialsRefused or ConfigError."""

    def __init__(self, store: S3Store, stop: Stop, *, straight: bool = True) -> None:
        self._client, self._bucket, self._stop = store._client, store.bucket, stop
        _read_times_quickly(self._client)
        with botocore_errors(f"s3://{self._bucket}"):  # what is made here is signed once, for trial
            self._straight: Straight | None = make_straight(self._client, self._bucket, stop) if straight else None
        self._lock = threading.Lock()
        self._store = store
        payer = {"x-amz-request-payer": "requester"} if store.options.request_payer else {}
        self._more = {"GET": payer, "HEAD": {**payer, **(_TELL_SUM if store.facts.sums == SHA256 else {})}}
        self.requests: Counter[str] = Counter()

    def listed(self, prefix: str, after: str = "", until: str | None = None) -> Iterator[Listed]:
        """The objects under a prefix whose keys are beyond `after` and below `until`, in key order."""
        arguments = {"StartAfter": after} if after else {}
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix, **arguments)
        with botocore_errors(self._where(prefix)):
            for page in pages:
                self._count("LIST")
                self._stop.check()
                for each in answers.contents(answers.listed(page, prefix, self._where(prefix))):
                    if until is not None and each["Key"] >= until:
                        return
                    if each["Key"] > after:  # a store that does not know StartAfter lists them all
                        yield Listed(each["Key"], each["Size"], each["LastModified"])

    def describe(self, key: str) -> Described | None:
        """An object's size and sums; None where there is none."""
        with self._absence(key):
            headers = self._ask("HEAD", key, 0)[0]
            noted, kept = headers.get("x-amz-meta-sha256"), _hex(headers.get(_CHECKSUM))
            return Described(bytes=int(headers["content-length"]), kept=kept, noted=noted)
        return None

    def get(self, key: str, most: int = SMALL_MOST) -> Body | None:
        """A small object; None where there is none. Raises Cold, and TooLarge where it has more than `most` bytes."""
        with self._absence(key):
            headers, content = self._ask("GET", key, most)
            return Body(content, headers.get("x-amz-meta-sha256"))
        return None

    def digest(self, key: str) -> tuple[int, str] | None:
        """Read every byte of an object: how many there are, and their SHA-256. None where there is none; or Cold."""
        with self._absence(key):
            for _ in range(_TRIES - 1):
                try:
                    return self._digest(key)
                except _BROKEN_OFF:
                    self._stop.check()
            return self._digest(key)
        return None

    def _digest(self, key: str) -> tuple[int, str]:
        self._count("GET")
        sum_, size = hashlib.sha256(), 0
        for chunk in self._chunks(key):
            self._stop.check()
            sum_.update(chunk)
            size += len(chunk)
        return size, sum_.hexdigest()

    def _chunks(self, key: str) -> Iterator[bytes]:
        if self._straight is not None:
            try:
                yield from self._straight.stream(key, self._more["GET"])
                return
            except ClientError as error:
                self._leave_to_boto3(error)
        yield from self._client.get_object(Bucket=self._bucket, Key=key)["Body"].iter_chunks(_CHUNK)

    def _ask(self, method: str, key: str, most: int) -> tuple[Mapping[str, str], bytes]:
        """Headers by lower name, and the body."""
        self._count(method)
        try:
            headers, content = self._asked(method, key, most)
        except ClientError as error:
            if status_of(error) not in _NOT_TAKEN or not _TELL_SUM.items() <= self._more[method].items():
                raise
            self._more[method] = {name: v for name, v in self._more[method].items() if name not in _TELL_SUM}
            headers, content = self._asked(method, key, most)  # it may be that header alone
        told = {"ETag": headers.get("etag"), "ContentLength": headers.get("content-length")}
        answers.found(told, self._where(key), has_body=method == "GET")
        return headers, content

    def _asked(self, method: str, key: str, most: int) -> tuple[Mapping[str, str], bytes]:
        if self._straight is not None:
            try:
                return self._straight.ask(method, key, most, self._more[method])
            except ClientError as error:
                self._leave_to_boto3(error)
        if method == "HEAD":
            mode = {"ChecksumMode": "ENABLED"} if _TELL_SUM.items() <= self._more[method].items() else {}
            return _headers(self._client.head_object(Bucket=self._bucket, Key=key, **mode)), b""
        answer = self._client.get_object(Bucket=self._bucket, Key=key)
        with contextlib.closing(answer["Body"]) as body:
            content = small(body.iter_chunks(_CHUNK), answer.get("ContentLength"), most, self._where(key))
        return _headers(answer), content

    def _leave_to_boto3(self, error: ClientError) -> None:
        """It finds a bucket that is elsewhere, and fresh credentials; any other refusal is raised."""
        if code_of(error) in ELSEWHERE or 300 <= status_of(error) < 400:
            self._straight = None
        elif code_of(error) not in STALE | {"403"}:  # a HEAD says no more: the keys may have been replaced
            raise error

    @contextmanager
    def _absence(self, key: str) -> Iterator[None]:
        """Go on behind the block where the object is not there."""
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


def _read_times_quickly(client: Any) -> None:
    """Have ISO times read as such: botocore guesses at each one, which is three quarters of a listing."""
    factory = getattr(client._endpoint, "_response_parser_factory", None)
    if factory is not None:
        factory.set_parser_defaults(timestamp_parser=_moment)


def _moment(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return DEFAULT_TIMESTAMP_PARSER(value)
    return moment if moment.tzinfo else DEFAULT_TIMESTAMP_PARSER(value)


def _headers(answer: Mapping[str, Any]) -> Mapping[str, str]:
    return {str(name).lower(): str(value) for name, value in answer["ResponseMetadata"]["HTTPHeaders"].items()}


def _hex(kept: str | None) -> str | None:
    """A checksum header in hex; None for that of a multipart upload, which is one of its parts' sums."""
    try:
        found = base64.b64decode(kept or "", validate=True)
    except (binascii.Error, ValueError):
        return None
    return found.hex() if len(found) == hashlib.sha256().digest_size else None
