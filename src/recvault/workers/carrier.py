"""Run a batch of jobs in any process: `carry(spec, batch)` returns outcomes, and what providers answered.

Invariants: a carrier has neither ledger nor limits. It builds its clients once per process, from a spec that names
secrets but contains none, and resolves them itself. If its version or secrets differ from the planner's, it refuses the
batch before it starts anything. `carry` raises nothing: engines log what is raised, with its arguments.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import threading
import time
import traceback
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from recvault import __version__
from recvault.app.transfer_setup import Equipment
from recvault.dispatch.fair_queue import Places
from recvault.errors import RecvaultError, WorkerBug
from recvault.http import Purse, Used
from recvault.log.lines import redact_text
from recvault.log.meter import Spending
from recvault.shutdown import Stop
from recvault.store import Reader
from recvault.workers.bucket_readers import Work, answered, packed_answers
from recvault.workers.spec import Spec, prints
from recvault.workers.turns import ASKED, Begin, Carry, Done, Turns

STUCK_SECONDS = 900.0  # without progress of a thread: each of its waits is far shorter
_LOOK_SECONDS = 0.2
_IDLE_SECONDS = 120.0  # after which an idle planner's clients are closed once another planner comes
_MOST_ORDERED = 64  # planners whose orders are remembered


@dataclass(frozen=True, slots=True, repr=False)
class Batch:
    """Jobs of one source, and the share of its account's budget that goes with them."""

    budget: str
    jobs: tuple[Begin, ...]
    moments: tuple[float, ...]  # for each job, when its request is granted: seconds from when the batch is sent

    def __repr__(self) -> str:
        return f"<{len(self.jobs)} jobs>"  # so that nothing of their content reaches an engine's log


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Carried:
    """The result of a batch. A job in none of the lists is stuck in a thread."""

    carrier: str  # host and process
    done: tuple[Done, ...] = ()
    unbegun: tuple[int, ...] = ()
    refused: str | None = None  # why nothing of it was started
    answers: Mapping[tuple[str, str], Counter[str]] = field(default_factory=dict)  # by source and account
    used: Mapping[str, Used] = field(default_factory=dict)  # by budget
    spending: Spending = field(default_factory=Spending)  # of the process so far

    def __repr__(self) -> str:
        return f"<{len(self.done)} outcomes>"


@dataclass(frozen=True, slots=True, repr=False)
class BucketQuestionsBatch:
    """BucketQuestionsBatch to the bucket: what makes a reader answer them, and the items, both pickled."""

    work: bytes
    items: bytes

    def __repr__(self) -> str:
        return f"<{len(self.items)} bytes of questions>"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class BucketAnswers:
    """The answers, pickled, and how many requests of each kind the process made so far."""

    carrier: str
    packed: bytes = b""
    refused: str | None = None
    requests: Counter[str] = field(default_factory=Counter)

    def __repr__(self) -> str:
        return f"<{len(self.packed)} bytes of answers>"


def carry(spec: Spec, batch: Batch) -> Carried:
    """Run a batch in the threads of this process."""
    made = _carriage_or_why(spec)
    return Carried(carrier=_me(), refused=made) if isinstance(made, str) else made.carry(batch)


def read(spec: Spec, questions: BucketQuestionsBatch) -> BucketAnswers:
    """Answer questions to the bucket up to the first error, which is an answer too."""
    made = _carriage_or_why(spec)
    return BucketAnswers(carrier=_me(), refused=made) if isinstance(made, str) else made.read(questions)


def _carriage_or_why(spec: Spec) -> Carriage | str:
    """Return what this process has for that planner, or why it must not work for it."""
    try:
        return _carriage(spec)
    except RecvaultError as error:
        return redact_text(str(error))
    except Exception as error:  # noqa: BLE001 - of a library that is not there, say
        return redact_text(f"{type(error).__name__}: {error}")


def tell(run: str, order: str) -> None:
    """Pass a planner's stop on to its jobs in this process, also to those that come later."""
    with _orders_lock:  # not `_lock`, which is held while clients are built
        _orders.setdefault(run, set()).add(order)
        while len(_orders) > _MOST_ORDERED:
            del _orders[next(iter(_orders))]
    made = _carriages.get(run)
    if made is not None:
        made.obey(order)


def let_go(run: str) -> None:
    """Close a planner's clients in this process: it is done."""
    with _lock:
        made = _carriages.pop(run, None)
    if made is not None:
        made.close()


class Carriage:
    """What one planner's batches are run with in this process. `enter` it before each call that runs something."""

    def __init__(self, spec: Spec) -> None:
        settings, facts = spec.unpacked()
        self.stop = Stop()
        self._purses: dict[str, Purse] = {}
        self._waiting: dict[int, _Under] = {}
        self._told: Mapping[tuple[str, str], Counter[str]] = {}
        self._lock = threading.Lock()
        self._open = contextlib.ExitStack()
        self._reader: Reader | None = None
        self.under = 0
        self.ended_at = time.monotonic()
        self.equipment = Equipment(settings, clock=lambda: datetime.now(UTC), stop=self.stop, budget=self._purse)
        self._open.enter_context(self.equipment)
        self.equipment.store.facts = facts
        carry = Carry(self.equipment.transfer(), self.stop, self._put)
        workers = settings.transfer.workers
        self._turns = Turns(workers + len(settings.sources), Places(workers), carry)
        self._open.enter_context(self._turns)

    def obey(self, order: str) -> None:
        """Follow a planner's order to stop."""
        (self.stop.asked if order == ASKED else self.stop.enforced).set()

    def enter(self) -> None:
        """Count a call that is about to run, so that this is not closed as idle before."""
        with self._lock:
            self.under += 1

    def carry(self, batch: Batch) -> Carried:
        """Run a batch to its end, or to a provider's refusal: what has not started by then goes back."""
        under = _Under({begin.number for begin in batch.jobs}, batch.budget)
        try:
            return self._carried(batch, under)
        except Exception as error:  # noqa: BLE001 - a bug: it is reported by the planner
            return self._broken(under, WorkerBug(type(error).__name__, traceback.format_exc()))
        finally:
            self._leave()

    def _carried(self, batch: Batch, under: _Under) -> Carried:
        with self._lock:
            self._waiting.update(dict.fromkeys(under.left, under))
        self.equipment.budget_at(batch.budget).put(batch.moments)
        for begin in batch.jobs:
            self._turns.add(begin)
        while not under.over.wait(_LOOK_SECONDS) and not self._is_stuck():
            pass
        with self._lock:
            for number in under.left:
                del self._waiting[number]
            return Carried(
                carrier=_me(),
                done=tuple(under.done),
                unbegun=tuple(sorted(under.unbegun)),
                answers=self._answers(),
                used={key: used for key, purse in self._purses.items() if (used := purse.collect()) is not None},
                spending=self.equipment.spending(),
            )

    def _broken(self, under: _Under, bug: WorkerBug) -> Carried:
        """Return what has ended of a batch, and the bug as the result of each other job."""
        with self._lock:
            left = set(under.left)
            for number in left:
                self._waiting.pop(number, None)
            done, unbegun = tuple(under.done), tuple(sorted(under.unbegun))
        with contextlib.suppress(Exception):  # perhaps that is what is broken
            self._turns.withdraw(left)  # the planner has them run again
        packed = pickle.dumps(bug)
        return Carried(carrier=_me(), done=(*done, *(Done(number, packed) for number in sorted(left))), unbegun=unbegun)

    def _leave(self) -> None:
        with self._lock:
            self.under -= 1
            self.ended_at = time.monotonic()

    def read(self, questions: BucketQuestionsBatch) -> BucketAnswers:
        """Answer in this thread."""
        try:
            with self._lock:
                if self._reader is None:
                    self._reader = self.equipment.store.reader()
                reader = self._reader
            work: Work = pickle.loads(questions.work)  # noqa: S301 - of our planner
            found = answered(work(reader), pickle.loads(questions.items))  # noqa: S301 - of our planner
            return BucketAnswers(carrier=_me(), packed=packed_answers(found), requests=Counter(reader.requests))
        except Exception as error:  # noqa: BLE001 - a bug: it is reported by the planner
            bug = WorkerBug(type(error).__name__, traceback.format_exc())
            return BucketAnswers(carrier=_me(), packed=pickle.dumps([bug]))
        finally:
            self._leave()

    def close(self) -> None:
        """Close its clients once running jobs have ended; does not wait for that."""
        self.stop.asked.set()
        self.stop.enforced.set()
        threading.Thread(target=self._open.close, name="let-go", daemon=True).start()

    def _purse(self, key: str, rate: float, most: int) -> Purse:
        self._purses[key] = Purse(rate, on_rest=lambda: self._give_back(key))
        return self._purses[key]

    def _give_back(self, budget: str) -> None:
        """Give back the jobs that have not started, because their provider asks for a pause."""
        with self._lock:
            waiting = {number for number, under in self._waiting.items() if under.budget == budget}
        taken = self._turns.withdraw(waiting)
        with self._lock:
            for number in taken:
                if (under := self._waiting.pop(number, None)) is not None:
                    under.unbegun.add(number)
                    under.end(number)

    def _put(self, done: Done) -> None:
        with self._lock:
            under = self._waiting.pop(done.number, None)
            if under is not None:  # otherwise its batch went back without it
                under.done.append(done)
                under.end(done.number)

    def _is_stuck(self) -> bool:
        return self.stop.pulse.quiet_seconds() > STUCK_SECONDS

    def _answers(self) -> dict[tuple[str, str], Counter[str]]:
        """Return what was answered since the last call."""
        before, self._told = self._told, self.equipment.answers()
        return {key: counted - before.get(key, Counter()) for key, counted in self._told.items()}


@dataclass(slots=True, eq=False)
class _Under:
    """A batch in progress."""

    left: set[int]
    budget: str
    done: list[Done] = field(default_factory=list)
    unbegun: set[int] = field(default_factory=set)
    over: threading.Event = field(default_factory=threading.Event)

    def end(self, number: int) -> None:
        self.left.discard(number)
        if not self.left:
            self.over.set()


_carriages: dict[str, Carriage] = {}
_lock = threading.Lock()
_orders: dict[str, set[str]] = {}  # by run: one may come before its carriage is made
_orders_lock = threading.Lock()


def _carriage(spec: Spec) -> Carriage:
    """Return this process's carriage for that planner, entered. RecvaultError if this process differs from it."""
    with _lock:
        if spec.run not in _carriages:
            spec.check(__version__, prints(spec))
            idle = [run for run, each in _carriages.items() if not each.under and _is_over(each)]
            for run in idle:
                _carriages.pop(run).close()
            made = _carriages[spec.run] = Carriage(spec)
            with _orders_lock:
                ordered = set(_orders.get(spec.run, ()))
            for order in ordered:  # what comes from here on finds the carriage
                made.obey(order)
        _carriages[spec.run].enter()
        return _carriages[spec.run]


def _is_over(made: Carriage) -> bool:
    return time.monotonic() - made.ended_at > _IDLE_SECONDS


def _me() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"
