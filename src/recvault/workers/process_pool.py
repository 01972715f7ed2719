"""Worker processes: an executor whose jobs run in threads of several processes, one interpreter and one core each.

Invariants: only jobs, outcomes and permits travel. If a process dies or hangs, its jobs are reported as lost, and
another process replaces it. A job that may be the cause runs alone.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from typing import Any

from recvault.app.runtime import Runtime, threads
from recvault.errors import WorkerLost
from recvault.log.lines import get_logger
from recvault.models import Job, Outcome
from recvault.workers import turns
from recvault.workers.child import Child

log = get_logger("recvault.workers.process_pool")

_LOOK_SECONDS = 0.2
_HUNG_SECONDS = 20.0  # without a message: a live process sends one each second
_BORN_SECONDS = 120.0  # until its first message
_STUCK_SECONDS = 900.0  # without progress of one of its threads: each of their waits is far shorter
_CUT_SECONDS = 1.5  # after the drain, until processes that still run jobs are killed
_END_SECONDS = 10.0  # for a process to end when told to
_STILLBORN = 3  # consecutive processes that end before their first message, after which no more are started
_IDLE_SECONDS = 60.0  # after which an idle process for jobs that run alone is ended


class Processes(Executor):
    """`submit(anything, job)` runs the job by the transfer that each process builds; no function is sent."""

    def __init__(self, parent: Runtime, *, count: int | None = None) -> None:
        self._parent = parent
        self.processes = parent.settings.transfer.processes if count is None else count
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._wanted = threading.Event()
        self._children: list[Child] = []
        self._stillborn = 0
        cores = sorted(os.sched_getaffinity(0))
        for number in range(self.processes):
            self._add(core=cores[number % len(cores)])
        for target, name in ((self._watch, "watch"), (self._grant, "permits")):
            threading.Thread(target=target, name=name, daemon=True).start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Give a job to the process with the fewest jobs, or to one where it runs alone."""
        job: Job = args[0]
        future: Future[Outcome] = Future()
        future.set_running_or_notify_cancel()  # the process has it: a stop reaches it there
        with self._lock:
            child = self._alone() if job.alone else self._least_busy()
        child.give(job, future)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Ask the processes to end, and wait for them."""
        with self._lock:
            self._ended.set()
            children = list(self._children)
        self._wanted.set()
        for child in children:
            child.say(turns.END)
        until = time.monotonic() + (_CUT_SECONDS if self._parent.stop.asked.is_set() else _END_SECONDS)
        for child in children if wait else ():
            child.process.join(max(0.0, until - time.monotonic()))
            if child.process.is_alive():
                child.kill()  # nothing is lost: its leases are freed
                child.process.join(_END_SECONDS)

    # -- who carries what ----------------------------------------------------------------------------------------------

    def _add(self, *, core: int | None = None, is_lone: bool = False) -> Child:
        child = Child(
            parent=self._parent,
            workers=1 if is_lone else self._parent.settings.transfer.workers,
            core=core,
            is_lone=is_lone,
            on_end=self._replace,
            on_left=self._pass_on,
            on_wants=self._wanted.set,
        )
        self._children.append(child)
        return child

    def _least_busy(self) -> Child:
        living = [child for child in self._children if child.alive and not child.is_lone]
        if not living:
            raise BrokenExecutor(f"{_STILLBORN} worker processes in a row ended at start")
        return min(living, key=lambda each: each.load)

    def _alone(self) -> Child:
        idle = [child for child in self._children if child.alive and child.is_lone and not child.load]
        return idle[0] if idle else self._add(is_lone=True)

    def _replace(self, child: Child) -> None:
        """A process has ended: replace it before its jobs are reported as lost."""
        with self._lock:
            self._children.remove(child)
            if self._ended.is_set():
                return
            if not (child.is_lone and not child.load and child.process.exitcode == 0):
                log.warning("worker.lost", pid=child.process.pid, exit_code=child.process.exitcode, alone=child.is_lone)
            self._stillborn = 0 if child.has_begun else self._stillborn + 1
            if not (child.is_lone or self._parent.stop.asked.is_set() or self._stillborn >= _STILLBORN):
                self._add(core=child.core)

    def _pass_on(self, job: Job, future: Future[Outcome]) -> None:
        """Give a job that an ended process had not started to another one, as if submitted there."""
        try:
            with self._lock:
                child = self._least_busy()
        except BrokenExecutor as error:
            future.set_exception(WorkerLost(str(error), begun=False))
        else:
            child.give(job, future)

    # -- in threads of their own ---------------------------------------------------------------------------------------

    def _grant(self) -> None:
        """Grant permits when they are due."""
        while not self._ended.is_set():
            seconds = min((limits.look() for limits in self._parent.lender.made), default=_LOOK_SECONDS)
            self._wanted.wait(seconds)
            self._wanted.clear()

    def _watch(self) -> None:
        """Pass a stop on; end processes that hang, and idle ones for jobs that run alone."""
        cut_at, looked_at = float("inf"), time.monotonic()
        said: set[str] = set()
        stop = self._parent.stop
        while not self._ended.wait(_LOOK_SECONDS):
            moment = time.monotonic()
            for name, event in ((turns.ASKED, stop.asked), (turns.ENFORCED, stop.enforced)):
                if event.is_set() and name not in said:
                    said.add(name)
                    self._say(name)
                    cut_at = moment + _CUT_SECONDS if name == turns.ENFORCED else cut_at
            for child in list(self._children):
                if moment - looked_at > _HUNG_SECONDS / 4:  # this process itself was paused
                    child.heard_at = moment
                elif why := self._hangs(child, moment, cut_at):
                    log.error("worker.hangs", pid=child.process.pid, reason=why)
                    child.kill()
                elif child.is_lone and not child.load and moment - child.busy_at > _IDLE_SECONDS:
                    child.say(turns.END)
            looked_at = moment

    def _say(self, order: str) -> None:
        for child in list(self._children):
            child.say(order)

    def _hangs(self, child: Child, moment: float, cut_at: float) -> str | None:
        if moment > cut_at and child.load:
            return "the drain is over"
        if moment - child.heard_at > (_HUNG_SECONDS if child.has_begun else _BORN_SECONDS):
            return f"silent for {moment - child.heard_at:.0f} s"
        return "a thread makes no progress" if child.quiet_seconds > _STUCK_SECONDS else None


class Sheltered(Executor):
    """Threads of this process; jobs that may end their process run in another one."""

    def __init__(self, parent: Runtime) -> None:
        self._parent = parent
        self._threads = threads(parent)
        self._shelter: Processes | None = None

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a job here or in the other process."""
        job: Job = args[0]
        if not job.alone:
            return self._threads.submit(fn, *args, **kwargs)
        if self._shelter is None:
            self._shelter = Processes(self._parent, count=0)
        return self._shelter.submit(fn, job)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Shut down both executors."""
        if self._shelter is not None:
            self._shelter.shutdown(wait, cancel_futures=cancel_futures)
        self._threads.shutdown(wait, cancel_futures=cancel_futures)
