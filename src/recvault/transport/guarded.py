"""The way of httpx's exchanges: connections that a guard permits, and waits that can be cut.

A connection serves one exchange. httpcore asks a kept connection's descriptor whether something is there, but not its
parser: what a server sent behind an answer would be the next one.
"""

from __future__ import annotations

import ipaddress
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import httpcore
import httpx

from recvault.transport.base import CUT_SECONDS, Cause, Cut, ExchangeFailed, Guard, Proxy, check_framing

T = TypeVar("T")

_NO_TIME = 1e9  # seconds


class GuardedTransport(httpx.BaseTransport):
    """httpx's exchanges over guarded connections. For one thread. Raises ExchangeFailed in place of httpx's errors."""

    def __init__(self, guard: Guard, tls: ssl.SSLContext, proxy: Proxy | None = None) -> None:
        self.cut: Cut = _never
        """Called at least once a second while an exchange lasts."""
        self._guard, self._proxy = guard, proxy
        backend = Backend(guard if proxy is None else _unasked, lambda: self.cut())
        settings: dict[str, Any] = {
            "ssl_context": tls,
            "max_keepalive_connections": 0,
            "http1": True,
            "http2": False,
            "network_backend": backend,
        }
        self._pool = httpcore.ConnectionPool(**settings) if proxy is None else _proxied(proxy, settings)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send, and read the answer's head."""
        self._check_proxied(request.url)
        url = request.url
        asked = httpcore.Request(
            method=request.method,
            url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=cast("Iterable[bytes]", request.stream),
            extensions=request.extensions,
        )
        with translated():
            answer = self._pool.handle_request(asked)
        try:
            if request.method != "HEAD":
                check_framing((n.decode("latin-1"), v.decode("latin-1")) for n, v in answer.headers)
        except ExchangeFailed:
            answer.close()
            raise
        assert isinstance(answer.stream, Iterable)  # noqa: S101 - of a pool that is not asynchronous
        stream = _Body(answer.stream, answer.close)
        return httpx.Response(answer.status, headers=answer.headers, stream=stream, extensions=answer.extensions)

    def close(self) -> None:
        self._pool.close()

    def _check_proxied(self, url: httpx.URL) -> None:
        """A proxy resolves names, so a guard sees none of its addresses: what is written as one it does see."""
        if self._proxy is None:
            return
        host, port = url.host, url.port or {"http": 80, "https": 443}.get(url.scheme, 0)
        written = written_address(host)
        if written and not self._guard(host, port, written):
            raise ExchangeFailed("address", addresses=[written])


class _Body(httpx.SyncByteStream):
    def __init__(self, stream: Iterable[bytes], close: Callable[[], None]) -> None:
        self._stream, self._close = stream, close

    def __iter__(self) -> Iterator[bytes]:
        with translated():
            yield from self._stream

    def close(self) -> None:
        self._close()


class Backend(httpcore.NetworkBackend):
    """Resolves a name once, and connects to the first of its addresses that the guard permits and that answers."""

    def __init__(self, guard: Guard, cut: Cut) -> None:
        self._guard, self._cut = guard, cut

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        until = _until(timeout)
        found = _resolved(host, port, until, self._cut)
        permitted = [each for each in found if self._guard(host, port, each)]
        if not permitted:
            raise ExchangeFailed("address", addresses=found)
        for left, address in zip(range(len(permitted), 0, -1), permitted, strict=True):
            share = time.monotonic() + max(0.0, until - time.monotonic()) / left  # a dead one takes no other's time
            try:
                return _Stream(_connected(address, port, share, self._cut), self._cut)
            except ExchangeFailed:
                if left == 1:
                    raise
        raise AssertionError("the last address answers, or raises")

    def sleep(self, seconds: float) -> None:
        raise NotImplementedError("nothing is tried again here")


class _Stream(httpcore.NetworkStream):
    """A socket whose every wait is cut into short ones."""

    def __init__(self, sock: socket.socket, cut: Cut) -> None:
        self._socket, self._cut = sock, cut

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._waited(lambda: self._socket.recv(max_bytes), timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        view = memoryview(buffer)
        while view:
            view = view[self._waited(lambda: self._socket.send(view), timeout) :]  # noqa: B023 - called at once

    def close(self) -> None:
        self._socket.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        if isinstance(self._socket, ssl.SSLSocket):
            raise ExchangeFailed("proxy", 'TLS to a proxy takes transport = "curl"')
        try:
            wrapped = ssl_context.wrap_socket(
                self._socket, server_hostname=server_hostname, do_handshake_on_connect=False
            )
            stream = _Stream(wrapped, self._cut)
            stream._waited(wrapped.do_handshake, timeout)
            return stream
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise ExchangeFailed("certificate", error.verify_message) from None
        except (OSError, ValueError) as error:
            self.close()
            raise ExchangeFailed("tls", getattr(error, "reason", None) or "") from None
        except BaseException:
            self.close()
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
            case "is_readable":
                return True  # never to be used again
        return None

    def _waited(self, step: Callable[[], T], timeout: float | None) -> T:
        """What a step comes to, once it can be done: tried for a moment at a time, for the timeout as a whole."""
        until = _until(timeout)
        while True:
            self._cut()
            left = until - time.monotonic()
            if left <= 0:
                raise ExchangeFailed("late")
            self._socket.settimeout(min(CUT_SECONDS, left))
            try:
                return step()
            except (TimeoutError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                continue
            except ssl.SSLError:
                raise
            except OSError as error:
                raise ExchangeFailed("broken", error.strerror or "") from None


@contextmanager
def translated() -> Iterator[None]:
    """httpcore's errors as ours."""
    try:
        yield
    except (httpcore.ProxyError, ssl.SSLError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
        cause: Cause = "framing"
        if isinstance(error, httpcore.ProxyError):
            cause = "proxy"
        elif isinstance(error, httpcore.TimeoutException):
            cause = "late"
        elif isinstance(error, httpcore.LocalProtocolError):
            cause = "request"
        elif isinstance(error, ssl.SSLError) or "disconnected" in str(error) or "closed connection" in str(error):
            cause = "broken"
        raise ExchangeFailed(cause) from None
    except httpcore.NetworkError:
        raise ExchangeFailed("broken") from None


def written_address(host: str) -> str:
    """The address that a host's name is, or stands for without a resolver; empty where it takes one."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return "127.0.0.1" if host == "localhost" or host.endswith(".localhost") else ""


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


def _unasked(host: str, port: int, address: str) -> bool:
    """The guard of a proxy's own address: the operator named it."""
    return True


def _never() -> None:
    """Cuts nothing."""
