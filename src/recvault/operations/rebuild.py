"""Make a new ledger from the sidecars in the bucket; no provider is used, and the bucket is not changed.

Invariants. A sound ledger is never replaced, and a damaged one is kept. The new one is put in place only when it is
complete; after a kill, or a lost cluster, the same command continues. It has no watermark: the next scan lists all
history, and knows what is archived without asking the bucket. Memory does not grow with the bucket.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from recvault.archive import KeyTemplate
from recvault.custody import Records
from recvault.errors import ConfigError, Interrupted, KeyRefused, LedgerDamaged, LedgerStands, TooLarge
from recvault.ledger import DaemonLock
from recvault.ledger.rebuilt import Committed, NewLedger, RebuiltAccount, refuse_company
from recvault.ledger.soundness import look_hard
from recvault.log.lines import get_logger
from recvault.models import JSON, unstamp
from recvault.monitoring.report import PARTIAL, iso
from recvault.operations.prune.deletion_records import conclusions, deleted
from recvault.operations.sidecar_reading import Found, SidecarProblem, Sidecars
from recvault.shutdown import Stop
from recvault.store import Listed, Reader

log = get_logger("recvault.operations.rebuild")

SCHEMA = "recvault/rebuild/v1"
MOST_PROBLEMS = 100
_BATCH = 1000  # rows per transaction
_AHEAD = 8  # sidecars per thread that are read in advance
_TRAVEL_TOGETHER = 32  # sidecars that are asked for at a time, if they are read elsewhere
_AHEAD_ELSEWHERE = 2  # such batches per thread


@dataclass(slots=True, kw_only=True)
class Rebuilt:
    """The result, including earlier runs of the same work."""

    ledger: Path
    started_at: datetime
    finished_at: datetime | None = None
    set_aside: Path | None = None
    resumed: bool = False
    interrupted: bool = False
    sidecars: int = 0
    unreadable: int = 0  # or not trustworthy
    foreign: int = 0  # of these: with a key, or media, of another recording
    seconds: int = 0  # second sidecars of a recording
    later: int = 0  # later editions, which name the previous one
    pruned: int = 0  # archived, and deleted at their provider
    problems: list[SidecarProblem] = field(default_factory=list)
    accounts: list[RebuiltAccount] = field(default_factory=list)
    configured: frozenset[str] = frozenset()  # sources

    @property
    def archived(self) -> int:
        return self.sidecars - self.unreadable - self.seconds - self.later

    @property
    def exit_code(self) -> int:
        """3 if a sidecar could not be read, so that its recording is not in the ledger."""
        return PARTIAL if self.unreadable else 0

    @property
    def outcome(self) -> str:
        """One of ok, partial, interrupted."""
        return "interrupted" if self.interrupted else "partial" if self.unreadable else "ok"

    def document(self) -> JSON:
        """Return the JSON document that `--json` prints."""
        return {
            "schema": SCHEMA,
            "started_at": iso(self.started_at),
            "finished_at": iso(self.finished_at),
            "outcome": self.outcome,
            "ledger": str(self.ledger),
            "set_aside": str(self.set_aside) if self.set_aside else None,
            "resumed": self.resumed,
            "sidecars": self.sidecars,
            "archived": self.archived,
            "unreadable": self.unreadable,
            "foreign": self.foreign,
            "second_sidecars": self.seconds,
            "later_editions": self.later,
            "pruned": self.pruned,
            "sources": [
                {
                    "source": each.source,
                    "provider": each.provider,
                    "account_id": each.account_id,
                    "configured": each.source in self.configured,
                    "archived": each.recordings,
                    "bytes": each.bytes,
                    "last_archived_at": iso(unstamp(each.last_archived_at)),
                }
                for each in self.accounts
            ],
            "problems": [{"key": each.key, "reason": each.reason} for each in self.problems],
        }


class SidecarReaders(Protocol):
    """Reads sidecars in other processes."""

    def ask(self, items: Sequence[Any], look: Callable[[], None]) -> list[Any]:
        """Return an answer for each, up to the first error, which ends the list."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuild:
    """Rebuilds a ledger; made for one run."""

    path: Path  # of the ledger
    reader: Reader
    records: Records
    keys: KeyTemplate
    bucket: str  # for messages
    sources: frozenset[str]  # configured ones
    threads: int
    stop: Stop
    clock: Callable[[], datetime]
    earlier: tuple[KeyTemplate, ...] = ()  # of earlier configurations
    elsewhere: SidecarReaders | None = None  # what reads sidecars instead of this process's threads
    on_read: Callable[[Rebuilt], None] = lambda rebuilt: None

    @property
    def work(self) -> Sidecars:
        """What reads one sidecar; it can be sent to another process."""
        return Sidecars(self.keys, self.earlier)

    def run(self, *, set_aside: bool) -> Rebuilt:
        """Build the ledger and put it in place. On an error, what was read is kept for the next run."""
        started = self.clock()
        lock = DaemonLock(self.path, started)
        try:
            refuse_company(self.path)
            replaces = self._must_be_replaced(set_aside)
            new = NewLedger.open(self.path, f"{self.bucket} {self.keys.root}", started)
            try:
                return self._build(new, started, replaces)
            finally:
                new.close()
        finally:
            lock.close()

    def _must_be_replaced(self, set_aside: bool) -> bool:
        """Whether there is a damaged ledger to set aside. Raises LedgerStands for a sound one."""
        if not self.path.exists():
            return False
        try:
            if not look_hard(self.path):
                return True  # an interrupted first start left an empty file
        except LedgerDamaged as error:
            if set_aside:
                return True
            hint = "`recvault rebuild --set-aside` keeps it under another name, and makes a new one from the bucket"
            raise LedgerDamaged(error.message, hint) from error
        raise LedgerStands(
            f"the ledger {self.path} exists and is sound: nothing was done",
            "to make a new one anyway, stop every recvault that uses it, move it away with all its files, and run the "
            "command again",
        )

    def _build(self, new: NewLedger, started: datetime, replaces: bool) -> Rebuilt:
        so_far = new.so_far()
        rebuilt = _begun(self.path, started, so_far, self.sources)
        log.info("rebuild.begun", ledger=self.path, bucket=self.bucket, resumed=rebuilt.resumed)
        try:
            self._fill(new, rebuilt, str(so_far.get("after", "")))
        except Interrupted:
            rebuilt.interrupted = True
            return rebuilt
        if not rebuilt.sidecars:
            raise ConfigError(
                f"there are no sidecars in {self.bucket} under {self.keys.root} to make a ledger from",
                "check bucket, prefix and key_template in [archive]; if nothing was archived yet, `recvault sync` "
                "creates a ledger",
            )
        self._note_pruned(new, rebuilt)
        rebuilt.accounts = new.finish()
        aside = self.path.with_name(f"{self.path.name}.damaged-{started:%Y%m%dT%H%M%SZ}")
        rebuilt.set_aside = new.take_place(aside=aside, replaces=replaces)
        rebuilt.finished_at = self.clock()
        log.info("rebuild.done", ledger=self.path, archived=rebuilt.archived, unreadable=rebuilt.unreadable)
        return rebuilt

    def _note_pruned(self, new: NewLedger, rebuilt: Rebuilt) -> None:
        """Note what the records say is deleted at its provider: it must not be counted on there."""
        records = self.records
        for path in conclusions(records):
            self.stop.check()
            try:
                rebuilt.pruned += new.note_pruned(*deleted(records, path))
            except (KeyRefused, TooLarge, ValueError) as error:
                self._tell(rebuilt, SidecarProblem(path, str(error)))

    def _fill(self, new: NewLedger, rebuilt: Rebuilt, after: str) -> None:
        """Read every sidecar after `after` and store its recording, batch by batch, in key order."""
        batch: list[Committed] = []
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="sidecars")
        try:
            for key, found in self._found(pool, after):
                after = key
                if found is None:
                    continue  # deleted since it was listed
                rebuilt.sidecars += 1
                if isinstance(found, SidecarProblem):
                    rebuilt.unreadable += 1
                    rebuilt.foreign += found.is_foreign
                    self._tell(rebuilt, found)
                else:
                    batch.append(found)
                if rebuilt.sidecars % _BATCH == 0:
                    self._write(new, rebuilt, batch, after)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            self._write(new, rebuilt, batch, after)

    def _write(self, new: NewLedger, rebuilt: Rebuilt, batch: list[Committed], after: str) -> None:
        seconds, later = new.add(batch, _so_far(rebuilt, after))
        batch.clear()
        rebuilt.later += later
        for key, first in seconds:
            rebuilt.seconds += 1
            self._tell(
                rebuilt, SidecarProblem(key, f"a second sidecar of the recording of {first}, which the ledger uses")
            )
        self.on_read(rebuilt)

    def _tell(self, rebuilt: Rebuilt, problem: SidecarProblem) -> None:
        log.warning("rebuild.not_taken", key=problem.key, reason=problem.reason)
        if len(rebuilt.problems) < MOST_PROBLEMS:
            rebuilt.problems.append(problem)

    def _found(self, pool: ThreadPoolExecutor, after: str) -> Iterator[tuple[str, Found]]:
        """Yield what each sidecar contains, in key order; some are read ahead."""
        together, most = (1, _AHEAD) if self.elsewhere is None else (_TRAVEL_TOGETHER, _AHEAD_ELSEWHERE)
        listing = (each for each in self.reader.listed(self.keys.root, after) if self.keys.may_be_sidecar(each.key))
        read = self._reading()
        ahead: deque[tuple[list[Listed], Future[list[Found]]]] = deque()
        while batch := list(islice(listing, together)):
            ahead.append((batch, pool.submit(read, batch)))
            if len(ahead) > self.threads * most:
                yield from _answers(*ahead.popleft())
        while ahead:
            yield from _answers(*ahead.popleft())

    def _reading(self) -> Callable[[Sequence[Listed]], list[Found]]:
        """Return what reads a batch: here, or elsewhere. It raises the first error."""
        if (elsewhere := self.elsewhere) is None:
            question = self.work(self.reader)

            def here(batch: Sequence[Listed]) -> list[Found]:
                self.stop.check()
                return [question(each) for each in batch]

            return here

        def there(batch: Sequence[Listed]) -> list[Found]:
            self.stop.check()
            answers = elsewhere.ask(batch, self.stop.check)
            if answers and isinstance(answers[-1], BaseException):
                raise answers[-1]
            return answers

        return there


def _answers(batch: Sequence[Listed], future: Future[list[Found]]) -> Iterator[tuple[str, Found]]:
    for listed, found in zip(batch, future.result(), strict=True):
        yield listed.key, found


def _so_far(rebuilt: Rebuilt, after: str) -> JSON:
    problems = [[each.key, each.reason] for each in rebuilt.problems]
    counts = {
        "sidecars": rebuilt.sidecars,
        "unreadable": rebuilt.unreadable,
        "foreign": rebuilt.foreign,
        "seconds": rebuilt.seconds,
        "later": rebuilt.later,
    }
    return {"after": after, **counts, "problems": problems}


def _begun(path: Path, started: datetime, so_far: JSON, sources: frozenset[str]) -> Rebuilt:
    """Return the result with the progress of an earlier run, if any."""
    return Rebuilt(
        ledger=path,
        started_at=started,
        resumed=bool(so_far),
        sidecars=so_far.get("sidecars", 0),
        unreadable=so_far.get("unreadable", 0),
        foreign=so_far.get("foreign", 0),
        seconds=so_far.get("seconds", 0),
        later=so_far.get("later", 0),
        problems=[SidecarProblem(*each) for each in so_far.get("problems", ())],
        configured=sources,
    )
