"""Access single objects of one bucket without boto3: the transport signs and sends, at a fraction of boto3's cost.

The bucket's address and signing region, which boto3 computes for each request, are taken from it once. Buckets in
another region, and requests that need more than a header, are left to boto3.

Invariant: over TLS, only a put reuses a connection, because its response shows that it belongs to this put.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, BinaryIO, TypeVar

from botocore.exceptions import ClientError, NoCredentialsError

from recvault.store.s3.body import BODY_SHA256, in_memory
from recvault.store.s3.botocore_errors import ELSEWHERE, OUT_OF_TIME, REPLACED, code_of, status_of
from recvault.store.s3.bounds import Answer, Sink
from recvault.store.s3.clients import Client
from recvault.store.s3.credentials import checked
from recvault.store.s3.endings import Ending
from recvault.store.s3.error_xml import refused
from recvault.store.s3.object_urls import Address, address, is_plain
from recvault.store.s3.objects import ByBoto3, Told
from recvault.store.s3.retries import persist
from recvault.store.s3.sending import as_botocores
from recvault.transport import ExchangeFailed, Head, Headers, Request, Signing

T = TypeVar("T")

_PLAIN = re.compile(r"[A-Za-z0-9._~-]+")  # an access key that libcurl sends unchanged: Swift's have colons

_HEADERS = {
    "ACL": "x-amz-acl",
    "ChecksumAlgorithm": "x-amz-sdk-checksum-algorithm",
    "ChecksumSHA256": "x-amz-checksum-sha256",
    "ContentMD5": "content-md5",
    "ContentType": "content-type",
    "IfNoneMatch": "if-none-match",
    "ObjectLockLegalHoldStatus": "x-amz-object-lock-legal-hold",
    "ObjectLockMode": "x-amz-object-lock-mode",
    "ObjectLockRetainUntilDate": "x-amz-object-lock-retain-until-date",
    "RequestPayer": "x-amz-request-payer",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "StorageClass": "x-amz-storage-class",
    "Tagging": "x-amz-tagging",
}
_NO_HEADER = frozenset({"Key", "Body", "ContentLength", BODY_SHA256, "Metadata"})
_NOTHING = hashlib.sha256(b"").hexdigest()
_OPERATIONS = {"PUT": "PutObject", "HEAD": "HeadObject", "GET": "GetObject"}
_OF_A_HEAD = "403"  # a HEAD has no details: the keys may have been replaced


class _NeedsBoto3(Exception):
    """libcurl would sign a different access key than it sends."""


class Straight:
    """See Objects. Thread-safe."""

    def __init__(self, client: Client, bucket: str, *, pays: bool = False) -> None:
        self._client, self._bucket = client, bucket
        self._transport = client.sending.transport
        self._by_boto3 = ByBoto3(client, bucket)
        self._payer: Headers = [("x-amz-request-payer", "requester")] if pays else []
        self._agent = str(client.meta.config.user_agent)
        self._address: Address | None = None
        self._signing = Signing("", "", "")  # of the last request
        self._is_elsewhere = False

    def put(self, ending: Ending, **arguments: Any) -> Mapping[str, Any]:
        """See Objects.put."""
        headers = _put_headers(arguments)
        place = None if headers is None else self._place(arguments["Key"])
        straight = partial(self._put, arguments, headers or (), ending)
        return self._or_by_boto3(place, straight, lambda: self._by_boto3.put(ending, **_rewound(arguments)))

    def head(self, key: str, ending: Ending, *, sums: bool = False) -> Told:
        """See Objects.head."""
        more = [*self._payer, ("x-amz-checksum-mode", "ENABLED")] if sums else self._payer

        def head(place: Address) -> Told:
            return self._exchange("HEAD", place.url(key), more, _NOTHING, ending).named

        return self._or_by_boto3(self._place(key), head, lambda: self._by_boto3.head(key, ending, sums=sums))

    def get(self, key: str, sink: Sink, ending: Ending) -> Told:
        """See Objects.get."""

        def get(place: Address) -> Told:
            return self._exchange("GET", place.url(key), self._payer, _NOTHING, ending, sink=sink).named

        return self._or_by_boto3(self._place(key), get, lambda: self._by_boto3.get(key, sink, ending))

    def renew(self) -> None:
        """See Objects.renew."""
        self._transport.renew()

    def _place(self, key: str) -> Address | None:
        """Return the bucket's address; None if boto3 must find it, or must encode the key."""
        if self._is_elsewhere or not is_plain(key):
            return None
        if self._address is None:
            self._address = address(self._client, self._bucket)
        return self._address

    def _or_by_boto3(self, place: Address | None, straight: Callable[[Address], T], by_boto3: Callable[[], T]) -> T:
        if place is not None:
            try:
                return straight(place)
            except _NeedsBoto3:
                pass
            except ClientError as error:
                if code_of(error) in ELSEWHERE or 300 <= status_of(error) < 400:
                    self._is_elsewhere = True  # boto3 finds the region and caches it
                elif code_of(error) in OUT_OF_TIME or (
                    code_of(error) in REPLACED | {_OF_A_HEAD} and self._client.has_new_keys()
                ):
                    return straight(place)
                else:
                    raise
        return by_boto3()

    def _put(self, arguments: Mapping[str, Any], headers: Headers, ending: Ending, place: Address) -> Mapping[str, Any]:
        url, sha256, length = place.url(arguments["Key"]), arguments[BODY_SHA256], arguments["ContentLength"]
        body = arguments["Body"]
        if isinstance(body, memoryview):
            head = self._exchange("PUT", url, headers, sha256, ending, body=body, length=length)
        else:
            with in_memory(body) as view:
                sent = body if view is None else view
                # Expect: a refused body is not sent.
                head = self._exchange("PUT", url, headers, sha256, ending, body=sent, length=length, expects=True)
        told = head.named
        return {"ETag": told.get("etag"), "ChecksumSHA256": told.get("x-amz-checksum-sha256") or None}

    def _exchange(
        self,
        method: str,
        url: str,
        headers: Headers,
        sha256: str,
        ending: Ending,
        *,
        sink: Sink | None = None,
        body: memoryview | BinaryIO | None = None,
        length: int = 0,
        expects: bool = False,
    ) -> Head:
        """Sign and send a request; retry transient failures."""
        operation = _OPERATIONS[method]

        def once() -> Head:
            if body is not None and not isinstance(body, memoryview):
                body.seek(0)
            signing, named = self._signed(headers, sha256)
            answer = Answer(sink)
            request = Request(method, url, named, body, length, signing, expects, method == "PUT")
            try:
                self._transport.exchange(request, answer, ending.cut())
            except ExchangeFailed as failed:
                raise as_botocores(failed, url) from failed
            if answer.head.status >= 300:
                if method == "PUT":
                    self._transport.renew()  # a refusal does not show that it belongs to this put
                raise refused(answer.head, answer.content, operation)
            return answer.head

        return persist(once, ending)

    def _signed(self, headers: Headers, sha256: str) -> tuple[Signing, Headers]:
        """Return what to sign a request with now, and its headers."""
        assert self._address is not None  # noqa: S101 - set by _place before
        found = self._client.credentials()
        if found is None:
            raise NoCredentialsError
        access_key, secret_key, token = checked(found)
        if not _PLAIN.fullmatch(access_key):
            raise _NeedsBoto3
        named = [*headers, ("x-amz-content-sha256", sha256), ("user-agent", self._agent)]
        if token:
            named.append(("x-amz-security-token", token))
        signing = self._signing
        if (signing.access_key, signing.secret_key) != (access_key, secret_key):
            where = self._address
            signing = self._signing = Signing(access_key, secret_key, where.region, where.service)
        return signing, named


def _put_headers(arguments: Mapping[str, Any]) -> Headers | None:
    """Return the headers of a put's arguments; None if botocore might turn one into more than a header."""
    names, metadata = _header_names(tuple(arguments)), arguments["Metadata"]
    if names is None:
        return None
    told = [*map(arguments.__getitem__, names)]
    if "ObjectLockRetainUntilDate" in names:
        told = [value if isinstance(value, str) else _written(value) for value in told]
    told += metadata.values()
    whole = "".join(told)
    if not (whole.isascii() and whole.isprintable() and all(told)):
        return None
    own = _metadata_names(tuple(metadata))
    return None if own is None else [*zip((*names.values(), *own), told, strict=True)]


@lru_cache(64)  # the puts of a store have the same arguments
def _header_names(arguments: tuple[str, ...]) -> Mapping[str, str] | None:
    """Return the header of each argument that has one; None if one has none and cannot be left out."""
    if BODY_SHA256 not in arguments or not _HEADERS.keys() | _NO_HEADER >= {*arguments}:
        return None
    return {each: _HEADERS[each] for each in arguments if each in _HEADERS}


@lru_cache(64)
def _metadata_names(names: tuple[str, ...]) -> tuple[str, ...] | None:
    whole = "".join(names)
    return tuple(f"x-amz-meta-{name}" for name in names) if whole.isascii() and whole.isprintable() else None


def _written(value: Any) -> str:
    """Format a header value as botocore does."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(value, datetime) else str(value)


def _rewound(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(arguments["Body"], memoryview):
        arguments["Body"].seek(0)
    return arguments
