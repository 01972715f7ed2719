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
"""What may limit a backfill: the bucket cannot be used, the provider throttles, requests_per_second, this machine's
CPU, a provider that answers more slowly the more requests it gets, max_concurrency; or, by what threads wait for, the
bucket's answers (`STORE`) or the provider's (`PROVIDER`)."""

_RECENT_SECONDS = 60.0
_BUSY = 0.9  # of a pace or a core: counts as all of it
_WAITED = 0.1  # threads on average: fewer waiting are not a limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The state of a backfill at one time. Rates are those of the last minute."""

    listing: bool
    listed: int
    recordings: int  # archived, or found archived
    bytes: int
    audio_seconds: float
    failures: int
    left: int
    per_second: float
    bytes_per_second: float
    held_back_by: str | None

    @property
    def eta_seconds(self) -> float | None:
        """Seconds left; None while the list is still read, or if nothing progresses."""
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
    """Written by the thread that settles; read from any thread."""

    line: Callable[[], LineFacts | None] = lambda: None
    requests_per_second: float = 0.0  # as configured
    spending: Callable[[], Spending] = lambda: Spending(time.process_time())  # of all processes
    cores: int = 1  # that the processes can use
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
        """Set the running scans, the number of recordings left, and the bucket's error, if any."""
        self._scans, self._left, self._trouble = scans, left, trouble

    def settled(self, job: Job, outcome: Outcome, state: State) -> None:
        if isinstance(outcome, Receipt):
            self._audio_seconds += job.recording.duration_seconds or 0.0
        elif state in (State.FAILING, State.DEAD):
            self._failures += 1

    def changed(self, report: Report) -> None:
        """Keep the report that is being filled."""
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
        """Return the first limit that applies; None if nothing that runs is limited."""
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
