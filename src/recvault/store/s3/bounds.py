"""Limit how much of a bucket's data is kept in memory: objects and responses may come from anyone.

An object's body goes to the caller's sink; everything else is kept up to a limit far above any listing, error or other
short response of a store.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from botocore.exceptions import BotoCoreError

from recvault.store.protocol import too_large
from recvault.transport import Enough, Head

MOST_ANSWER = 16 << 20  # bytes; the largest response of a store is a page of a listing
MOST_ERROR = 1 << 20
_NO_HEAD = Head(0, ())


class AnswerTooLarge(BotoCoreError):
    """A response larger than any store sends."""

    fmt = "the answer is too large for a store: more than {most} bytes"


class Sink(Protocol):
    """Receives an object's body as it arrives. After another `begin`, the body restarts from the beginning."""

    def begin(self, length: int | None) -> None:
        """Called before the first piece, with the announced length."""

    def write(self, piece: memoryview | bytes) -> None:
        """Receive a piece. A memoryview is invalid after the call."""


class Answer:
    """Receives a response: passes an object's body to a sink, keeps anything else."""

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
    """A small object's complete body. TooLarge if its length exceeds `most`, or as soon as more arrives."""

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
    """A sink that stops at the body: tests only whether an object can be read."""

    def begin(self, length: int | None) -> None:
        """See Sink."""
        raise Enough

    def write(self, piece: memoryview | bytes) -> None:
        """See Sink."""
