"""An S3 behind boto3's own client, within the process: it stores what it is given, and its answers can lie.

boto3 asks handlers of `before-send` before it opens a connection, and uses their answer.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import boto3
from botocore.awsrequest import AWSResponse
from botocore.config import Config

NAME = "archive"
_PORTAL = b"<!DOCTYPE html><html><body><h1>Please accept the terms of this network</h1></body></html>"
_TOLD = ("content-type", "x-amz-meta-", "x-amz-checksum-")

LIES = ("portal", "portal_puts", "no_etag", "lost_puts", "away", "denied_key")


@dataclass
class LyingBucket:
    """The bucket and its client. `lie` names its current lie; "" is the truth."""

    lie: Callable[[], str] = lambda: ""
    objects: dict[str, bytes] = field(default_factory=dict)
    writes: list[str] = field(default_factory=list)  # written keys, in order
    headers: dict[str, dict[str, str]] = field(default_factory=dict)

    def client(self) -> Any:
        """Return a boto3 client whose requests all come here."""
        config = Config(
            retries={"total_max_attempts": 1},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path"},
        )
        client = boto3.client(
            "s3",
            region_name="us-east-1",
            endpoint_url="http://127.0.0.1:9",
            aws_access_key_id="key",
            aws_secret_access_key="secret",
            config=config,
        )
        client.meta.events.register_last("before-send.s3", self._answer)
        return client

    def _answer(self, request: Any, **_: Any) -> AWSResponse:
        status, headers, body = self._spoken(request)
        if request.method == "HEAD":
            body = b""
        return AWSResponse(request.url, status, headers, _Raw(body))

    def _spoken(self, request: Any) -> tuple[int, dict[str, str], bytes]:
        url = urlsplit(request.url)
        key, query = unquote(url.path).removeprefix(f"/{NAME}").lstrip("/"), parse_qs(url.query)
        headers = {str(name).lower(): _text(value) for name, value in request.headers.items()}
        match self.lie(), request.method:
            case ("portal", _) | ("portal_puts", "PUT"):
                return 200, {"content-type": "text/html", "content-length": str(len(_PORTAL))}, _PORTAL
            case "no_etag", "PUT":
                return 200, {"content-length": "0"}, b""
            case "lost_puts", "PUT":
                return 200, {"content-length": "0", "etag": '"00000000000000000000000000000000"'}, b""
            case "away", _:
                return _error(500, "InternalError")
            case "denied_key", _ if key.endswith(".json") and request.method in ("GET", "HEAD"):
                return _error(403, "AccessDenied")
        return self._true(request, key, query, headers)

    def _true(
        self, request: Any, key: str, query: dict[str, list[str]], headers: dict[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        if request.method == "PUT":
            return self._put(key, _body(request.body), headers)
        if not key:
            return 200, {"content-type": "application/xml"}, self._listed(query.get("prefix", [""])[0])
        if key not in self.objects:
            return _error(404, "NoSuchKey")
        body = self.objects[key]
        return 200, {**self.headers[key], "content-length": str(len(body)), "etag": _etag(body)}, body

    def _put(self, key: str, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        if key in self.objects and headers.get("if-none-match") == "*":
            return _error(412, "PreconditionFailed")
        self.objects[key] = body
        self.writes.append(key)
        self.headers[key] = {name: value for name, value in headers.items() if name.startswith(_TOLD)}
        sums = {name: value for name, value in headers.items() if name == "x-amz-checksum-sha256"}
        return 200, {"content-length": "0", "etag": _etag(body), **sums}, b""

    def _listed(self, prefix: str) -> bytes:
        rows = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(body)}</Size><ETag>{escape(_etag(body))}</ETag>"
            "<LastModified>2026-11-02T12:00:00.000Z</LastModified><StorageClass>STANDARD</StorageClass></Contents>"
            for key, body in sorted(self.objects.items())
            if key.startswith(prefix)
        )
        return (
            f'<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>{NAME}</Name>'
            f"<Prefix>{escape(prefix)}</Prefix><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>"
        ).encode()


class _Raw(io.BytesIO):
    """An answer's body, readable like urllib3's."""

    def stream(self, amount: int = 65536, decode_content: bool | None = None) -> Any:
        while chunk := self.read(amount):
            yield chunk

    def read(self, amount: int | None = -1, *_: Any, **__: Any) -> bytes:
        return super().read(-1 if amount is None else amount)


def _body(body: Any) -> bytes:
    return bytes(body.read() if hasattr(body, "read") else body or b"")


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _etag(body: bytes) -> str:
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


def _error(status: int, code: str) -> tuple[int, dict[str, str], bytes]:
    body = f"<Error><Code>{code}</Code><Message>planned</Message></Error>".encode()
    return status, {"content-type": "application/xml", "content-length": str(len(body))}, body
