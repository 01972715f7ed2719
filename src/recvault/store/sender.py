"""Send one signed PUT, as put_object does, for a quarter of what that costs.

A bucket elsewhere, credentials gone stale, arguments of which botocore makes more than a header: those are left to
put_object.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, BinaryIO, cast

from botocore.endpoint import convert_to_response_dict
from botocore.exceptions import ClientError
from botocore.parsers import create_parser

from recvault.stopping import Stop
from recvault.store.body import BODY_SHA256, by_boto3, in_memory
from recvault.store.connections import Connections, PreparedPut
from recvault.store.errors import ELSEWHERE, STALE, code_of, status_of
from recvault.store.signing import Address, Signer
from recvault.store.tries import persist

_HEADERS = {
    "ACL": "x-amz-acl",
    "ChecksumAlgorithm": "x-amz-sdk-checksum-algorithm",
    "ChecksumSHA256": "x-amz-checksum-sha256",
    "ContentLength": "content-length",
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
_NO_HEADER = frozenset({"Bucket", "Key", "Body", BODY_SHA256, "Metadata"})
_TOLD = {"ETag": "etag", "ChecksumSHA256": "x-amz-checksum-sha256"}
_CHUNK = 256 * 1024  # urllib3 would read a file by 16 KiB


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """One PUT, not yet signed."""

    address: Address
    path: str
    headers: Mapping[str, str]
    sha256: str  # hex; the body's
    body: bytes | memoryview | BinaryIO = field(repr=False)


def make_sender(client: Any, stop: Stop) -> Callable[..., Any]:
    """A put_object for S3Store; the client's own where a later botocore keeps elsewhere what is used here."""
    try:
        return Sender(client, stop)
    except AttributeError:
        return by_boto3(client)


class Sender:
    """put_object of a client, for the arguments of S3Store. Thread-safe; nothing is tried again after a drain."""

    def __init__(self, client: Any, stop: Stop) -> None:
        self._client = client
        self._by_boto3 = by_boto3(client)
        self._stop = stop
        self._signer = Signer(client)
        self._connections = Connections.of(client)  # with all that the environment says of proxies and certificates
        self._operation = client.meta.service_model.operation_model("PutObject")
        self._addresses: dict[str, Address | None] = {}

    def __call__(self, **arguments: Any) -> Mapping[str, Any]:
        """See put_object, whose errors these are; of its answer only what says what was stored."""
        request = self._request(arguments)
        if request is not None:
            try:
                return persist(lambda: self._send(request), self._stop, self._stop.check_enforced)
            except ClientError as error:
                elsewhere = code_of(error) in ELSEWHERE or 300 <= status_of(error) < 400
                if not elsewhere and code_of(error) not in STALE:
                    raise
                if elsewhere:
                    self._addresses[arguments["Bucket"]] = None  # boto3 finds where it is, and remembers
            _rewind(arguments["Body"])
        answer: Mapping[str, Any] = self._by_boto3(**arguments)
        return answer

    def _request(self, arguments: Mapping[str, Any]) -> _Request | None:
        """The arguments as a request; None where it takes botocore to make it."""
        bucket, key = arguments["Bucket"], arguments["Key"]
        if bucket not in self._addresses:
            self._addresses[bucket] = self._signer.address(bucket)
        address, headers = self._addresses[bucket], _headers(arguments)
        if address is None or headers is None or not key or BODY_SHA256 not in arguments:
            return None
        return _Request(
            address=address,
            path=address.path(key),
            headers=headers,
            sha256=arguments[BODY_SHA256],
            body=arguments["Body"],
        )

    def _send(self, request: _Request) -> Mapping[str, Any]:
        """Send once."""
        address = request.address
        headers = self._signer.signed(address, "PUT", request.path, request.headers, request.sha256)
        whole = isinstance(request.body, bytes | memoryview)
        if not whole:
            headers["expect"] = "100-continue"  # what is refused is not sent
        with nullcontext(request.body) if whole else closing(self._pieces(cast("BinaryIO", request.body))) as body:
            answer = self._connections.send(PreparedPut(address.base + request.path, headers, body))
        if answer.status_code >= 300:
            parser = create_parser("rest-xml")
            parsed = parser.parse(convert_to_response_dict(answer, self._operation), self._operation.output_shape)
            raise ClientError(parsed, self._operation.name)
        return {name: answer.headers.get(header) for name, header in _TOLD.items()}

    @staticmethod
    def _pieces(body: BinaryIO) -> Generator[bytes | memoryview]:
        """A file from its start; from memory without a copy, each piece released once the next is asked for."""
        _rewind(body)
        with in_memory(body) as view:
            if view is None:
                yield from iter(lambda: body.read(_CHUNK), b"")
                return
            for start in range(0, len(view), _CHUNK):
                body.seek(start)  # which ends it, once a drain is over
                with view[start : start + _CHUNK] as piece:
                    yield piece


def _headers(arguments: Mapping[str, Any]) -> dict[str, str] | None:
    """All but what the URL and the body are made of; None where botocore might make more of it than a header."""
    described = {name: value for name, value in arguments.items() if name not in _NO_HEADER}
    if not described.keys() <= _HEADERS.keys():
        return None
    headers = {_HEADERS[name]: _written(value) for name, value in described.items()}
    headers |= {f"x-amz-meta-{name}": value for name, value in arguments["Metadata"].items()}
    whole = "".join([*headers, *headers.values()])
    return headers if whole.isascii() and whole.isprintable() else None


def _written(value: Any) -> str:
    """As botocore writes it in a header."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(value, datetime) else str(value)


def _rewind(body: bytes | memoryview | BinaryIO) -> None:
    if not isinstance(body, bytes | memoryview):
        body.seek(0)
