"""Keep an executor fed with what is due, and write down what comes back.

Invariant: a job that was claimed is settled or given back, whatever becomes of it; sources with work share the workers,
so that one that is slow holds back no other.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from recvault.ledger import Ledger, Policy
from recvault.models import DRAINED, Failure, Job, Outcome, State, Verdict
from recvault.observe import get_logger
from recvault.stopping import Stop
from recvault.verdicts import UNEXPECTED

log = get_logger("recvault.dispatch")

_TICK = 0.2  # seconds between two looks at what is due and at a stop


@dataclass(slots=True, kw_only=True)
class Dispatch:
    """From claim to settlement, for one pass. `blocked` and `ended` may be changed while it runs."""

    ledger: Ledger
    executor: Executor
    transfer: Callable[[Job], Outcome]
    workers: int
    stop: Stop
    drain_timeout: timedelta
    clock: Callable[[], datetime]
    policies: Mapping[str, Policy]
    on_settled: Callable[[Job, Outcome, State], None]
    blocked: set[str] = field(default_factory=set)  # sources from which nothing more is claimed
    ended: bool = False  # nothing more is claimed at all
    _dry: dict[str, float] = field(default_factory=dict)  # sources with nothing due, not asked again before then
    _claimed: Counter[str] = field(default_factory=Counter)  # jobs by source

    def run(self, names: Sequence[str], scans: Sequence[Future[None]]) -> None:
        """Keep the executor fed until nothing is due and no scan runs; drain when a stop is asked for."""
        running: dict[Future[Outcome], Job] = {}
        while not (self.stop.asked.is_set() or self.ended):
            listing = not all(scan.done() for scan in scans)  # asked before the claim: what it registers is claimed
            claimed = self._feed(names, running)
            if not running and not claimed:
                if not listing:
                    return
                wait([scan for scan in scans if not scan.done()], timeout=_TICK, return_when=FIRST_COMPLETED)
                continue
            done, _ = wait(running, timeout=_TICK, return_when=FIRST_COMPLETED)
            self._settle(done, running)
        self._drain(running)

    def _feed(self, names: Sequence[str], running: dict[Future[Outcome], Job]) -> int:
        """Claim what is due. Sources with work share the workers, so that a slow one does not take them all."""
        busy = Counter(job.source for job in running.values())
        moment = time.monotonic()
        if not running:
            self._dry.clear()
        hungry = [name for name in names if name not in self.blocked and self._dry.get(name, 0.0) <= moment]
        share = -(-self.workers // max(1, len({*hungry, *busy})))
        ahead = max(2, share // 2)  # handed over early, so that no worker waits for the ledger; claimed in batches
        claimed = 0
        # Shares are rounded up, so there may be fewer than sources: who has had the least is asked first.
        for name in sorted(hungry, key=lambda each: (busy[each], self._claimed[each])):
            room = min(share + ahead - busy[name], self.workers + ahead - len(running))
            if room < ahead:
                continue
            jobs = self.ledger.claim(name, self.clock(), room)
            if len(jobs) < room:
                self._dry[name] = moment + _TICK
            for job in jobs:
                running[self.executor.submit(self.transfer, job)] = job
            self._claimed[name] += len(jobs)
            claimed += len(jobs)
        return claimed

    def _settle(self, done: set[Future[Outcome]], running: dict[Future[Outcome], Job]) -> None:
        """Write down a batch of outcomes in one transaction, then tell each."""
        if not done:
            return
        jobs = [running.pop(future) for future in done]
        outcomes = [self._outcome(job, future) for job, future in zip(jobs, done, strict=True)]
        states = self.ledger.settle(outcomes, self.clock(), self.policies)
        for job, outcome, state in zip(jobs, outcomes, states, strict=True):
            self.on_settled(job, outcome, state)

    def _outcome(self, job: Job, future: Future[Outcome]) -> Outcome:
        """What a transfer came to. A bug that one recording brings out is told, and costs no other its turn."""
        error = future.exception()
        if error is None:
            return future.result()
        if isinstance(error, BrokenExecutor) or not isinstance(error, Exception):
            raise error  # no recording's doing
        log.error("transfer.bug", source=job.source, recording_id=job.recording.recording_id, exc_info=error)
        return Failure(
            source=job.source,
            recording=job.recording,
            verdict=Verdict.RETRY,
            reason=UNEXPECTED,
            message=f"a bug in recvault, {type(error).__name__}: the log has its traceback",
        )

    def _drain(self, running: dict[Future[Outcome], Job]) -> None:
        """Let running transfers finish within drain_timeout, give the others back: nothing is lost either way."""
        for future in list(running):
            if future.cancel():
                self._give_back(running.pop(future))
        done, late = wait(running, timeout=self.drain_timeout.total_seconds())
        self._settle(done, running)
        if late:
            if self.stop.asked.is_set():
                self.stop.enforced.set()
            self._settle(wait(late)[0], running)

    def _give_back(self, job: Job) -> None:
        failure = Failure(
            source=job.source,
            recording=job.recording,
            verdict=Verdict.RETRY,
            reason=DRAINED,
            message="a stop came before its transfer began",
            counted=False,
        )
        self.ledger.settle([failure], self.clock(), self.policies)
