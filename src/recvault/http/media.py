"""One answer where media are due: what it is by its head, and where its bytes go.

Invariant: what reaches a sink is the body of a 200 that nobody encoded, and a sink is finished only where the body is
complete by its Content-Length.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import httpx

from recvault.errors import MediaRejected, Unavailable
from recvault.http import classify
from recvault.http.bodies import MOST_OF_ERROR, is_plain
from recvault.transport import Enough, Head

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REST = 16 * 1024  # bytes of a redirect's own words that are read past, to keep the connection


@dataclass(frozen=True, slots=True)
class MediaHead:
    """What is known of media before their first byte."""

    url: str  # that served them, without its query
    headers: Mapping[str, str]  # by lower name
    length: int | None


class Sink(Protocol[T_co]):
    """Takes media as they come."""

    def write(self, piece: bytes | memoryview) -> None:
        """The next bytes. A memoryview is of no use after the call."""

    def finish(self) -> T_co:
        """What they come to, once all are there."""

    def close(self) -> None:
        """Free what was taken, where it was not finished."""


@dataclass(frozen=True, slots=True)
class Away:
    """An answer that sends on."""

    location: str

    @classmethod
    def told(cls, status: int, location: str | None) -> Away | None:
        """Where a status and a Location send on; None where they do not."""
        return cls(location) if status in _REDIRECTS and location else None


class MediaAnswer(Generic[T]):
    """Receives one answer. A context that closes its sink, unless that was finished."""

    def __init__(self, url: httpx.URL, receive: Callable[[MediaHead], Sink[T]], note: Callable[[Head], None]) -> None:
        self._url, self._receive, self._note = url, receive, note
        self._away: Away | None = None
        self._head: Head | None = None
        self._sink: Sink[T] | None = None
        self._bytes = 0
        self.refused: Head | None = None
        self.words = b""  # the beginning of a refusal's body

    def __enter__(self) -> MediaAnswer[T]:
        return self

    def __exit__(self, *_: object) -> None:
        if self._sink is not None:
            self._sink.close()

    @property
    def has_begun(self) -> bool:
        """Whether its head came."""
        return self._head is not None

    def begin(self, head: Head) -> None:
        """See Receiver."""
        self._head = head
        self._note(head)
        headers = head.named
        self._away = Away.told(head.status, headers.get("location"))
        if self._away is not None:
            return
        if not 200 <= head.status < 300:
            self.refused = head
            return
        host = self._url.host
        if head.status != 200:
            mark = classify.request_mark(classify.request_id(headers))
            raise Unavailable(f"{host} answered {head.status} where media were due{mark}")
        if not is_plain(headers.get("content-encoding", "")):
            raise MediaRejected(f"{host} encoded the media, which nobody asked for", reason="media.encoded")
        address = str(self._url).partition("#")[0].partition("?")[0]
        self._sink = self._receive(MediaHead(address, headers, head.length))

    def write(self, piece: bytes | memoryview) -> None:
        """See Receiver."""
        self._bytes += len(piece)
        if self._sink is not None:
            self._sink.write(piece)
        elif self.refused is not None:
            self.words += bytes(piece[: MOST_OF_ERROR - len(self.words)])
            if len(self.words) >= MOST_OF_ERROR:
                raise Enough
        elif self._bytes > _REST:
            raise Enough

    def outcome(self) -> T | Away:
        """What the answer came to. Unavailable where the body differs from its length."""
        if self._away is not None:
            return self._away
        assert self._head is not None and self._sink is not None  # noqa: S101 - or an error was raised
        if self._head.length is not None and self._bytes != self._head.length:
            told = f"{self._url.host} sent {self._bytes} bytes of {self._head.length}"
            raise Unavailable(told, status=self._head.status)
        finished, self._sink = self._sink.finish(), None
        return finished
