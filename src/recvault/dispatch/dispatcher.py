"""Feed an executor with what is due, and store the outcomes.

Invariant: every claimed job is settled or given back. Sources share the workers, and each has one place that no other
can take, so a slow source delays no other. A run ends when everything left has been tried in it: retries are welcome,
but do not keep a run alive.
"""

from __future__ import annotations

import contextlib
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from recvault.dispatch.fair_queue import Places
from recvault.errors import EngineLost, RecvaultError, WorkerBug, WorkerLost
from recvault.ledger import Ledger, Policy
from recvault.log.lines import get_logger
from recvault.models import DRAINED, WORKER_CRASHED, WORKER_LOST, Failure, Job, Outcome, State, Verdict
from recvault.shutdown import Stop
from recvault.transfer.verdicts import UNEXPECTED, WORKER_UNSTARTED

log = get_logger("recvault.dispatch.dispatcher")

TICK = 0.2  # seconds between two checks for due work and for a stop
ALONE_AT_ONCE = 2  # jobs that may crash their process, each in its own process
_CUT_SECONDS = 3.0  # after the drain, until running transfers are abandoned
_CROWD = 8  # concurrent transfers above which outcomes are collected
_LINGER = 0.02  # seconds for which they are collected, to be stored together
_DUE_AGAIN = frozenset({State.FAILING, State.NOT_READY})


@dataclass(slots=True, kw_only=True)
class Dispatch:
    """From claim to settlement. Its owner calls `turn` repeatedly, from one thread.

    The executor must run `workers` plus one per source at once: jobs given to it should start immediately.
    """

    names: Sequence[str]  # sources to claim from
    ledger: Ledger
    executor: Executor
    transfer: Callable[[Job], Outcome]
    workers: int
    stop: Stop
    drain_timeout: timedelta
    clock: Callable[[], datetime]
    policies: Mapping[str, Policy]
    on_settled: Callable[[Job, Outcome, State], None]
    on_quiet: Callable[[], None] = lambda: None  # called when all outcomes are stored and nothing waits
    prepared: Callable[[Job], Job] = lambda job: job  # called right before it starts
    paused: bool = False  # nothing more is started, of any source
    lost: EngineLost | None = None  # the cluster that ran all jobs is gone
    _running: dict[Future[Outcome], Job] = field(default_factory=dict)
    _resting: dict[str, float] = field(default_factory=dict)  # sources, and until when nothing of them is started
    _dry: dict[str, float] = field(default_factory=dict)  # sources with nothing due, not queried again before then
    _done: queue.SimpleQueue[Future[Outcome]] = field(default_factory=queue.SimpleQueue)
    _unsettled: list[Future[Outcome]] = field(default_factory=list)  # could not be stored when they ended
    _tried: set[tuple[str, str, str]] = field(default_factory=set)  # tried in this run, and due again
    _due_by: datetime | None = None  # of a run: claim only what was due by then, when something was last untried
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _alone: deque[Job] = field(default_factory=deque)  # claimed and not started, each to run alone
    _lone: set[Future[Outcome]] = field(default_factory=set)
    _is_beginning: bool = False
    _places: Places[Job] = field(init=False)  # jobs claimed and not started, and how many are running

    def __post_init__(self) -> None:
        self._places = Places(self.workers)

    @property
    def running(self) -> int:
        """Number of jobs that are started and whose outcome is not stored."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Number of jobs that are claimed and not started."""
        return self._places.waiting + len(self._alone)

    def rest(self, name: str, seconds: float = math.inf) -> None:
        """Start nothing more of a source for so long."""
        self._resting[name] = time.monotonic() + seconds

    def widen(self, workers: int) -> None:
        """Change the number of workers: the executor now runs so many at once. From any thread."""
        with self._lock:
            self.workers = workers
            self._places.widen(workers)

    def resume(self) -> None:
        """Try again what carries jobs, which was lost."""
        self.lost, self.paused = None, False

    def run(self, scans: Sequence[Future[None]]) -> None:
        """Take turns until nothing is due and no scan runs, or until a stop or a pause; then drain.

        Raises EngineLost, after all jobs are given back, if the cluster is gone.
        """
        try:
            self._run(scans)
        except BaseException:
            with self._lock:
                self.paused = True  # the executor is about to be closed: a job that ends must start no other
            raise
        self.drain()
        if self.lost is not None:
            raise self.lost

    def _run(self, scans: Sequence[Future[None]]) -> None:
        listed = False
        while not (self.stop.asked.is_set() or self.paused):
            listing = not all(scan.done() for scan in scans)  # checked first, so that what it registers is claimed
            if not listed or self._has_untried():
                self._due_by = self.clock()
            listed = not listing
            if self.turn():
                continue
            if not listing:
                break
            wait([scan for scan in scans if not scan.done()], timeout=TICK, return_when=FIRST_COMPLETED)

    def turn(self) -> bool:
        """Claim what is due, start it, store what ends within a tick. False if there was nothing to do."""
        if self._may_begin():
            self._claim()
            self._begin()
        if not self._running:
            return False
        self._settle(self._ended(TICK))
        if not (self._running or self._places.waiting):
            self.on_quiet()
        return True

    def drain(self) -> None:
        """Let running transfers finish, and give the others back; nothing is lost either way.

        After a stop they get drain_timeout, then a moment to notice. Transfers that still run are abandoned: their
        lease ends with the process.
        """
        self._give_back()
        for future in list(self._running):
            future.cancel()
        end = math.inf
        while self._running:
            moment = time.monotonic()
            if self.stop.asked.is_set() and end == math.inf:
                end = moment + self.drain_timeout.total_seconds()
                self.stop.allowance.extend(self.drain_timeout.total_seconds() + 2 * _CUT_SECONDS)
                log.info("drain.waiting", transfers=len(self._running), at_most=f"{end - moment:.0f} s")
            if moment > end:
                self.stop.enforced.set()
            if moment > end + _CUT_SECONDS:
                log.error("drain.abandoned", transfers=len(self._running))
                break
            self._settle(self._ended(TICK))
        self.on_quiet()

    def tidy(self) -> int:
        """Make due what ended processes had leased, and what a clock ahead of time delayed."""
        now = self.clock()
        freed = self.ledger.free_dead_leases(now)
        return freed + sum(self.ledger.bring_forward(name, now, self.policies[name].longest) for name in self.names)

    # -- from the ledger to the executor -------------------------------------------------------------------------------

    def _may_begin(self) -> bool:
        return not (self.paused or self.stop.asked.is_set())

    def _claim(self) -> None:
        """Keep some jobs of each source ready, claimed in batches, so that no worker waits for the ledger."""
        ahead = max(2, 2 * self.workers)  # as much as they may need while outcomes are collected and stored
        moment = time.monotonic()
        if not self._running:
            self._dry.clear()
        for name in self.names:
            ready = self._places.ready[name]
            if len(ready) > ahead // 2 or self._is_resting(name) or self._dry.get(name, 0.0) > moment:
                continue
            room = ahead - len(ready) + self._places.free(name)
            jobs = self.ledger.claim(name, self._due_by or self.clock(), room)
            if len(jobs) < room:
                self._dry[name] = moment + TICK
            ready.extend(jobs)
        for name in self.names:
            if (room := ALONE_AT_ONCE - len(self._lone) - len(self._alone)) > 0 and not self._is_resting(name):
                policy = self.policies.get(name, Policy())
                self._alone.extend(self.ledger.claim_alone(name, self._due_by or self.clock(), room, policy))

    def _begin(self) -> None:
        """Give jobs to the executor while there are places; also called when a job ends, in any thread."""
        with self._lock:
            if self._is_beginning:
                return  # the job ended as it started: the caller continues
            self._is_beginning = True
            try:
                while self._may_begin() and (job := self._places.next(self._is_resting)) is not None:
                    self._start(job)
                while self._may_begin() and self._alone and len(self._lone) < ALONE_AT_ONCE:
                    self._start(self._alone.popleft())
            finally:
                self._is_beginning = False

    def _start(self, job: Job) -> None:
        """Give a job to the executor. An error meanwhile becomes the job's outcome."""
        try:
            future = self._submitted(self.prepared(job))
        except Exception as error:  # noqa: BLE001 - a bug, told like those of a transfer
            future = Future()
            future.set_exception(error)
        self._running[future] = job
        if job.alone:
            self._lone.add(future)
        future.add_done_callback(self._over)

    def _submitted(self, job: Job) -> Future[Outcome]:
        try:
            return self.executor.submit(self.transfer, job)
        except (OSError, RuntimeError) as error:
            if isinstance(error, BrokenExecutor):
                raise
            raise WorkerLost(f"cannot be begun: {error}", begun=False) from error

    def _has_untried(self) -> bool:
        """Whether any job at hand is untried in this run."""
        with self._lock:
            waiting = [job for ready in self._places.ready.values() for job in ready]
            return any(job.recording.identity not in self._tried for job in [*self._running.values(), *waiting])

    def _is_resting(self, name: str) -> bool:
        return self._resting.get(name, 0.0) > time.monotonic()

    def _over(self, future: Future[Outcome]) -> None:
        with self._lock:
            if future in self._lone:
                self._lone.remove(future)
            else:
                self._places.over(self._running[future].source)
            self._done.put(future)
            self._begin()

    # -- from the executor to the ledger -------------------------------------------------------------------------------

    def _ended(self, seconds: float) -> list[Future[Outcome]]:
        """Wait for a transfer to end, and a moment for others, to store them in one transaction."""
        ended: list[Future[Outcome]] = []
        with contextlib.suppress(queue.Empty):
            ended.append(self._done.get(timeout=seconds))
            if len(self._running) > _CROWD and not self.stop.asked.is_set():
                time.sleep(_LINGER)
            while True:
                ended.append(self._done.get_nowait())
        return ended

    def _settle(self, ended: Sequence[Future[Outcome]]) -> None:
        """Store a batch of outcomes in one transaction, then report each. If that fails they are kept."""
        self._unsettled = done = [*self._unsettled, *ended]
        if not done:
            return
        jobs = [self._running[future] for future in done]
        outcomes = [self._outcome(job, future) for job, future in zip(jobs, done, strict=True)]
        states = self._written(jobs, outcomes)
        self._unsettled = []
        with self._lock:
            for future in done:
                del self._running[future]
        if self._due_by is not None:
            again = (each for each, state in zip(jobs, states, strict=True) if state in _DUE_AGAIN)
            self._tried.update(job.recording.identity for job in again)
            if any(isinstance(each, Failure) and each.reason == WORKER_LOST for each in outcomes):
                self._due_by = self.clock()  # due again now, from now on alone: this does not count as an attempt
        told = [self._tell(*each) for each in zip(jobs, outcomes, states, done, strict=True)]
        if bug := next(filter(None, told), None):
            raise bug

    def _tell(self, job: Job, outcome: Outcome, state: State, future: Future[Outcome]) -> Exception | None:
        """Report an outcome. Returns a bug of the observer, so that the other outcomes are still reported."""
        try:
            if not future.cancelled():
                self.on_settled(job, outcome, state)
        except Exception as error:  # noqa: BLE001 - raised when all are told
            return error
        return None

    def _written(self, jobs: Sequence[Job], outcomes: list[Outcome]) -> list[State]:
        """Store outcomes; return the states. One that cannot be stored becomes its own recording's failure."""
        try:
            return self.ledger.settle(outcomes, self.clock(), self.policies)
        except RecvaultError:
            raise  # the ledger's problem: the outcomes are kept
        except Exception:
            if len(outcomes) > 1:
                return [self._written([job], [each])[0] for job, each in zip(jobs, outcomes, strict=True)]
            log.exception("settle.bug", source=jobs[0].source, recording_id=jobs[0].recording.recording_id)
            failure = _retry(jobs[0], UNEXPECTED, "a bug in recvault: the result cannot be stored")
            return self.ledger.settle([failure], self.clock(), self.policies)

    def _give_back(self) -> None:
        with self._lock:
            jobs = [*self._places.take_back(), *self._alone]
            self._alone.clear()
        if jobs:
            self.ledger.settle([_drained(job) for job in jobs], self.clock(), self.policies)

    def _outcome(self, job: Job, future: Future[Outcome]) -> Outcome:
        """Return the outcome of a transfer. A bug with one recording is reported and affects no other."""
        if future.cancelled():
            return _drained(job)
        try:
            return future.result()
        except BrokenExecutor:
            raise  # no recording's fault
        except EngineLost as error:
            self.lost, self.paused = error, True
            return _retry(job, DRAINED, error.message, counted=False)  # due again now; it may have put something
        except WorkerLost as error:
            return _lost(job, error)
        except Exception as error:
            log.error("transfer.bug", source=job.source, recording_id=job.recording.recording_id, exc_info=error)
            kind = error.kind if isinstance(error, WorkerBug) else type(error).__name__
            return _retry(job, UNEXPECTED, f"a bug in recvault, {kind}: the log has its traceback")


def _lost(job: Job, error: WorkerLost) -> Failure:
    """Return what a dead process means for a job: nothing if it had not started; a suspicion; or its own fault."""
    process = f"the worker process {error.message}"
    if not error.begun:
        return _retry(job, WORKER_UNSTARTED, f"not started: {error.message}", counted=False)
    if not error.alone:
        return _retry(
            job, WORKER_LOST, f"{process}; perhaps for another reason; it will be retried alone", counted=False
        )
    return _retry(job, WORKER_CRASHED, f"{process} while it ran alone: out of memory, or its media crash a library")


def _drained(job: Job) -> Failure:
    return replace(_retry(job, DRAINED, "stopped before its transfer began", counted=False), may_have_put=False)


def _retry(job: Job, reason: str, message: str, *, counted: bool = True) -> Failure:
    return Failure(
        source=job.source,
        recording=job.recording,
        verdict=Verdict.RETRY,
        reason=reason,
        message=message,
        counted=counted,
    )
