"""The way of httpx's exchanges: connections that a guard permits, and waits that can be cut.

A connection serves one exchange. httpcore asks a kept connection's descriptor whether something is there, but not its
parser: what a server sent behind an answer would be the next one.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar, cast

import httpcore
import httpx

from recvault.transport.base import (
    CUT_SECONDS,
    Cause,
    Cut,
    ExchangeFailed,
    Guard,
    Proxy,
    anywhere,
    check_head,
    check_written,
    written_address,
)

T = TypeVar("T")

TARGET = "recvault.target"  # of a request: what to ask for as it is written, without httpx's tidying
_NO_TIME = 1e9  # seconds
_LONGEST_HEAD = 256 * 1024  # and all that comes before it


class Watch:
    """Cuts an exchange, and ends one that hangs, drips or has no head: a timeout of httpx's is for each read anew."""

    def __init__(self, stall_seconds: float, least_rate: float, cut: Cut) -> None:
        self.cut = cut
        self.has_head = False
        self._stall_seconds, self._least_rate = stall_seconds, least_rate
        self._since, self._bytes, self._head_bytes = time.monotonic(), 0, 0

    def begin(self) -> None:
        """A connection is there, and whoever is at its other end may be waited for."""
        self._since, self._bytes = time.monotonic(), 0

    def took(self, count: int) -> None:
        """Some bytes came. Those of a head count for nothing, or a head could drip for ever."""
        if self.has_head:
            self._bytes += count
            return
        self._head_bytes += count
        if self._head_bytes > _LONGEST_HEAD:
            raise ExchangeFailed("framing", "its head has no end")

    def sent(self, count: int) -> None:
        """Some bytes went."""
        self._bytes += count

    def look(self) -> None:
        """Called at least once a second."""
        self.cut()
        elapsed = time.monotonic() - self._since
        if elapsed < self._stall_seconds:
            return
        if self._bytes < self._least_rate * elapsed:
            raise ExchangeFailed("slow" if self.has_head else "late")
        self.begin()


class GuardedTransport(httpx.BaseTransport):
    """httpx's exchanges over guarded connections. For one thread. Raises ExchangeFailed in place of httpx's errors."""

    def __init__(self, guard: Guard, tls: ssl.SSLContext, proxy: Proxy | None = None, least_rate: float = 1.0) -> None:
        self.cut: Cut = _never
        """Called at least once a second while an exchange lasts."""
        self._guard, self._proxy, self._least_rate = guard, proxy, least_rate
        self._watch = Watch(_NO_TIME, least_rate, _never)  # of the exchange that is under way
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
        """Send, and read the answer's head. The timeout for a read is that of all that goes on, too."""
        stall_seconds = request.extensions.get("timeout", {}).get("read")
        self._watch = Watch(_NO_TIME if stall_seconds is None else stall_seconds, self._least_rate, self.cut)
        url = request.url
        if self._proxy is not None:
            check_written(self._guard, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme, 0))
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
        assert isinstance(answer.stream, Iterable)  # noqa: S101 - of a pool that is not asynchronous
        stream = _Body(answer.stream, answer.close, self._translated)
        return httpx.Response(answer.status, headers=answer.headers, stream=stream, extensions=answer.extensions)

    def close(self) -> None:
        self._pool.close()

    def _check(self, request: httpx.Request, answer: httpcore.Response) -> None:
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers]
        version = answer.extensions.get("http_version", b"").decode("latin-1")
        check_head(version, answer.status, headers, has_body=request.method != "HEAD")
        if answer.status == 407 and self._proxy is not None:
            raise ExchangeFailed("proxy", "it answered 407")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """httpcore's errors as ours. Where a proxy is connected to, what cannot be reached is the proxy."""
        try:
            with translated():
                yield
        except ExchangeFailed as error:
            if self._proxy is not None and error.cause in ("connection", "name"):
                raise ExchangeFailed("proxy", error.detail) from None
            raise


class _Body(httpx.SyncByteStream):
    def __init__(
        self, stream: Iterable[bytes], close: Callable[[], None], translated: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._stream, self._close, self._translated = stream, close, translated

    def __iter__(self) -> Iterator[bytes]:
        stream = iter(self._stream)
        while True:
            with self._translated():  # not around the yield: what a receiver raises is its own
                piece = next(stream, None)
            if piece is None:
                return
            yield piece

    def close(self) -> None:
        self._close()


class Backend(httpcore.NetworkBackend):
    """Resolves a name once, and connects to the first of its addresses that the guard permits and that answers."""

    def __init__(self, guard: Guard, watch: Callable[[], Watch]) -> None:
        self._guard, self._watch = guard, watch

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        until = _until(timeout)
        watch = self._watch()
        found = _resolved(host, port, until, watch.cut)
        permitted = [each for each in found if self._guard(host, port, each)]
        if not permitted:
            raise ExchangeFailed("address", addresses=found)
        for left, address in zip(range(len(permitted), 0, -1), permitted, strict=True):
            share = time.monotonic() + max(0.0, until - time.monotonic()) / left  # a dead one takes no other's time
            try:
                return _Stream(_connected(address, port, share, watch.cut), watch)
            except ExchangeFailed:
                if left == 1:
                    raise
        raise AssertionError("the last address answers, or raises")

    def sleep(self, seconds: float) -> None:
        raise NotImplementedError("nothing is tried again here")


class _Stream(httpcore.NetworkStream):
    """A socket whose every wait is cut into short ones."""

    def __init__(self, sock: socket.socket, watch: Watch) -> None:
        self._socket, self._watch = sock, watch
        self._sent_at = self._answered_at = time.monotonic()
        watch.begin()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        octets = self._waited(lambda: self._socket.recv(max_bytes), self._watch.look, timeout)
        self._watch.took(len(octets))
        if self._answered_at < self._sent_at:
            self._answered_at = time.monotonic()
        return octets

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        view = memoryview(buffer)
        while view:
            sent = self._waited(lambda: self._socket.send(view), self._watch.look, timeout)  # noqa: B023 - called at once
            self._watch.sent(sent)
            view = view[sent:]
        self._sent_at = time.monotonic()

    def close(self) -> None:
        self._socket.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        if isinstance(self._socket, ssl.SSLSocket):
            raise ExchangeFailed("proxy", 'TLS to a proxy takes transport = "curl"')
        wrapped = self._socket
        try:
            wrapped = ssl_context.wrap_socket(  # which takes the descriptor over
                self._socket,
                server_hostname=server_hostname,
                do_handshake_on_connect=False,
                suppress_ragged_eofs=False,  # or whoever cuts the connection could end a body
            )
            self._socket = wrapped  # in the place of what it has taken over
            self._waited(wrapped.do_handshake, self._watch.cut, timeout)
            return self
        except ssl.SSLCertVerificationError as error:
            wrapped.close()
            raise ExchangeFailed("certificate", error.verify_message) from None
        except (OSError, ValueError) as error:
            wrapped.close()
            raise ExchangeFailed("tls", getattr(error, "reason", None) or "") from None
        except BaseException:
            wrapped.close()
            raise

    def get_extra_info(self, info: str) -> Any:
        match info:
            case "socket":
                return self._socket
            case "ssl_object":
                return self._socket if isinstance(self._socket, ssl.SSLSocket) else None
            case "server_addr":
                return self._socket.getpeername()
            case "client_addr":
                return self._socket.getsockname()
            case "wait_seconds":
                return max(0.0, self._answered_at - self._sent_at)
            case "is_readable":
                return True  # never to be used again
        return None

    def _waited(self, step: Callable[[], T], look: Cut, timeout: float | None) -> T:
        """What a step comes to, once it can be done: tried for a moment at a time, for the timeout as a whole."""
        until = _until(timeout)
        while True:
            look()
            left = until - time.monotonic()
            if left <= 0:
                raise ExchangeFailed("slow" if self._watch.has_head else "late")
            self._socket.settimeout(min(CUT_SECONDS, left))
            try:
                return step()
            except (TimeoutError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                continue
            except ssl.SSLError:
                raise
            except OSError as error:
                raise ExchangeFailed("broken", error.strerror or "") from None


def wait_seconds(answer: httpx.Response) -> float | None:
    """How long an answer's first byte took, from the request sent; None where that is not known."""
    stream = answer.extensions.get("network_stream")
    return None if stream is None else float(stream.get_extra_info("wait_seconds"))


@contextmanager
def translated() -> Iterator[None]:
    """httpcore's errors as ours."""
    try:
        yield
    except (httpcore.ProxyError, ssl.SSLError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
        cause: Cause = "framing"
        if isinstance(error, httpcore.ProxyError):
            status = str(error)[:3]  # of an answer that is no tunnel, with the proxy's words behind it
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


def resolve(host: str, port: int) -> list[str]:
    """A name's addresses, each once, in the resolver's order. ExchangeFailed where it has none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise ExchangeFailed("name") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _resolved(host: str, port: int, until: float, cut: Cut) -> list[str]:
    """The resolver takes no timeout, so a thread asks it, which may be left behind."""
    if written_address(host) == host:
        return [host]
    found: list[list[str] | ExchangeFailed] = []
    done = threading.Event()

    def ask() -> None:
        try:
            found.append(resolve(host, port))
        except ExchangeFailed as error:
            found.append(error)
        finally:
            done.set()

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    while not done.wait(min(CUT_SECONDS, max(0.0, until - time.monotonic()))):
        cut()
        if time.monotonic() >= until:
            raise ExchangeFailed("name", "no answer in time")
    if not found or isinstance(found[0], ExchangeFailed):
        raise ExchangeFailed("name")
    return found[0]


def _connected(address: str, port: int, until: float, cut: Cut) -> socket.socket:
    """A socket that is connected to an address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        _begin(sock, address, port)
        poll = select.poll()
        poll.register(sock, select.POLLOUT)
        while not poll.poll(1000 * min(CUT_SECONDS, max(0.0, until - time.monotonic()))):
            cut()
            if time.monotonic() >= until:
                raise ExchangeFailed("late", "no connection in time")
        if number := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise ExchangeFailed("connection", os.strerror(number))
        return sock
    except BaseException:
        sock.close()
        raise


def _begin(sock: socket.socket, address: str, port: int) -> None:
    try:
        sock.connect((address, port))
    except BlockingIOError:
        return
    except OSError as error:
        raise ExchangeFailed("connection", error.strerror or "") from None


def _proxied(proxy: Proxy, settings: dict[str, Any]) -> httpcore.ConnectionPool:
    auth = (proxy.user, proxy.password) if proxy.user else None
    return httpcore.HTTPProxy(proxy.address, proxy_auth=auth, **settings)


def _until(timeout: float | None) -> float:
    return time.monotonic() + (_NO_TIME if timeout is None else timeout)


def _never() -> None:
    """Cuts nothing."""
