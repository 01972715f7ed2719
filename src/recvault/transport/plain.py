"""Exchanges by httpx, if libcurl is missing or not wanted: slower, otherwise equivalent.

`expects` and `signing` are ignored, being libcurl's: the sender signs, and a body is sent at once. (httpx has no
`Expect`; an unrequested 100 is skipped, and a refusal during the body is read once the server closes.)
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx

from recvault.transport.base import (
    Cut,
    Enough,
    ExchangeFailed,
    Guard,
    Head,
    Patience,
    Proxy,
    Receiver,
    Request,
    Trust,
)
from recvault.transport.guarded import TARGET, GuardedTransport, wait_seconds

_CHUNK = 256 * 1024


class PlainTransport:
    """See Transport."""

    def __init__(self, guard: Guard, patience: Patience, trust: Trust, proxy: Proxy | None = None) -> None:
        self._guard, self._patience, self._proxy = guard, patience, proxy
        self._tls = tls_context(trust)
        self._local = threading.local()

    def exchange(self, request: Request, receiver: Receiver, cut: Cut) -> Head:
        """See Transport.exchange."""
        request.check()
        transport: GuardedTransport | None = getattr(self._local, "transport", None)
        if transport is None:
            rate = self._patience.least_rate
            transport = self._local.transport = GuardedTransport(self._guard, self._tls, self._proxy, rate)
        transport.cut = cut
        return hand_over(transport.handle_request(self._asked(request)), receiver)

    def renew(self) -> None:
        """See Transport.renew. No connection outlasts its exchange."""

    def close(self) -> None:
        """See Transport.close. No connection outlasts its exchange."""

    def _asked(self, request: Request) -> httpx.Request:
        headers: list[tuple[str, str]] = [*request.headers]
        content: Iterator[bytes] | bytes | None = None
        if request.body is not None:
            headers.append(("Content-Length", str(request.length)))
            content = _pieces(request) if request.length else b""
        try:
            url = httpx.URL(request.url)
        except httpx.InvalidURL:
            raise ExchangeFailed("request") from None
        stall = self._patience.stall_seconds
        times = httpx.Timeout(connect=self._patience.connect_seconds, read=stall, write=stall, pool=stall)
        return httpx.Request(
            request.method,
            url,
            headers=httpx.Headers(headers, encoding="latin-1"),
            content=content,
            extensions={"timeout": times.as_dict(), TARGET: _target(request.url)},
        )


def hand_over(answer: httpx.Response, receiver: Receiver) -> Head:
    """Stream an httpx answer to a receiver, then close it."""
    try:
        headers = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in answer.headers.raw]
        head = Head(answer.status_code, headers, wait_seconds(answer) or 0.0)
        receiver.begin(head)
        for piece in answer.iter_raw():
            receiver.write(piece)
    except Enough:
        pass
    finally:
        answer.close()
    return head


def tls_context(trust: Trust) -> ssl.SSLContext:
    """Return the TLS context for httpx."""
    context = ssl.create_default_context(cafile=trust.file, capath=trust.folder)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _pieces(request: Request) -> Iterator[bytes]:
    """Yield a request's body once: a retry is another exchange."""
    body, left = request.body, request.length
    while left and body is not None:
        if isinstance(body, memoryview):
            start = request.length - left
            piece = bytes(body[start : start + min(_CHUNK, left)])
        else:
            piece = body.read(min(_CHUNK, left))
        if not piece:
            raise ExchangeFailed("request", "its body is shorter than announced")
        left -= len(piece)
        yield piece


def _target(url: str) -> bytes:
    """Return what follows the host in a URL, unchanged."""
    parts = urlsplit(url)
    return f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}".encode("ascii")
