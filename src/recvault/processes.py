"""Worker processes: an executor whose jobs run in threads of several processes, one interpreter and one core each.

Nothing travels but jobs and outcomes: each process builds its own clients and resolves its own secrets. A process that
dies costs its jobs one try, and the others go on. What a provider may be asked is divided among them.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import queue
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from recvault import observe
from recvault.config import Config
from recvault.errors import Interrupted
from recvault.models import Job, Outcome, Phase, Recording
from recvault.places import Places
from recvault.runtime import Runtime
from recvault.stopping import Stop
from recvault.store import StoreFacts
from recvault.verdicts import failure_of

_LOOK_SECONDS = 0.2
_LINGER = 0.02  # seconds that an outcome waits for others: a message costs as much as several outcomes in it
_END_SECONDS = 10.0  # that a process may take to end when it is told to
_ASKED, _ENFORCED = "asked", "enforced"

Answers = dict[tuple[str, str], Counter[str]]  # by source and account, since the last time


Done = tuple[int, Outcome | Exception, bool]  # a job's number, what came of it, whether its recording is the job's own
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


class ProcessDied(Exception):
    """A worker process ended in the midst of its jobs, e.g. killed for want of memory."""


@dataclass(slots=True, eq=False)
class _Child:
    """One worker process as its parent sees it."""

    process: BaseProcess
    pipe: Connection
    reader: threading.Thread | None = None
    waiting: dict[int, tuple[Future[Outcome], Job]] = field(default_factory=dict)
    outbox: list[tuple[int, Job]] = field(default_factory=list)  # given to it, not sent yet
    alive: bool = True


class Processes(Executor):
    """`submit(anything, job)`: the job is carried out by the transfer that each process builds; no function travels."""

    def __init__(self, parent: Runtime) -> None:
        settings, facts = parent.settings, parent.store.facts
        self._parent = parent
        self._stop = parent.stop
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._gathering = 0  # readers that are at a batch: what follows from it goes out together
        self._ended = threading.Event()
        spawn = multiprocessing.get_context("spawn")  # a fork would inherit the ledger's locks
        cores = sorted(os.sched_getaffinity(0))
        self._children = []
        for number in range(settings.transfer.processes):
            ours, theirs = spawn.Pipe()
            core = cores[number % len(cores)]
            process = spawn.Process(target=_serve, args=(settings, parent.parts, facts, theirs, core), daemon=True)
            process.start()
            theirs.close()
            self._children.append(_Child(process, ours))
        for child in self._children:
            child.reader = threading.Thread(target=self._read, args=[child], name="outcomes", daemon=True)
            child.reader.start()
        threading.Thread(target=self._pass_on_stop, name="stop", daemon=True).start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Give a job to the process that has the fewest."""
        [job] = args
        future: Future[Outcome] = Future()
        with self._lock:
            living = [child for child in self._children if child.alive]
            if not living:
                raise BrokenExecutor("every worker process has died")
            child = min(living, key=lambda each: len(each.waiting))
            number = next(self._numbers)
            child.waiting[number] = (future, job)
            child.outbox.append((number, job))
            future.set_running_or_notify_cancel()  # it is with the process: a stop reaches it there
            if not self._gathering:
                self._send_out()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Tell the processes to end, and wait for them."""
        self._ended.set()
        for child in self._children:
            with contextlib.suppress(OSError):
                child.pipe.send(None)
        if wait:
            for child in self._children:
                child.process.join(_END_SECONDS)
                if child.process.is_alive():
                    child.process.kill()  # nothing of it is lost: what it leased is freed
                    child.process.join()

    def _read(self, child: _Child) -> None:
        """Take in what one process has done, until it ends."""
        while True:
            try:
                outcomes, answers, standings = child.pipe.recv()
            except (EOFError, OSError):
                break
            for (source, account_id), counted in answers.items():
                self._parent.lines(source)(account_id).session.count(counted)
            for source, standing in standings.items():
                self._parent.lines(source).beside[child.process.pid or 0] = standing
            with self._gathered():
                for number, outcome, is_unchanged in outcomes:
                    with self._lock:
                        future, job = child.waiting.pop(number)
                    if isinstance(outcome, Exception):
                        future.set_exception(outcome)
                    else:
                        future.set_result(replace(outcome, recording=job.recording) if is_unchanged else outcome)
        with self._lock:
            child.alive = False
            left, child.waiting = child.waiting, {}
        for future, _ in left.values():
            future.set_exception(ProcessDied(f"worker process {child.process.pid} ended in the midst of its jobs"))

    @contextmanager
    def _gathered(self) -> Iterator[None]:
        """Keep back jobs that are submitted meanwhile: a message costs as much as several jobs in it."""
        with self._lock:
            self._gathering += 1
        try:
            yield
        finally:
            with self._lock:
                self._gathering -= 1
                self._send_out()

    def _send_out(self) -> None:
        for child in self._children:
            jobs, child.outbox = child.outbox, []
            if jobs:
                with contextlib.suppress(OSError):  # it died just now: its reader tells
                    child.pipe.send(jobs)

    def _pass_on_stop(self) -> None:
        for name, event in ((_ASKED, self._stop.asked), (_ENFORCED, self._stop.enforced)):
            while not event.wait(_LOOK_SECONDS):
                if self._ended.is_set():
                    return
            for child in self._children:
                with self._lock, contextlib.suppress(OSError):
                    child.pipe.send(name)


# -- in a worker process -----------------------------------------------------------------------------------------------


def _serve(settings: Config, parts: int, facts: StoreFacts, pipe: Connection, core: int) -> None:
    """Carry out what comes through the pipe, until it closes: with the parent, at the latest."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a terminal sends them to all: what is to be done the parent says
    with contextlib.suppress(OSError):  # threads of one interpreter take turns anyway: on one core they meet its caches
        os.sched_setaffinity(0, {core})
    observe.configure(format=None, verbosity=-1)
    stop = Stop()
    with Runtime(settings, clock=lambda: datetime.now(UTC), stop=stop, parts=parts) as runtime:
        runtime.store.facts = facts
        transfer = runtime.transfer()
        done: queue.SimpleQueue[Done | None] = queue.SimpleQueue()
        teller = threading.Thread(target=_tell, args=[runtime, pipe, done])
        teller.start()

        def carry(number: int, job: Job) -> None:
            try:
                stop.check()  # it waited for a thread here
                done.put(_slim(number, job, transfer(job)))
            except Interrupted as error:
                done.put(_slim(number, job, failure_of(job, error)))
            except Exception as error:  # noqa: BLE001 - a bug: the parent tells it, as it does of its own threads
                done.put((number, error, False))

        workers = settings.transfer.workers
        with _Turns(workers + len(settings.sources), Places(workers), carry) as turns:
            _listen(pipe, stop, turns.add)
        done.put(None)
        teller.join()


class _Turns:
    """The threads that carry jobs out, and the jobs that wait here for one: none of them waits for the parent.

    A context, at whose end what is begun is finished, and nothing more begins.
    """

    def __init__(self, threads: int, places: Places[tuple[int, Job]], carry: Callable[[int, Job], None]) -> None:
        self._places, self._carry = places, carry
        self._lock = threading.Lock()
        self._begun: queue.SimpleQueue[tuple[int, Job] | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work, name=f"transfer-{number}") for number in range(threads)]

    def __enter__(self) -> _Turns:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._places.ready.clear()  # nobody waits for what is left
        for _thread in self._threads:
            self._begun.put(None)
        for thread in self._threads:
            thread.join()

    def add(self, number: int, job: Job) -> None:
        """Carry it out when its turn comes."""
        with self._lock:
            self._places.ready[job.source].append((number, job))
            self._begin()

    def _begin(self) -> None:
        while (found := self._places.next()) is not None:
            self._begun.put(found)

    def _work(self) -> None:
        while (found := self._begun.get()) is not None:
            self._carry(*found)
            with self._lock:
                self._places.over(found[1].source)
                self._begin()


def _listen(pipe: Connection, stop: Stop, begin: Callable[[int, Job], object]) -> None:
    """Take in jobs and the parent's stops. Where the parent is no more, nothing needs to be finished."""
    while True:
        try:
            message = pipe.recv()
        except (EOFError, OSError):
            stop.asked.set()
            stop.enforced.set()
            return
        if message is None:
            return
        if message == _ASKED:
            stop.asked.set()
        elif message == _ENFORCED:
            stop.enforced.set()
        else:
            for number, job in message:
                begin(number, job)


def _slim(number: int, job: Job, outcome: Outcome) -> Done:
    """An outcome, without its recording where that is the job's own, which the parent has."""
    if outcome.recording is not job.recording:
        return number, outcome, False
    return number, replace(outcome, recording=_THE_JOBS), True


def _tell(runtime: Runtime, pipe: Connection, done: queue.SimpleQueue[Done | None]) -> None:
    """Send outcomes, as many at once as there are, and how providers were asked meanwhile."""
    told: Answers = {}
    while (first := done.get()) is not None:
        time.sleep(_LINGER)
        batch = [first]
        with contextlib.suppress(queue.Empty):
            while (further := done.get_nowait()) is not None:
                batch.append(further)
            done.put(None)
        before, told = told, runtime.answers()
        with contextlib.suppress(OSError):  # the parent is no more
            asked = {key: counted - before.get(key, Counter()) for key, counted in told.items()}
            pipe.send((batch, asked, runtime.standings()))
