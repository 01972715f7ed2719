"""Processes that query the bucket in parallel: one interpreter, one client and one core each.

Invariants. Only questions and answers travel, as plain data, in batches; the ledger stays with the parent. If a process
ends, the parent asks its unanswered questions itself. Each ends with its parent.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pickle
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Self

from recvault.app.runtime import Runtime
from recvault.app.transfer_setup import Equipment
from recvault.config import Config
from recvault.errors import WorkerBug
from recvault.log.lines import configure, get_logger
from recvault.shutdown import Stop
from recvault.store import Reader, StoreFacts
from recvault.workers import fork_server

log = get_logger("recvault.workers.bucket_readers")

Question = Callable[[Any], Any]
Work = Callable[[Reader], Question]  # is sent, so it consists of plain data

MOST = 8  # processes, as many as one parent can list for
_LOOK_SECONDS = 0.1
_END_SECONDS = 1.0  # for a process to end
_ORPHANED_SECONDS = 2.0


def cores() -> list[int]:
    """Return the cores for processes; empty if unknown, or if there is only one."""
    found = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []
    return found[:MOST] if len(found) > 1 else []


def answered(question: Question, items: Iterable[Any]) -> list[Any]:
    """Return an answer for each, up to the first error, which ends the list instead of an answer."""
    answers: list[Any] = []
    for item in items:
        try:
            answers.append(question(item))
        except Exception as error:  # noqa: BLE001 - raised by who asked
            return [*answers, error]
    return answers


class Crew:
    """Starts its processes when created. A context that ends them. Thread-safe."""

    def __init__(self, runtime: Runtime, reader: Reader, work: Work, cores: Sequence[int]) -> None:
        self._here = work(reader)
        threads = -(-runtime.settings.transfer.workers // len(cores))
        self._members: list[_Member] = []
        for core in cores:
            try:
                self._members.append(_Member(runtime, work, core, threads))
            except (OSError, RuntimeError) as error:  # no room for more: continue with those started, or none
                log.warning("crew.not_started", error=f"{type(error).__name__}: {error}")
                break

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._members:
            each.end()

    def ask(self, items: Sequence[Any], look: Callable[[], None]) -> list[Any]:
        """See `answered`. Calls `look` while it waits; `look` may raise."""
        living = [each for each in self._members if each.alive]
        if living:
            future = min(living, key=lambda each: each.load).give(items)
            while not wait([future], _LOOK_SECONDS).done:
                look()
            if (answers := future.result()) is not None:
                return answers
        return answered(self._here, items)

    @property
    def requests(self) -> Counter[str]:
        """Number of requests of the processes so far, by kind."""
        return sum((each.requests for each in self._members), Counter[str]())


@dataclass(slots=True, eq=False)
class _Member:
    """One process. Its futures yield None if it ended first."""

    runtime: Runtime
    work: Work
    core: int
    threads: int
    alive: bool = True
    requests: Counter[str] = field(default_factory=Counter)
    _waiting: dict[int, Future[list[Any] | None]] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _sending: threading.Lock = field(default_factory=threading.Lock)
    _ended: bool = False
    _pipe: Connection = field(init=False)
    process: BaseProcess = field(init=False)

    def __post_init__(self) -> None:
        self._pipe, theirs = Pipe()
        settings, facts = self.runtime.settings, self.runtime.store.facts
        what = (settings, facts, theirs, self.core, self.threads, self.work, dict(os.environ))
        self.process = fork_server.start(serve, *what)
        theirs.close()
        threading.Thread(target=self._read, name="answers", daemon=True).start()

    @property
    def load(self) -> int:
        return len(self._waiting)

    def give(self, items: Sequence[Any]) -> Future[list[Any] | None]:
        """Send questions; return the future of their answers."""
        future: Future[list[Any] | None] = Future()
        with self._lock:
            if not self.alive:
                future.set_result(None)
                return future
            number = next(self._numbers)
            self._waiting[number] = future
        threading.Thread(target=self._send, args=[number, items], daemon=True).start()
        return future

    def end(self) -> None:
        """Kill it: its answers have arrived, or are no longer needed."""
        self._ended = True
        if self.alive:  # otherwise its id may belong to another process
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid or 0, signal.SIGKILL)  # also if it or its forker is stopped
        self.process.join(_END_SECONDS)

    def _send(self, number: int, items: Sequence[Any]) -> None:
        with self._sending, contextlib.suppress(OSError):  # it has ended: its reader notices
            self._pipe.send((number, items))

    def _read(self) -> None:
        """Receive its answers until it ends."""
        try:
            while True:
                number, packed, self.requests = self._pipe.recv()
                answers = pickle.loads(packed)  # noqa: S301 - of a process of our own
                with self._lock:
                    future = self._waiting.pop(number)
                future.set_result(answers)
        except (EOFError, OSError):
            if not self._ended:
                log.warning("crew.lost", pid=self.process.pid, batches=self.load)
        except Exception as error:
            log.error("crew.unreadable", pid=self.process.pid, exc_info=error)
            self.end()
        with self._lock:
            self.alive = False
            left, self._waiting = list(self._waiting.values()), {}
        for future in left:
            future.set_result(None)


def serve(
    settings: Config,
    facts: StoreFacts,
    pipe: Connection,
    core: int,
    threads: int,
    work: Work,
    environment: Mapping[str, str],
) -> None:
    """In the process: answer questions from the pipe until it closes, at the latest with the parent."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a terminal sends them to all: the parent ends its own
    os.environ.clear()  # the forking process may have an older one
    os.environ.update(environment)
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, {core})
    configure(format=None, verbosity=-1)
    stop, lock = Stop(), threading.Lock()
    with Equipment(settings, clock=lambda: datetime.now(UTC), stop=stop, budget=_none) as equipment:
        equipment.store.facts = facts
        reader = equipment.store.reader()
        question = work(reader)

        def carry(number: int, items: Sequence[Any]) -> None:
            packed = packed_answers(answered(question, items))
            with lock, contextlib.suppress(OSError):  # the parent has ended
                pipe.send((number, packed, Counter(reader.requests)))

        with ThreadPoolExecutor(threads, thread_name_prefix="questions") as pool:
            with contextlib.suppress(EOFError, OSError):
                while True:
                    pool.submit(carry, *pipe.recv())
            stop.asked.set()
            fork_server.clear()
            leave = threading.Timer(_ORPHANED_SECONDS, os._exit, [1])
            leave.daemon = True
            leave.start()
            pool.shutdown(cancel_futures=True)


def packed_answers(answers: list[Any]) -> bytes:
    """Pickle answers; one that cannot be sent becomes a WorkerBug."""
    try:
        return pickle.dumps(answers)
    except Exception as error:  # noqa: BLE001 - of an error of another package, say
        return pickle.dumps([WorkerBug(type(error).__name__, f"an answer cannot be sent: {answers[-1]!r}")])


def _none(key: str, rate: float, most: int) -> Any:
    raise AssertionError(f"no provider is asked here: {key}")
