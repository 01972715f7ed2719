"""One thread's exchanges, for httpx: over plain wires, at a quarter of what httpx's own transport costs.

Invariants: every connection is made by the guarded backend, so to an address that the rule permits; nothing is
followed, tried again, decoded or stored here.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from typing import cast

import httpcore
import httpx

from recvault.errors import Translation
from recvault.http.addresses import GuardedBackend, origin
from recvault.wire import Answer, Headers, Wire, WireError

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
        times = httpx.Timeout(**request.extensions["timeout"])
        found = self._exchange(request.method, request.url, as_sent(request.headers), request.read(), times)
        return httpx.Response(found.status_code, headers=found.headers.raw, stream=found, extensions=found.extensions)

    def stream(self, url: httpx.URL, headers: Headers, times: httpx.Timeout) -> Streamed:
        """GET, and read the answer's head. What httpx's client would add media want nothing of."""
        return self._exchange("GET", url, [("Host", url.netloc.decode("ascii")), *headers], b"", times)

    def _exchange(self, method: str, url: httpx.URL, headers: Headers, body: bytes, times: httpx.Timeout) -> Streamed:
        to = origin(url)
        wire = self._idle_wire(to) or self._connected(to, url, times.connect)
        try:
            with _WRITING:
                wire.sock.settimeout(times.write)
                _send(wire, method, url, headers, body)
            with _READING:
                wire.sock.settimeout(times.read)
                sent = time.monotonic()
                answer = wire.answer(method)
        except BaseException:
            wire.close()
            raise
        return Streamed(self, url, to, wire, answer, time.monotonic() - sent)

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


class Streamed(httpx.SyncByteStream):
    """An answer, with the names that httpx's has; its body as it comes, one read of the socket at a time.

    So who watches it sees it drip.
    """

    def __init__(
        self, transport: GuardedTransport, url: httpx.URL, to: _Origin, wire: Wire, answer: Answer, wait_seconds: float
    ) -> None:
        self.url = url
        self.status_code = answer.status
        self.headers = httpx.Headers([(n.encode("latin-1"), v.encode("latin-1")) for n, v in answer.headers])
        self.extensions = {WAIT: wait_seconds}
        self._transport = transport
        self._to = to
        self._wire = wire
        self._answer = answer
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        with _READING:
            yield from self._answer.chunks()

    iter_raw = __iter__

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


def as_sent(headers: httpx.Headers) -> Headers:
    """httpx's headers as the wire takes them, byte for byte."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers.raw]


def _send(wire: Wire, method: str, url: httpx.URL, headers: Headers, body: bytes) -> None:
    try:
        wire.send(method, url.raw_path.decode("ascii"), headers, body)
    except ValueError:  # its text might hold the URL or the header
        raise httpx.LocalProtocolError("the request cannot be written as HTTP") from None


Response = httpx.Response | Streamed
"""An answer: of an API, by httpx's client; or of a host of media."""


class _Errors(Translation):
    """The wire's errors as httpx's."""

    __slots__ = ("_broken", "_timeout")

    def __init__(self, timeout: type[httpx.TimeoutException], broken: type[httpx.NetworkError]) -> None:
        self._timeout, self._broken = timeout, broken

    def translated(self, error: BaseException) -> httpx.TransportError | None:
        if isinstance(error, TimeoutError):
            return self._timeout(str(error))
        if isinstance(error, WireError):
            return httpx.RemoteProtocolError(str(error))
        return self._broken(type(error).__name__) if isinstance(error, OSError) else None


_WRITING = _Errors(httpx.WriteTimeout, httpx.WriteError)
_READING = _Errors(httpx.ReadTimeout, httpx.ReadError)
