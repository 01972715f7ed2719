"""Connections for httpcore, only to addresses that a guard permits; every wait is split into short ones."""

from __future__ import annotations

import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import httpcore

from recvault.transport.base import CUT_SECONDS, Cut, ExchangeFailed, Guard, written_address

T = TypeVar("T")

NO_TIME = 1e9  # seconds
_LONGEST_HEAD = 256 * 1024  # including 1xx heads before it


class Watch:
    """Ends an exchange on a cut, a stall, a drip or an endless head; httpx's own timeout restarts at each read."""

    def __init__(self, stall_seconds: float, least_rate: float, cut: Cut) -> None:
        self.cut = cut
        self.has_head = False
        self._stall_seconds, self._least_rate = stall_seconds, least_rate
        self._since, self._bytes, self._head_bytes = time.monotonic(), 0, 0

    def begin(self) -> None:
        """The connection is open: start measuring the peer."""
        self._since, self._bytes = time.monotonic(), 0

    def took(self, count: int) -> None:
        """Count received bytes. Those of a head do not count toward the rate, or it could drip forever."""
        if self.has_head:
            self._bytes += count
            return
        self._head_bytes += count
        if self._head_bytes > _LONGEST_HEAD:
            raise ExchangeFailed("framing", "its head has no end")

    def sent(self, count: int) -> None:
        """Count sent bytes."""
        self._bytes += count

    def look(self) -> None:
        """Check for a cut and a stall. Called at least once a second."""
        self.cut()
        elapsed = time.monotonic() - self._since
        if elapsed < self._stall_seconds:
            return
        if self._bytes < self._least_rate * elapsed:
            raise ExchangeFailed("slow" if self.has_head else "late")
        self.begin()


class Backend(httpcore.NetworkBackend):
    """Resolves a name once and connects to the first permitted address that answers."""

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
            share = time.monotonic() + max(0.0, until - time.monotonic()) / left  # one dead must not delay others
            try:
                return _Stream(_connected(address, port, share, watch.cut), watch)
            except ExchangeFailed:
                if left == 1:
                    raise
        raise AssertionError("the last address answers, or raises")

    def sleep(self, seconds: float) -> None:
        raise NotImplementedError("nothing is tried again here")


class _Lost(Exception):
    """The operating system or TLS reports a lost connection: never an error that a cut raises."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    @property
    def words(self) -> str:
        return "" if isinstance(self.error, ssl.SSLError) else self.error.strerror or ""


class _Stream(httpcore.NetworkStream):
    """A socket that splits every wait into short ones."""

    def __init__(self, sock: socket.socket, watch: Watch) -> None:
        self._socket, self._watch = sock, watch
        self._sent_at = self._answered_at = time.monotonic()
        watch.begin()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            octets = self._waited(lambda: self._socket.recv(max_bytes), self._watch.look, timeout)
        except _Lost as lost:
            raise ExchangeFailed("broken", lost.words) from None
        self._watch.took(len(octets))
        if self._answered_at < self._sent_at:
            self._answered_at = time.monotonic()
        return octets

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        view = memoryview(buffer)
        while view:
            try:
                sent = self._waited(lambda: self._socket.send(view), self._watch.look, timeout)  # noqa: B023 - at once
            except _Lost:
                raise httpcore.WriteError from None  # httpcore then reads the answer, if a refusal came before
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
            wrapped = ssl_context.wrap_socket(  # takes over the descriptor
                self._socket,
                server_hostname=server_hostname,
                do_handshake_on_connect=False,
                suppress_ragged_eofs=False,  # else anyone who cuts the connection could end a body
            )
            self._socket = wrapped  # replaces the socket it took over
            self._waited(wrapped.do_handshake, self._watch.cut, timeout)
            self._watch.begin()
            return self
        except _Lost as lost:
            wrapped.close()
            if isinstance(lost.error, ssl.SSLCertVerificationError):
                raise ExchangeFailed("certificate", lost.error.verify_message) from None
            raise ExchangeFailed("tls", getattr(lost.error, "reason", None) or lost.words) from None
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
                return True  # a connection is never reused
        return None

    def _waited(self, step: Callable[[], T], look: Cut, timeout: float | None) -> T:
        """Return a step's result, tried in short waits until the timeout."""
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
            except OSError as error:
                raise _Lost(error) from None


def resolve(host: str, port: int) -> list[str]:
    """Return a name's addresses, each once, in resolver order. Raises ExchangeFailed if it has none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise ExchangeFailed("name") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _resolved(host: str, port: int, until: float, cut: Cut) -> list[str]:
    """Resolve in a thread, which may be abandoned: the resolver has no timeout."""
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
    """Return a socket connected to an address."""
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


def _until(timeout: float | None) -> float:
    return time.monotonic() + (NO_TIME if timeout is None else timeout)
