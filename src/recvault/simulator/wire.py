"""HTTP/1.1 on a socket: read requests, write bytes, stop at once.

Not based on `http.server`, whose header parser costs more than the rest of an answer; and faults need the socket.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable

from recvault.simulator.exchange import Request

_LARGEST_HEAD = 1 << 16


class Wire:
    """One client's connection."""

    def __init__(self, sock: socket.socket, stopping: threading.Event) -> None:
        self._sock = sock
        self._buffer = bytearray()
        self.stopping = stopping

    def read_request(self) -> Request | None:
        """Read the next request; None if the client closed the connection or does not send HTTP."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > _LARGEST_HEAD or not self._receive():
                return None
        head = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        words = head[0].split(" ")
        if len(words) != 3:
            return None
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        if words[2] == "HTTP/1.0":
            headers.setdefault("connection", "close")
        path, _, query = words[1].partition("?")
        body = self._read_body(headers)
        return None if body is None else Request(words[0], path, query, headers, body)

    def _read_body(self, headers: dict[str, str]) -> bytes | None:
        length = int(headers.get("content-length", "0"))
        while len(self._buffer) < length:
            if not self._receive():
                return None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        return body

    def _receive(self) -> bool:
        chunk = self._sock.recv(1 << 16)
        self._buffer += chunk
        return bool(chunk)

    def send(self, octets: bytes) -> None:
        self._sock.sendall(octets)

    def pause(self, seconds: float) -> None:
        """Wait, but no longer than the server runs."""
        self.stopping.wait(seconds)

    def reset(self) -> None:
        """Close with RST: data in flight is lost."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()


Answer = Callable[[Wire, Request], bool]  # False closes the connection


class Server:
    """Accepts connections and serves each in its own thread."""

    def __init__(self, port: int, answer: Answer) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._acceptor = threading.Thread(target=self._accept, name="simulator-accept", daemon=True)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def start(self) -> None:
        self._acceptor.start()

    def stop(self) -> None:
        """Close all connections and join all threads, within milliseconds."""
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._acceptor.is_alive():
            self._acceptor.join()
        with self._lock:
            open_now = list(self._connections.items())
        for sock, thread in open_now:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            thread.join()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._converse, args=(sock,), name="simulator", daemon=True)
            with self._lock:
                self._connections[sock] = thread
            thread.start()

    def _converse(self, sock: socket.socket) -> None:
        wire = Wire(sock, self._stopping)
        try:
            # A client may close the connection at any time.
            with contextlib.suppress(ConnectionError, OSError), sock:
                while (request := wire.read_request()) is not None and self._answer(wire, request):
                    pass
        finally:
            with self._lock:
                self._connections.pop(sock, None)
