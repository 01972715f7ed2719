"""A TCP proxy that flips single bits, like bad memory in a switch where nothing verifies the bytes.

    with Proxy(server.url) as line:
        flip = line.flip(Flip("request", "body", where=0.5, match=b"PUT "))     # one bit, once
        ...                                                                     # talk to line.url
    assert flip.done

It reads just enough of HTTP/1.1 to separate heads and bodies. After a flip the other side may wait for bytes that never
come, so such a connection is closed once nothing has passed for `patience`.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, Self
from urllib.parse import urlsplit

_READ = 1 << 16
_IDLE = 0.1  # seconds between checks for idle connections
_END = b"\r\n\r\n"

Side = Literal["request", "answer"]
Part = Literal["head", "body"]


@dataclass(eq=False)
class Flip:
    """One bit to flip, at this fraction of the first matching head or body."""

    side: Side
    part: Part
    where: float  # 0 is the first bit, 1 is past the last
    match: bytes = b""  # in the request's head
    done: bool = False
    before: bytes = b""  # the request's head, as received

    def suits(self, side: Side, part: Part, request: bytes) -> bool:
        return not self.done and (self.side, self.part) == (side, part) and self.match in request


@dataclass
class _Link:
    """One connection: both sockets, the requests in flight, and whether a bit was flipped on it."""

    client: socket.socket
    server: socket.socket
    requests: deque[bytes] = field(default_factory=deque)
    bent: bool = False
    closed: bool = False

    def close(self) -> None:
        self.closed = True
        for sock in (self.client, self.server):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class Proxy:
    """Listens on loopback and forwards everything to one server. A context that joins every thread."""

    def __init__(self, target: str, *, tls: ssl.SSLContext | None = None, patience: float = 0.5) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 80)
        self._tls = tls
        self._patience = patience
        self._flips: list[Flip] = []
        self._lock = threading.Lock()
        self._links: list[_Link] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._closed = False
        self.requests = 0
        host = "localhost" if tls else "127.0.0.1"
        self.url = f"{'https' if tls else 'http'}://{host}:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for link in self._links:
            link.close()
        for thread in self._threads:
            thread.join()
        for link in self._links:
            link.client.close()
            link.server.close()

    def flip(self, flip: Flip) -> Flip:
        """Flip that bit once. Returns the flip, which shows whether it was done."""
        self._flips.append(flip)
        return flip

    def _start(self, run: object, *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._open, client)

    def _open(self, client: socket.socket) -> None:
        """Connect to the server and forward both ways. A refused handshake ends here."""
        try:
            if self._tls:
                client = self._tls.wrap_socket(client, server_side=True)
            server = socket.create_connection(self._target)
        except OSError:
            client.close()
            return
        link = _Link(client, server)
        with self._lock:
            self._links.append(link)
        self._start(self._pass, link, "request", client, server)
        self._start(self._pass, link, "answer", server, client)

    def _pass(self, link: _Link, side: Side, source: socket.socket, sink: socket.socket) -> None:
        try:
            for chunk in self._parts(link, side, source):
                sink.sendall(chunk)
        except OSError:
            pass
        finally:
            link.close()

    def _parts(self, link: _Link, side: Side, source: socket.socket) -> Iterator[bytes]:
        """Yield the data, head by head and chunk by chunk, with the planned bits flipped."""
        buffer = b""
        while True:
            while _END not in buffer:
                more = self._read(link, source)
                if not more:
                    yield buffer
                    return
                buffer += more
            head, _, buffer = buffer.partition(_END)
            head += _END
            request = self._request_of(link, side, head)
            yield self._bent(link, side, "head", request, head, 0, len(head))
            length, at = _body_length(side, request, head), 0
            while at < length:
                buffer = buffer or self._read(link, source)
                if not buffer:
                    return
                chunk, buffer = buffer[: length - at], buffer[length - at :]
                yield self._bent(link, side, "body", request, chunk, at, length)
                at += len(chunk)

    def _request_of(self, link: _Link, side: Side, head: bytes) -> bytes:
        """Return the request of this head, or that it answers."""
        if side == "request":
            self.requests += 1
            link.requests.append(head)
            return head
        if head.startswith(b"HTTP/1.1 1"):  # 100 Continue: the answer follows
            return link.requests[0] if link.requests else b""
        return link.requests.popleft() if link.requests else b""

    def _bent(self, link: _Link, side: Side, part: Part, request: bytes, chunk: bytes, at: int, length: int) -> bytes:
        """Return the chunk, which begins at byte `at` of `length`, with the bits flipped that are in it."""
        bent = bytearray(chunk)
        with self._lock:
            for flip in self._flips:
                byte, bit = divmod(min(int(flip.where * length * 8), length * 8 - 1), 8)
                if flip.suits(side, part, request) and at <= byte < at + len(chunk):
                    bent[byte - at] ^= 0x80 >> bit
                    flip.done, flip.before, link.bent = True, request, True
        return bytes(bent)

    def _read(self, link: _Link, source: socket.socket) -> bytes:
        quiet = 0.0
        source.settimeout(_IDLE)
        while not link.closed:
            try:
                return source.recv(_READ)
            except TimeoutError:
                quiet += _IDLE
                if link.bent and quiet >= self._patience:
                    link.close()
        return b""


def _body_length(side: Side, request: bytes, head: bytes) -> int:
    if side == "answer" and (request.startswith(b"HEAD ") or head[9:12] in (b"204", b"304") or head[9:10] == b"1"):
        return 0
    for line in head.lower().split(b"\r\n")[1:]:
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0
