"""A budget that is sent along: a batch's share, spent without contact to the planner.

Invariants: the planner grants each job a place and a time before it is sent, so there are never more requests at once
than it granted. Further requests of a job are sent at the account's rate, counted, and charged by the planner: over
time the rate is the configured one. A refusal that asks for a rest stops all requests from here at once.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from recvault.http.limits import LOOK_SECONDS, MEDIA, MOST_REST, CurrentLimit, Noted, Pause, Turn, Want
from recvault.log.meter import Waits
from recvault.shutdown import Stop

_LATE_SECONDS = 0.1  # after its time, a permit is dropped: its job needed no request
_LEEWAY = 0.9  # of the usual time between two requests, so that a late batch can catch up


@dataclass(frozen=True, slots=True)
class Used:
    """What was used of an account's budget since the last time. Times are seconds ago, because clocks differ by
    machine."""

    requests: int
    noted: tuple[Noted, ...]

    def noted_at(self, now: float) -> Iterable[Noted]:
        """Return what was learned, with times by the local clock."""
        return (replace(each, at=now - (each.at or 0.0)) for each in self.noted)


class Purse:
    """The budget of one account in one process. Thread-safe."""

    def __init__(
        self,
        requests_per_second: float,
        clock: Callable[[], float] = time.monotonic,
        on_rest: Callable[[], None] = lambda: None,
    ) -> None:
        self._gap = _LEEWAY / requests_per_second
        self._clock = clock
        self._on_rest = on_rest
        self._lock = threading.Lock()
        self._stock: deque[float] = deque()
        self._next_at = float("-inf")
        self._used = 0
        self._noted: list[Noted] = []
        self._rest = Pause()

    # -- for batches ---------------------------------------------------------------------------------------------------

    def put(self, offsets: Iterable[float]) -> None:
        """Add the granted times of a batch, in seconds from now."""
        with self._lock:
            now = self._clock()
            self._stock = deque(sorted([*self._stock, *(now + offset for offset in offsets)]))

    def collect(self) -> Used | None:
        """Return what was used since the last call; None if nothing was."""
        with self._lock:
            if not (self._used or self._noted):
                return None
            now = self._clock()
            noted = tuple(replace(each, at=now - (each.at or now)) for each in self._noted)
            used, self._used, self._noted = Used(self._used, noted), 0, []
            return used

    # -- for the threads that ask --------------------------------------------------------------------------------------

    @property
    def standing(self) -> CurrentLimit:
        """No limits: only the holder of the budget learns them."""
        return CurrentLimit(0, None)

    @property
    def rest(self) -> Pause:
        """The pause that the provider asked for."""
        return self._rest

    def turn(self, stop: Stop, who: str = MEDIA, patience: float = float("inf"), waits: Waits | None = None) -> Turn:
        """As `Limits.turn`."""
        return Turn(self, stop, who, patience, self._clock, waits)

    def ask(self, want: Want) -> None:
        """Grant it at a time that came with a batch, or as soon as the rate allows; not during a rest."""
        with self._lock:
            self._grant(want)

    def withdraw(self, want: Want) -> bool:
        """As `Limits.withdraw`."""
        return want.at is None

    def patience(self, want: Want) -> float:
        """Grant it if possible; return how many seconds to wait before the next check."""
        with self._lock:
            self._grant(want)
            return 0.0 if want.at is not None else min(LOOK_SECONDS, self._rest.left(self._clock()))

    def _grant(self, want: Want) -> None:
        now = self._clock()
        if self._rest.left(now):
            return
        while self._stock and self._stock[0] < now - _LATE_SECONDS:
            self._stock.popleft()
        granted = self._stock.popleft() if self._stock else now
        want.at = self._next_at = max(granted, self._next_at, now)
        self._next_at += self._gap
        self._used += 1

    def end(self, who: str = MEDIA, count: int = 1) -> None:
        """Do nothing: the job keeps its place until its batch is back."""

    def forgo(self, who: str = MEDIA) -> None:
        """Take back a grant for a request that was not sent."""
        with self._lock:
            self._used -= 1

    def note(self, noted: Noted) -> None:
        """Keep it for the planner. After a refusal that asks for a rest, send nothing before that is over."""
        with self._lock:
            at = self._clock() if noted.at is None else noted.at
            self._noted.append(replace(noted, at=at))
            rests = noted.is_refusal and bool(noted.rest) and at + (noted.rest or 0.0) > self._rest.until
            if rests:
                self._rest = Pause(at + min(noted.rest or 0.0, MOST_REST), noted.status)
                self._stock.clear()
        if noted.is_refusal:
            self._on_rest()
