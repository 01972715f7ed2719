"""One thread's exchanges, for httpx: over plain wires, at a quarter of what httpx's own transport costs.

Invariants: every connection is made by the guarded backend, so to an address that the rule permits; nothing is
followed, tried again, decoded or stored here.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import httpcore
import httpx

from recvault.http.addresses import GuardedBackend, origin
from recvault.wire import Answer, Wire, WireError

WAIT = "recvault_wait"
"""The extension of an answer that tells how many seconds its head took, once the request was sent."""

_IDLE_SECONDS = 30.0
_MOST_IDLE = 4
_REST = 16 * 1024  # of a body that nobody wants, a redirect's say: read, if it is here, to keep the connection
_REST_SECONDS = 0.05

_Origin = tuple[str, str, int]


class GuardedTransport(httpx.BaseTransport):
    """Sends requests over connections that it keeps. For one thread; any may close it."""

    def __init__(self, backend: GuardedBackend, tls: ssl.SSLContext) -> None:
        self._backend = backend
        self._tls = tls
        self._idle: list[tuple[_Origin, Wire]] = []
        self._closed = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send, and read the answer's head."""
        times = request.extensions.get("timeout", {})
        to = origin(request.url)
        wire = self._idle_wire(to) or self._connected(to, request.url, times.get("connect"))
        try:
            with _errors(httpx.WriteTimeout, httpx.WriteError):
                _send(wire, request, times.get("write"))
            with _errors(httpx.ReadTimeout, httpx.ReadError):
                wire.sock.settimeout(times.get("read"))
                sent = time.monotonic()
                answer = wire.answer(request.method.encode("ascii"))
        except BaseException:
            wire.close()
            raise
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_Body(self, to, wire, answer),
            extensions={WAIT: time.monotonic() - sent},
        )

    def close(self) -> None:
        """Close what is idle now, and what is under way once it is over."""
        self._closed = True
        while self._idle:
            self._idle.pop()[1].close()

    def keep(self, to: _Origin, wire: Wire) -> None:
        """Take back a connection whose exchange is over."""
        wire.idle_since = time.monotonic()
        self._idle.append((to, wire))
        while len(self._idle) > (0 if self._closed else _MOST_IDLE):
            self._idle.pop(0)[1].close()

    def _idle_wire(self, to: _Origin) -> Wire | None:
        for entry in [each for each in self._idle if each[0] == to]:
            self._idle.remove(entry)
            if entry[1].is_usable(_IDLE_SECONDS):
                return entry[1]
            entry[1].close()
        return None

    def _connected(self, to: _Origin, url: httpx.URL, timeout: float | None) -> Wire:
        """Resolve, check and connect in one place; TLS asks for the name, not for the address."""
        host = url.raw_host.decode("ascii")
        try:
            stream = self._backend.connect_tcp(host, to[2], timeout)
            if url.scheme == "https":
                stream = stream.start_tls(self._tls, host, timeout)
        except httpcore.ConnectTimeout as error:
            raise httpx.ConnectTimeout(str(error)) from error
        except httpcore.ConnectError as error:
            raise httpx.ConnectError(str(error)) from error
        return Wire(cast("ssl.SSLSocket", stream.get_extra_info("socket")))


class _Body(httpx.SyncByteStream):
    """An answer's body as it comes, one read of the socket at a time, so that who watches it sees it drip."""

    def __init__(self, transport: GuardedTransport, to: _Origin, wire: Wire, answer: Answer) -> None:
        self._transport = transport
        self._to = to
        self._wire = wire
        self._answer = answer
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        with _errors(httpx.ReadTimeout, httpx.ReadError):
            yield from self._answer.chunks()

    def close(self) -> None:
        """Keep the connection where nothing is left to read on it. Once: kept twice, two would write on it."""
        if self._closed:
            return
        self._closed = True
        self._read_rest()
        if self._answer.leaves_usable:
            self._transport.keep(self._to, self._wire)
        else:
            self._wire.close()

    def _read_rest(self) -> None:
        answer = self._answer
        if answer.is_whole or answer.left is None or answer.left > _REST:
            return
        try:
            self._wire.sock.settimeout(_REST_SECONDS)
            next(answer.chunks(), b"")  # one read: what is not here with it is not waited for
        except (OSError, WireError):
            return


def _send(wire: Wire, request: httpx.Request, timeout: float | None) -> None:
    wire.sock.settimeout(timeout)
    try:
        wire.send(request.method.encode("ascii"), request.url.raw_path, request.headers.raw, request.read())
    except ValueError:  # its text might hold the URL or the header
        raise httpx.LocalProtocolError("the request cannot be written as HTTP") from None


@contextmanager
def _errors(timeout: type[httpx.TimeoutException], broken: type[httpx.NetworkError]) -> Iterator[None]:
    """The wire's errors as httpx's."""
    try:
        yield
    except TimeoutError as error:
        raise timeout(str(error)) from error
    except WireError as error:
        raise httpx.RemoteProtocolError(str(error)) from error
    except OSError as error:
        raise broken(type(error).__name__) from error
