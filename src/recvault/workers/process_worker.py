"""A worker process: runs jobs from a pipe in threads, and sends their outcomes.

Invariant: it ends with its parent, at the latest. It builds its own clients and resolves its own secrets; it receives
jobs and sends outcomes, each pickled separately: one that cannot be pickled is one recording's failure. Its parent
grants requests to a provider, permit by permit.
"""

from __future__ import annotations

import contextlib
import gc
import os
import queue
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection

from recvault.app.transfer_setup import Equipment
from recvault.config import Config
from recvault.dispatch.fair_queue import Places
from recvault.http import STALE_SECONDS, Borrowed, Pause, Permits, Spent
from recvault.log.lines import configure
from recvault.log.meter import Spending
from recvault.shutdown import Stop
from recvault.store import StoreFacts
from recvault.workers import fork_server
from recvault.workers.turns import ASKED, END, Begin, Carry, Done, Turns

BEAT_SECONDS = 1.0  # longest time between two messages: a silent process counts as hung
_LINGER = 0.02  # seconds that an outcome waits for others: a message costs as much as several outcomes in it
_ORPHANED_SECONDS = 2.0  # for running jobs to end after the parent has ended

Answers = Mapping[tuple[str, str], Counter[str]]  # by source and account, since the last time


@dataclass(frozen=True, slots=True)
class Grant:
    """Permits of an account's budget."""

    budget: str
    permits: Permits


@dataclass(frozen=True, slots=True)
class Hold:
    """An account's provider asks for a pause."""

    budget: str
    rest: Pause


Order = Begin | Grant | Hold | str


@dataclass(frozen=True, slots=True)
class Told:
    """One message of a worker process."""

    done: tuple[Done, ...]
    answers: Answers
    spent: Mapping[str, Spent]  # by budget
    spending: Spending
    quiet_seconds: float  # since the last progress of the thread that was silent longest


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
        signal.signal(number, signal.SIG_IGN)  # a terminal sends them to all processes; the parent decides
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
        gc.freeze()  # garbage collection skips what stays
        telling = threading.Thread(target=teller.run, args=[equipment, budgets])
        telling.start()
        carry = Carry(transfer, stop, teller.put)
        with Turns(workers + len(settings.sources), Places(workers), carry) as turns:
            _listen(pipe, stop, turns.add, budgets)
        teller.end()
        telling.join()


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
    """Sends outcomes, as many at once as there are; the demand for budgets; and what providers answered."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._done: queue.SimpleQueue[Done] = queue.SimpleQueue()
        self._some = threading.Event()
        self._urgent = threading.Event()
        self._over = False

    def put(self, done: Done) -> None:
        """Queue a job's result."""
        self._done.put(done)
        if not self._some.is_set():
            self._some.set()

    def ask(self, is_urgent: bool) -> None:
        """Note that a budget has something to report."""
        if is_urgent:
            self._urgent.set()
        if not self._some.is_set():  # if set, this is collected anyway, after it is cleared
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
