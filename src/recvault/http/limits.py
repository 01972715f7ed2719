"""How hard a provider is asked: a pace in requests a second, and a concurrency that finds the provider's limit.

Concurrency halves when the provider answers 429 or 503, at most once in `CALM_SECONDS`, and grows back by one for each
round of successes: additive up, multiplicative down.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pyrate_limiter import Limiter, Rate

from recvault.stopping import Stop

CALM_SECONDS = 1.0
_LOOK_SECONDS = 0.2  # how often a waiting thread looks for a stop


class Limits:
    """One provider's limits for one source, shared by all its accounts and threads."""

    def __init__(self, requests_per_second: float, max_concurrency: int) -> None:
        self._pace = Limiter(_rate(requests_per_second))
        self._max = float(max_concurrency)
        self._limit = float(max_concurrency)
        self._running = 0
        self._shrunk_at = float("-inf")
        self._free = threading.Condition()

    @property
    def concurrency(self) -> int:
        """How many requests may run at once now."""
        return max(1, int(self._limit))

    @contextmanager
    def turn(self, stop: Stop) -> Iterator[None]:
        """Wait for the pace and for a free place, and hold the place. Interrupted where a stop comes first."""
        while not self._pace.try_acquire("requests", timeout=_LOOK_SECONDS):
            stop.check()
        with self._free:
            while self._running >= self.concurrency:
                self._free.wait(_LOOK_SECONDS)
                stop.check()
            self._running += 1
        try:
            yield
        finally:
            with self._free:
                self._running -= 1
                self._free.notify()

    def note(self, status: int) -> None:
        """Learn from an answer."""
        with self._free:
            if status in (429, 503):
                now = time.monotonic()
                if now - self._shrunk_at >= CALM_SECONDS:
                    self._shrunk_at = now
                    self._limit = max(1.0, self._limit / 2)
            else:
                self._limit = min(self._max, self._limit + 1 / self._limit)

    def close(self) -> None:
        """End the pace's own thread."""
        self._pace.close()


def _rate(per_second: float) -> Rate:
    if per_second >= 1:
        return Rate(int(per_second), 1000)  # rounded down: never faster than was configured
    return Rate(1, round(1000 / per_second))
