"""A worker process: carries out jobs that come through a pipe, in threads, and tells what came of them.

Invariant: it ends with its parent, at the latest. It builds its own clients and resolves its own secrets; what it is
sent and what it sends are jobs and outcomes.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection

from recvault import observe
from recvault.config import Config
from recvault.errors import Interrupted
from recvault.models import Job, Outcome, Phase, Recording
from recvault.places import Places
from recvault.runtime import Runtime
from recvault.stopping import Stop
from recvault.store import StoreFacts
from recvault.verdicts import failure_of

_LINGER = 0.02  # seconds that an outcome waits for others: a message costs as much as several outcomes in it
ASKED, ENFORCED = "asked", "enforced"  # what the parent says of a stop; None ends the process

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


def serve(settings: Config, parts: int, facts: StoreFacts, pipe: Connection, core: int) -> None:
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
            self._places.take_back()  # nobody waits for it
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
        if message == ASKED:
            stop.asked.set()
        elif message == ENFORCED:
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
