"""A server that is no store and answers every request with 200: a captive portal, a proxy, a maintenance page."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from types import TracebackType
from typing import Self

PAGES = {
    "html": b"<!DOCTYPE html><html><head><title>Welcome</title></head><body><p>Log in<br>here</body></html>",
    "xhtml": b"<html><head><title>Welcome</title></head><body><p>Log in</p></body></html>",
    "nothing": b"",
    "other xml": b'<?xml version="1.0"?><feed><entry>1</entry></feed>',
    "text": b"OK",
    "json": b'{"status": "ok"}',
}


class Impostor:
    """Answers every request with one page and `headers`. A context."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self.says(b"")

    def says(self, page: bytes, *headers: str, status: str = "200 OK", length: bool = True, endless: int = 0) -> None:
        """Set the answer; `endless`: the body is that many zero bytes."""
        lines = [f"HTTP/1.1 {status}", "Content-Type: text/html", "Connection: close", *headers]
        lines += [f"Content-Length: {endless or len(page)}"] * length
        self._page, self._head = page, "\r\n".join([*lines, "", ""]).encode()
        self._endless = endless
        self.sent = 0  # bytes of bodies

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), connection:
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        """Answer one request per connection, which is enough HTTP here."""
        got = b""
        while b"\r\n\r\n" not in got:
            if not (more := connection.recv(65536)):
                return
            got += more
        head, _, body = got.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").lower().split("\r\n")
        if "expect: 100-continue" in lines:
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        left = next((int(line.partition(":")[2]) for line in lines if line.startswith("content-length:")), 0)
        while len(body) < left and (more := connection.recv(65536)):
            body += more
        connection.sendall(self._head)
        if lines[0].startswith("head "):
            return
        for piece in itertools.repeat(b" " * 65536, self._endless // 65536) if self._endless else [self._page]:
            connection.sendall(piece)
            self.sent += len(piece)
