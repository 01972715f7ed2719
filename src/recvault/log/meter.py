"""Measure requests to providers, and what the time is spent on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

TURN, PROVIDER, STORE = "turn", "provider", "store"
"""What a transfer waits for: the request budget, the provider, the bucket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineFacts:
    """Requests to a source's provider so far: answers by status ("200", or "error"), and the concurrency limit."""

    source: str
    answers: Mapping[str, int]
    concurrency: int
    max_concurrency: int
    held_by: str | None = None  # why it is below the most: the provider refuses more, or answers more slowly


@dataclass(frozen=True, slots=True)
class Spending:
    """What processes spent so far: seconds of CPU, and seconds that threads waited, by cause."""

    cpu: float = 0.0
    waits: Mapping[str, float] = field(default_factory=dict)

    def __add__(self, other: Spending) -> Spending:
        return self._with(other, 1.0)

    def __sub__(self, other: Spending) -> Spending:
        return self._with(other, -1.0)

    def _with(self, other: Spending, sign: float) -> Spending:
        names = self.waits.keys() | other.waits.keys()
        waits = {name: self.waits.get(name, 0.0) + sign * other.waits.get(name, 0.0) for name in names}
        return Spending(self.cpu + sign * other.cpu, waits)


class Waits:
    """What the threads of this process wait for, and for how long. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._seconds: dict[str, float] = {}
        self._now: dict[int, tuple[str, float]] = {}  # by thread: what it waits for, since when

    def on(self, what: str) -> Waiting:
        """Return a context in which this thread waits. May be nested: the innermost counts."""
        return Waiting(self, what)

    @property
    def spending(self) -> Spending:
        """The spending so far, including waits that have not ended."""
        with self._lock:
            seconds, moment = self._seconds.copy(), self._clock()
            for what, since in self._now.values():
                seconds[what] = seconds.get(what, 0.0) + moment - since
        return Spending(time.process_time(), seconds)

    def turn(self, what: str | None) -> str | None:
        """Record what this thread waits for from now on; return what it waited for before."""
        me, moment = threading.get_ident(), self._clock()
        with self._lock:
            before, since = self._now.pop(me, (None, moment))
            if before is not None:
                self._seconds[before] = self._seconds.get(before, 0.0) + moment - since
            if what is not None:
                self._now[me] = (what, moment)
        return before


class Waiting:
    """A context in which a thread waits."""

    __slots__ = ("_before", "_waits", "_what")

    def __init__(self, waits: Waits, what: str) -> None:
        self._waits, self._what = waits, what

    def __enter__(self) -> None:
        self._before = self._waits.turn(self._what)

    def __exit__(self, *_: object) -> None:
        self._waits.turn(self._before)
