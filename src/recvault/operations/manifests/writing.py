"""Write due manifests, each once, at the end of its account's chain.

The ledger has what is due. A manifest is put before the ledger forgets what it lists: after a kill in between, the next
run finds it at the end of the chain, takes it over, and continues. The same happens if another writer was first.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from io import BytesIO
from itertools import islice
from typing import TypeVar

from recvault.app.runtime import Runtime
from recvault.archive import RECORDS, KeyTemplate
from recvault.errors import KeyConflict, StoreUnavailable
from recvault.ledger import EVER, Chain, KeySet, Ledger
from recvault.ledger.unlisted import COMPLETE_AT
from recvault.models import stamp, unstamp
from recvault.operations.manifests import text
from recvault.operations.manifests.chains import Chains
from recvault.operations.manifests.sidecars import ListedRecording, SidecarReader, Unlistable
from recvault.operations.manifests.summary import ManifestWritten, Summary
from recvault.operations.manifests.text import CUSTODY, Entry, Manifest, Partition
from recvault.shutdown import Stop
from recvault.store import ObjectStore, Put

MOST = 10_000  # recordings in a manifest: some MiB of text, which fit in memory
SETTLING = timedelta(minutes=15)  # after a day's end: by then the ledger has all that was archived before it
_TOGETHER = 500  # sidecars read between two checks for a stop
_RACES = 20
_UNREADABLE = ("GLACIER", "DEEP_ARCHIVE")  # storage classes whose objects cannot be read directly

T = TypeVar("T")


def last_ended(now: datetime) -> date:
    """Return the last UTC day that has ended and settled."""
    return (now.astimezone(UTC) - SETTLING).date() - timedelta(days=1)


def complete_at(ledger: Ledger) -> datetime | None:
    """When manifests last listed everything that was due; None where they never did."""
    noted = ledger.fact(COMPLETE_AT)
    return unstamp(noted) if noted else None


def note_complete(ledger: Ledger, now: datetime) -> None:
    """Remember that manifests list everything that is due now."""
    ledger.remember(COMPLETE_AT, stamp(now))


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifests:
    """Writes due manifests."""

    ledger: Ledger
    store: ObjectStore
    keys: KeyTemplate
    clock: Callable[[], datetime]
    stop: Stop = field(default_factory=Stop)
    threads: int = 4  # that read sidecars
    by_metadata: bool = False  # see SidecarReader
    most: int = MOST

    @classmethod
    def of(cls, runtime: Runtime, *, threads: int) -> Manifests:
        """Build from a configuration's ledger and bucket; `threads` read sidecars."""
        return cls(
            ledger=runtime.ledger,
            store=runtime.store,
            keys=runtime.keys,
            clock=runtime.clock,
            stop=runtime.stop,
            threads=threads,
            by_metadata=runtime.settings.archive.storage_class in _UNREADABLE,
        )

    @property
    def are_due(self) -> bool:
        """Whether something archived on an ended day is not listed yet, or others may have put records.

        Does not use the bucket.
        """
        unlisted = self.ledger.unlisted
        return bool(unlisted.chains() or unlisted.page(0, _settled_before(last_ended(self.clock())), 1))

    def write(self, *, survey: bool = False) -> Summary:
        """Write every due manifest.

        A survey also finds what is in the bucket but in no ledger. Raises Interrupted, or errors of store and ledger:
        nothing is lost, the next run continues.
        """
        now = self.clock()
        summary = Summary(started_at=now, through=last_ended(now))
        if survey:
            self.ledger.unlisted.note_surveyed(False)
        with ThreadPoolExecutor(self.threads, thread_name_prefix="manifests") as readers:
            _Run(self, summary, readers).run()
        note_complete(self.ledger, now)
        summary.chains = self.ledger.unlisted.chains()
        summary.finished_at = self.clock()
        return summary


class _Run:
    """One run over all accounts."""

    def __init__(self, parts: Manifests, summary: Summary, readers: Executor) -> None:
        self._parts = parts
        self._summary = summary
        self._readers = readers
        self._prefix = parts.keys.prefix
        self._chains = Chains(parts.ledger, parts.store, self._prefix, summary)
        self._sidecars = SidecarReader(store=parts.store, keys=parts.keys, by_metadata=parts.by_metadata)
        self._day_end = _end_of(summary.through)

    def run(self) -> None:
        """List what an earlier ledger left, then what this one knows."""
        if not self._parts.ledger.unlisted.is_surveyed:
            self._survey()
        unlisted, after = self._parts.ledger.unlisted, 0
        while rows := unlisted.page(after, _settled_before(self._summary.through), self._parts.most):
            after = rows[-1].id
            self._list(self._sidecars.known, rows)
        self._list_records()

    # -- what no ledger knows ------------------------------------------------------------------------------------------

    def _survey(self) -> None:
        """List what is in the bucket, but in no manifest and not in this ledger, because an earlier ledger was lost."""
        with KeySet() as known:
            self._chains.take_over_all(known)
            if known:
                self._chains.drop_listed(known)
            self._chains.remember()
            self._add_unlisted(known)
            strangers = (key for key in self._sidecar_keys() if key.removeprefix(self._prefix) not in known)
            late = [self._list(self._sidecars.stranger, keys) for keys in _pages(strangers, self._parts.most)]
        if not any(late):
            self._parts.ledger.unlisted.note_surveyed(True)

    def _add_unlisted(self, known: KeySet) -> None:
        unlisted, after = self._parts.ledger.unlisted, 0
        while rows := unlisted.page(after, EVER, self._parts.most):
            after = rows[-1].id
            known.add(row.sidecar_key.removeprefix(self._prefix) for row in rows)

    def _sidecar_keys(self) -> Iterator[str]:
        for stored in self._parts.store.list(self._parts.keys.root):
            if self._parts.keys.may_be_sidecar(stored.key):
                yield stored.key

    # -- manifests -----------------------------------------------------------------------------------------------------

    def _list(self, read: Callable[[T], ListedRecording | Unlistable], asked: Sequence[T]) -> bool:
        """List what was archived by the day's end; return whether something of an earlier ledger was archived later."""
        found: defaultdict[Partition, list[ListedRecording]] = defaultdict(list)
        postponed = False
        for each in self._read(read, asked):
            if isinstance(each, Unlistable):
                self._summary.trouble(each.kind, each.key.removeprefix(self._prefix))
            elif each.archived_at < self._day_end:
                found[each.partition].append(each)
                if each.odd:
                    self._summary.trouble("different", each.entries[0].path)
            else:
                postponed |= each.archived_at < self._parts.ledger.born_at
        for partition, recordings in sorted(found.items(), key=lambda pair: pair[0].path(1)):
            self._append(partition, recordings)
        return postponed

    def _list_records(self) -> None:
        """List custody's records that no manifest lists: any command may have put them, without this ledger."""
        store = self._parts.store
        stored = (each.key for beginning in RECORDS for each in store.list(self._prefix + beginning))
        for keys in _pages(stored, self._parts.most):
            paths = self._parts.ledger.custody.unlisted([key.removeprefix(self._prefix) for key in keys])
            found = []
            for each in self._read(self._sidecars.record, paths):
                if isinstance(each, Unlistable):
                    self._summary.trouble(each.kind, each.key.removeprefix(self._prefix))
                else:
                    found.append(each)
            if found:
                self._append(CUSTODY, found)

    def _read(
        self, read: Callable[[T], ListedRecording | Unlistable], asked: Sequence[T]
    ) -> Iterator[ListedRecording | Unlistable]:
        for start in range(0, len(asked), _TOGETHER):
            self._parts.stop.check()
            yield from self._readers.map(read, asked[start : start + _TOGETHER])

    def _append(self, partition: Partition, recordings: Sequence[ListedRecording]) -> None:
        """Put a manifest at the end of a chain. Another writer's is never overwritten: what it lists is left out."""
        for _ in range(_RACES):
            before = self._chains.end(partition)
            taken_over = self._chains.taken_over
            left = [each for each in recordings if not taken_over.issuperset(text.marks(each.entries))]
            if not left or self._put(partition, before, left):
                return
            self._chains.take_over(partition)
        raise StoreUnavailable(
            f"the manifests of {partition.provider} {partition.account_id} are written by another process"
        )

    def _put(self, partition: Partition, before: Chain | None, recordings: Sequence[ListedRecording]) -> bool:
        """Put this manifest and record it; False if another has its key."""
        number = before.number + 1 if before else 1
        entries = text.sidecar_first(each.entries for each in recordings)
        link = Entry(partition.path(before.number), before.sha256) if before else None
        manifest = Manifest(through=self._summary.through, before=link, entries=entries)
        body = text.write(partition, number, manifest)
        put = _put_of(self._prefix + partition.path(number), body)
        try:
            self._parts.store.put(put)
        except KeyConflict:
            return False
        chain = Chain(
            provider=partition.provider,
            account_id=partition.account_id,
            number=number,
            sha256=put.sha256,
            through=self._summary.through,
        )
        if partition == CUSTODY:
            self._chains.reached_records(chain, entries)
        else:
            self._chains.reached(partition, chain, [each.row for each in recordings if each.row])
        count = 0 if partition == CUSTODY else len(recordings)
        self._summary.wrote(ManifestWritten(chain=chain, key=put.key, recordings=count, files=len(entries)))
        return True


def _end_of(day: date) -> datetime:
    return datetime.combine(day + timedelta(days=1), time(), UTC)


def _settled_before(through: date) -> datetime:
    """Return by when the ledger has all that was archived by the end of a day; the sidecars decide for the rest."""
    return _end_of(through) + SETTLING


def _put_of(key: str, body: bytes) -> Put:
    sha256 = hashlib.sha256(body).hexdigest()
    return Put(
        key=key,
        body=BytesIO(body),
        bytes=len(body),
        sha256=sha256,
        content_type=text.CONTENT_TYPE,
        metadata={"sha256": sha256, "schema": text.SCHEMA},
    )


def _pages(keys: Iterable[T], size: int) -> Iterator[list[T]]:
    each = iter(keys)
    while page := list(islice(each, size)):
        yield page
