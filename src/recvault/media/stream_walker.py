"""Run a parser over a container's bytes that arrive in chunks of any size.

A walk is a generator: it reads bytes with `take`, passes over them with `skip`, and returns its `Findings`. It gets
fewer bytes than requested only at the end of the stream, so its findings cannot depend on how the stream was cut.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Findings:
    """The result of walking a complete container; never modified.

    `faults` make it suspect, `unknown` unchecked; `notes` are harmless.
    """

    method: str
    codec: str | None = None
    sample_rate: int | None = None
    channels: int | None = None
    seconds: float | None = None
    reach: float | None = None  # its end, counted from zero, which some providers state as its length
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unknown: str | None = None
    is_video: bool = False
    empty: bool = False  # headers only: nothing was recorded in it


Step = tuple[int, bool]
"""A walk's request: the number of bytes, and whether they are kept or skipped."""
Answer = tuple[bytes, int]
"""The reply: the bytes kept, and how many there were; fewer than requested only at the end of the stream."""
Walk = Generator[Step, Answer, T]
END = 1 << 62


def take(size: int) -> Walk[bytes]:
    """Read `size` bytes; fewer mean the end of the stream."""
    return (yield size, True)[0] if size > 0 else b""


def skip(size: int) -> Walk[int]:
    """Skip `size` bytes and return the number skipped; fewer mean the end of the stream."""
    return (yield size, False)[1] if size > 0 else 0


class Tape:
    """Feeds a walk; holds at most the bytes of one `take`."""

    def __init__(self, walk: Walk[Findings]) -> None:
        self._walk = walk
        self._kept = bytearray()
        self._passed = 0
        self._findings: Findings | None = None
        self._size, self._keeps = next(walk)

    def feed(self, chunk: bytes | memoryview) -> None:
        """Continue the walk to the end of this chunk."""
        at, end = 0, len(chunk)
        while at < end and self._findings is None:
            got = min(self._size - self._passed, end - at)
            if self._keeps:
                self._kept += chunk[at : at + got]
            self._passed += got
            at += got
            if self._passed == self._size:
                self._answer()

    def end(self) -> Findings:
        """Answer pending requests with the remaining bytes; return the findings."""
        while self._findings is None:
            self._answer()
        return self._findings

    def _answer(self) -> None:
        answer = (bytes(self._kept), self._passed)
        self._kept.clear()
        self._passed = 0
        try:
            self._size, self._keeps = self._walk.send(answer)
        except StopIteration as stop:
            self._findings = stop.value
