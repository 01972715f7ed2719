"""Check all ranges in parallel: expected objects, other objects; make due what is missing."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import Protocol

from recvault.custody.holds import Held
from recvault.errors import Interrupted, KeyRefused, StoreRefused, StoreUnavailable
from recvault.ledger import Expectations, Expected, Ledger
from recvault.models import State
from recvault.operations.verify.checking import Checked, Checker
from recvault.operations.verify.differences import MARKER, Difference, DifferenceKind
from recvault.operations.verify.result import Result
from recvault.operations.verify.scope import BucketScope, Range, Sample
from recvault.operations.verify.strays import Strays
from recvault.operations.verify.walking import Group, walk
from recvault.shutdown import Stop
from recvault.store import Listed, Reader, Remover

LISTERS = 4
_RANGE_LEAST = 1_000  # recordings per range: the size of a listing's page
_RANGES_EACH = 4  # per lister, so that none is left with a long one at the end
_AHEAD = 4  # batches that wait per worker
_TOGETHER = 16  # groups per batch
_TRAVEL_TOGETHER = 64  # … for another process
_READ_TOGETHER = 4  # … if it reads every byte
_LOOK_SECONDS = 0.2


class Elsewhere(Protocol):
    """Other processes that check recordings."""

    @property
    def requests(self) -> Counter[str]: ...

    def ask(self, items: Sequence[Expected], look: Callable[[], None]) -> list[Checked | Exception]:
        """Return the results up to and including the first error: at least one."""


@dataclass(slots=True)
class _Answers:
    """The results of other processes for a batch, row by row; rows after an error are requested again in their turn."""

    left: list[Expected]
    ask: Callable[[Sequence[Expected]], list[Checked | Exception]]
    found: list[Checked | Exception] = field(default_factory=list)

    def __call__(self, row: Expected) -> Checked:
        if not self.found:
            self.found = self.ask(self.left)[::-1]
        asked, found = self.left.pop(0), self.found.pop()
        if isinstance(found, Exception):
            raise found
        if not asked == row == found.row:
            raise AssertionError(f"the answer for {row.sidecar_key} was about {found.row.sidecar_key}")
        return found


@dataclass(slots=True, kw_only=True)
class Verify:
    """One verification. `run` it once."""

    reader: Reader
    ledger: Ledger
    expectations: Expectations
    scope: BucketScope
    sample: Sample
    workers: int
    stop: Stop
    clock: Callable[[], datetime]
    repair: bool = False
    erased: int = 0  # recordings that tombstones name
    held: Held = field(default_factory=Held)  # whose deleted objects are looked for by version
    remover: Remover | None = None  # what tells versions
    range_least: int = _RANGE_LEAST
    elsewhere: Elsewhere | None = None  # other processes that check
    on_begin: Callable[[Result], None] = lambda result: None
    result: Result = field(init=False)
    _over: threading.Event = field(default_factory=threading.Event, init=False)
    _room: threading.Semaphore = field(init=False)

    def run(self) -> Result:
        """Check everything. Raises if the bucket or the ledger as a whole fails."""
        self.result = Result(started_at=self.clock(), sample=self.sample, expected=self.expectations.count)
        self.result.requests = self.reader.requests
        self.result.erased = self.erased
        self._room = threading.Semaphore(self.workers * _AHEAD)
        self.on_begin(self.result)
        try:
            next(iter(self.reader.listed(self.scope.root)), None)  # shows errors of the bucket as a whole
            self._walk_all(self._ranges())
        except Interrupted:
            self.result.interrupted = True
        if self.elsewhere is not None:
            self.result.requests = self.reader.requests + self.elsewhere.requests
        self.result.finish(self.clock())
        return self.result

    def _ranges(self) -> list[Range]:
        every = max(self.range_least, self.expectations.count // (self._listers * _RANGES_EACH) + 1)
        return self.scope.ranges(self.expectations.cuts(every))

    @property
    def _listers(self) -> int:
        return min(self.workers, LISTERS)

    def _walk_all(self, ranges: Sequence[Range]) -> None:
        """Check all ranges, several in parallel. The first error ends all."""
        with (
            ThreadPoolExecutor(self.workers, thread_name_prefix="check") as checkers,
            ThreadPoolExecutor(self._listers, thread_name_prefix="list") as listers,
        ):
            walks = [listers.submit(self._walk_or_end, each, checkers) for each in ranges]
            wait(walks)
        errors = [error for each in walks if (error := each.exception()) is not None]
        for error in sorted(errors, key=lambda error: isinstance(error, Interrupted)):
            raise error

    def _walk_or_end(self, range_: Range, checkers: ThreadPoolExecutor) -> None:
        """Check one range; if it fails, the others end too."""
        try:
            self._look()
            self._walk(range_, checkers)
        except BaseException:
            self._over.set()
            raise

    def _walk(self, range_: Range, checkers: ThreadPoolExecutor) -> None:
        """Check one range; all its checks are done when this returns."""
        listing: Iterable[Listed] = ()
        if range_.is_listed:
            listing = self._counted(self.reader.listed(_shared(range_), range_.after, range_.until))
        rows = self.expectations.between(range_.after, range_.until)
        groups = (group for group in walk(self.scope.keys, listing, rows) if not self._is_nothing(group))
        strays = Strays(reader=self.reader, ledger=self.ledger, clock=self.clock, result=self.result)
        checks: list[Future[None]] = []
        failed: list[BaseException] = []
        while not failed and (batch := tuple(islice(groups, self._batch))):
            while not self._room.acquire(timeout=_LOOK_SECONDS):
                self._look()
            checks.append(checkers.submit(self._judge_all, batch, strays, failed))
            if len(checks) > 2 * self.workers * _AHEAD:
                checks = [each for each in checks if not each.done()]
            self._look()
        wait(checks)
        if failed:
            raise failed[0]

    @property
    def _batch(self) -> int:
        """How many groups a worker gets at a time: switching threads costs as much as a request."""
        if self.sample.percent:
            return 1 if self.elsewhere is None else _READ_TOGETHER
        if self.elsewhere is not None:
            return _TRAVEL_TOGETHER
        return _TOGETHER if self.expectations.count >= _TOGETHER * self.workers * _AHEAD else 1

    def _judge_all(self, groups: Sequence[Group | Listed], strays: Strays, failed: list[BaseException]) -> None:
        """Judge groups in a worker. An error that ends the verification is left for the range to raise."""
        try:
            check = self._checker(groups)
            for group in groups:
                self._look()
                self._judge(group, strays, check)
        except BaseException as error:  # noqa: BLE001 - raised again by the walk
            failed.append(error)
        finally:
            self._room.release()

    def _checker(self, groups: Sequence[Group | Listed]) -> Callable[[Expected], Checked]:
        """Return what checks the rows of a batch, in their order."""
        if self.elsewhere is None:
            return Checker(self.reader, self.sample)
        elsewhere = self.elsewhere
        rows = [group.row for group in groups if isinstance(group, Group) and group.row is not None]
        return _Answers(rows, lambda rows: elsewhere.ask(rows, self._look))

    def _look(self) -> None:
        """Raise Interrupted if a stop is requested or another range failed."""
        if self._over.is_set():
            raise Interrupted("another range cannot be read")
        self.stop.check()

    def _counted(self, listing: Iterable[Listed]) -> Iterable[Listed]:
        number = 0
        for each in listing:
            number += 1
            if number == _RANGE_LEAST:
                self.result.count(objects=number)
                number = 0
            yield each
        self.result.count(objects=number)

    def _is_nothing(self, group: Group | Listed) -> bool:
        """Whether it is not selected, or belongs to recvault but not to a recording."""
        if isinstance(group, Listed):
            return self.scope.is_ours(group.key) or not self.scope.is_whole
        if group.row is not None:
            return not group.row.asked
        return group.parts is None or group.parts not in self.scope

    def _judge(self, group: Group | Listed, strays: Strays, check: Callable[[Expected], Checked]) -> None:
        try:
            if isinstance(group, Listed):
                strays.foreign(group)
            elif group.row is not None:
                self._check(group, strays, check(group.row))
            elif group.parts is not None and group.sidecar is not None:
                strays.sidecar(group.sidecar, group.parts, group.media)
            elif group.parts is not None:
                self._judge_media(group, strays)
            self.result.answered()
        except (StoreUnavailable, StoreRefused) as error:
            self.result.note_unanswered(error)
        except KeyRefused as error:
            self.result.note_refused(error)

    def _judge_media(self, group: Group, strays: Strays) -> None:
        """Judge media without a sidecar: it may have been written since, or be outside this range."""
        assert group.parts is not None  # noqa: S101 - they were listed
        key = group.parts.sidecar_key
        if self.reader.describe(key) is not None:
            strays.sidecar(replace(group.media[0], key=key), group.parts, group.media)
        else:
            strays.media(group.media, group.parts)

    def _check(self, group: Group, strays: Strays, checked: Checked) -> None:
        row = checked.row
        found = [self._by_version(row, each) for each in checked.differences]
        is_repairable = checked.is_missing and row.state is State.ARCHIVED and not (row.is_earlier or row.is_pruned)
        is_repairable &= not any(each.reason == MARKER for each in found)
        if self.repair and is_repairable and self._reopened(row):
            found = [replace(each, made_due=True) for each in found]
        self._count(checked)
        self.result.take(found)
        known = {each.key for each in (*checked.media, *row.media)}
        extra = [each for each in group.media if each.key not in known]
        if extra and group.parts is not None:
            strays.media(extra, group.parts)

    def _by_version(self, row: Expected, found: Difference) -> Difference:
        """Say so if an object of a held recording is not missing, but behind a delete marker."""
        if self.remover is None or row.identity not in self.held or found.kind is not DifferenceKind.MISSING:
            return found
        versions = [each for each in self.remover.versions(found.key) if each.key == found.key]
        if not any(each.is_marker and each.is_latest for each in versions):
            return found
        message = f"a delete marker is over it, although it is held by {', '.join(self.held.names(row.identity))}"
        return replace(found, reason=MARKER, message=message, outlook=None)

    def _reopened(self, row: Expected) -> bool:
        made_due = self.ledger.reopen([row.id], self.clock())
        self.result.count(made_due=made_due)
        return bool(made_due)

    def _count(self, checked: Checked) -> None:
        self.result.count(
            checked=1,
            ok=int(checked.is_ok),
            missing=int(checked.is_missing),
            different=int(not (checked.is_ok or checked.is_missing)),
            media=len(checked.media),
            unproven=checked.unproven,
            unproven_sidecars=int(checked.unproven_sidecar),
            restored=int(checked.restored),
            cold=checked.cold,
            read_recordings=int(checked.read_bytes is not None),
            read_bytes=checked.read_bytes or 0,
        )


def _shared(range_: Range) -> str:
    """Return the common beginning of all keys in a range, by its bounds."""
    pairs = zip(range_.after, range_.until, strict=False)
    number = next((number for number, (one, other) in enumerate(pairs) if one != other), len(range_.after))
    return range_.after[:number]
