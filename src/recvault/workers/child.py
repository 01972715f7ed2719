"""The parent's view of a worker process: started, given jobs and permits, read from, alive or dead.

Invariant: each job given to it ends, by its outcome or by its death. A separate thread writes to it, so a hanging
process blocks nothing.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import pickle
import queue
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from recvault.app.runtime import Runtime
from recvault.errors import WorkerLost
from recvault.http import Loan, Pause, Permits
from recvault.log.lines import get_logger
from recvault.models import Job, Outcome
from recvault.workers import fork_server, process_worker
from recvault.workers.process_worker import Grant, Hold, Order, Told
from recvault.workers.turns import Begin

log = get_logger("recvault.workers.child")

_TOLD_SECONDS = 5.0  # after its end, for the fork server's report, which may be stopped itself


@dataclass(slots=True, eq=False)
class Child:
    """Runs once created. `on_end` is called once, after its death and before its jobs are given up.

    `on_left` gets each of its jobs that cannot have started.
    """

    parent: Runtime
    workers: int
    core: int | None
    is_lone: bool  # for jobs that run alone
    on_end: Callable[[Child], None]
    on_left: Callable[[Job, Future[Outcome]], None]
    on_wants: Callable[[], None]
    heard_at: float = field(default_factory=time.monotonic)
    busy_at: float = field(default_factory=time.monotonic)  # when it last got a job or finished one
    quiet_seconds: float = 0.0
    has_begun: bool = False  # it has sent a message
    alive: bool = True
    _waiting: dict[int, tuple[Future[Outcome], Job]] = field(default_factory=dict)
    _loans: dict[str, tuple[Loan, Callable[[Pause], None]]] = field(default_factory=dict)
    _orders: queue.SimpleQueue[Order | None] = field(default_factory=queue.SimpleQueue)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _pipe: Connection = field(init=False)
    process: BaseProcess = field(init=False)

    def __post_init__(self) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        what = (self.parent.settings, self.parent.store.facts, theirs, self.core, self.workers)
        self.process = fork_server.start(process_worker.serve, *what, dict(os.environ))
        theirs.close()
        for target, name in ((self._read, "outcomes"), (self._write, "orders")):
            threading.Thread(target=target, name=name, daemon=True).start()

    @property
    def load(self) -> int:
        """Number of its jobs."""
        return len(self._waiting)

    def give(self, job: Job, future: Future[Outcome]) -> None:
        """Send it a job."""
        try:
            packed = pickle.dumps(job)
        except Exception as error:  # noqa: BLE001 - e.g. a row nested too deep: that one cannot travel
            future.set_exception(error)
            return
        with self._lock:
            number = next(self._numbers)
            if self.alive:
                self._waiting[number], self.busy_at = (future, job), time.monotonic()
                self._orders.put(Begin(number, job.source, packed))
                return
        future.set_exception(self._lost(begun=False))

    def say(self, order: str) -> None:
        """Send a stop, its enforcement, or the end."""
        self._orders.put(order)

    def kill(self) -> None:
        """Kill it. SIGKILL also ends a stopped process.

        By its id: if the fork server was killed, `Process.kill` assumes that all its children ended.
        """
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid or 0, signal.SIGKILL)

    def _write(self) -> None:
        """Send all queued orders in one message: a message costs as much as several jobs in it."""
        while self.alive:
            orders = [self._orders.get()]
            while not self._orders.empty():
                orders.append(self._orders.get())
            try:
                self._pipe.send([order for order in orders if order is not None])
            except OSError:  # it just died: its reader notices
                return

    def _read(self) -> None:
        """Receive its messages until it ends."""
        while True:
            try:
                self._take_in(self._pipe.recv())
            except (EOFError, OSError):
                break
            except Exception as error:
                log.error("worker.unreadable", pid=self.process.pid, exc_info=error)
                break
        self.kill()
        self.process.join(_TOLD_SECONDS)
        self._bury()

    def _take_in(self, told: Told) -> None:
        self.heard_at, self.quiet_seconds, self.has_begun = time.monotonic(), told.quiet_seconds, True
        for (source, account_id), counted in told.answers.items():
            self.parent.lines(source)(account_id).session.count.add(counted)
        for budget, spent in told.spent.items():
            self._loan(budget).take(spent)
        if told.spent:
            self.on_wants()
        self.parent.beside[self.process.pid or 0] = told.spending
        if told.done:
            self.busy_at = self.heard_at
        for done in told.done:
            with self._lock:
                future, job = self._waiting.pop(done.number)
            outcome = done.outcome(job)
            if isinstance(outcome, BaseException):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

    def _loan(self, budget: str) -> Loan:
        if budget not in self._loans:
            limits = self.parent.lender.at(budget)

            def grant(permits: Permits) -> None:
                self._orders.put(Grant(budget, permits))

            def hold(rest: Pause) -> None:
                self._orders.put(Hold(budget, rest))

            limits.on_rest.append(hold)
            self._loans[budget] = (Loan(limits, grant), hold)
        return self._loans[budget][0]

    def _bury(self) -> None:
        with self._lock:
            self.alive = False
            left, self._waiting = list(self._waiting.values()), {}
        self._orders.put(None)
        for budget, (loan, hold) in self._loans.items():
            self.parent.lender.at(budget).on_rest.remove(hold)
            loan.close()
        self.on_end(self)
        met: Counter[str] = Counter()
        for future, job in left:
            met[job.source] += 1
            if met[job.source] <= self.workers + 1:  # a source has so many threads at most
                future.set_exception(self._lost(begun=True))
            else:
                self.on_left(job, future)

    def _lost(self, *, begun: bool) -> WorkerLost:
        """The error for a job whose process ended, before or after the job was given to it."""
        return WorkerLost(_end_of(self.process.exitcode), begun=begun, alone=self.is_lone)


def _end_of(exit_code: int | None) -> str:
    """Say how a process ended."""
    if exit_code is None:
        return "ended for an unknown reason"
    if exit_code < 0:
        return f"was killed by signal {-exit_code}"
    return f"ended with exit code {exit_code}"
