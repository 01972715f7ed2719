"""One exchange as libcurl's callbacks see it: an answer's head and body as they come, a request's body as it goes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pycurl

from recvault.transport.base import Cut, ExchangeFailed, Head, Receiver, Request, check_framing

_MOST_HEADERS = 100


class Run:
    """One exchange as libcurl's callbacks see it. What one of them raises is kept: C would print and drop it."""

    __slots__ = (
        "_cut",
        "_lines",
        "_receiver",
        "_request",
        "_start",
        "body_bytes",
        "error",
        "head",
        "refused",
        "sent_at",
    )

    def __init__(self, request: Request, receiver: Receiver, cut: Cut) -> None:
        self._request, self._receiver, self._cut = request, receiver, cut
        self._lines: list[bytes] = []
        self._start = 0  # of what is to be sent next
        self.head: Head | None = None
        self.error: BaseException | None = None
        self.refused: list[str] = []
        self.sent_at = 0.0

    def take_line(self, line: bytes) -> int:
        """A line of a head, or of a trailer, with its end."""
        if self.head is not None:
            return len(line)  # a trailer: nobody asked for one
        if line not in (b"\r\n", b"\n"):
            self._lines.append(line)
            return len(line)
        return len(line) if self._guarded(self._begin) else -1

    def _begin(self) -> None:
        head, self._lines = _head(self._lines, time.monotonic() - self.sent_at), []
        if head.status < 200 and head.status != 101:
            return  # another follows
        if self._request.method != "HEAD":
            check_framing(head.headers)
        self.head = head
        self._receiver.begin(head)

    def take(self, piece: memoryview) -> int:
        """Some of the body."""
        size = len(piece)
        return size if self._guarded(lambda: self._receiver.write(piece)) else -1

    def look(self) -> int:
        """Called all the time, and once a second where nothing goes on."""
        return 0 if self._guarded(self._cut) else 1

    def read(self, size: int) -> Any:
        """Some of the request's body."""
        body = self._request.body
        try:
            if isinstance(body, memoryview):
                piece = body[self._start : self._start + size]
                self._start += len(piece)
                return piece
            return b"" if body is None else body.read(size)
        except BaseException as error:  # noqa: BLE001 - see the class
            self.error = error
            return pycurl.READFUNC_ABORT

    def seek(self, offset: int, origin: int) -> int:
        """Where a kept connection turns out to be closed, the body is sent again."""
        body = self._request.body
        if isinstance(body, memoryview):
            self._start = offset
        elif body is not None and not self._guarded(lambda: body.seek(offset, origin)):
            return int(pycurl.SEEKFUNC_FAIL)
        return int(pycurl.SEEKFUNC_OK)

    def _guarded(self, call: Callable[[], object]) -> bool:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - see the class
            self.error = self.error or error
            return False
        return True


class _Nobody:
    """The receiver of no exchange."""

    def begin(self, head: Head) -> None: ...

    def write(self, piece: memoryview | bytes) -> None: ...


NOTHING = Run(Request("GET", ""), _Nobody(), lambda: None)


def _head(lines: list[bytes], wait_seconds: float) -> Head:
    if not lines or len(lines) > _MOST_HEADERS:
        raise ExchangeFailed("framing", "its head has no line, or too many")
    status = lines[0].split(b" ", 2)
    headers: list[tuple[str, str]] = []
    for line in lines[1:]:
        text = line.decode("latin-1").rstrip("\r\n")
        if text[:1] in " \t" and headers:
            headers[-1] = (headers[-1][0], f"{headers[-1][1]} {text.strip()}".strip())
            continue
        name, colon, value = text.partition(":")
        if not colon or not name or name != name.strip():
            raise ExchangeFailed("framing", "its head holds a line that is no header")
        headers.append((name, value.strip()))
    return Head(int(status[1]), headers, max(0.0, wait_seconds))
