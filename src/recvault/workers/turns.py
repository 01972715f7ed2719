"""The threads in which a worker runs jobs; each job's result is an outcome, or an error as text.

Invariant: each job given to it ends. Jobs and outcomes are pickled separately: one that cannot be pickled is one
recording's failure.
"""

from __future__ import annotations

import pickle
import queue
import threading
import traceback
from collections.abc import Callable, Set
from dataclasses import dataclass
from datetime import UTC, datetime

from recvault.dispatch.fair_queue import Places
from recvault.errors import Interrupted, WorkerBug
from recvault.models import Job, Outcome, Phase, Recording
from recvault.shutdown import Stop
from recvault.transfer.verdicts import failure_of

ASKED, ENFORCED, END = "asked", "enforced", "end"  # a planner's messages: a stop, its enforcement, no more jobs
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
    """A job to run, pickled."""

    number: int
    source: str
    job: bytes


@dataclass(frozen=True, slots=True)
class Done:
    """The result of a job: an outcome or an exception, pickled; `is_unchanged`: its recording is the job's, left
    out."""

    number: int
    packed: bytes
    is_unchanged: bool = False

    def outcome(self, job: Job) -> Outcome | BaseException:
        """Unpack it; `job` is the job that it belongs to."""
        try:
            found: Outcome | BaseException = pickle.loads(self.packed)  # noqa: S301 - of a process of our own
        except Exception as error:  # noqa: BLE001 - of whatever class it is
            return WorkerBug(type(error).__name__, "the result cannot be read")
        return found if isinstance(found, BaseException) or not self.is_unchanged else _with(found, job.recording)


@dataclass(frozen=True, slots=True)
class Carry:
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
            self.stop.check()  # a stop may have come while it waited here
            with self.stop.pulse.working():
                outcome = self.transfer(job)
        except Interrupted as error:
            outcome = failure_of(job, error)
        is_unchanged = outcome.recording is job.recording
        packed = pickle.dumps(_with(outcome, _THE_JOBS) if is_unchanged else outcome)
        return Done(begin.number, packed, is_unchanged)


class Turns:
    """The threads that run jobs, and the jobs that wait for one, so that no thread waits for the parent.

    A context: at its end running jobs finish, and nothing more starts.
    """

    def __init__(self, threads: int, places: Places[Begin], carry: Callable[[Begin], None]) -> None:
        self._places, self._carry = places, carry
        self._lock = threading.Lock()
        self._begun: queue.SimpleQueue[Begin | None] = queue.SimpleQueue()
        names = [f"transfer-{number}" for number in range(threads)]
        self._threads = [threading.Thread(target=self._work, name=name, daemon=True) for name in names]

    def __enter__(self) -> Turns:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._places.take_back()  # they are not needed any more
        for _thread in self._threads:
            self._begun.put(None)
        for thread in self._threads:
            thread.join()

    def add(self, begin: Begin) -> None:
        """Run it when its turn comes."""
        with self._lock:
            self._places.ready[begin.source].append(begin)
            self._begin()

    def withdraw(self, numbers: Set[int]) -> set[int]:
        """Take back those that still wait; return their numbers."""
        taken: set[int] = set()
        with self._lock:
            for ready in self._places.ready.values():
                for begin in [each for each in ready if each.number in numbers]:
                    ready.remove(begin)
                    taken.add(begin.number)
        return taken

    def _begin(self) -> None:
        while (found := self._places.next()) is not None:
            self._begun.put(found)

    def _work(self) -> None:
        while (found := self._begun.get()) is not None:
            self._carry(found)
            with self._lock:
                self._places.over(found.source)
                self._begin()


def _with(outcome: Outcome, recording: Recording) -> Outcome:
    """Replace an outcome's recording: it is left out for sending, because the parent has it, and put back later."""
    return outcome.altered(recording=recording)
