"""Read what the catalog lacks, merge it month by month, and only then clear it from the queue."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count, islice
from pathlib import Path

from recvault.app.runtime import Runtime
from recvault.archive import CALLS, CATALOG, SIDECAR_SUFFIX, KeyTemplate
from recvault.catalog import flatten, spawned
from recvault.catalog.flatten import Numbers
from recvault.custody import Records, Tombstones, read_tombstone
from recvault.errors import Cold, KeyRefused, TooLarge
from recvault.ledger import Ledger
from recvault.ledger.uncatalogued import CATALOG_WRITTEN_AT
from recvault.models import JSON, stamp, unstamp
from recvault.operations.catalog.catalog_summary import CatalogSummary
from recvault.operations.catalog.month_files import MonthFiles, removal, rows_of
from recvault.operations.catalog.swapping import Swapping
from recvault.operations.manifests import text
from recvault.shutdown import Stop
from recvault.store import ObjectStore, Replacer

MOST = 50_000  # sidecars that are read before their months are put
_TOGETHER = 500  # sidecars read between two checks for a stop
_LARGEST_CALLS = 64 << 20
_MONTH = "month="
_TEMPORARY, _ABANDONED_SECONDS = "catalog-", 86_400  # no run has files as old


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """Writes the catalog."""

    ledger: Ledger
    store: ObjectStore  # the archive's
    catalog_store: ObjectStore  # with the catalog: the same, or another
    replacer: Replacer  # of that one
    keys: KeyTemplate
    clock: Callable[[], datetime]
    stop: Stop = field(default_factory=Stop)
    numbers: Numbers = flatten.PLAIN
    threads: int = 4  # that read sidecars
    folder: Path | None = None  # for temporary files
    most: int = MOST

    @classmethod
    def of(cls, runtime: Runtime, *, threads: int, ledger: Ledger | None = None) -> Catalog:
        """Build from a configuration's ledger and buckets. Raises ConfigError if the extra is not installed."""
        spawned.require()
        settings = runtime.settings.catalog
        store = runtime.catalog_store
        key = settings.numbers_key.resolve().encode() if settings.numbers_key else b""
        return cls(
            ledger=ledger or runtime.ledger,
            store=runtime.store,
            catalog_store=store,
            replacer=store.replacer(settings.retention_days),
            keys=runtime.keys,
            clock=runtime.clock,
            stop=runtime.stop,
            numbers=Numbers(settings.numbers, key),
            threads=threads,
            folder=runtime.settings.transfer.spool_dir,
        )

    def write(self, *, rebuild: bool = False) -> CatalogSummary:
        """Write what is missing, or everything again.

        Raises Interrupted, or errors of store and ledger: nothing is lost, the next run continues.
        """
        summary = CatalogSummary(started_at=self.clock())
        if self.folder:
            self.folder.mkdir(parents=True, exist_ok=True)
            _clear(self.folder)
        before = Tombstones.listed(self._records)
        with ThreadPoolExecutor(self.threads, thread_name_prefix="catalog") as readers:
            run = _Run(self, summary, readers)
            if rebuild:
                run.everything()
            else:
                run.missing()
        if erased := self._erased(before):
            self.forget(erased)
        summary.finished_at = self.clock()
        self.ledger.remember(CATALOG_WRITTEN_AT, stamp(summary.finished_at))
        return summary

    @property
    def _records(self) -> Records:
        return Records(store=self.store, prefix=self.keys.prefix)

    def _erased(self, before: Tombstones) -> list[tuple[tuple[str, str, str], datetime]]:
        """Return what was being erased during this run: a sidecar may have been read just before it was deleted.

        An erasure whose tombstone is not there yet clears the catalog itself, after what this run has written.
        """
        now, found = Tombstones.listed(self._records), []
        for path in now:
            stone = read_tombstone(self._records, path) if before.is_open(path) else None
            if stone is None or (stone.is_refused and now.is_open(path)):
                continue
            if isinstance(created := stone.document.get("created_at"), str):
                found.append((stone.identity, unstamp(created)))
        return found

    def key(self, month: str) -> str:
        """Return the key of a month's file."""
        return f"{self.keys.prefix}{CATALOG}recordings/month={month}/recordings.parquet"

    def months(self) -> set[str]:
        """Return the months that the catalog has."""
        return _Run(self, CatalogSummary(started_at=self.clock()), None).months_there()

    def forget(self, erased: Iterable[tuple[tuple[str, str, str], datetime]]) -> list[str]:
        """Write the months of erased recordings again without them; return the keys that were written."""
        summary = CatalogSummary(started_at=self.clock())
        _Run(self, summary, None).without(erased)
        return [each.key for each in summary.written]


class _Run:
    def __init__(self, parts: Catalog, summary: CatalogSummary, readers: Executor | None) -> None:
        self._parts, self._summary, self._readers = parts, summary, readers or ThreadPoolExecutor(1)
        self._serial = count()

    # -- what the queue says -------------------------------------------------------------------------------------------

    def missing(self) -> None:
        """Merge the queue, some thousands at a time; with the last of it, the call facts that came late."""
        queue, after = self._parts.ledger.uncatalogued, 0
        calls = self._new_calls()
        while True:
            rows = queue.page(after, self._parts.most)
            is_last = len(rows) < self._parts.most
            if not rows and not calls:
                self._begin()
                return
            with self._temporary() as folder:
                files = MonthFiles(Path(folder))
                read = self._sidecars(files, [(row.sidecar_key, row.manifest_number) for row in rows])
                if is_last:
                    self._late_calls(files, calls)
                files.close()
                self._merge(files, Path(folder))
            queue.clear([row.entry for row, done in zip(rows, read, strict=True) if done], calls if is_last else ())
            if is_last:
                return
            after = rows[-1].entry

    def _begin(self) -> None:
        """Write a catalog without rows if nothing is archived yet, so that its readers find one."""
        if self._parts.ledger.uncatalogued.may_have_rows or next(self._all_sidecars(), None) is not None:
            return
        with self._temporary() as folder:
            swapping = self._swapping(Path(folder))
            before = swapping.earlier_days()
            if before[0] is None:
                swapping.days({self._this_month: swapping.month(self._this_month, {})}, before)
                swapping.describe()

    @property
    def _this_month(self) -> str:
        return f"{self._parts.clock():%Y-%m}"

    def _merge(self, files: MonthFiles, folder: Path) -> None:
        if not files.months:
            return
        swapping = self._swapping(folder)
        before = swapping.earlier_days()
        days = {month: swapping.month(month, files.job(month)) for month in sorted(files.months)}
        swapping.days(days, before)
        swapping.describe()

    def without(self, erased: Iterable[tuple[tuple[str, str, str], datetime]]) -> None:
        """Take recordings out of the months that the catalog has."""
        there = self.months_there()
        with self._temporary() as folder:
            files = MonthFiles(Path(folder))
            for identity, created_at in erased:
                if (month := f"{created_at:%Y-%m}") in there:
                    files.row(month, removal(identity, created_at, next(self._serial)))
            files.close()
            self._merge(files, Path(folder))

    def _new_calls(self) -> list[str]:
        keys = [each.key for each in self._parts.store.list(self._parts.keys.prefix + CALLS)]
        joined = self._parts.ledger.uncatalogued.joined() if keys else set()
        return [key for key in keys if key not in joined]

    def _late_calls(self, files: MonthFiles, keys: Iterable[str]) -> None:
        """Add call facts of recordings that this ledger knows: those of others are joined by their own."""
        for values in self._call_facts(keys):
            month = self._parts.ledger.uncatalogued.month(*(values[name] for name in flatten.IDENTITY))
            if month is not None:
                files.facts(month, values)

    # -- everything ----------------------------------------------------------------------------------------------------

    def everything(self) -> None:
        """Make the catalog again from what is in the bucket alone; then nothing that was queued before is missing."""
        queue = self._parts.ledger.uncatalogued
        last = queue.last
        with self._temporary() as folder:
            swapping = self._swapping(Path(folder))
            before = swapping.earlier_days()
            there = swapping.versions(self.months_there())  # before the sidecars: what is put later is merged
            files = MonthFiles(Path(folder))
            calls = [each.key for each in self._parts.store.list(self._parts.keys.prefix + CALLS)]
            for values in self._call_facts(calls):
                files.facts(None, values)
            self._manifest_numbers(files)
            sidecars = self._all_sidecars()
            while page := [(key, None) for key in islice(sidecars, self._parts.most)]:
                self._sidecars(files, page)
            files.close()
            days = {}
            for month in sorted(files.months | there.keys()) or [self._this_month]:
                days[month] = swapping.month(month, files.job(month), instead_of=there.get(month), anew=True)
                files.drop(month)
            swapping.days(days, before, anew=True)
            swapping.describe()
        queue.clear_through(last, calls)

    def months_there(self) -> set[str]:
        keys = (each.key for each in self._parts.catalog_store.list(f"{self._parts.keys.prefix}{CATALOG}recordings/"))
        return {key.split(_MONTH)[1].partition("/")[0] for key in keys if _MONTH in key}

    def _all_sidecars(self) -> Iterator[str]:
        for stored in self._parts.store.list(self._parts.keys.root):
            if self._parts.keys.may_be_sidecar(stored.key):
                yield stored.key

    def _manifest_numbers(self, files: MonthFiles) -> None:
        prefix = self._parts.keys.prefix
        for stored in self._parts.store.list(prefix + text.ROOT):
            place = text.place_of(stored.key.removeprefix(prefix))
            body = self._parts.store.get(stored.key, text.LARGEST) if place else None
            if place is None or body is None:
                continue
            try:
                entries = text.read(body).entries
            except ValueError:
                self._summary.problem("unreadable", stored.key)
                continue
            for entry in entries:
                if entry.path.endswith(SIDECAR_SUFFIX):
                    files.listed({"sidecar_key": prefix + entry.path, "manifest_number": place[1]})

    # -- reading -------------------------------------------------------------------------------------------------------

    def _sidecars(self, files: MonthFiles, keys: Sequence[tuple[str, int | None]]) -> list[bool]:
        """Read sidecars and add their rows; return of each whether it is dealt with."""
        done = []
        for start in range(0, len(keys), _TOGETHER):
            self._parts.stop.check()
            some = keys[start : start + _TOGETHER]
            bodies = self._readers.map(self._body, [key for key, _ in some])
            for (key, number), found in zip(some, bodies, strict=True):
                done.append(self._row(files, key, number, found))
        return done

    def _body(self, key: str) -> bytes | str:
        """Return a sidecar, or what is wrong: a key of PROBLEMS. For a thread."""
        try:
            body = self._parts.store.get(key)
        except Cold:
            return "cold"
        except TooLarge:
            return "unreadable"
        except KeyRefused:
            return "refused"
        return "missing" if body is None else body

    def _row(self, files: MonthFiles, key: str, number: int | None, found: bytes | str) -> bool:
        if isinstance(found, str):
            self._summary.problem(found, key)
            return False
        self._summary.sidecars += 1
        try:
            values = flatten.row(found, key, numbers=self._parts.numbers, manifest_number=number)
        except ValueError:
            self._summary.problem("unreadable", key)
            return False
        parts, earlier = self._parts.keys.read(key), values[flatten.EARLIER_KEY]
        before = self._parts.keys.read(earlier) if earlier else None
        month = before.date[:7] if before and before.date else None
        edition = parts.edition if parts else 1
        for where, each in rows_of(values, edition=edition, serial=next(self._serial), earlier_month=month):
            files.row(where, each)
        return True

    def _call_facts(self, keys: Iterable[str]) -> Iterator[JSON]:
        for key in keys:
            self._parts.stop.check()
            try:
                body = self._parts.store.get(key, _LARGEST_CALLS)
            except (KeyRefused, TooLarge):
                body = None
            if body is None:
                self._summary.problem("unreadable", key)
                continue
            self._summary.calls += 1
            yield from flatten.facts_rows(body, numbers=self._parts.numbers)

    def _temporary(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=self._parts.folder)

    def _swapping(self, folder: Path) -> Swapping:
        return Swapping(
            replacer=self._parts.replacer,
            prefix=self._parts.keys.prefix,
            folder=folder,
            summary=self._summary,
            stop=self._parts.stop,
        )


def _clear(folder: Path) -> None:
    """Remove what killed runs left. Ages are by the file system's clock."""
    with tempfile.NamedTemporaryFile(dir=folder) as now:
        latest = Path(now.name).stat().st_mtime - _ABANDONED_SECONDS
    for each in folder.glob(f"{_TEMPORARY}*"):
        if each.is_dir() and not each.is_symlink() and each.stat().st_mtime < latest:
            shutil.rmtree(each, ignore_errors=True)
