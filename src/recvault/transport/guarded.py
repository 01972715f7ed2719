"""Exchanges by httpx: over connections that a guard permits, with waits that can be cut.

A connection serves one exchange. httpcore checks a kept connection's socket for unread data, but not its parser: bytes
that a server sent after an answer would be read as the next one.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, cast

import httpcore
import httpx

from recvault.transport.backend import NO_TIME, Backend, Watch
from recvault.transport.base import (
    PORTS,
    PROXY_UNKNOWN,
    Cause,
    Cut,
    ExchangeFailed,
    Guard,
    Head,
    Proxy,
    anywhere,
    check_head,
    check_written,
)

TARGET = "recvault.target"  # a request's target, sent as it is, without httpx's normalisation


class GuardedTransport(httpx.BaseTransport):
    """httpx's exchanges over guarded connections. For one thread. Raises ExchangeFailed instead of httpx's errors."""

    def __init__(self, guard: Guard, tls: ssl.SSLContext, proxy: Proxy | None = None, least_rate: float = 1.0) -> None:
        self.cut: Cut = _never
        """Called at least once a second during an exchange."""
        self._guard, self._proxy, self._least_rate = guard, proxy, least_rate
        self._watch = Watch(NO_TIME, least_rate, _never)  # of the running exchange
        backend = Backend(guard if proxy is None else anywhere, lambda: self._watch)
        settings: dict[str, Any] = {
            "ssl_context": tls,
            "max_keepalive_connections": 0,
            "http1": True,
            "http2": False,
            "network_backend": backend,
        }
        self._pool = httpcore.ConnectionPool(**settings) if proxy is None else _proxied(proxy, settings)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read the answer's head. Its read timeout is also the stall time of the whole exchange."""
        stall_seconds = request.extensions.get("timeout", {}).get("read")
        self._watch = Watch(NO_TIME if stall_seconds is None else stall_seconds, self._least_rate, self.cut)
        url = request.url
        if self._proxy is not None:
            check_written(self._guard, url.host, url.port or PORTS.get(url.scheme, 0))
        target = request.extensions.get(TARGET, url.raw_path)
        asked = httpcore.Request(
            method=request.method,
            url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=target),
            headers=request.headers.raw,
            content=cast("Iterable[bytes]", request.stream),
            extensions=request.extensions,
        )
        with self._translated():
            answer = self._pool.handle_request(asked)
        try:
            self._check(request, answer)
        except ExchangeFailed:
            answer.close()
            raise
        self._watch.has_head = True
        assert isinstance(answer.stream, Iterable)  # noqa: S101 - the pool is synchronous
        stream = _Body(answer.stream, answer.close, self._translated)
        return httpx.Response(answer.status, headers=answer.headers, stream=stream, extensions=answer.extensions)

    def close(self) -> None:
        self._pool.close()

    def _check(self, request: httpx.Request, answer: httpcore.Response) -> None:
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers]
        version = answer.extensions.get("http_version", b"").decode("latin-1")
        check_head(version, Head(answer.status, headers), has_body=request.method != "HEAD")
        if answer.status == 407 and self._proxy is not None:
            raise ExchangeFailed("proxy", "it answered 407")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Translate httpcore's errors. With a proxy, the unreachable host is the proxy."""
        try:
            with translated():
                yield
        except ExchangeFailed as error:
            if self._proxy is not None and error.cause in ("connection", "name"):
                raise ExchangeFailed("proxy", PROXY_UNKNOWN if error.cause == "name" else error.detail) from None
            raise


class _Body(httpx.SyncByteStream):
    def __init__(
        self, stream: Iterable[bytes], close: Callable[[], None], translated: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._stream, self._close, self._translated = stream, close, translated

    def __iter__(self) -> Iterator[bytes]:
        stream = iter(self._stream)
        while True:
            with self._translated():  # not around the yield: the caller's exceptions stay unchanged
                piece = next(stream, None)
            if piece is None:
                return
            yield piece

    def close(self) -> None:
        self._close()


def wait_seconds(answer: httpx.Response) -> float | None:
    """Return the seconds from the request sent to the answer's first byte; None if unknown."""
    stream = answer.extensions.get("network_stream")
    return None if stream is None else float(stream.get_extra_info("wait_seconds"))


@contextmanager
def translated() -> Iterator[None]:
    """Translate httpcore's errors."""
    try:
        yield
    except (httpcore.ProxyError, ssl.SSLError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
        cause: Cause = "framing"
        if isinstance(error, httpcore.ProxyError):
            status = str(error)[:3]  # an answer that opens no tunnel begins with its status
            raise ExchangeFailed("proxy", f"it answered {status}" if status.isdecimal() else "") from None
        if isinstance(error, httpcore.TimeoutException):
            cause = "late"
        elif isinstance(error, httpcore.LocalProtocolError):
            cause = "request"
        elif isinstance(error, ssl.SSLError) or "disconnected" in str(error) or "closed connection" in str(error):
            cause = "broken"
        raise ExchangeFailed(cause) from None
    except httpcore.NetworkError:
        raise ExchangeFailed("broken") from None


def _proxied(proxy: Proxy, settings: dict[str, Any]) -> httpcore.ConnectionPool:
    auth = (proxy.user, proxy.password) if proxy.user else None
    return httpcore.HTTPProxy(proxy.address, proxy_auth=auth, **settings)


def _never() -> None:
    """Never cut."""
