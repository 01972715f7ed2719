"""A budget shared with another process: permits are sent there and come back.

Invariant: granted permits count as in use until they are given back; those of a dead process are given back. A permit
is requested when a thread waits for one; if there is plenty a few are requested in advance, so that no thread waits for
the message. A permit not used in time is given back.
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

_AHEAD = 4  # permits that a process requests in advance, if there is plenty
STALE_SECONDS = 0.05  # a permit later than this is given back


@dataclass(frozen=True, slots=True)
class Spent:
    """What a process requests from a budget, and what it used, since the last report."""

    wants: int
    ended: int
    noted: tuple[Noted, ...]


@dataclass(frozen=True, slots=True)
class Permits:
    """Times at which requests may be sent; `plenty`: more may be requested in advance."""

    moments: tuple[float, ...]
    plenty: bool


class Borrowed:
    """A budget held by another process, for the threads of this one. Thread-safe."""

    def __init__(self, tell: Callable[[bool], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._tell = tell  # called if there is something to collect; True: it is urgent
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: deque[Want] = deque()
        self._stock: deque[float] = deque()
        self._asked = 0  # permits requested and not granted yet
        self._plenty = False
        self._wants = self._ended = 0  # not collected yet
        self._noted: list[Noted] = []
        self._rest = Pause()

    # -- for the threads that ask --------------------------------------------------------------------------------------

    @property
    def standing(self) -> CurrentLimit:
        """Always 0: the limit is known only where the budget is held."""
        return CurrentLimit(0, None)

    @property
    def rest(self) -> Pause:
        """The rest that the provider asked for."""
        return self._rest

    def turn(self, stop: Stop, who: str = MEDIA, patience: float = float("inf"), waits: Waits | None = None) -> Turn:
        """See `Limits.turn`."""
        return Turn(self, stop, who, patience, self._clock, waits)

    def ask(self, want: Want) -> None:
        """Grant it at once if a permit is in stock, else when one arrives."""
        with self._lock:
            self._drop_stale()
            if self._stock:
                want.at = self._stock.popleft()
            else:
                self._waiting.append(want)
            self._order()

    def withdraw(self, want: Want) -> bool:
        """See `Limits.withdraw`. The permit requested for it serves another request, or is given back."""
        with self._lock:
            if want.at is None:
                self._waiting.remove(want)
            return want.at is None

    def patience(self, want: Want) -> float:
        """Return how often a waiting thread checks for a stop, in seconds."""
        return LOOK_SECONDS

    def end(self, who: str = MEDIA, count: int = 1) -> None:
        """Give places back."""
        with self._lock:
            self._ended += count
        self._tell(not self._plenty)

    def forgo(self, who: str = MEDIA) -> None:
        """Give a place back that no request used."""
        self.end(who)

    def note(self, noted: Noted) -> None:
        """Keep an answer for the budget's holder; a refusal is reported at once."""
        at = self._clock() if noted.at is None else noted.at
        with self._lock:
            self._noted.append(Noted(noted.status, noted.kind, noted.wait, noted.rest, at))
        self._tell(noted.is_refusal)

    # -- for the message thread ----------------------------------------------------------------------------------------

    def collect(self) -> Spent | None:
        """Return what must be reported; None if there is nothing."""
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
        """Send nothing before the rest is over; give the stock back."""
        with self._lock:
            self._rest = rest
            self._ended += len(self._stock)
            self._stock.clear()

    @property
    def has_stock(self) -> bool:
        """Whether permits are in stock, which may have to be given back."""
        return bool(self._stock)

    def _order(self) -> None:
        """Request the permits that are missing. The caller holds the lock."""
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
    """What another process has of a budget that is held here."""

    def __init__(self, limits: Limits, send: Callable[[Permits], None]) -> None:
        self._limits = limits
        self._send = send
        self._waiting: set[Want] = set()
        self._out = 0

    def take(self, spent: Spent) -> None:
        """Note its answers, take back its finished permits, and request those that it wants."""
        for noted in spent.noted:
            self._limits.note(noted)
        if spent.ended:
            self._out -= spent.ended
            self._limits.end(MEDIA, spent.ended)
        for _ in range(spent.wants):
            self._waiting.add(want := Want(MEDIA, self._told))
            self._limits.ask(want)

    def close(self) -> None:
        """Drop the requests and take back the permits of a process that died."""
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
