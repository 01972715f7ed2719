"""The end of each account's chain of manifests, and how unknown manifests beyond it are taken over."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Iterator

from recvault.errors import TooLarge
from recvault.ledger import EVER, Chain, KeySet, Ledger, UnlistedRow
from recvault.operations.manifests import text
from recvault.operations.manifests.summary import Summary
from recvault.operations.manifests.text import CUSTODY, Entry, Partition
from recvault.store import ObjectStore

_PAGE = 5_000


class Chains:
    """The chains of one run. The ledger's memory of a chain takes precedence over the bucket."""

    def __init__(self, ledger: Ledger, store: ObjectStore, prefix: str, summary: Summary) -> None:
        self._ledger = ledger
        self._store = store
        self._prefix = prefix
        self._summary = summary
        self._ends = {Partition(each.provider, each.account_id): each for each in ledger.unlisted.chains()}
        self._looked: set[Partition] = set()
        self.taken_over: set[str] = set()  # marks of what another writer's manifests list, met in this run

    def end(self, partition: Partition) -> Chain | None:
        """Return the end of a chain; None if it has not begun. The first call takes over another writer's manifests."""
        if partition not in self._looked:
            self._looked.add(partition)
            self._compare(partition)
            self.take_over(partition)
        return self._ends.get(partition)

    def reached(self, partition: Partition, chain: Chain, rows: Iterable[UnlistedRow]) -> None:
        """Record a manifest of these rows as the new end."""
        self._ledger.unlisted.note(rows, [chain])
        self._ends[partition] = chain

    def reached_records(self, chain: Chain, entries: Iterable[Entry]) -> None:
        """Record a manifest of custody's records as the new end."""
        self._ledger.custody.note_listed(each.path for each in entries)
        self.reached(CUSTODY, chain, ())

    def take_over(self, partition: Partition) -> None:
        """Continue from manifests beyond the known end; what they list is no longer due."""
        listed: set[str] = set()
        end = self._ends.get(partition)
        while True:
            number = end.number + 1 if end else 1
            found = self._read(self._prefix + partition.path(number))
            if found is None:
                break
            end, marks = self._taken(partition, number, found, end)
            listed.update(marks)
        if end is not None and end is not self._ends.get(partition):
            self.drop_listed(listed)
            self.reached(partition, end, ())
            self.taken_over |= listed

    def take_over_all(self, listed: KeySet) -> None:
        """Read every chain from its beginning; the marks of what they list are added to `listed`."""
        ends: dict[Partition, Chain] = {}
        for stored in self._store.list(self._prefix + text.ROOT):
            place = text.place_of(stored.key.removeprefix(self._prefix))
            found = self._read(stored.key) if place else None
            if place and found is not None:
                partition, number = place
                ends[partition], marks = self._taken(partition, number, found, ends.get(partition))
                listed.add(marks)
        for partition, known in self._ends.items():
            if partition not in ends or ends[partition].number < known.number:
                self._summary.trouble("manifest_missing", partition.path(known.number))
                ends[partition] = known
        self._ends = ends
        self._looked |= ends.keys()

    def _read(self, key: str) -> tuple[bytes, str] | None:
        """Return a manifest's text and SHA-256; the text is empty if it is too large, and then reported as changed."""
        try:
            body = self._store.get(key, text.LARGEST)
        except TooLarge:
            digest = hashlib.sha256()
            for chunk in self._store.stream(key):
                digest.update(chunk)
            return b"", digest.hexdigest()
        return None if body is None else (body, hashlib.sha256(body).hexdigest())

    def drop_listed(self, listed: Container[str]) -> None:
        """Drop from what is due everything that is already in manifests, with the ledger's hashes."""
        unlisted, after = self._ledger.unlisted, 0
        while rows := unlisted.page(after, EVER, _PAGE):
            after = rows[-1].id
            unlisted.note([row for row in rows if all(mark in listed for mark in self._marks(row))], ())

    def _marks(self, row: UnlistedRow) -> Iterator[str]:
        files = {row.sidecar_key: "", **row.media}
        return text.marks(Entry(key.removeprefix(self._prefix), sha256) for key, sha256 in files.items())

    def remember(self) -> None:
        """Store the ends of all chains."""
        self._ledger.unlisted.note((), self._ends.values())

    def _compare(self, partition: Partition) -> None:
        """Report if the manifest that the next one must name is missing or changed."""
        known = self._ends.get(partition)
        if known is None:
            return
        path = partition.path(known.number)
        stored = self._store.head(self._prefix + path)
        if stored is None:
            self._summary.trouble("manifest_missing", path)
        elif stored.sha256 != known.sha256:
            self._summary.trouble("manifest_changed", path)

    def _taken(
        self, partition: Partition, number: int, found: tuple[bytes, str], before: Chain | None
    ) -> tuple[Chain, tuple[str, ...]]:
        """Return a manifest in the bucket as the end of its chain, and the marks of what it lists."""
        path, known, (body, sha256) = partition.path(number), self._ends.get(partition), found
        through, marks = self._summary.through, tuple[str, ...]()
        try:
            manifest = text.read(body)
        except ValueError:
            self._summary.trouble("manifest_changed", path)
        else:
            through, marks = manifest.through, tuple(text.marks(manifest.entries))
            if partition == CUSTODY:
                self._ledger.custody.note_listed(each.path for each in manifest.entries)
            if manifest.before != (Entry(partition.path(before.number), before.sha256) if before else None) or (
                number != (before.number if before else 0) + 1
            ):
                self._summary.trouble("chain_broken", path)
        if known and known.number == number and known.sha256 != sha256:
            self._summary.trouble("manifest_changed", path)
            return known, marks
        chain = Chain(
            provider=partition.provider, account_id=partition.account_id, number=number, sha256=sha256, through=through
        )
        return chain, marks
