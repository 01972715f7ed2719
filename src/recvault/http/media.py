"""The answer to a media request: what its headers say, and where its bytes go.

Invariant: only the unencoded body of a 200, or of a 206 that was asked for, reaches a sink, and a sink is finished only
if the body is complete by its Content-Length.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from recvault.errors import Interrupted, MediaRejected, Unavailable
from recvault.http import classify
from recvault.http.bodies import MOST_OF_ERROR, is_plain
from recvault.shutdown import Stop
from recvault.transport import Enough, Head, Headers

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

MEDIA = "media"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REST = 16 * 1024  # bytes of a redirect's body that are skipped, to keep the connection


@dataclass(slots=True)
class MediaHead:
    """What is known about media before their first byte. Never modified."""

    url: str  # of the server, without its query
    headers: Mapping[str, str]  # by name in lower case
    length: int | None


class Sink(Protocol[T_co]):
    """Receives media as they arrive."""

    @property
    def size(self) -> int:
        """How many bytes arrived so far."""

    def write(self, piece: bytes | memoryview) -> None:
        """Take the next bytes. A memoryview is invalid after the call."""

    def finish(self) -> T_co:
        """Return the result, once all bytes arrived."""

    def close(self) -> None:
        """Free resources if it was not finished."""


@dataclass(frozen=True, slots=True)
class Away:
    """A redirect."""

    location: str

    @classmethod
    def told(cls, status: int, location: str | None) -> Away | None:
        """Return the redirect of an answer; None for other answers."""
        return cls(location) if status in _REDIRECTS and location else None


@dataclass(slots=True)
class Place:
    """Where a request goes, and its headers. Never modified."""

    url: str
    host: str
    headers: Headers
    at_home: bool  # at the origin of base_url, with our credentials

    @property
    def login(self) -> str:
        """The Authorization header; empty without one."""
        return next((value for name, value in self.headers if name == "Authorization"), "")


class Note(Protocol):
    """Called with each answer before its body."""

    def __call__(
        self, status: int, headers: Mapping[str, str], kind: str, wait: float | None, /, *, at_home: bool
    ) -> None: ...


class MediaAnswer(Generic[T]):
    """Receives one answer. Close it to free what was not finished."""

    __slots__ = (
        "_away",
        "_bytes",
        "_length",
        "_note",
        "_place",
        "_ranged",
        "_receive",
        "_sink",
        "has_begun",
        "headers",
        "refused",
        "words",
        "write",
    )

    def __init__(
        self, place: Place, receive: Callable[[MediaHead], Sink[T]], note: Note, *, ranged: bool = False
    ) -> None:
        """`ranged`: a part was asked for, so that a 206 is an answer too."""
        self._place, self._receive, self._note, self._ranged = place, receive, note, ranged
        self._away: Away | None = None
        self._sink: Sink[T] | None = None
        self._length: int | None = None
        self._bytes = 0  # skipped so far
        self.write: Callable[[bytes | memoryview], None] = self._read_past
        """See Receiver."""
        self.has_begun = False
        self.headers: Mapping[str, str] = {}
        self.refused: int | None = None  # the status of a refusal
        self.words = b""  # the start of its body

    def begin(self, head: Head) -> None:
        """See Receiver."""
        place, status = self._place, head.status
        self.has_begun, self.headers = True, head.named
        headers = self.headers
        self._note(status, headers, MEDIA, head.wait_seconds, at_home=place.at_home)
        if status != 200 and not (self._ranged and status == 206):
            self._away = Away.told(status, headers.get("location"))
            if self._away is None and 200 <= status < 300:
                mark = classify.request_mark(classify.request_id(headers))
                raise Unavailable(f"{place.host} answered {status} instead of media{mark}")
            self.refused = None if self._away is not None else status
            return
        if not is_plain(headers.get("content-encoding", "")):
            raise MediaRejected(
                f"{place.host} encoded the media, although that was not requested", reason="media.encoded"
            )
        self._length = head.length
        self._sink = self._receive(MediaHead(_bare(place.url), headers, self._length))
        self.write = self._sink.write

    @property
    def arrived(self) -> int:
        """A number that grows whenever something of the answer arrives."""
        return self.has_begun + self._bytes + (0 if self._sink is None else self._sink.size)

    def _read_past(self, piece: bytes | memoryview) -> None:
        self._bytes += len(piece)
        if self.refused is not None:
            self.words += bytes(piece[: MOST_OF_ERROR - len(self.words)])
            if len(self.words) >= MOST_OF_ERROR:
                raise Enough
        elif self._bytes > _REST:
            raise Enough

    def outcome(self) -> T | Away:
        """Return the result of the answer. Raises Unavailable if the body's length differs from its Content-Length."""
        if self._away is not None:
            return self._away
        assert self._sink is not None  # noqa: S101 - or an error was raised
        if self._length is not None and self._sink.size != self._length:
            raise Unavailable(f"{self._place.host} sent {self._sink.size} bytes of {self._length}", status=200)
        finished, self._sink = self._sink.finish(), None
        return finished

    def close(self) -> None:
        """Free resources if it was not finished."""
        if self._sink is not None:
            self._sink.close()


class DrainCut:
    """Ends a download once a drain is over; or earlier, if nothing arrives during the drain. Nothing is put yet, and
    the next run downloads it again."""

    __slots__ = ("_answer", "_arrived", "_clock", "_seconds", "_since", "_stop")

    def __init__(
        self, answer: MediaAnswer[Any], stop: Stop, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._answer, self._stop, self._seconds, self._clock = answer, stop, seconds, clock
        self._arrived, self._since = -1, 0.0

    def __call__(self) -> None:
        """See transport.Cut."""
        self._stop.check_enforced()
        if not self._stop.asked.is_set():
            return
        arrived = self._answer.arrived
        if arrived != self._arrived:
            self._arrived, self._since = arrived, self._clock()
        elif self._clock() - self._since >= self._seconds:
            raise Interrupted("stop requested, and nothing arrived for a while")


def _bare(url: str) -> str:
    return url.partition("#")[0].partition("?")[0]
