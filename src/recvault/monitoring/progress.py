"""A backfill's progress, its speed, and what limits it now: written by the backfill, read for display."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from recvault.http import REFUSED
from recvault.log.meter import TURN, LineFacts, Spending
from recvault.models import Job, Outcome, Receipt, State
from recvault.monitoring.observer import Observer
from recvault.monitoring.report import Report

STORE_DOWN, LIMITED, PACE, CPU, SLOWER = "store_down", "limited", "pace", "cpu", "slower"
CONCURRENCY = "concurrency"
"""What may hold a backfill back: the bucket takes nothing, the provider asks for fewer requests or for a rest, the pace
that is configured, this machine, a provider that answers more slowly the more it is asked, max_concurrency; or, of what
threads wait for, the bucket's answers (`STORE`) or the provider's (`PROVIDER`)."""

_RECENT_SECONDS = 60.0
_BUSY = 0.9  # of a pace or a core: as good as all
_WAITED = 0.1  # of a thread on average: less is not a limit


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
    spent: Spending
    requests: int
    recordings: int
    bytes: int


@dataclass(slots=True, kw_only=True)
class Progress(Observer):
    """Written by the thread that settles; read from any."""

    line: Callable[[], LineFacts | None] = lambda: None
    requests_per_second: float = 0.0  # the pace that is configured
    spending: Callable[[], Spending] = lambda: Spending(time.process_time())  # of all processes
    cores: int = 1  # that they can keep busy
    clock: Callable[[], float] = time.monotonic
    report: Report | None = None
    _scans: Sequence[Future[None]] = ()
    _left: Callable[[], int] = lambda: 0
    _trouble: Callable[[], str | None] = lambda: None
    _audio_seconds: float = 0.0
    _failures: int = 0
    _samples: deque[_Sample] = field(default_factory=deque)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, scans: Sequence[Future[None]], left: Callable[[], int], trouble: Callable[[], str | None]) -> None:
        """The scans that list, how many recordings wait, and what keeps the bucket from taking any."""
        self._scans, self._left, self._trouble = scans, left, trouble

    def settled(self, job: Job, outcome: Outcome, state: State) -> None:
        if isinstance(outcome, Receipt):
            self._audio_seconds += job.recording.duration_seconds or 0.0
        elif state in (State.FAILING, State.DEAD):
            self._failures += 1

    def changed(self, report: Report) -> None:
        """The report that is being filled."""
        self.report = report

    def read(self) -> Reading:
        """Take a reading, once per display."""
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
        line = self.line()
        rows = list(self.report.accounts.values()) if self.report else []
        return _Sample(
            at=self.clock(),
            spent=self.spending(),
            requests=sum(line.answers.values()) if line else 0,
            recordings=sum(row.archived + row.already_archived for row in rows),
            bytes=sum(row.bytes for row in rows),
        )

    def _held_back_by(self, before: _Sample, now: _Sample) -> str | None:
        """The first that is so; None where nothing is under way that could be held back."""
        if self._trouble():
            return STORE_DOWN
        line, seconds, spent = self.line(), now.at - before.at, now.spent - before.spent
        held_by = line.held_by if line is not None else None
        if held_by == REFUSED:
            return LIMITED
        if seconds and self.requests_per_second:
            if (now.requests - before.requests) / seconds >= _BUSY * self.requests_per_second:
                return PACE
            if spent.cpu / seconds >= _BUSY * self.cores:
                return CPU
        if held_by is not None:
            return SLOWER
        what = max(spent.waits, key=spent.waits.__getitem__, default=None)
        if what is None or spent.waits[what] < _WAITED * seconds:
            return None
        return CONCURRENCY if what == TURN else what
