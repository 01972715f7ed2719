"""HTTP/1.1 on a socket that somebody else connected: one request after the other, each with its answer.

Invariant: where an answer ends is told by its own framing, in one way, or it is an error: nothing is guessed, and what
is framed in two ways, or in one that is not known, is not read. The standard library's client and urllib3 cost three to
five times as much, most of it for heads that they parse as e-mail.
"""

from __future__ import annotations

import math
import re
import select
import socket
import time
from collections.abc import Iterable, Iterator

Headers = list[tuple[str, str]]

_CHUNK = 256 * 1024
_FIRST = 64 * 1024  # as much as is read at once where a head is due
_JOINED = 128 * 1024  # a head and a body that are together no larger go in one piece
_MOST_HEAD = 64 * 1024
_MOST_LINES = 100
_MOST_INFORMATION = 8  # answers of 1xx before the one that counts
_STATUS = re.compile(r"HTTP/1\.([01]) (\d{3})(?: [^\r\n]*)?\r\n")
_NAME, _VALUE = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", r"[^\0\r\n]*"
_HEADERS = re.compile(f"(?:{_NAME}:{_VALUE}\r\n)*")
_HEADER = re.compile(f"({_NAME}):({_VALUE})\r\n")
_FOLD = re.compile(r"\r\n[ \t]+")  # within a value, from long ago
_LENGTH = re.compile(r"[0-9]{1,18}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")


class WireError(Exception):
    """What came is no HTTP, or ended before its end. Holds nothing of it."""


class Wire:
    """A connection. One thread at a time; the socket's own timeouts bound each of its waits.

    Raises WireError, TimeoutError and other OSErrors; after any of them it is of no more use.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.idle_since = time.monotonic()
        self._rest = b""  # read, and not used yet

    def close(self) -> None:
        """Close it; more than once does no harm."""
        self.sock.close()

    def is_usable(self, idle_seconds: float) -> bool:
        """Whether it may carry another request: one that has something to read was closed, or is out of step."""
        if self._rest or time.monotonic() - self.idle_since > idle_seconds:
            return False
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return not poll.poll(0)

    def send(
        self, method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes | memoryview = b""
    ) -> None:
        """Send a request, whole. ValueError for what would be read as another request than it is."""
        head = _written(method, target, headers)
        if len(head) + len(body) <= _JOINED:
            self.sock.sendall(head + body)
        else:
            self.sock.sendall(head)
            self.sock.sendall(body)

    def send_rest(self, pieces: Iterable[bytes | memoryview]) -> None:
        """Send a body after its head."""
        for piece in pieces:
            self.sock.sendall(piece)

    def answers_within(self, seconds: float) -> bool:
        """Whether something of an answer is here, or comes so soon."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return bool(self._rest) or bool(poll.poll(seconds * 1000))

    def is_told_to_go_on(self) -> bool:
        """Whether the next head is 100 Continue, which is taken; any other is left for `answer`."""
        status, _, used = self._read_head()
        if status == 100:
            self._rest = self._rest[used:]
        return status == 100

    def answer(self, method: str = "GET") -> Answer:
        """Read an answer's head."""
        for _ in range(_MOST_INFORMATION):
            status, headers, used = self._read_head()
            self._rest = self._rest[used:]
            if status >= 200:
                return Answer(self, method, status, headers)
            if status != 100:
                break  # nobody asked for it: what follows is another protocol, or belongs to another request
        raise WireError("an answer that nobody asked for")

    def read(self, most: int) -> bytes:
        """Some bytes, as they come; none where it was closed."""
        if self._rest:
            taken, self._rest = self._rest[:most], self._rest[most:]
            return taken
        return self.sock.recv(min(most, _CHUNK))

    def line(self, until: float | None = None) -> bytes:
        """One line, without its end, which must come before that moment."""
        until = self.patience() if until is None else until
        while (end := self._rest.find(b"\r\n")) < 0:
            if len(self._rest) > _MOST_HEAD:
                raise WireError("a line without an end")
            self._more(until)
        found, self._rest = self._rest[:end], self._rest[end + 2 :]
        return found

    def patience(self) -> float:
        """Until when a head or a line may take to come whole: the socket's timeout is for each of its bytes anew."""
        return time.monotonic() + 2 * (self.sock.gettimeout() or math.inf)

    def _read_head(self) -> tuple[int, Headers, int]:
        """The next head's status and headers, and how many bytes it is; they are left where they are."""
        until = self.patience()
        while (end := self._rest.find(b"\r\n\r\n")) < 0:
            if len(self._rest) > _MOST_HEAD or b"\n\n" in self._rest:
                raise WireError("a head without an end")
            self._more(until)
        head = self._rest[: end + 2].decode("latin-1")
        found = _STATUS.match(head)
        if found is None or end > _MOST_HEAD:
            raise WireError("no head of HTTP/1.1")
        headers = _parsed(head[found.end() :])
        if found[1] == "0":
            headers.append(("Connection", "close"))  # 1.0 may ask to stay: it is not asked to, here
        return int(found[2]), headers, end + 4

    def _more(self, until: float) -> None:
        if time.monotonic() > until:
            raise TimeoutError("what came did not come to an end")
        more = self.sock.recv(_FIRST)
        if not more:
            raise WireError("closed where more was due")
        self._rest += more


class Answer:
    """An answer's head, and its body as it comes: each of `chunks` is one read of the socket."""

    def __init__(self, wire: Wire, method: str, status: int, headers: Headers) -> None:
        self.status = status
        self.headers = headers
        self._wire = wire
        named: dict[str, set[str]] = {}
        for name, value in headers:
            if (lower := name.lower()) in _FRAMES:
                named.setdefault(lower, set()).add(value.lower())
        lengths, codings = named.get("content-length", set()), named.get("transfer-encoding", set())
        if lengths and (codings or len(lengths) > 1 or not _LENGTH.fullmatch(next(iter(lengths)))):
            raise WireError("a body that is framed in two ways")
        if codings and codings != {"chunked"}:
            raise WireError("a body that is framed in an unknown way")
        self.is_chunked = bool(codings)
        self.left: int | None = int(lengths.pop()) if lengths else None  # None: until it is closed, or chunked
        if method == "HEAD" or status in (204, 304):
            self.is_chunked, self.left = False, 0
        said = ",".join(named.get("connection", ()))
        self.is_last = "close" in {each.strip() for each in said.split(",")}
        self.is_whole = self.left == 0

    @property
    def leaves_usable(self) -> bool:
        """Whether the connection may carry another request."""
        return self.is_whole and not self.is_last

    def chunks(self) -> Iterator[bytes]:
        """The body, to its end. WireError where it ends too soon."""
        if self.is_chunked:
            return self._chunked()
        return self._until_closed() if self.left is None else self._counted(self.left)

    def _until_closed(self) -> Iterator[bytes]:
        while chunk := self._wire.read(_CHUNK):
            yield chunk
        self.is_last = self.is_whole = True

    def _counted(self, left: int) -> Iterator[bytes]:
        while left:
            chunk = self._wire.read(left)
            if not chunk:
                raise WireError("a body that ended before its length")
            left -= len(chunk)
            self.left = left if self.left is not None else None
            if not left and not self.is_chunked:
                self.is_whole = True  # told before it is taken: who has the last byte may stop
            yield chunk

    def _chunked(self) -> Iterator[bytes]:
        while True:
            found = _CHUNK_SIZE.fullmatch(self._wire.line())
            if found is None:
                raise WireError("a chunk without a size")
            size = int(found[1], 16)
            if size == 0:
                break
            yield from self._counted(size)
            if self._wire.line():
                raise WireError("a chunk that is longer than it says")
        until = self._wire.patience()
        for _ in range(_MOST_LINES):
            if not self._wire.line(until):
                self.is_whole = True
                return
        raise WireError("a trailer without an end")


_FRAMES = frozenset({"content-length", "transfer-encoding", "connection"})


def _written(method: str, target: str, headers: Iterable[tuple[str, str]]) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", *[f"{name}: {value}" for name, value in headers]]
    head = "\r\n".join(lines)
    if "\0" in head or not head.count("\r") == head.count("\n") == len(lines) - 1 or " " in target:
        raise ValueError("the request cannot be written as HTTP")
    return f"{head}\r\n\r\n".encode("latin-1")  # or it raises a ValueError too


def _parsed(lines: str) -> Headers:
    """A head's lines below its first, each with its end."""
    if "\r\n " in lines or "\r\n\t" in lines:
        lines = _FOLD.sub(" ", lines)
    if not _HEADERS.fullmatch(lines):
        raise WireError("a header that is none")
    headers = [(name, value.strip(" \t")) for name, value in _HEADER.findall(lines)]
    if len(headers) > _MOST_LINES:
        raise WireError("a head of too many lines")
    return headers
