"""A worker process: runs jobs from a pipe in threads, and sends their outcomes.

Invariant: it ends with its parent, at the latest. It builds its own clients and resolves its own secrets; it receives
jobs and sends outcomes, each pickled separately: one that cannot be pickled is one recording's failure. Its parent
grants requests to a provider, permit by permit.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import queue
import signal
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection

from recvault.app.transfer_setup import Equipment
from recvault.config import Config
from recvault.dispatch.fair_queue import Places
from recvault.errors import Interrupted, WorkerBug
from recvault.http import STALE_SECONDS, Borrowed, Pause, Permits, Spent
from recvault.log.lines import configure
from recvault.log.meter import Spending
from recvault.models import Job, Outcome, Phase, Recording
from recvault.shutdown import Stop
from recvault.store import StoreFacts
from recvault.transfer.verdicts import failure_of
from recvault.workers import fork_server

BEAT_SECONDS = 1.0  # at most, between two messages: a silent process counts as hung
ASKED, ENFORCED, END = "asked", "enforced", "end"  # what the parent says of a stop, and that nothing more will come
_LINGER = 0.02  # seconds that an outcome waits for others: a message costs as much as several outcomes in it
_ORPHANED_SECONDS = 2.0  # that what runs may take to end, where there is no parent any more

Answers = Mapping[tuple[str, str], Counter[str]]  # by source and account, since the last time
_THE_JOBS = Recording(
    provider="",
    api="",
    account_id="",
    recording_id="",
    created_at=datetime.min.replace(tzinfo=UTC),
    status=None,
    phase=Phase.COMPLETE,
    formats=(),
)


@dataclass(frozen=True, slots=True)
class Begin:
    """A job to carry out."""

    number: int
    source: str
    job: bytes


@dataclass(frozen=True, slots=True)
class Grant:
    """Permits of an account's budget."""

    budget: str
    permits: Permits


@dataclass(frozen=True, slots=True)
class Hold:
    """An account asks for a rest."""

    budget: str
    rest: Pause


Order = Begin | Grant | Hold | str


@dataclass(frozen=True, slots=True)
class Done:
    """The result of a job: an outcome or an exception, pickled; and whether its recording is the job's own."""

    number: int
    packed: bytes
    is_unchanged: bool = False

    def outcome(self, job: Job) -> Outcome | BaseException:
        """Unpack it, where the job is known."""
        try:
            found: Outcome | BaseException = pickle.loads(self.packed)  # noqa: S301 - of a process of our own
        except Exception as error:  # noqa: BLE001 - of whatever class it is
            return WorkerBug(type(error).__name__, "the result cannot be read")
        return found if isinstance(found, BaseException) or not self.is_unchanged else _with(found, job.recording)


@dataclass(frozen=True, slots=True)
class Told:
    """One message of a worker process."""

    done: tuple[Done, ...]
    answers: Answers
    spent: Mapping[str, Spent]  # by budget
    spending: Spending
    quiet_seconds: float  # since the thread that was silent longest has shown that it goes on


def serve(
    settings: Config,
    facts: StoreFacts,
    pipe: Connection,
    core: int | None,
    workers: int,
    environment: Mapping[str, str],
) -> None:
    """Run jobs from the pipe until it closes, at the latest with the parent."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a terminal sends them to all: what is to be done the parent says
    os.environ.clear()  # the forking process may have an older one
    os.environ.update(environment)
    if core is not None:
        with contextlib.suppress(
            OSError
        ):  # threads of one interpreter take turns anyway: on one core they meet its caches
            os.sched_setaffinity(0, {core})
    configure(format=None, verbosity=-1)
    stop, teller = Stop(), _Teller(pipe)
    budgets: dict[str, Borrowed] = {}

    def borrow(key: str, rate: float, most: int) -> Borrowed:
        budgets[key] = Borrowed(teller.ask)
        return budgets[key]

    with Equipment(settings, clock=lambda: datetime.now(UTC), stop=stop, budget=borrow) as equipment:
        equipment.store.facts = facts
        transfer = equipment.transfer()
        gc.freeze()  # collections skip what stays
        telling = threading.Thread(target=teller.run, args=[equipment, budgets])
        telling.start()
        carry = _Carry(transfer, stop, teller.put)
        with _Turns(workers + len(settings.sources), Places(workers), carry) as turns:
            _listen(pipe, stop, turns.add, budgets)
        teller.end()
        telling.join()


@dataclass(frozen=True, slots=True)
class _Carry:
    """Runs a job and pickles its result. Never raises: any error is the job's result."""

    transfer: Callable[[Job], Outcome]
    stop: Stop
    put: Callable[[Done], None]

    def __call__(self, begin: Begin) -> None:
        try:
            done = self._done(begin)
        except BaseException as error:  # noqa: BLE001 - a bug: the parent tells it, as it does of its own threads
            done = Done(begin.number, pickle.dumps(WorkerBug(type(error).__name__, traceback.format_exc())))
        self.put(done)

    def _done(self, begin: Begin) -> Done:
        job: Job = pickle.loads(begin.job)  # noqa: S301 - of our parent
        try:
            self.stop.check()  # it waited for a thread here
            with self.stop.pulse.working():
                outcome = self.transfer(job)
        except Interrupted as error:
            outcome = failure_of(job, error)
        is_unchanged = outcome.recording is job.recording
        packed = pickle.dumps(_with(outcome, _THE_JOBS) if is_unchanged else outcome)
        return Done(begin.number, packed, is_unchanged)


class _Turns:
    """The threads that run jobs, and the jobs that wait for one, so that no thread waits for the parent.

    A context: at its end running jobs finish, and nothing more starts.
    """

    def __init__(self, threads: int, places: Places[Begin], carry: Callable[[Begin], None]) -> None:
        self._places, self._carry = places, carry
        self._lock = threading.Lock()
        self._begun: queue.SimpleQueue[Begin | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work, name=f"transfer-{number}") for number in range(threads)]

    def __enter__(self) -> _Turns:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._places.take_back()  # nobody waits for it
        for _thread in self._threads:
            self._begun.put(None)
        for thread in self._threads:
            thread.join()

    def add(self, begin: Begin) -> None:
        """Run it when its turn comes."""
        with self._lock:
            self._places.ready[begin.source].append(begin)
            self._begin()

    def _begin(self) -> None:
        while (found := self._places.next()) is not None:
            self._begun.put(found)

    def _work(self) -> None:
        while (found := self._begun.get()) is not None:
            self._carry(found)
            with self._lock:
                self._places.over(found.source)
                self._begin()


def _listen(pipe: Connection, stop: Stop, begin: Callable[[Begin], object], budgets: Mapping[str, Borrowed]) -> None:
    """Receive the parent's messages. If the parent has ended, nothing needs to be finished."""
    while True:
        try:
            orders: list[Order] = pipe.recv()
        except (EOFError, OSError):
            stop.asked.set()
            stop.enforced.set()
            fork_server.clear()
            leave = threading.Timer(_ORPHANED_SECONDS, os._exit, [1])
            leave.daemon = True
            leave.start()
            return
        for order in orders:
            if isinstance(order, Begin):
                begin(order)
            elif isinstance(order, Grant):
                budgets[order.budget].take(order.permits)
            elif isinstance(order, Hold):
                if order.budget in budgets:
                    budgets[order.budget].hold(order.rest)
            elif order == END:
                return
            else:
                (stop.asked if order == ASKED else stop.enforced).set()


class _Teller:
    """Sends outcomes, as many at once as there are; what is wanted of a budget; and how providers were asked."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._done: queue.SimpleQueue[Done] = queue.SimpleQueue()
        self._some = threading.Event()
        self._urgent = threading.Event()
        self._over = False

    def put(self, done: Done) -> None:
        """A job has ended."""
        self._done.put(done)
        if not self._some.is_set():
            self._some.set()

    def ask(self, is_urgent: bool) -> None:
        """A budget has something to report."""
        if is_urgent:
            self._urgent.set()
        if not self._some.is_set():  # else what there is is collected after it is cleared
            self._some.set()

    def end(self) -> None:
        """Send what is left, then stop."""
        self._over = True
        self.ask(True)

    def run(self, equipment: Equipment, budgets: Mapping[str, Borrowed]) -> None:
        """Send messages until the end."""
        told: Mapping[tuple[str, str], Counter[str]] = {}
        last = 0.0
        while not self._over:
            stocked = any(budget.has_stock for budget in list(budgets.values()))
            if self._some.wait(STALE_SECONDS if stocked else BEAT_SECONDS):
                self._urgent.wait(_LINGER)
            self._some.clear()
            self._urgent.clear()
            done = self._taken()
            spent = {key: each for key, budget in list(budgets.items()) if (each := budget.collect()) is not None}
            if not (done or spent or self._over or time.monotonic() - last >= BEAT_SECONDS):
                continue
            before, told = told, equipment.answers()
            asked = {key: counted - before.get(key, Counter()) for key, counted in told.items()}
            last = time.monotonic()
            quiet = equipment.stop.pulse.quiet_seconds()
            with contextlib.suppress(OSError):  # the parent has ended
                self._pipe.send(Told(done, asked, spent, equipment.spending(), quiet))

    def _taken(self) -> tuple[Done, ...]:
        batch = []
        with contextlib.suppress(queue.Empty):
            while True:
                batch.append(self._done.get_nowait())
        return tuple(batch)


def _with(outcome: Outcome, recording: Recording) -> Outcome:
    """An outcome without its recording, which the parent has, or with it again."""
    return outcome.altered(recording=recording)
