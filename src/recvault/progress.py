"""How far a backfill has come, how fast it goes, and what holds it back now: told by it, read by whoever shows it."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from recvault.http import REFUSED
from recvault.meter import LineFacts
from recvault.models import Job, Outcome, Receipt, State
from recvault.report import Report

Settled = Callable[[Job, Outcome, State], None]

STORE_DOWN, LIMITED, PACE, CPU, SLOWER = "store_down", "limited", "pace", "cpu", "slower"
STORE, PROVIDER = "store", "provider"
"""What may hold a backfill back: the bucket takes nothing, the provider asks for fewer requests at once, the pace that
is configured, this machine, a provider that answers more slowly the more it is asked, the bucket's answers, the
provider's answers."""

_RECENT_SECONDS = 60.0
_BUSY = 0.9  # of a pace or a core: as good as all
_ROOMS = {"store": STORE, "http": PROVIDER}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One look at a backfill. Rates are those of the last minute."""

    listing: bool
    listed: int
    recordings: int  # archived, or found to be
    bytes: int
    audio_seconds: float
    failures: int
    left: int
    per_second: float
    bytes_per_second: float
    held_back_by: str | None

    @property
    def eta_seconds(self) -> float | None:
        """None while more may be listed, or nothing moves."""
        if self.listing or (self.left and not self.per_second):
            return None
        return self.left / self.per_second if self.left else 0.0


@dataclass(frozen=True, slots=True)
class _Sample:
    at: float
    cpu: float
    requests: int
    recordings: int
    bytes: int


@dataclass(slots=True, kw_only=True)
class Progress:
    """Told from the thread that settles; read from any."""

    line: Callable[[], LineFacts | None] = lambda: None
    requests_per_second: float = 0.0  # the pace that is configured
    clock: Callable[[], float] = time.monotonic
    report: Report | None = None
    _scans: Sequence[Future[None]] = ()
    _left: Callable[[], int] = lambda: 0
    _trouble: Callable[[], str | None] = lambda: None
    _audio_seconds: float = 0.0
    _failures: int = 0
    _samples: deque[_Sample] = field(default_factory=deque)
    _rooms: deque[Counter[str]] = field(default_factory=lambda: deque(maxlen=20))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, scans: Sequence[Future[None]], left: Callable[[], int], trouble: Callable[[], str | None]) -> None:
        """The scans that list, how many recordings wait, and what keeps the bucket from taking any."""
        self._scans, self._left, self._trouble = scans, left, trouble

    def watching(self, settled: Settled) -> Settled:
        """The same, counted along."""

        def counted(job: Job, outcome: Outcome, state: State) -> None:
            if isinstance(outcome, Receipt):
                self._audio_seconds += job.recording.duration_seconds or 0.0
            elif state in (State.FAILING, State.DEAD):
                self._failures += 1
            settled(job, outcome, state)

        return counted

    def changed(self, report: Report) -> None:
        """The report that is being filled."""
        self.report = report

    def read(self) -> Reading:
        """Look: as often as it is to be shown."""
        with self._lock:
            sample = self._sample()
            self._samples.append(sample)
            while len(self._samples) > 2 and sample.at - self._samples[0].at > _RECENT_SECONDS:
                self._samples.popleft()
            before = self._samples[0]
            seconds = sample.at - before.at
            rows = list(self.report.accounts.values()) if self.report else []
            return Reading(
                listing=not self._scans or not all(scan.done() for scan in self._scans),
                listed=sum(row.listed for row in rows),
                recordings=sample.recordings,
                bytes=sample.bytes,
                audio_seconds=self._audio_seconds,
                failures=self._failures,
                left=self._left(),
                per_second=(sample.recordings - before.recordings) / seconds if seconds else 0.0,
                bytes_per_second=(sample.bytes - before.bytes) / seconds if seconds else 0.0,
                held_back_by=self._held_back_by(before, sample),
            )

    def _sample(self) -> _Sample:
        self._rooms.append(_where_transfers_are())
        line = self.line()
        rows = list(self.report.accounts.values()) if self.report else []
        return _Sample(
            at=self.clock(),
            cpu=time.process_time(),
            requests=sum(line.answers.values()) if line else 0,
            recordings=sum(row.archived + row.already_archived for row in rows),
            bytes=sum(row.bytes for row in rows),
        )

    def _held_back_by(self, before: _Sample, now: _Sample) -> str | None:
        """The first that is so; None where nothing is under way that could be held back."""
        if self._trouble():
            return STORE_DOWN
        line, seconds = self.line(), now.at - before.at
        if line is not None and line.held_by == REFUSED:
            return LIMITED
        if seconds and self.requests_per_second:
            if (now.requests - before.requests) / seconds >= _BUSY * self.requests_per_second:
                return PACE
            if (now.cpu - before.cpu) / seconds >= _BUSY:
                return CPU
        if line is not None and line.held_by is not None:
            return SLOWER
        rooms = sum(self._rooms, Counter[str]())
        return rooms.most_common(1)[0][0] if rooms else None


def _where_transfers_are() -> Counter[str]:
    """How many transfers are with the bucket now, and how many with the provider, by what their threads run."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    found: Counter[str] = Counter()
    for ident, frame in sys._current_frames().items():
        if not names.get(ident, "").startswith("transfer"):
            continue
        at = frame
        while at is not None:
            package, _, rest = at.f_globals.get("__name__", "").partition(".")
            room = rest.partition(".")[0]
            if package == "recvault" and room != "wire":  # which both go by
                if room in _ROOMS:
                    found[_ROOMS[room]] += 1
                break
            at = at.f_back  # type: ignore[assignment]
    return found
