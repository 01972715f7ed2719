"""Worker processes: an executor whose jobs run in threads of several processes, one interpreter and one core each.

Nothing travels but jobs and outcomes: each process builds its own clients and resolves its own secrets. A process that
dies costs its jobs one try, and the others go on. What a provider may be asked is divided among them.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from recvault import worker
from recvault.models import Job, Outcome
from recvault.runtime import Runtime

_LOOK_SECONDS = 0.2
_END_SECONDS = 10.0  # that a process may take to end when it is told to


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
            process = spawn.Process(
                target=worker.serve, args=(settings, parent.parts, facts, theirs, core), daemon=True
            )
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
        for name, event in ((worker.ASKED, self._stop.asked), (worker.ENFORCED, self._stop.enforced)):
            while not event.wait(_LOOK_SECONDS):
                if self._ended.is_set():
                    return
            for child in self._children:
                with self._lock, contextlib.suppress(OSError):
                    child.pipe.send(name)
