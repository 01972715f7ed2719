"""An executor on top of any other one: it collects jobs of a source into batches, which `carry` runs somewhere.

Invariants: each job given to it ends. A job is sent once its request is granted by its account's one budget, held here;
if carriers send more, later requests wait for it. The budget outlives this executor, so each place that it granted is
given back once, also when the engine is lost. A batch whose carrier is lost counts against no recording: jobs that may
have started are reported as lost, and run alone; the others are sent again. Nor does an engine's own error.
"""

from __future__ import annotations

import itertools
import pickle
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError, Executor, Future
from dataclasses import dataclass, field
from typing import Any

from recvault.app.runtime import Runtime
from recvault.errors import EngineLost, Interrupted, WorkerLost
from recvault.http import MEDIA, Limits, Want
from recvault.log.lines import get_logger
from recvault.models import Job, Outcome
from recvault.transfer.verdicts import failure_of
from recvault.workers import carrier, turns
from recvault.workers.carrier import Batch, Carried, carry
from recvault.workers.process_pool import Processes
from recvault.workers.spec import Spec
from recvault.workers.turns import Begin

log = get_logger("recvault.workers.batches")

MOST = 32  # jobs per batch: a task costs an engine as much as many jobs in it
_LOOK_SECONDS = 0.2
_REFUSAL = "nothing more is sent: shutting down"
GATHER_SECONDS = 0.02  # for which a batch's first job waits for others


@dataclass(slots=True, eq=False)
class _Waiting:
    """A job in progress."""

    job: Job
    future: Future[Outcome]
    begin: Begin
    limits: Limits
    want: Want | None = None  # once granted, it holds a place until `free`
    is_running: bool = False  # a drain can no longer cancel it

    @property
    def is_asking(self) -> bool:
        """Whether it waits for its request to be granted."""
        return self.want is not None and self.want.at is None

    def free(self) -> None:
        """Withdraw its request, or give its place back. The caller sees to it that only one thread does."""
        want, self.want = self.want, None
        if want is not None and not self.limits.withdraw(want):
            self.limits.end()

    def resolve(self, found: Outcome | BaseException) -> None:
        """End it, unless a drain has cancelled it."""
        if not self.is_running and not self.future.set_running_or_notify_cancel():
            return
        if isinstance(found, BaseException):
            self.future.set_exception(found)
        else:
            self.future.set_result(found)


@dataclass(slots=True, eq=False)
class _Open:
    """A batch that is being collected."""

    since: float
    jobs: list[_Waiting] = field(default_factory=list)


class Batched(Executor):
    """`submit(anything, job)` runs the job by the transfer that each carrier builds."""

    least = 3 * MOST  # jobs for each carrier: one batch at work, and one on the way in each direction

    def __init__(self, parent: Runtime, spec: Spec, inner: Executor) -> None:
        self._parent, self._spec, self._inner = parent, spec, inner
        self._tell: Callable[[str, str], None] = getattr(inner, "tell", carrier.tell)
        self._shelter = Processes(parent, count=0)
        self._numbers = itertools.count()
        self._wake = threading.Event()
        self._granted: queue.SimpleQueue[_Waiting] = queue.SimpleQueue()
        self._back: queue.SimpleQueue[tuple[Batch, list[_Waiting], Future[Carried]]] = queue.SimpleQueue()
        self._open: dict[str, _Open] = {}  # by source
        self._asking: set[_Waiting] = set()
        self._sent: set[_Waiting] = set()  # in a batch that has not come back: they hold a place, even if given up
        self._lost: EngineLost | None = None
        self._said: set[str] = set()
        self._lock = threading.Lock()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="batches", daemon=True)
        self._thread.start()

    @property
    def processes(self) -> int:
        """Number of carriers now."""
        return getattr(self._inner, "processes", 1)

    def on_width(self, told: Callable[[int], None]) -> None:
        """Call this when the number of carriers changes."""
        if (register := getattr(self._inner, "on_width", None)) is not None:
            register(told)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a job. One that may end its process runs alone, in a process of this machine."""
        job: Job = args[0]
        if self._ended:
            raise RuntimeError(_REFUSAL)
        if job.alone:
            return self._shelter.submit(fn, job)
        future: Future[Outcome] = Future()
        try:
            packed = pickle.dumps(job)
        except Exception as error:  # noqa: BLE001 - e.g. a row nested too deep: that one cannot travel
            future.set_exception(error)
            return future
        begin = Begin(next(self._numbers), job.source, packed)
        waiting = _Waiting(job, future, begin, self._parent.lender.of(job.source))
        with self._lock:
            if self._ended:
                raise RuntimeError(_REFUSAL)
            self._asking.add(waiting)
        self._ask(waiting)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Send nothing more. Jobs in progress are given up: after a drain there are none, or they hang."""
        with self._lock:
            self._ended = True
        self._wake.set()
        self._thread.join()
        self._shelter.shutdown(wait, cancel_futures=cancel_futures)
        self._inner.shutdown(wait, cancel_futures=cancel_futures)
        carrier.let_go(self._spec.run)
        with self._lock:  # what comes back later finds nothing to free
            sent, self._sent = self._sent, set()
        for each in sent:
            each.free()

    # -- in any thread -------------------------------------------------------------------------------------------------

    def _ask(self, waiting: _Waiting) -> None:
        """Request a permit for it."""

        def told(want: Want) -> None:  # called with the budget locked
            if want.at is not None:
                self._granted.put(waiting)
            self._wake.set()

        with self._lock:
            if waiting not in self._asking:
                return  # given up meanwhile
            if (lost := self._lost) is None:
                waiting.want = Want(MEDIA, told)
                waiting.limits.ask(waiting.want)
        if lost is not None:
            self._end(waiting, lost)

    # -- in its own thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._ended:
                self._turn()
        except Exception as error:
            log.error("engine.bug", exc_info=error)
            self._give_up(EngineLost(f"a bug in recvault, {type(error).__name__}: the log has its traceback"))
        for waiting in list(self._asking):
            self._end(waiting, _drained(waiting))

    def _turn(self) -> None:
        looks = [limits.look() for limits in self._parent.lender.made]
        ages = [each.since + GATHER_SECONDS - time.monotonic() for each in self._open.values()]
        self._wake.wait(max(0.0, min([*looks, *ages, _LOOK_SECONDS])))
        self._wake.clear()
        self._pass_on_stop()
        for batch, jobs, future in _taken(self._back):
            self._take_back(batch, jobs, future)
        for waiting in _taken(self._granted):
            self._collect(waiting)
        self._send_due()

    def _pass_on_stop(self) -> None:
        stop = self._parent.stop
        for order, event in ((turns.ASKED, stop.asked), (turns.ENFORCED, stop.enforced)):
            if event.is_set() and order not in self._said:
                self._said.add(order)
                self._tell(self._spec.run, order)
        if stop.asked.is_set():
            for waiting in [each for each in list(self._asking) if each.is_running and each.is_asking]:
                self._end(waiting, _drained(waiting))  # it was to be sent again

    def _collect(self, waiting: _Waiting) -> None:
        """Put a granted job into its source's batch."""
        if waiting not in self._asking:
            return  # given up meanwhile
        if not (waiting.is_running or waiting.future.set_running_or_notify_cancel()):
            self._leave(waiting)
            return
        waiting.is_running = True
        self._open.setdefault(waiting.job.source, _Open(time.monotonic())).jobs.append(waiting)

    def _send_due(self) -> None:
        moment, hurries = time.monotonic(), self._parent.stop.asked.is_set()
        for source, each in list(self._open.items()):
            limits = each.jobs[0].limits
            most = self._most(limits)
            if not (hurries or len(each.jobs) >= most or moment - each.since >= GATHER_SECONDS or limits.is_full):
                continue
            del self._open[source]
            jobs = [job for job in each.jobs if job in self._asking]  # others were given up meanwhile
            for first in range(0, len(jobs), most):
                self._send(jobs[first : first + most])

    def _most(self, limits: Limits) -> int:
        """Return the most jobs of a batch: half of a carrier's share of concurrency, so that another can follow."""
        return max(1, min(MOST, limits.standing.concurrency // (2 * self.processes)))

    def _send(self, jobs: list[_Waiting]) -> None:
        now = time.monotonic()
        batch = Batch(
            budget=self._parent.lender.key(jobs[0].job.source),
            jobs=tuple(each.begin for each in jobs),
            moments=tuple(each.want.at - now for each in jobs if each.want is not None and each.want.at is not None),
        )
        self._sent.update(jobs)
        try:
            future = self._inner.submit(carry, self._spec, batch)
        except Exception as error:  # noqa: BLE001 - of whatever engine
            future = Future()
            future.set_exception(error)

        def over(future: Future[Carried]) -> None:
            self._back.put((batch, jobs, future))
            self._wake.set()

        future.add_done_callback(over)

    def _take_back(self, batch: Batch, jobs: list[_Waiting], future: Future[Carried]) -> None:
        """Handle a batch that came back, or that never will."""
        try:
            carried = future.result()
        except WorkerLost as error:
            self._came_back(jobs)
            self._lose(jobs, error)
        except (CancelledError, Interrupted):
            self._came_back(jobs)
            for each in jobs:
                self._end(each, WorkerLost("was given up", begun=False))
        except BaseException as error:  # noqa: BLE001 - the engine's own: no recording's doing
            self._came_back(jobs)
            self._give_up(error)
        else:
            self._learn(batch, carried)
            self._came_back(jobs)
            self._settle(jobs, carried)

    def _came_back(self, jobs: Iterable[_Waiting]) -> None:
        """Give their places back."""
        self._sent.difference_update(jobs)
        for each in jobs:
            each.free()

    def _learn(self, batch: Batch, carried: Carried) -> None:
        """Note what providers answered, and the difference between granted and used requests."""
        now, parent = time.monotonic(), self._parent
        for (source, account_id), counted in carried.answers.items():
            parent.lines(source)(account_id).session.count.add(counted)
        spent: defaultdict[str, int] = defaultdict(int)
        for key, used in carried.used.items():
            for noted in used.noted_at(now):
                parent.lender.at(key).note(noted)
            spent[key] += used.requests
        spent[batch.budget] -= len(batch.jobs)
        for key, more in spent.items():
            if more:
                parent.lender.at(key).charge(more)
        parent.beside[carried.carrier] = carried.spending

    def _settle(self, jobs: list[_Waiting], carried: Carried) -> None:
        if carried.refused is not None:
            error = EngineLost(f"the worker {carried.carrier} refuses the work: {carried.refused}")
            self._give_up(error)
            return
        done = {each.number: each for each in carried.done}
        unbegun = set(carried.unbegun)
        for each in jobs:
            if (found := done.get(each.begin.number)) is not None:
                self._end(each, found.outcome(each.job))
            elif each.begin.number in unbegun:
                self._again(each)
            else:
                self._end(each, WorkerLost("has a thread that makes no progress"))

    def _lose(self, jobs: list[_Waiting], error: WorkerLost) -> None:
        """Report jobs that may have started as lost, to run alone; send the others again: they did nothing."""
        suspect = self._parent.settings.transfer.workers + 1 if error.begun else 0
        log.warning("worker.lost", error=error.message, jobs=len(jobs))
        for each in jobs[:suspect]:
            self._end(each, WorkerLost(error.message))
        for each in jobs[suspect:]:
            self._again(each)

    def _again(self, waiting: _Waiting) -> None:
        """Send it again, unless a stop was requested."""
        if self._parent.stop.asked.is_set():
            self._end(waiting, _drained(waiting))
        else:
            self._ask(waiting)

    def _give_up(self, error: BaseException) -> None:
        """Give everything back: nothing runs jobs any more."""
        lost = EngineLost.of(error)
        with self._lock:
            if self._lost is None:
                log.error("engine.lost", error=lost.message, exc_info=None if error is lost else error)
            self._lost = self._lost or lost
            asking = list(self._asking)
        for each in asking:
            self._end(each, lost)

    def _end(self, waiting: _Waiting, found: Outcome | BaseException) -> None:
        if self._leave(waiting):
            waiting.resolve(found)

    def _leave(self, waiting: _Waiting) -> bool:
        """Forget a job that ends, and free its place, unless its batch is away. False if it has ended already."""
        with self._lock:
            if waiting not in self._asking:
                return False
            self._asking.discard(waiting)
            if waiting not in self._sent:
                waiting.free()
        return True


def _drained(waiting: _Waiting) -> Outcome:
    return failure_of(waiting.job, Interrupted("stop requested"))


def _taken(found: queue.SimpleQueue[Any]) -> list[Any]:
    taken = []
    while not found.empty():
        taken.append(found.get())
    return taken
