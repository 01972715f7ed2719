"""Keep an executor fed with what is due, and write down what comes back.

Invariant: a job that was claimed is settled or given back, whatever becomes of it; sources with work share the workers,
so that one that is slow holds back no other.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from recvault.ledger import Ledger, Policy
from recvault.models import DRAINED, Failure, Job, Outcome, State, Verdict
from recvault.observe import get_logger
from recvault.stopping import Stop
from recvault.verdicts import UNEXPECTED

log = get_logger("recvault.dispatch")

TICK = 0.2  # seconds between two looks at what is due and at a stop


@dataclass(slots=True, kw_only=True)
class Dispatch:
    """From claim to settlement. All but `running` is for one thread; who owns it calls `turn` again and again."""

    names: Sequence[str]  # sources, as claimed from
    ledger: Ledger
    executor: Executor
    transfer: Callable[[Job], Outcome]
    workers: int
    stop: Stop
    drain_timeout: timedelta
    clock: Callable[[], datetime]
    policies: Mapping[str, Policy]
    on_settled: Callable[[Job, Outcome, State], None]
    paused: bool = False  # nothing more is claimed, from any source
    _running: dict[Future[Outcome], Job] = field(default_factory=dict)
    _resting: dict[str, float] = field(default_factory=dict)  # sources from which nothing is claimed before then
    _claimed: Counter[str] = field(default_factory=Counter)  # jobs by source

    @property
    def running(self) -> int:
        """How many jobs are with the executor."""
        return len(self._running)

    def rest(self, name: str, seconds: float = math.inf) -> None:
        """Claim nothing more from a source for so long."""
        self._resting[name] = time.monotonic() + seconds

    def run(self, scans: Sequence[Future[None]]) -> None:
        """Take turns until nothing is due and no scan runs, or until a stop or a pause; then drain."""
        while not (self.stop.asked.is_set() or self.paused):
            listing = not all(scan.done() for scan in scans)  # asked before the claim: what it registers is claimed
            if self.turn():
                continue
            if not listing:
                break
            wait([scan for scan in scans if not scan.done()], timeout=TICK, return_when=FIRST_COMPLETED)
        self.drain()

    def turn(self) -> bool:
        """Claim what is due, wait a tick for what ends, write it down. False where there was nothing to do."""
        claimed = 0 if self.paused or self.stop.asked.is_set() else self._feed()
        if not self._running and not claimed:
            return False
        done, _ = wait(self._running, timeout=TICK, return_when=FIRST_COMPLETED)
        self._settle(done)
        return True

    def drain(self) -> None:
        """Let running transfers finish within drain_timeout, give the others back: nothing is lost either way."""
        self._settle([future for future in self._running if future.cancel()])
        self._settle(wait(self._running, timeout=self.drain_timeout.total_seconds()).done)
        if self._running:
            if self.stop.asked.is_set():
                self.stop.enforced.set()
            self._settle(wait(self._running).done)

    def _feed(self) -> int:
        """Claim what is due. Sources with work share the workers, so that a slow one does not take them all."""
        busy = Counter(job.source for job in self._running.values())
        moment = time.monotonic()
        if not self._running:
            self._resting = {name: until for name, until in self._resting.items() if until > moment + TICK}
        hungry = [name for name in self.names if self._resting.get(name, 0.0) <= moment]
        share = -(-self.workers // max(1, len({*hungry, *busy})))
        ahead = max(2, share // 2)  # handed over early, so that no worker waits for the ledger; claimed in batches
        claimed = 0
        # Shares are rounded up, so there may be fewer than sources: who has had the least is asked first.
        for name in sorted(hungry, key=lambda each: (busy[each], self._claimed[each])):
            room = min(share + ahead - busy[name], self.workers + ahead - len(self._running))
            if room < ahead:
                continue
            jobs = self.ledger.claim(name, self.clock(), room)
            if len(jobs) < room:
                self.rest(name, TICK)  # dry: not worth a question before then
            for job in jobs:
                self._running[self.executor.submit(self.transfer, job)] = job
            self._claimed[name] += len(jobs)
            claimed += len(jobs)
        return claimed

    def _settle(self, done: Collection[Future[Outcome]]) -> None:
        """Write down a batch of outcomes in one transaction, then tell each. Where that fails they are kept."""
        if not done:
            return
        jobs = [self._running[future] for future in done]
        outcomes = [self._outcome(job, future) for job, future in zip(jobs, done, strict=True)]
        states = self.ledger.settle(outcomes, self.clock(), self.policies)
        for future in done:
            del self._running[future]
        for future, job, outcome, state in zip(done, jobs, outcomes, states, strict=True):
            if not future.cancelled():
                self.on_settled(job, outcome, state)

    def _outcome(self, job: Job, future: Future[Outcome]) -> Outcome:
        """What a transfer came to. A bug that one recording brings out is told, and costs no other its turn."""
        if future.cancelled():
            message = "a stop came before its transfer began"
            return _retry(job, DRAINED, message, counted=False)
        error = future.exception()
        if error is None:
            return future.result()
        if isinstance(error, BrokenExecutor) or not isinstance(error, Exception):
            raise error  # no recording's doing
        log.error("transfer.bug", source=job.source, recording_id=job.recording.recording_id, exc_info=error)
        return _retry(job, UNEXPECTED, f"a bug in recvault, {type(error).__name__}: the log has its traceback")


def _retry(job: Job, reason: str, message: str, *, counted: bool = True) -> Failure:
    return Failure(
        source=job.source,
        recording=job.recording,
        verdict=Verdict.RETRY,
        reason=reason,
        message=message,
        counted=counted,
    )
