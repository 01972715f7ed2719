"""The request budget of a provider's account: its pace, its concurrency, and its Retry-After.

Invariants, for all threads and processes: requests are sent `1 / requests_per_second` apart; at most `max_concurrency`
are running; none is sent before the Retry-After of a 429 or 503 is over, of which up to 300 s count. A list never
waits for a media body: one place is reserved, and lists and media take turns in the pace.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

from recvault.errors import Resting
from recvault.http.concurrency import Concurrency
from recvault.log.meter import TURN, Waits
from recvault.shutdown import Stop

LIST, MEDIA = "list", "media"
"""Who requests: discovery a page, or a transfer a recording's row or media."""
LOOK_SECONDS = 0.2  # how often a waiting thread checks for a stop

_AHEAD_SECONDS = 0.1  # how long before its time a request is granted, so that the permit can reach its process
_CATCH_UP_SECONDS = 0.02  # lateness of a thread that does not slow the pace
_ABUNDANT_SECONDS = 0.005  # between two requests: at this pace an unused permit costs nothing
_SPARE = 8  # free places that mean plenty
_LATE_SECONDS = 0.1  # a request later than this must get a new time
_LEAST_SECONDS = 0.001
MOST_REST = 300.0  # seconds; after a longer Retry-After it is tried again after these
_REFUSALS = frozenset({429, 503})
_FIRST_ERROR = 400  # errors arrive faster than real answers


@dataclass(frozen=True, slots=True)
class CurrentLimit:
    """The current concurrency, and why it is below the configured one, or None."""

    concurrency: int
    held_by: str | None


@dataclass(slots=True)
class Noted:
    """A provider's answer, from which its budget learns. Never modified."""

    status: int
    kind: str = ""
    wait: float | None = None  # seconds to its first byte
    rest: float | None = None  # Retry-After, in seconds
    at: float | None = None  # by the monotonic clock, which processes share; None: now

    @property
    def is_refusal(self) -> bool:
        return self.status in _REFUSALS


@dataclass(slots=True, eq=False)
class Want:
    """A request that waits to be sent. `told` is called, with the budget locked, when something changed."""

    who: str
    told: Callable[[Want], None]
    at: float | None = None  # when it may be sent, once granted; it then holds a place
    seen: threading.Event | None = None  # set on changes, if somebody waits


@dataclass(frozen=True, slots=True)
class Pause:
    """The rest that a provider asked for."""

    until: float = -math.inf
    status: int = 0

    def left(self, now: float) -> float:
        """Return the seconds left, 0.0 if there is no rest."""
        return max(0.0, self.until - now)

    def check(self, now: float, patience: float) -> None:
        """Raise Resting if it lasts longer than `patience` seconds."""
        if (left := self.left(now)) > patience:
            message = f"the provider answered {self.status} and asked to wait {left:.0f} s more"
            raise Resting(message, retry_after=left, status=self.status)


@dataclass(slots=True, eq=False)
class _Budget:
    """Granted and waiting requests. The caller locks it."""

    gap: float  # seconds between two requests
    most: int
    found: Concurrency
    rest: Pause = field(default_factory=Pause)
    next_at: float = -math.inf
    waiting: dict[str, deque[Want]] = field(default_factory=lambda: {LIST: deque(), MEDIA: deque()})
    running: Counter[str] = field(default_factory=Counter)
    last: str = MEDIA  # who got the last grant

    def grant(self, now: float) -> None:
        """Grant all that may be granted now; tell the next in line to watch the time."""
        if not (self.waiting[LIST] or self.waiting[MEDIA]):
            return
        while not self.rest.left(now) and self.moment(now) - now <= _AHEAD_SECONDS and (who := self._next()):
            want = self.waiting[who].popleft()
            want.at, self.last = self.moment(now), who
            self.next_at = want.at + self.gap
            self.running[who] += 1
            want.told(want)
            if self.waiting[who]:
                self.waiting[who][0].told(self.waiting[who][0])
            elif not (self.waiting[LIST] or self.waiting[MEDIA]):
                return

    def moment(self, now: float) -> float:
        """Return when the next request may be sent."""
        return max(now - _CATCH_UP_SECONDS, self.next_at)

    @property
    def is_plenty(self) -> bool:
        """Whether both pace and places are plentiful."""
        few = self.running.total() + _SPARE <= min(self.most, self.found.now)
        return few and self.gap < _ABUNDANT_SECONDS and not any(self.waiting.values())

    @property
    def is_full(self) -> bool:
        """Whether no transfer gets a place before another request ends."""
        media_most = max(1, min(self.found.now - self.running[LIST], self.most - 1))  # one is reserved for a list
        return self.running[MEDIA] >= media_most

    def _next(self) -> str | None:
        """Return who may have a place; if both wait, in turns."""
        found, lists, media = self.found.now, self.running[LIST], self.running[MEDIA]
        may = {LIST: lists < max(1, found - media), MEDIA: not self.is_full}
        turns = (LIST, MEDIA) if self.last == MEDIA else (MEDIA, LIST)
        if lists + media >= self.most:
            return None
        return next((who for who in turns if self.waiting[who] and may[who]), None)


class Limits:
    """A budget for this process's threads; other processes use `ask` and `end`. Thread-safe."""

    def __init__(
        self, requests_per_second: float, max_concurrency: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._budget = _Budget(1 / requests_per_second, max_concurrency, Concurrency(max_concurrency))
        self._clock = clock
        self._lock = threading.Lock()
        self.on_rest: list[Callable[[Pause], None]] = []
        """Called, with the budget locked, to tell other processes of a rest."""

    @property
    def standing(self) -> CurrentLimit:
        """The limit found so far."""
        return CurrentLimit(self._budget.found.now, self._budget.found.held_by)

    def turn(self, stop: Stop, who: str = MEDIA, patience: float = math.inf, waits: Waits | None = None) -> Turn:
        """Return a context that waits for the pace and a place, and holds the place.

        `waits` records the wait. Raises Interrupted on a stop, Resting if the provider's rest exceeds `patience`.
        """
        return Turn(self, stop, who, patience, self._clock, waits)

    @property
    def rest(self) -> Pause:
        """The rest that the provider asked for."""
        return self._budget.rest

    def end(self, who: str = MEDIA, count: int = 1) -> None:
        """Give places back."""
        with self._lock:
            self._budget.running[who] -= count
            self._budget.grant(self._clock())

    def forgo(self, who: str = MEDIA) -> None:
        """Give a place back that no request used."""
        self.end(who)

    def ask(self, want: Want) -> None:
        """Queue a request."""
        with self._lock:
            self._budget.waiting[want.who].append(want)
            self._budget.grant(self._clock())

    def charge(self, requests: float) -> None:
        """Have the next requests wait for so many that were sent without asking; fewer than none: not for as many."""
        with self._lock:
            now = self._clock()
            self._budget.next_at = self._budget.moment(now) + requests * self._budget.gap
            self._budget.grant(now)

    def withdraw(self, want: Want) -> bool:
        """Withdraw a request. False if it is already granted: then the caller must give its place back."""
        with self._lock:
            if want.at is None:
                self._budget.waiting[want.who].remove(want)
            return want.at is None

    def patience(self, want: Want) -> float:
        """Return how many seconds to wait: the next in line watches the time, others only check for a stop."""
        is_next = next(iter(self._budget.waiting[want.who]), None) is want
        return self.look() if is_next else LOOK_SECONDS

    def look(self) -> float:
        """Grant what may be granted now; return in how many seconds to look again."""
        with self._lock:
            budget, now = self._budget, self._clock()
            budget.grant(now)
            first = max(budget.rest.until, budget.moment(now) - _AHEAD_SECONDS)
            return min(LOOK_SECONDS, max(_LEAST_SECONDS, first - now)) if first > now else LOOK_SECONDS

    @property
    def is_plenty(self) -> bool:
        """Whether a permit may be requested before it is needed."""
        return self._budget.is_plenty

    @property
    def is_full(self) -> bool:
        """Whether no transfer gets a place before another request ends."""
        return self._budget.is_full

    def note(self, noted: Noted) -> None:
        """Learn from an answer's status and the time to its first byte."""
        with self._lock:
            budget, moment = self._budget, self._clock() if noted.at is None else noted.at
            if noted.is_refusal:
                budget.found.refused(noted.wait, moment)
                self._rest(noted, moment)
            else:
                wait = noted.wait if noted.status < _FIRST_ERROR else None
                budget.found.answered(noted.kind, wait, moment, budget.running.total())
            budget.grant(self._clock())

    def _rest(self, noted: Noted, moment: float) -> None:
        until = moment + min(noted.rest or 0.0, MOST_REST)
        if noted.rest and until > self._budget.rest.until:
            self._budget.rest = Pause(until, noted.status)
            for told in self.on_rest:
                told(self._budget.rest)


class Pacing(Protocol):
    """What a session needs of a budget."""

    def turn(
        self, stop: Stop, who: str = MEDIA, patience: float = math.inf, waits: Waits | None = None
    ) -> AbstractContextManager[None]: ...

    def note(self, noted: Noted) -> None: ...


class Budget(Pacing, Protocol):
    """A budget, whichever process holds it."""

    @property
    def standing(self) -> CurrentLimit: ...

    @property
    def rest(self) -> Pause: ...

    def ask(self, want: Want) -> None: ...

    def withdraw(self, want: Want) -> bool: ...

    def patience(self, want: Want) -> float: ...

    def end(self, who: str = MEDIA, count: int = 1) -> None: ...

    def forgo(self, who: str = MEDIA) -> None: ...


class Turn:
    """A request's place in a budget: entered at its time, left when it is over."""

    __slots__ = ("_budget", "_clock", "_patience", "_stop", "_waits", "_who")

    def __init__(
        self,
        budget: Budget,
        stop: Stop,
        who: str,
        patience: float,
        clock: Callable[[], float],
        waits: Waits | None = None,
    ) -> None:
        self._budget, self._stop, self._who, self._patience, self._clock = budget, stop, who, patience, clock
        self._waits = waits

    def __enter__(self) -> None:
        want = self._asked()
        now = self._clock()
        if want.at is None or not now - _LATE_SECONDS <= want.at <= now or self._budget.rest.until > now:
            with nullcontext() if self._waits is None else self._waits.on(TURN):
                self._wait(want)

    def _wait(self, want: Want) -> None:
        may_be_late = False
        while True:
            at = self._granted(want)
            try:
                now = self._clock()
                if at > now:
                    self._stop.sleep(at - now)
                    now = self._clock()
            except BaseException:
                self._budget.forgo(self._who)
                raise
            is_late = now - at > _LATE_SECONDS and not may_be_late
            if not (is_late or self._budget.rest.until > now):
                return
            self._budget.forgo(self._who)  # refused meanwhile, or too late: late ones would all be sent at once
            may_be_late = True  # a machine this slow would miss the next time, too
            want = self._asked()

    def __exit__(self, *_: object) -> None:
        self._budget.end(self._who)

    def _asked(self) -> Want:
        want = Want(self._who, _tell)
        self._budget.ask(want)
        return want

    def _granted(self, want: Want) -> float:
        """Wait until the request is granted; return its time."""
        if want.at is not None:
            return want.at
        seen = want.seen = threading.Event()  # created before the first look, so that no change is missed
        try:
            while want.at is None:
                self._budget.rest.check(self._clock(), self._patience)
                self._stop.check()
                seen.wait(self._budget.patience(want))
                seen.clear()
        except BaseException:
            if not self._budget.withdraw(want):
                self._budget.forgo(self._who)
            raise
        return want.at


def _tell(want: Want) -> None:
    """Wake the waiting thread."""
    if want.seen is not None:
        want.seen.set()
