"""One exchange as seen by libcurl's callbacks: receive an answer's head and body, send a request's body."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, cast

import pycurl

from recvault.transport.base import Cut, ExchangeFailed, Head, Headers, Patience, Receiver, Request, check_head

MOST_LINES = 10_000  # of a head, including 1xx heads before it
_BLANK = (b"\r\n", b"\n")
_STATUS = re.compile(r"(HTTP/[0-9.]+) ([0-9]{3})(?: [^\r\n]*)?\r?")
_NAME = re.compile(r"[^\s:]+")


class Again(Exception):
    """The request must be sent again: a kept connection was lost without an answer, or the server refused `Expect`."""


class Run:
    """A handle's current exchange. Exceptions in callbacks are kept: C would print and drop them."""

    __slots__ = (
        "_begun",
        "_cut",
        "_is_proxied",
        "_moved",
        "_patience",
        "_rate_moved",
        "_rate_since",
        "_receiver",
        "_request",
        "_sent",
        "_start",
        "_write",
        "error",
        "head",
        "is_resolving",
        "is_unexpected",
        "lines",
        "permitted",
        "refused",
        "sent_at",
    )

    def __init__(self, patience: Patience, *, is_proxied: bool = False) -> None:
        self._patience, self._is_proxied = patience, is_proxied
        self.lines: list[bytes] = []  # of heads and trailers, appended by libcurl: see Handle
        self.start(_NO_REQUEST, _NOBODY, _not_cut)
        self.stop()

    def start(self, request: Request, receiver: Receiver, cut: Cut) -> None:
        """Begin an exchange."""
        self._request, self._receiver, self._cut = request, receiver, cut
        self._write = receiver.write
        self._moved = 0  # bytes of bodies, in both directions
        self._rate_since, self._rate_moved = 0.0, 0
        self._begun = 0  # index in lines of the next head
        self._sent = 0  # bytes of the body
        self._start = 0 if request.body is None or isinstance(request.body, memoryview) else request.body.tell()
        self.head: Head | None = None
        self.error: BaseException | None = None
        self.is_resolving = True  # no connection was tried yet, so the resolver may be running
        self.is_unexpected = False  # the server refused `Expect`
        self.refused: list[str] = []  # addresses
        self.permitted = 0
        self.sent_at = 0.0
        self.lines.clear()

    def stop(self) -> None:
        """Drop references to a finished exchange."""
        self._request, self._receiver, self._cut, self._write = _NO_REQUEST, _NOBODY, _not_cut, _NOBODY.write
        self.head = self.error = None
        self.is_resolving = False
        self.lines.clear()

    def read_heads(self) -> None:
        """Read the complete heads. The first that is not 1xx is the answer's; a trailer after it is ignored."""
        if len(self.lines) > MOST_LINES:
            raise ExchangeFailed("framing", "its head has no end")
        while self.head is None:
            rest = self.lines[self._begun :]
            ends = [rest.index(blank) for blank in _BLANK if blank in rest]
            if not ends:
                return
            self._begun += min(ends) + 1
            self._begin(rest[: min(ends)])

    def _begin(self, lines: list[bytes]) -> None:
        version, head = _head(lines, time.monotonic() - self.sent_at)
        if 100 <= head.status < 200 and head.status != 101:
            return  # another head follows
        check_head(version, head, has_body=self._request.method != "HEAD")
        if head.status == 407 and self._is_proxied:
            raise ExchangeFailed("proxy", "it answered 407")
        if head.status == 417 and self._request.expects:
            self.is_unexpected = True
            raise Again
        self.head = head
        self._receiver.begin(head)
        self._write = self._receiver.write  # begin may have replaced it

    def take(self, piece: memoryview) -> int | None:
        """Take a part of the body. Returns None if all of it was taken."""
        try:
            if self.head is None:
                self.read_heads()
            self._moved += len(piece)
            self._write(piece)
        except BaseException as error:  # noqa: BLE001 - see the class
            self.error = self.error or error
            return -1
        return None

    def look(self) -> None:
        """Check for a cut and a stall. Called at least once a second; an exception ends the exchange."""
        self._cut()
        if self.head is None and self.lines:
            self.read_heads()
        if not self.sent_at:
            return  # libcurl watches the time to connect
        now = time.monotonic()
        elapsed = now - max(self.sent_at, self._rate_since)
        if elapsed < self._patience.stall_seconds:
            return
        if self._moved - self._rate_moved < self._patience.least_rate * elapsed:
            raise ExchangeFailed("slow" if self.head else "late")
        self._rate_since, self._rate_moved = now, self._moved

    def read(self, size: int) -> Any:
        """Return the next part of the request's body."""
        body = self._request.body
        size = min(size, self._request.length - self._sent)
        try:
            if isinstance(body, memoryview):
                piece: memoryview | bytes = body[self._sent : self._sent + size]
            else:
                piece = b"" if body is None else body.read(size)
            if size and not piece:
                raise ExchangeFailed("request", "its body is shorter than announced")
            self._sent += len(piece)
            self._moved += len(piece)
            return piece
        except BaseException as error:  # noqa: BLE001 - see the class
            self.error = self.error or error
            return pycurl.READFUNC_ABORT

    def seek(self, offset: int, origin: int) -> int:
        """Seek in the request's body, to send it again after a kept connection was lost."""
        return int(pycurl.SEEKFUNC_OK if self._guarded(lambda: self.rewind(offset)) else pycurl.SEEKFUNC_FAIL)

    def rewind(self, offset: int = 0) -> None:
        """Seek to the start of the request's body, or to an offset from it."""
        body = self._request.body
        if body is not None and not isinstance(body, memoryview):
            body.seek(self._start + offset)
        self._sent = offset

    def _guarded(self, call: Callable[[], object]) -> bool:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - see the class
            self.error = self.error or error
            return False
        return True


class _Nobody:
    """A receiver that discards everything."""

    def begin(self, head: Head) -> None: ...

    def write(self, piece: memoryview | bytes) -> None: ...


_NO_REQUEST, _NOBODY = Request("GET", ""), _Nobody()


def _not_cut() -> None:
    """Never cut."""


def _head(lines: list[bytes], wait_seconds: float) -> tuple[str, Head]:
    """Parse a head; return the HTTP version that it states, and the head."""
    status, _, rest = b"".join(lines).decode("latin-1").partition("\n")
    version, code = _status(status)
    headers, named = _headers(rest)
    return version, Head(code, headers, max(0.0, wait_seconds), named)


@lru_cache(32)  # a server has few different ones
def _status(line: str) -> tuple[str, int]:
    found = _STATUS.fullmatch(line)
    if found is None:
        raise ExchangeFailed("framing", "its head has no status")
    return found[1], int(found[2])


def _headers(text: str) -> tuple[Headers, Mapping[str, str]]:
    """Parse headers; also return them by name in lower case, if each is in the usual form and none is repeated."""
    lines = text.split("\r\n")
    lines.pop()
    if len(lines) == text.count("\n") and not ("  " in text or " \r" in text or "\t" in text):  # spaces around a value
        try:
            rows = [line.split(": ", 1) for line in lines]
            named = {_lower(name): value for name, value in rows}
        except ValueError:  # one of them has another form, or is not a header
            return _odd_headers(text), {}
        return cast("Headers", rows), named
    return _odd_headers(text), {}


@lru_cache(256)  # answers have few different names
def _lower(name: str) -> str:
    """Return the name in lower case. Raises ValueError for an unusual or invalid name."""
    if not _NAME.fullmatch(name):
        raise ValueError(name)
    return name.lower()


def _odd_headers(text: str) -> list[tuple[str, str]]:
    """Parse headers that are folded or in unusual forms. Raises ExchangeFailed for a line that is not a header."""
    headers: list[tuple[str, str]] = []
    for line in text.split("\n")[:-1]:
        if line[:1] in " \t" and headers:
            headers[-1] = (headers[-1][0], f"{headers[-1][1]} {line.strip()}".strip())
            continue
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise ExchangeFailed("framing", "its head contains a line that is not a header")
        headers.append((name, value.strip()))
    return headers
