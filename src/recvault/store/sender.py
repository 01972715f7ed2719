"""Send one signed PUT, as put_object does, for a third of what that costs.

What boto3 works out anew for each request is asked of it once: the bucket's address, and the region that signs for it.
Credentials, signatures and connections stay its own, so whatever the environment says of them counts as ever. A bucket
elsewhere, credentials gone stale, arguments of which botocore makes more than a header: those are left to put_object.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, BinaryIO
from urllib.parse import quote, urlsplit
from uuid import uuid4

from botocore.auth import SIGNED_HEADERS_BLACKLIST, S3SigV4Auth
from botocore.endpoint import convert_to_response_dict
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError
from botocore.parsers import create_parser

from recvault.stopping import Stop
from recvault.store.body import by_boto3, in_memory
from recvault.store.connections import Connections, PreparedPut
from recvault.store.errors import ELSEWHERE, STALE, THROTTLED, TRANSIENT, code_of, status_of

_HEADERS = {
    "ChecksumAlgorithm": "x-amz-sdk-checksum-algorithm",
    "ChecksumSHA256": "x-amz-checksum-sha256",
    "ContentLength": "Content-Length",
    "ContentMD5": "Content-MD5",
    "ContentType": "Content-Type",
    "IfNoneMatch": "If-None-Match",
    "ObjectLockLegalHoldStatus": "x-amz-object-lock-legal-hold",
    "ObjectLockMode": "x-amz-object-lock-mode",
    "ObjectLockRetainUntilDate": "x-amz-object-lock-retain-until-date",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "StorageClass": "x-amz-storage-class",
    "Tagging": "x-amz-tagging",
}
_NO_HEADER = frozenset({"Bucket", "Key", "Body", "Metadata"})
_SIGV4 = "AWS4-HMAC-SHA256"
_CHUNK = 256 * 1024  # urllib3 would read a file by 16 KiB
_TRIES = 4
_FIRST_WAIT, _FIRST_WAIT_WHERE_THROTTLED, _LONGEST_WAIT = 0.05, 1.0, 20.0  # seconds, as in botocore's standard mode


@dataclass(frozen=True, slots=True)
class _Address:
    """Where a bucket's objects are put, and what signs for it."""

    url: str  # all that comes before a key
    host: str  # without a port that goes without saying: a signature holds it
    region: str
    service: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """One PUT, not yet signed."""

    address: _Address
    url: str
    headers: Mapping[str, str]
    sha256: str  # hex; the body's
    body: bytes | memoryview | BinaryIO = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signing:
    """What botocore's signature looks at, and where it writes."""

    url: str
    headers: dict[str, Any]
    context: dict[str, Any]
    method: str = "PUT"
    params: None = None


class _Signature(S3SigV4Auth):
    """botocore's own, with a payload's hash that is known: not hashed again, and signed over https too.

    Headers are a plain dictionary here, each but once: what botocore keeps as an e-mail's costs half a signature.
    """

    def payload(self, request: Any) -> str:
        return str(request.context["sha256"])

    def headers_to_sign(self, request: Any) -> Any:
        lower = {name.lower(): value for name, value in request.headers.items()}
        return {name: value for name, value in lower.items() if name not in SIGNED_HEADERS_BLACKLIST}

    def canonical_headers(self, headers_to_sign: Any) -> str:
        return "\n".join(f"{name}:{' '.join(headers_to_sign[name].split())}" for name in sorted(headers_to_sign))


class _Held(Exception):
    """A request that boto3 was about to send."""

    def __init__(self, request: Any) -> None:
        super().__init__(request)
        self.url = str(request.url)
        self.headers = {n.lower(): v.decode() if isinstance(v, bytes) else v for n, v in request.headers.items()}


def make_sender(client: Any, stop: Stop) -> Callable[..., Any]:
    """A put_object for S3Store; the client's own where a later botocore keeps elsewhere what is used here."""
    try:
        return Sender(client, stop)
    except AttributeError:
        put_object: Callable[..., Any] = client.put_object
        return put_object


class Sender:
    """put_object of a client, for the arguments of S3Store. Thread-safe; nothing is tried again after a drain."""

    def __init__(self, client: Any, stop: Stop) -> None:
        self._client = client
        self._by_boto3 = by_boto3(client)
        self._stop = stop
        # Not promised by botocore, so looked up once, here: its credentials, and its connections with all that the
        # environment says of proxies and certificates.
        self._credentials = client._request_signer.get_auth_instance
        self._connections = Connections.of(client)
        self._operation = client.meta.service_model.operation_model("PutObject")
        self._addresses: dict[str, _Address | None] = {}
        self._sample = uuid4().hex  # a key that nothing has
        client.meta.events.register("before-send.s3.PutObject", self._hold)

    def __call__(self, **arguments: Any) -> None:
        """See put_object, whose errors these are."""
        request = self._request(arguments)
        if request is not None:
            try:
                self._persist(request)
                return
            except ClientError as error:
                elsewhere = code_of(error) in ELSEWHERE or 300 <= status_of(error) < 400
                if not elsewhere and code_of(error) not in STALE:
                    raise
                if elsewhere:
                    self._addresses[arguments["Bucket"]] = None  # boto3 finds where it is, and remembers
            _rewind(arguments["Body"])
        self._by_boto3(**arguments)

    def _request(self, arguments: Mapping[str, Any]) -> _Request | None:
        """The arguments as a request; None where it takes botocore to make it."""
        bucket, key = arguments["Bucket"], arguments["Key"]
        if bucket not in self._addresses:
            self._addresses[bucket] = self._ask_address(bucket)
        address, headers = self._addresses[bucket], _headers(arguments)
        if address is None or headers is None or not key or "ChecksumSHA256" not in arguments:
            return None
        return _Request(
            address=address,
            url=address.url + quote(key, safe="/~"),
            headers={"Host": address.host, **headers, "User-Agent": self._client.meta.config.user_agent},
            sha256=base64.b64decode(arguments["ChecksumSHA256"]).hex(),
            body=arguments["Body"],
        )

    def _ask_address(self, bucket: str) -> _Address | None:
        """Have boto3 make and sign a put that is never sent. None where its signature is not the one known here."""
        try:
            self._client.put_object(Bucket=bucket, Key=self._sample)
        except _Held as held:
            signed_by, _, rest = str(held.headers.get("authorization")).partition(" Credential=")
            if signed_by != _SIGV4 or "x-amz-s3session-token" in held.headers:
                return None
            region, service = rest.partition(",")[0].rsplit("/", 4)[2:4]
            return _Address(held.url.removesuffix(self._sample), _host(held.url), region, service)
        return None

    def _hold(self, request: Any, **_: Any) -> None:
        """Keep the sample from being sent."""
        if request.url.endswith(self._sample):
            raise _Held(request)

    def _persist(self, request: _Request) -> None:
        """Send until it is taken or refused, as often as botocore does and with its waits."""
        for number in range(_TRIES):
            self._stop.pulse.beat()
            failure = self._try(request)
            if failure is None:
                return
            if number == _TRIES - 1 or not _is_transient(failure):
                raise failure
            first = _FIRST_WAIT_WHERE_THROTTLED if _is_throttled(failure) else _FIRST_WAIT
            _pause(self._stop, random.random() * min(first * 2**number, _LONGEST_WAIT))  # noqa: S311 - only a wait
            self._stop.check_enforced()

    def _try(self, request: _Request) -> ClientError | ConnectionError | HTTPClientError | None:
        """Send once: what went wrong, None for nothing."""
        headers: Any = self._signed(request)
        body: Any
        if isinstance(request.body, bytes | memoryview):
            body = request.body
        else:
            body = self._pieces(request.body)
            headers["Expect"] = b"100-continue"  # what is refused is not sent; botocore looks for bytes
        try:
            answer = self._connections.send(PreparedPut(request.url, headers, body))
        except (ConnectionError, HTTPClientError) as error:
            return error
        if answer.status_code < 300:
            return None
        parser = create_parser("rest-xml")
        parsed = parser.parse(convert_to_response_dict(answer, self._operation), self._operation.output_shape)
        return ClientError(parsed, self._operation.name)

    @staticmethod
    def _pieces(body: BinaryIO) -> Iterator[bytes | memoryview]:
        """A file from its start; from memory without a copy."""
        _rewind(body)
        view = in_memory(body)
        if view is None:
            yield from iter(lambda: body.read(_CHUNK), b"")
            return
        for start in range(0, len(view), _CHUNK):
            body.seek(start)  # which ends it, once a drain is over
            yield view[start : start + _CHUNK]

    def _signed(self, request: _Request) -> dict[str, Any]:
        """The headers, signed by the credentials of this moment: they may rotate, and a signature ages."""
        address = request.address
        signed: Any = _Signing(url=request.url, headers=dict(request.headers), context={"sha256": request.sha256})
        credentials = self._credentials(address.service, address.region).credentials
        _Signature(credentials, address.service, address.region).add_auth(signed)
        headers: dict[str, Any] = signed.headers
        return headers


def _host(url: str) -> str:
    parts = urlsplit(url)
    plain = {"http": ":80", "https": ":443"}[parts.scheme]
    return parts.netloc.rpartition("@")[2].removesuffix(plain)


def _headers(arguments: Mapping[str, Any]) -> dict[str, str] | None:
    """All but what the URL and the body are made of; None where botocore might make more of it than a header."""
    described = {name: value for name, value in arguments.items() if name not in _NO_HEADER}
    if not described.keys() <= _HEADERS.keys():
        return None
    headers = {_HEADERS[name]: _written(value) for name, value in described.items()}
    headers |= {f"x-amz-meta-{name}": value for name, value in arguments["Metadata"].items()}
    plain = all(text.isascii() and text.isprintable() for each in headers.items() for text in each)
    return headers if plain else None


def _written(value: Any) -> str:
    """As botocore writes it in a header."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(value, datetime) else str(value)


def _rewind(body: bytes | memoryview | BinaryIO) -> None:
    if not isinstance(body, bytes | memoryview):
        body.seek(0)


def _pause(stop: Stop, seconds: float) -> None:
    """Wait, at most until a drain is over."""
    stop.enforced.wait(seconds)


def _is_throttled(failure: Exception) -> bool:
    return isinstance(failure, ClientError) and (code_of(failure) in THROTTLED or status_of(failure) == 429)


def _is_transient(failure: Exception) -> bool:
    if not isinstance(failure, ClientError) or _is_throttled(failure):
        return True
    return code_of(failure) in TRANSIENT or status_of(failure) in (500, 502, 503, 504)
