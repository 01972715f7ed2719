"""How hard a provider is asked: a pace in requests a second, and no more requests at once than it takes well."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from pyrate_limiter import InMemoryBucket, Rate, RateItem

from recvault.http.concurrency import Concurrency
from recvault.stopping import Stop

_LOOK_SECONDS = 0.2  # how often a waiting thread looks for a stop
_REFUSALS = frozenset({429, 503})
_FIRST_ERROR = 400  # an error is answered sooner than what was asked for


@dataclass(frozen=True, slots=True)
class Standing:
    """How many requests may run at once now; and why that is fewer than configured, None where nothing says so."""

    concurrency: int
    held_by: str | None


class Limits:
    """One provider's limits for one source, shared by all its accounts and threads."""

    def __init__(
        self, requests_per_second: float, max_concurrency: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pace = InMemoryBucket([_rate(requests_per_second)])
        self._found = Concurrency(max_concurrency)
        self._clock = clock
        self._running = 0
        self._free = threading.Condition()

    @property
    def standing(self) -> Standing:
        """What was found so far."""
        return Standing(self._found.now, self._found.held_by)

    def turn(self, stop: Stop) -> _Turn:
        """A context: waits for the pace and for a place, and holds the place. Interrupted where a stop comes first."""
        return _Turn(self, stop)

    def begin(self, stop: Stop) -> None:
        """Wait for the pace and for a place, and take it."""
        while wait_seconds := self._wait_seconds():
            stop.sleep(wait_seconds)
        with self._free:
            while self._running >= self._found.now:
                self._free.wait(_LOOK_SECONDS)
                stop.check()
            self._running += 1

    def end(self) -> None:
        """Give the place back."""
        with self._free:
            self._running -= 1
            self._free.notify()

    def note(self, status: int, kind: str = "", wait: float | None = None) -> None:
        """Learn from an answer, and from how long its first byte took."""
        with self._free:
            before = self._found.now
            if status in _REFUSALS:
                self._found.refused(wait, self._clock())
            else:
                self._found.answered(kind, wait if status < _FIRST_ERROR else None, self._clock(), self._running)
            self._free.notify(max(0, self._found.now - before))

    def _wait_seconds(self) -> float:
        """Take the next place in the pace: 0.0, or how long there is none."""
        with self._free:
            asked = RateItem("request", time.monotonic_ns() // 1_000_000)
            self._pace.leak(asked.timestamp)
            return 0.0 if self._pace.put(asked) else max(1, cast("int", self._pace.waiting(asked))) / 1000


class _Turn:
    __slots__ = ("_limits", "_stop")

    def __init__(self, limits: Limits, stop: Stop) -> None:
        self._limits, self._stop = limits, stop

    def __enter__(self) -> None:
        self._limits.begin(self._stop)

    def __exit__(self, *_: object) -> None:
        self._limits.end()


def _rate(per_second: float) -> Rate:
    if per_second >= 1:
        return Rate(int(per_second), 1000)  # rounded down: never faster than was configured
    return Rate(1, round(1000 / per_second))
