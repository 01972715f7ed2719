"""Find the best number of concurrent requests from the answers, one window of answers at a time. Pure: no clock, no
lock.

It starts low and doubles, then adds one per window in which answers are as fast as before. It halves on 429 or 503;
the refused number is tried again less and less often. It also halves, as a trial, if answers take much longer than
with fewer requests. If that does not help, the provider is slow anyway, and the trial is undone.

A wait is the time to the first byte, without the body, for each kind of request. A window is judged by the mean of
its middle half, only by answers requested within it. Two windows in a row must be slow: a single slow answer or
pause of the provider changes nothing.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

REFUSED, SLOWER = "refused", "slower"
"""Why the limit is below the configured one: the provider refused more, or answers more slowly."""

CALM_SECONDS = 1.0  # refusals closer together count once
_FIRST = 2.0
_WINDOW = 16  # answers at least, of one kind; other kinds count with half as many
_RISING, _RISEN = 1.25, 1.6  # times the floor: stop adding; try fewer
_NOTICED = 0.02  # seconds: a smaller rise is ignored
_SHORTER = 0.8  # times the wait before a trial: below this it helped
_SLOW_WINDOWS, _HELD_WINDOWS = 2, 32  # in a row, that lead to a trial
_REST = 8  # windows after a trial that did not help
_PATIENCE = 32  # windows at most before a refused number is tried again


@dataclass(frozen=True, slots=True)
class _Trial:
    kind: str
    wait: float
    limit: float  # before the trial
    enough: float  # the limit if fewer help


class Concurrency:
    """The concurrency of one source. The caller locks it."""

    def __init__(self, most: int) -> None:
        self._most = float(most)
        self._limit = min(_FIRST, self._most)
        self._doubles = True
        self.held_by: str | None = None  # why it is below the configured limit; None while it is still being found
        self._waits: defaultdict[str, list[float]] = defaultdict(list)
        self._answers = 0  # in this window
        self._busiest = 0
        self._since = -math.inf  # start of this window
        self._floors: dict[str, float] = {}
        self._slow: list[tuple[str, float]] = []  # slow windows in a row: kind and wait
        self._held = self._rest = 0  # windows
        self._trial: _Trial | None = None
        self._settles = False  # a trial has just started: earlier answers do not count yet
        self._refused_at: float = math.inf
        self._reduced_at = -math.inf
        self._calm, self._patience = 0, 1  # windows just below the refused number
        self._beyond = False  # the refused number is being tried again

    @property
    def now(self) -> int:
        """How many requests may run at once."""
        return int(self._limit)

    def answered(self, kind: str, wait: float | None, moment: float, running: int) -> None:
        """Record an answer that is not a refusal, after `wait` seconds (None: unknown)."""
        self._busiest = max(self._busiest, running)
        if wait is not None:
            if moment - wait < self._since:
                return  # requested before this window
            self._waits[kind].append(wait)
        self._answers += 1
        if self._is_full():
            self._judge()
            self._begin(moment)

    def refused(self, wait: float | None, moment: float) -> None:
        """Record a 429 or 503."""
        if moment - (wait or 0.0) < self._reduced_at or moment - self._reduced_at < CALM_SECONDS:
            return
        self._reduced_at = moment
        self._patience = min(_PATIENCE, 2 * self._patience) if self._beyond else 1
        self._refused_at, self._calm, self._beyond = max(2, self.now), 0, False
        self._trial, self._settles, self._doubles, self.held_by = None, False, False, REFUSED
        self._limit = max(1.0, self._limit / 2)
        self._begin(moment)

    def _is_full(self) -> bool:
        if self._answers < max(_WINDOW, self._limit) * (2 if self._trial else 1):
            return False
        return not self._waits or max(map(len, self._waits.values())) >= _WINDOW

    def _begin(self, moment: float) -> None:
        self._waits.clear()
        self._answers, self._busiest, self._since = 0, 0, moment

    def _judge(self) -> None:
        """Evaluate a full window."""
        usual = {kind: _middle(waits) for kind, waits in self._waits.items() if len(waits) >= _WINDOW // 2}
        self._rest = max(0, self._rest - 1)
        if self._settles:
            self._settles = False
            return
        if self._trial:
            self._end_trial(self._trial, usual.get(self._trial.kind))
            return
        rises = {kind: self._rise(kind, wait) for kind, wait in usual.items()}
        kind = max(rises, key=rises.__getitem__, default="")
        rise = rises.get(kind, 1.0)
        same = [each for each in self._slow if each[0] == kind]
        self._slow = [*same, (kind, usual[kind])] if rise > _RISEN else []
        self._held = self._held + 1 if rise > _RISING else 0
        if rise <= _RISING:
            self._grow()
            return
        self._doubles = False
        slow = len(self._slow) >= _SLOW_WINDOWS and not self._rest
        if slow or self._held >= _HELD_WINDOWS:
            waits = [wait for _, wait in self._slow] if slow else [usual[kind]]
            self._try_fewer(kind, sum(waits) / len(waits), rise, slow)

    def _rise(self, kind: str, wait: float) -> float:
        """Return how many times its floor a wait is; the floor follows faster answers."""
        floor = self._floors.setdefault(kind, wait)
        if wait < floor:
            self._floors[kind] = (floor + wait) / 2
        return wait / floor if wait - floor > _NOTICED else 1.0

    def _try_fewer(self, kind: str, wait: float, rise: float, slow: bool) -> None:
        """Halve the requests, to test whether we cause the wait."""
        self._slow, self._held = [], 0
        busy = min(self._limit, float(self._busiest))
        if busy < 2:  # no other request of ours can delay it
            self._floors[kind] = wait
            return
        enough = max(busy / 2, busy * _RISING / rise) if slow else self._limit
        self._trial, self._settles = _Trial(kind, wait, self._limit, enough), True
        self._limit = busy / 2

    def _end_trial(self, trial: _Trial, wait: float | None) -> None:
        self._trial = None
        if wait is not None and wait <= _SHORTER * trial.wait:
            self._limit, self.held_by = trial.enough, SLOWER
            return
        self._limit = trial.limit
        self._rest = _REST
        if wait is not None:
            self._floors[trial.kind] = wait

    def _grow(self) -> None:
        if self._beyond:  # a whole window passed without refusal
            self._refused_at, self._patience, self._beyond = math.inf, 1, False
        more = min(self._most, self._limit * 2 if self._doubles else self._limit + 1)
        if int(more) >= self._refused_at:
            self._calm += 1
            if self._calm <= self._patience:
                return
            self._calm, self._beyond = 0, True
        self._limit = more
        if more >= self._most:
            self._doubles, self.held_by = False, None


def _middle(waits: list[float]) -> float:
    """Return the mean without the fastest and the slowest quarter."""
    quarter = len(waits) // 4
    middle = sorted(waits)[quarter : len(waits) - quarter]
    return sum(middle) / len(middle)
