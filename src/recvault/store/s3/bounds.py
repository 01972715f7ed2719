"""Nothing that comes from a bucket is kept without a bound: an object may be anybody's, and an answer anything.

An object's own body goes where whoever asked for it wants it; all else is kept up to a size that no list, no error and
no other short answer of a store comes near.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from botocore.exceptions import BotoCoreError

from recvault.store.protocol import too_large
from recvault.transport import Enough, Head

MOST_ANSWER = 16 << 20  # bytes of a page of a listing, the largest of a store's answers
MOST_ERROR = 1 << 20
_NO_HEAD = Head(0, ())


class AnswerTooLarge(BotoCoreError):
    """An answer that is larger than any of a store's."""

    fmt = "the answer is too large for a store: more than {most} bytes"


class Sink(Protocol):
    """Takes an object's body as it comes. What is begun again comes again, from its start."""

    def begin(self, length: int | None) -> None:
        """Before the first piece, with the length that is told."""

    def write(self, piece: memoryview | bytes) -> None:
        """Some of it. A memoryview is of no use after the call."""


class Answer:
    """Receives an answer: an object's body for a sink, anything else whole."""

    __slots__ = ("_most", "_sink", "content", "head", "write")

    def __init__(self, sink: Sink | None = None) -> None:
        self._sink, self._most = sink, MOST_ANSWER
        self.content = bytearray()
        self.head = _NO_HEAD
        self.write: Callable[[memoryview | bytes], None] = self._keep
        """See transport.Receiver."""

    def begin(self, head: Head) -> None:
        """See transport.Receiver."""
        self.head = head
        if head.status >= 300:
            self._most = MOST_ERROR
        elif self._sink is not None:
            self.write = self._sink.write
            self._sink.begin(head.length)

    def _keep(self, piece: memoryview | bytes) -> None:
        self.content += piece
        if len(self.content) > self._most:
            raise AnswerTooLarge(most=self._most)


class Small:
    """A small object's body, whole. TooLarge where its length says so, or as soon as more came."""

    def __init__(self, most: int, where: str) -> None:
        self._most, self._where = most, where
        self._kept = bytearray()

    @property
    def content(self) -> bytes:
        return bytes(self._kept)

    def begin(self, length: int | None) -> None:
        """See Sink."""
        self._kept.clear()
        if length is not None and length > self._most:
            raise too_large(self._where, length)

    def write(self, piece: memoryview | bytes) -> None:
        """See Sink."""
        self._kept += piece
        if len(self._kept) > self._most:
            raise too_large(self._where, len(self._kept))


class Unread:
    """The sink of whoever asks only whether there is something to read."""

    def begin(self, length: int | None) -> None:
        """See Sink."""
        raise Enough

    def write(self, piece: memoryview | bytes) -> None:
        """See Sink."""
