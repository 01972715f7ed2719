"""A budget shared with another process: permits travel there and come back.

Invariant: granted permits count as in use until they are given back; those of a dead process are given back. A permit
is asked for when a thread waits for one, and where there is plenty a few before that, so
that no thread waits for its way. One that nobody uses at its moment is given back.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from recvault.http.limits import LOOK_SECONDS, MEDIA, CurrentLimit, Limits, Noted, Pause, Turn, Want
from recvault.log.meter import Waits
from recvault.shutdown import Stop

_AHEAD = 4  # permits of a process that has no use for them yet, where there is plenty
STALE_SECONDS = 0.05  # past its moment, after which a permit is given back


@dataclass(frozen=True, slots=True)
class Spent:
    """What a process requests from a budget, and used of it, since the last time."""

    wants: int
    ended: int
    noted: tuple[Noted, ...]


@dataclass(frozen=True, slots=True)
class Permits:
    """Moments at which requests may be sent; `plenty`: more may be asked for before they are needed."""

    moments: tuple[float, ...]
    plenty: bool


class Borrowed:
    """A budget that is held elsewhere, for the threads of this process. Thread-safe."""

    def __init__(self, tell: Callable[[bool], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._tell = tell  # there is something to collect; True: somebody waits for it
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: deque[Want] = deque()
        self._stock: deque[float] = deque()
        self._asked = 0  # and not granted
        self._plenty = False
        self._wants = self._ended = 0  # not collected yet
        self._noted: list[Noted] = []
        self._rest = Pause()

    # -- for the threads that ask --------------------------------------------------------------------------------------

    @property
    def standing(self) -> CurrentLimit:
        """Nothing is learned here, but where the budget is held."""
        return CurrentLimit(0, None)

    @property
    def rest(self) -> Pause:
        """The rest time that the provider asked for."""
        return self._rest

    def turn(self, stop: Stop, who: str = MEDIA, patience: float = float("inf"), waits: Waits | None = None) -> Turn:
        """As `Limits.turn`."""
        return Turn(self, stop, who, patience, self._clock, waits)

    def ask(self, want: Want) -> None:
        """Grant it when a permit comes, or at once if one is available."""
        with self._lock:
            self._drop_stale()
            if self._stock:
                want.at = self._stock.popleft()
            else:
                self._waiting.append(want)
            self._order()

    def withdraw(self, want: Want) -> bool:
        """Like `Limits.withdraw`. The requested permit is used by another request, or given back."""
        with self._lock:
            if want.at is None:
                self._waiting.remove(want)
            return want.at is None

    def patience(self, want: Want) -> float:
        """How often whoever waits should look for a stop."""
        return LOOK_SECONDS

    def end(self, who: str = MEDIA, count: int = 1) -> None:
        """Give places back."""
        with self._lock:
            self._ended += count
        self._tell(not self._plenty)

    def note(self, noted: Noted) -> None:
        """Report it to the budget's holder; react to a refusal here immediately."""
        at = self._clock() if noted.at is None else noted.at
        with self._lock:
            self._noted.append(Noted(noted.status, noted.kind, noted.wait, noted.rest, at))
        self._tell(noted.is_refusal)

    # -- for whoever carries messages ----------------------------------------------------------------------------------

    def collect(self) -> Spent | None:
        """Return what must be reported."""
        with self._lock:
            self._drop_stale()
            if not (self._wants or self._ended or self._noted):
                return None
            spent = Spent(self._wants, self._ended, tuple(self._noted))
            self._wants = self._ended = 0
            self._noted = []
            return spent

    def take(self, permits: Permits) -> None:
        """Take granted permits."""
        with self._lock:
            self._plenty = permits.plenty
            self._asked -= len(permits.moments)
            for moment in permits.moments:
                if self._waiting:
                    want = self._waiting.popleft()
                    want.at = moment
                    want.told(want)
                else:
                    self._stock.append(moment)

    def hold(self, rest: Pause) -> None:
        """Send nothing before that time; give available permits back."""
        with self._lock:
            self._rest = rest
            self._ended += len(self._stock)
            self._stock.clear()

    @property
    def has_stock(self) -> bool:
        """Whether something may have to be given back in a moment."""
        return bool(self._stock)

    def _order(self) -> None:
        """Request what is missing. Locked."""
        missing = len(self._waiting) + (_AHEAD if self._plenty else 0) - len(self._stock) - self._asked
        if missing > 0:
            self._asked += missing
            self._wants += missing
            self._tell(bool(self._waiting))

    def _drop_stale(self) -> None:
        last = self._clock() - STALE_SECONDS
        while self._stock and self._stock[0] < last:
            self._stock.popleft()
            self._ended += 1


class Loan:
    """What one process has of a budget that is held here."""

    def __init__(self, limits: Limits, send: Callable[[Permits], None]) -> None:
        self._limits = limits
        self._send = send
        self._waiting: set[Want] = set()
        self._out = 0

    def take(self, spent: Spent) -> None:
        """Learn from answers, take back finished permits, and request what is wanted."""
        for noted in spent.noted:
            self._limits.note(noted)
        if spent.ended:
            self._out -= spent.ended
            self._limits.end(MEDIA, spent.ended)
        for _ in range(spent.wants):
            self._waiting.add(want := Want(MEDIA, self._told))
            self._limits.ask(want)

    def close(self) -> None:
        """The process has died: drop its waiting and running requests."""
        for want in list(self._waiting):
            self._limits.withdraw(want)
        out, self._out = self._out, 0
        self._limits.end(MEDIA, out)

    def _told(self, want: Want) -> None:
        """Called with the budget locked."""
        if want.at is not None:
            self._waiting.discard(want)
            self._out += 1
            self._send(Permits((want.at,), self._limits.is_plenty))
