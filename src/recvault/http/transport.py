"""One thread's exchanges, for httpx: HTTP/1.1 by the standard library, at a third of what httpx's own transport costs.

Invariants: every connection is made by the guarded backend, so to an address that the rule permits; nothing is
followed, tried again, decoded or stored here. A body is whole by its own framing, or it is an error: what frames it in
two ways, or in one that is not known, is not read.
"""

from __future__ import annotations

import http.client
import select
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import httpcore
import httpx

from recvault.http.addresses import GuardedBackend, origin

_CHUNK = 256 * 1024
_IDLE_SECONDS = 30.0
_MOST_IDLE = 4
_REST = 16 * 1024  # of a body that nobody wants, a redirect's say: read, if it is here, to keep the connection
_REST_SECONDS = 0.05


class Connection(http.client.HTTPConnection):
    """A connection that the guarded backend makes."""

    def __init__(
        self, backend: GuardedBackend, tls: ssl.SSLContext | None, url: httpx.URL, timeout: float | None
    ) -> None:
        self.origin = origin(url)
        self.idle_since = 0.0
        self._backend = backend
        self._tls = tls
        super().__init__(url.raw_host.decode("ascii"), self.origin[2], timeout=timeout)

    def connect(self) -> None:
        """Resolve, check and connect in one place; TLS asks for the name, not for the address."""
        stream = self._backend.connect_tcp(self.host, self.port, self.timeout)
        if self._tls is not None:
            stream = stream.start_tls(self._tls, self.host, self.timeout)
        self.sock = cast("socket.socket", stream.get_extra_info("socket"))

    def is_usable(self) -> bool:
        """Whether it may carry another request: one that has something to read was closed, or is out of step."""
        if self.sock is None or time.monotonic() - self.idle_since > _IDLE_SECONDS:
            return False
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return not poll.poll(0)


class GuardedTransport(httpx.BaseTransport):
    """Sends requests over connections that it keeps. For one thread; any may close it."""

    def __init__(self, backend: GuardedBackend, tls: ssl.SSLContext) -> None:
        self._backend = backend
        self._tls = tls
        self._idle: list[Connection] = []
        self._closed = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send, and read the answer's head."""
        times = request.extensions.get("timeout", {})
        connection = self._connection(request.url, times.get("connect"))
        answer: http.client.HTTPResponse | None = None
        try:
            with _errors(httpx.WriteTimeout, httpx.WriteError):
                _send(connection, request, times.get("write"))
            with _errors(httpx.ReadTimeout, httpx.ReadError):
                connection.sock.settimeout(times.get("read"))
                answer = connection.getresponse()
            headers = _headers(answer)
        except BaseException:
            if answer is not None:
                answer.close()
            connection.close()
            raise
        return httpx.Response(answer.status, headers=headers, stream=_Body(self, connection, answer))

    def close(self) -> None:
        """Close what is idle now, and what is under way once it is over."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def keep(self, connection: Connection) -> None:
        """Take back a connection whose exchange is over."""
        connection.idle_since = time.monotonic()
        self._idle.append(connection)
        while len(self._idle) > (0 if self._closed else _MOST_IDLE):
            self._idle.pop(0).close()

    def _connection(self, url: httpx.URL, timeout: float | None) -> Connection:
        to = origin(url)
        for connection in [each for each in self._idle if each.origin == to]:
            self._idle.remove(connection)
            if connection.is_usable():
                return connection
            connection.close()
        connection = Connection(self._backend, self._tls if url.scheme == "https" else None, url, timeout)
        try:
            connection.connect()
        except httpcore.ConnectTimeout as error:
            raise httpx.ConnectTimeout(str(error)) from error
        except httpcore.ConnectError as error:
            raise httpx.ConnectError(str(error)) from error
        return connection


class _Body(httpx.SyncByteStream):
    """An answer's body as it comes, one read of the socket at a time, so that who watches it sees it drip."""

    def __init__(self, transport: GuardedTransport, connection: Connection, answer: http.client.HTTPResponse) -> None:
        self._transport = transport
        self._connection = connection
        self._answer = answer
        self._whole = answer.length == 0
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        with _errors(httpx.ReadTimeout, httpx.ReadError):
            while chunk := self._answer.read1(_CHUNK):
                yield chunk
        if self._answer.length:
            raise httpx.RemoteProtocolError("the body ended before its length")
        self._whole = True

    def close(self) -> None:
        """Keep the connection where nothing is left to read on it. Once: kept twice, two would write on it."""
        if self._closed:
            return
        self._closed = True
        keeps = not self._answer.will_close and (self._whole or self._read_rest())
        self._answer.close()
        if keeps:
            self._transport.keep(self._connection)
        else:
            self._connection.close()

    def _read_rest(self) -> bool:
        left = self._answer.length
        if left is None or left > _REST:
            return False
        try:
            self._connection.sock.settimeout(_REST_SECONDS)
            return len(self._answer.read1(left)) == left
        except (OSError, http.client.HTTPException):
            return False


def _send(connection: Connection, request: httpx.Request, timeout: float | None) -> None:
    connection.sock.settimeout(timeout)
    body = request.read()
    try:
        connection.putrequest(
            request.method, request.url.raw_path.decode("ascii"), skip_host=True, skip_accept_encoding=True
        )
        for name, value in request.headers.raw:
            connection.putheader(name, value)
    except (ValueError, http.client.InvalidURL):  # their text holds the URL or the header
        raise httpx.LocalProtocolError("the request cannot be written as HTTP") from None
    connection.endheaders(body or None)


def _headers(answer: http.client.HTTPResponse) -> list[tuple[bytes, bytes]]:
    """The headers, once it is certain where the answer ends. The standard library would guess."""
    message = answer.msg
    lengths = {value.strip() for value in message.get_all("content-length", ())}
    codings = [value.strip().lower() for value in message.get_all("transfer-encoding", ())]
    framed = codings in ([], ["chunked"]) and (not lengths or (len(lengths) == 1 and lengths.pop().isdecimal()))
    if answer.status < 200 or not framed or message.defects or message.get_payload():
        raise httpx.RemoteProtocolError("the answer's head is no HTTP")
    return [(name.encode("latin-1"), _unfolded(value).encode("latin-1")) for name, value in message.raw_items()]


def _unfolded(value: str) -> str:
    return " ".join(value.split()) if "\n" in value else value.strip()


@contextmanager
def _errors(timeout: type[httpx.TimeoutException], broken: type[httpx.NetworkError]) -> Iterator[None]:
    """The standard library's errors as httpx's."""
    try:
        yield
    except TimeoutError as error:
        raise timeout(str(error)) from error
    except http.client.HTTPException as error:  # before OSError: a connection that ends without a word is both
        raise httpx.RemoteProtocolError(type(error).__name__) from error
    except OSError as error:
        raise broken(type(error).__name__) from error
