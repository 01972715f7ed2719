"""Ask who called whom, beside listing and transfers, in a thread of its own.

Invariant: no medium and no sidecar waits for it. What is known when a sidecar is written is put into it; the rest is
queued in the ledger by the transaction that settles the recording, is asked for later, and is put under `calls/`.
Numbers are in memory, in sidecars and under `calls/`, and nowhere else.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from recvault.archive.late_calls import LateCall
from recvault.discovery.call_facts import CallsTold, Wanted, ask_calls
from recvault.discovery.source import Source
from recvault.dispatch.calls_writer import LateCalls
from recvault.errors import Interrupted, RecvaultError, Unavailable
from recvault.http import Session
from recvault.ledger import Ledger
from recvault.ledger.uncalled import SOON, UncalledRow
from recvault.log.lines import get_logger
from recvault.models import JSON, Job, Outcome, Phase, Receipt, Recording, stamp
from recvault.shutdown import Stop
from recvault.transfer.call_memory import CallMemory

log = get_logger("recvault.dispatch.call_desk")

Account = tuple[str, str]  # source and account id
Task = Callable[[], None]
Identity = tuple[str, str, str]

_TOGETHER = 50_000  # recordings asked for at once
_REST = timedelta(minutes=10)  # of an account whose list of calls failed; _LATER if it was refused
_YOUNG = timedelta(days=1)  # the call of a recording may be listed later than the recording
_LATER = timedelta(hours=1)
_MISSES = 3  # after which also a young recording's call is given up
_FAILURES = 3  # of the list, after which recordings that were archived `give_up_after` ago are given up
_END_SECONDS = 5.0  # for a thread that was stopped
_SILENCE_SECONDS = 5.0  # of the list of calls, at the end of a run
_LOOK_SECONDS = 0.2


@dataclass(slots=True, kw_only=True)
class CallDesk:
    """Made for one run. Without sources it does nothing."""

    sources: Mapping[str, Source]  # those whose calls are asked for
    ledger: Ledger
    memory: CallMemory
    session: Callable[[str, str, Stop], Session]  # for the list of calls of an account of a source
    late_calls: Callable[[], LateCalls]
    clock: Callable[[], datetime]
    stop: Stop  # its own: the list of calls is cut at once
    _wanted: defaultdict[Account, list[Wanted]] = field(default_factory=lambda: defaultdict(list), repr=False)
    _queue: queue.SimpleQueue[Task | None] = field(default_factory=queue.SimpleQueue, repr=False)
    _sessions: dict[Account, Session] = field(default_factory=dict, repr=False)
    _vain: set[Identity] = field(default_factory=set, repr=False)  # the list was read, and has no such call
    _thread: threading.Thread | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)  # of what is wanted
    _asking: threading.Lock = field(default_factory=threading.Lock, repr=False)  # one request at a time

    # -- for listing and transfers: nothing here waits -----------------------------------------------------------------

    def listed(self, source: Source, account_id: str, recordings: Sequence[Recording]) -> None:
        """Note recordings that were just registered."""
        if source.name not in self.sources:
            return
        live = (each for each in recordings if each.phase in (Phase.COMPLETE, Phase.UNFINISHED))
        wanted = [found for each in live if (found := Wanted.of(each)) is not None]
        with self._lock:
            waiting = self._wanted[source.name, account_id]
            waiting += wanted
            is_full = len(waiting) >= _TOGETHER
        if is_full:
            self.scanned(source, account_id)

    def scanned(self, source: Source, account_id: str) -> None:
        """Ask for what was noted, now that a list was read."""
        with self._lock:
            if not self._wanted.get((source.name, account_id)):
                return
        self._have(partial(self._ask_new, (source.name, account_id)))

    def lend(self, job: Job) -> Job:
        """Return the job with the facts of its call, if they are known: a worker process knows none."""
        call = self.memory(job.recording) if self.sources else None
        return job if call is None else job.altered(call=call)

    def settled(self, outcome: Outcome) -> None:
        """Forget facts that stand in a sidecar now."""
        if isinstance(outcome, Receipt) and outcome.has_call:
            self.memory.forget([outcome.recording.identity])

    def _have(self, task: Task) -> None:
        """Have it done by the thread, which starts with its first task."""
        self._queue.put(task)
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="calls", daemon=True)
                self._thread.start()

    # -- in its own thread ---------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while (task := self._queue.get()) is not None and not self.stop.asked.is_set():
            try:
                task()
            except RecvaultError as error:  # of the ledger: what is archived meanwhile is in the queue
                log.warning("calls.late_failed", error=str(error))

    def _ask_new(self, account: Account) -> None:
        with self._lock:
            wanted = self._wanted.pop(account, [])
        # Without room they are left to the queue, which asks for them once they are archived.
        if wanted and self.memory.has_room and (told := self._ask(account, wanted)) is not None:
            self.memory.note(told.facts)
            self._vain.update(
                each.identity
                for each in wanted
                if each.identity not in told.facts and self.clock() - each.created_at > _YOUNG
            )

    def _ask(self, account: Account, wanted: Sequence[Wanted]) -> CallsTold | None:
        """Read the list of calls; None if that failed, which is noted, or failed a moment ago."""
        name, account_id = account
        with self._asking:
            if self._rests_until(account) is not None:
                return None
            try:
                if account not in self._sessions:
                    self._sessions[account] = self.session(name, account_id, self.stop)
                provider = self.sources[name].line(account_id).provider
                told = ask_calls(provider, self._sessions[account], wanted, self.clock())
            except Interrupted:
                return None
            except RecvaultError as error:
                self._failed(account, error)
                return None
            if (before := self.ledger.call_lists.answered(*account)) is not None:
                log.info("calls.recovered", source=name, account_id=account_id, failed_since=stamp(before.since))
        names = {"source": name, "account_id": account_id}
        log.info("calls.told", **names, asked=len(wanted), told=len(told.facts), requests=told.requests)
        return told

    def _rests_until(self, account: Account) -> datetime | None:
        """Return until when a list that failed is left alone, by whichever process; None if it may be asked for."""
        failing, now = self.ledger.call_lists.failing(*account), self.clock()
        if failing is None or not now < failing.next_at <= now + _LATER:  # a later time was noted by a wrong clock
            return None
        return failing.next_at

    def _failed(self, account: Account, error: RecvaultError) -> None:
        """Let a list rest, for all processes. It is a warning when it begins, or fails in another way."""
        now, lists = self.clock(), self.ledger.call_lists
        before, failure = lists.failing(*account), _kind(error)
        lists.failed(*account, failure, now, now + (_REST if isinstance(error, Unavailable) else _LATER))
        names = {"source": account[0], "account_id": account[1], "error": str(error)}
        if before is not None and before.failure == failure:
            log.info("calls.still_failing", **names, since=stamp(before.since))
        else:
            log.warning("calls.failed", **names)

    # -- what was too late for the sidecar -----------------------------------------------------------------------------

    def write_late(self) -> None:
        """Put what is known by now of recordings whose sidecar lacks it; ask for what is due. Errors are logged."""
        for name in self.sources:
            try:
                self._late(name)
            except Interrupted:
                return
            except RecvaultError as error:  # of the bucket or the ledger: the queue stays as it is
                log.warning("calls.late_failed", source=name, error=str(error))

    def _late(self, name: str) -> None:
        now = self.clock()
        rows = self.ledger.uncalled.due(name, now + SOON, _TOGETHER)
        known = self.memory.held(row.identity for row in rows)
        self._put(known, rows)
        due = {row.id for row in self.ledger.uncalled.due(name, now, _TOGETHER)}
        waiting: defaultdict[str, list[UncalledRow]] = defaultdict(list)
        for row in rows:
            if row.identity in self._vain:
                self._missed([row], now)
            elif row.id in due and row.identity not in known:
                waiting[row.identity[1]].append(row)
        for account_id, each in waiting.items():
            if (until := self._rests_until((name, account_id))) is not None:
                self._unread((name, account_id), each, until, failed=False)
            else:
                self._ask_late((name, account_id), each)

    def _ask_late(self, account: Account, rows: Sequence[UncalledRow]) -> None:
        wanted = [
            Wanted(identity=row.identity, call_id=row.call_id, created_at=row.created_at, began_at=row.created_at)
            for row in rows
        ]
        told, now = self._ask(account, wanted), self.clock()
        if told is None:
            if not self.stop.asked.is_set():
                self._unread(account, rows, now + _REST, failed=True)
            return
        self._put(told.facts, rows)
        self._missed([row for row in rows if row.identity not in told.facts], now)

    def _unread(self, account: Account, rows: Sequence[UncalledRow], at: datetime, *, failed: bool) -> None:
        """Ask again at a time; give up those that wait too long for a list that fails: `enrich` remains for them."""
        bound = self.clock() - self.sources[account[0]].policy.give_up_after
        failing = self.ledger.call_lists.failing(*account)
        of_list = failing.failures if failing else 0
        old = [row.id for row in rows if row.archived_at <= bound and max(of_list, row.failures + failed) >= _FAILURES]
        left = sorted({row.id for row in rows}.difference(old))
        self.ledger.uncalled.later(left, at, failed=failed)
        if old:
            self.ledger.uncalled.done(old)
            self.ledger.call_lists.gave_up(*account, len(old))
            told = {"source": account[0], "account_id": account[1], "recordings": len(old)}
            if failing and failing.given_up:
                log.info("calls.given_up", **told)
            else:
                log.warning("calls.given_up", **told)

    def _put(self, facts: Mapping[Identity, JSON], rows: Sequence[UncalledRow]) -> None:
        """Write facts of these rows to the bucket; then take the rows out of the queue."""
        still = self.ledger.uncalled.still(row.id for row in rows if row.identity in facts)  # an erasure may have come
        found = [row for row in rows if row.id in still]
        if not found:
            return
        late = [_late_call(row.identity, facts[row.identity]) for row in found]
        keys = self.late_calls().put(late)
        self.ledger.uncalled.done(row.id for row in found)
        self.memory.forget(row.identity for row in found)
        log.info("calls.written", recordings=len(found), keys=keys)

    def _missed(self, rows: Sequence[UncalledRow], now: datetime) -> None:
        """Ask again for young recordings; give up the others: the provider does not list their calls."""
        young = [row.id for row in rows if now - row.created_at <= _YOUNG and row.misses < _MISSES]
        old = [row for row in rows if row.id not in set(young)]
        if young:
            self.ledger.uncalled.later(young, now + _LATER, missed=True)
        if old:
            self.ledger.uncalled.done(row.id for row in old)
            self._vain.difference_update(row.identity for row in old)
            log.info("calls.unknown", recordings=len(old))

    # -- its end -------------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """Begin nothing more, and cut what is being asked: it is asked again later."""
        self.stop.asked.set()
        self.stop.enforced.set()

    def finish(self, seconds: float) -> None:
        """Have what came late written; wait so long at most for the thread, and end it.

        A list of calls that does not answer ends the wait sooner: what it has is asked for by a later run.
        """
        if seconds and self.sources:
            self._have(self.write_late)
        self._queue.put(None)
        if self._thread is not None:
            self._wait(self._thread, seconds)
            if seconds and self._thread.is_alive():
                log.warning("calls.cut", sources=sorted(self.sources), answers=self._answers)
            self.end()
            self._thread.join(_END_SECONDS)

    def _wait(self, thread: threading.Thread, seconds: float) -> None:
        begun = heard_at = time.monotonic()
        answers = self._answers
        while thread.is_alive() and (now := time.monotonic()) - begun < seconds and now - heard_at < _SILENCE_SECONDS:
            thread.join(_LOOK_SECONDS)
            if answers != self._answers:
                answers, heard_at = self._answers, time.monotonic()

    @property
    def _answers(self) -> int:
        """Number of answers so far; a failed try is none."""
        return sum(session.count.answered for session in tuple(self._sessions.values()))


def _late_call(identity: Identity, call: JSON) -> LateCall:
    provider, account_id, recording_id = identity
    return LateCall(provider=provider, account_id=account_id, recording_id=recording_id, call=call)


def _kind(error: RecvaultError) -> str:
    """Return what kind of failure it is: its message may differ each time."""
    return f"{type(error).__name__} {error.status or ''}".strip()
