"""The order of an erasure, which may be killed at any step and is resumed by the same command.

select → refuse what is held or locked → tombstones → the ledger begins nothing more with them → delete all versions →
call facts and catalog written again without them → nothing left in the ledger's file → `….done.json`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from recvault.app.runtime import Runtime
from recvault.archive import CATALOG
from recvault.custody import RecordSchema, Tombstones, done_path, honour, read_tombstone, tombstone_path
from recvault.custody.holds import held
from recvault.errors import KeyConflict
from recvault.ledger import Ledger
from recvault.log.lines import get_logger
from recvault.models import JSON, stamp
from recvault.operations.catalog import Catalog
from recvault.operations.erasing.call_lines import CallObject, call_objects_of, put_kept
from recvault.operations.erasing.erase_report import Erased, ErasedRecording, Outcome
from recvault.operations.erasing.targets import Criteria, Identity, Target, Targets
from recvault.operations.erasing.versions import VersionFinder
from recvault.store import StoredVersion

log = get_logger("recvault.operations.erasing")

_NONE = object()


@dataclass(slots=True, kw_only=True)
class _Case:
    """A target on its way."""

    target: Target
    versions: list[StoredVersion]
    refused: list[JSON]
    deleted: int = 0
    is_open: bool = False  # something came between: it is due again

    @property
    def goes_on(self) -> bool:
        return not self.refused and not self.is_open


@dataclass(slots=True, kw_only=True)
class Erase:
    """One run. `criteria` None: only what is due."""

    runtime: Runtime
    criteria: Criteria | None
    reference: str
    due: bool = False
    dry_run: bool = False
    report: Erased = field(init=False)

    def run(self) -> Erased:
        """Erase. Raises what bucket and ledger raise: the same command goes on."""
        runtime = self.runtime
        self.report = Erased(started_at=runtime.clock(), reference=self.reference, dry_run=self.dry_run)
        stones = Tombstones.listed(self.runtime.records)
        targets = Targets(runtime)
        selected = targets.selected(self.criteria) if self.criteria is not None else []
        selected = self._with_open(targets, stones, selected)
        self.report.unreadable = targets.unreadable
        calls = list(call_objects_of(runtime, {each.identity for each in selected}))
        cases = self._judged(selected, calls)
        if self.dry_run:
            self.report.quarantined = len(targets.quarantined)
        else:
            catalog = self._catalog()
            self._bury(cases, stones)
            self._delete(cases)
            self._drop_calls(cases)
            if catalog is not None:
                self._clear_catalog(cases, catalog)
            self._scrub(cases, targets.quarantined)
            self._close(cases)
        self._tell(cases)
        self.report.finished_at = runtime.clock()
        return self.report

    # -- before anything is changed ------------------------------------------------------------------------------------

    @property
    def _finder(self) -> VersionFinder:
        return VersionFinder(self.runtime.store.remover(), self.runtime.keys)

    def _with_open(self, targets: Targets, stones: Tombstones, selected: Sequence[Target]) -> list[Target]:
        """Add the erasures that are not complete: all if they are due, else those of the same reference."""
        found = {each.identity: each for each in selected}
        for path in stones.open:
            stone = read_tombstone(self.runtime.records, path)
            if stone is None:
                continue
            same = stone.document.get("reference") == self.reference and self.criteria is not None
            if self.due or same or stone.identity in found:
                found[stone.identity] = targets.again(stone)
        return sorted(found.values(), key=lambda target: target.identity)

    def _judged(self, selected: Sequence[Target], calls: Sequence[CallObject]) -> list[_Case]:
        """Find all versions, and what keeps them: holds by our own records first, then the store's locks."""
        if not selected:
            return []
        finder, now, holds = self._finder, self.runtime.clock(), held(self.runtime.records)
        locked = defaultdict[Identity, list[JSON]](list)
        for found in calls:
            for kept in finder.locked(finder.exactly(found.key), now):
                for identity in found.whose:
                    locked[identity].append(kept)
        cases = []
        for target in selected:
            self.runtime.stop.check()
            versions = finder.of(target)
            for each in versions:
                target.objects.setdefault(each.key, (None, each.bytes))
            names = holds.names(target.identity)
            refused = [{"key": target.sidecar_key, "why": f"hold {name}", "until": None} for name in names]
            refused += finder.locked(versions, now) + locked[target.identity]
            cases.append(_Case(target=target, versions=versions, refused=refused))
        return cases

    def _catalog(self) -> Catalog | None:
        """Return what writes the catalog again; None if there is none. ConfigError if it cannot be written here."""
        runtime = self.runtime
        root = f"{runtime.keys.prefix}{CATALOG}recordings/"
        if next(iter(runtime.catalog_store.list(root)), None) is None:
            return None
        ledger = runtime.ledger if runtime.has_ledger else cast("Ledger", _NONE)  # forgetting uses none
        return Catalog.of(runtime, threads=1, ledger=ledger)

    # -- the acts, in their order --------------------------------------------------------------------------------------

    def _bury(self, cases: Sequence[_Case], stones: Tombstones) -> None:
        """Put the tombstones; then no transfer of this ledger begins with these recordings."""
        now = self.runtime.clock()
        for case in cases:
            path = tombstone_path(*case.target.identity)
            if path not in stones.paths:
                asked = {"reference": self.reference, "requested_at": stamp(now), "refused": case.refused}
                self._put_once(path, RecordSchema.TOMBSTONE, {**case.target.document(), **asked})
        if self.runtime.has_ledger:
            due = [(tombstone_path(*case.target.identity), case.target.identity) for case in cases if case.goes_on]
            leased = self.runtime.ledger.custody.bury(due, now).leased
            for case in cases:
                case.is_open = case.target.identity in leased

    def _delete(self, cases: Sequence[_Case]) -> None:
        """Delete every version, listed again: a transfer may have put more until the ledger knew."""
        for case in cases:
            self.runtime.stop.check()
            if case.goes_on:
                versions = self._finder.of(case.target)
                case.refused = self._finder.delete(versions)
                case.deleted = len(versions) - len(case.refused)

    def _drop_calls(self, cases: Sequence[_Case]) -> None:
        """Write objects with call facts again without those that are erased; listed again, as some may be new."""
        going = {case.target.identity for case in cases if case.goes_on}
        for found in call_objects_of(self.runtime, going):
            put_kept(self.runtime, found)
            refused = self._finder.delete(self._finder.exactly(found.key))
            for case in cases:
                if case.target.identity in found.whose:
                    case.refused += refused

    def _clear_catalog(self, cases: Sequence[_Case], catalog: Catalog) -> None:
        """Write the months again, and delete their older versions."""
        going = [case for case in cases if case.goes_on]
        months = {month: catalog.key(month) for month in catalog.months()}
        erased = [(each.target.identity, at) for each in going if (at := each.target.created_at) is not None]
        if any(f"{at:%Y-%m}" in months for _, at in erased):
            self.report.months = sorted({f"{at:%Y-%m}" for _, at in erased} & months.keys())
            catalog.forget(erased)
        finder = VersionFinder(self.runtime.catalog_store.remover(), self.runtime.keys)
        for month in self.report.months:
            older = [each for each in finder.exactly(months[month]) if not each.is_latest]
            refused = finder.locked(older, self.runtime.clock()) or finder.delete(older)
            for case in going:
                if case.target.created_at is not None and f"{case.target.created_at:%Y-%m}" == month:
                    case.refused += refused

    def _scrub(self, cases: Sequence[_Case], quarantined: Sequence[int]) -> None:
        """Leave nothing of them in the ledger's file."""
        if self.runtime.has_ledger and (cases or quarantined):
            custody = self.runtime.ledger.custody
            custody.drop_quarantined(quarantined)
            custody.scrub()
            self.report.quarantined = len(quarantined)

    def _close(self, cases: Sequence[_Case]) -> None:
        """Say that it is done, last of all."""
        now = self.runtime.clock()
        for case in cases:
            if case.goes_on:
                target = case.target
                said = {**target.names, "reference": self.reference, "done_at": stamp(now)}
                path = done_path(tombstone_path(*target.identity))
                self._put_once(path, RecordSchema.ERASED, {**said, "versions": case.deleted})
                log.info("erasure.done", recording_id=target.identity[2], versions=case.deleted)
        if self.runtime.has_ledger and cases:
            honour(self.runtime.ledger, self.runtime.records, now)

    def _put_once(self, path: str, schema: RecordSchema, document: JSON) -> None:
        try:
            self.runtime.records.put(path, schema, document)
        except KeyConflict:
            return  # of an earlier or another run: it says the same

    # -- what became of it ---------------------------------------------------------------------------------------------

    def _tell(self, cases: Sequence[_Case]) -> None:
        for case in cases:
            provider, account_id, recording_id = case.target.identity
            self.report.recordings.append(
                ErasedRecording(
                    provider=provider,
                    account_id=account_id,
                    recording_id=recording_id,
                    outcome=self._outcome(case),
                    objects=len({each.key for each in case.versions}),
                    versions=len(case.versions) if self.dry_run else case.deleted,
                    refused=case.refused,
                )
            )

    def _outcome(self, case: _Case) -> Outcome:
        if self.dry_run:
            return "would_refuse" if case.refused else "would_erase"
        if case.goes_on:
            return "erased"
        return "refused" if case.refused and not case.deleted else "open"
