"""Put recordings on hold, and end a hold: the record first, then the store's legal hold of each version.

The records decide: where a bucket has no Object Lock, or a kill came between, erase and prune obey them all the same.
The same command again sets what is missing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from recvault.app.runtime import Runtime
from recvault.custody.holds import Identity, add_hold, held, named_by, release_hold
from recvault.errors import KeyRefused, UnknownName
from recvault.models import JSON, stamp
from recvault.operations.erasing.targets import Criteria, Target, Targets
from recvault.operations.erasing.versions import VersionFinder

SCHEMA = "recvault/holds/v1"


@dataclass(slots=True, kw_only=True)
class HoldReport:
    """What was done."""

    name: str
    recordings: int
    versions: int = 0  # whose legal hold was set or ended in the store
    unlocked: int = 0  # versions in a bucket without Object Lock
    refused: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    def document(self) -> JSON:
        """Return the document that `--json` prints."""
        names = ("name", "recordings", "versions", "unlocked", "refused", "unreadable")
        return {"schema": SCHEMA, **{name: getattr(self, name) for name in names}}


class Holding:
    """Sets and ends holds."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.records = runtime.records

    def add(self, name: str, criteria: Criteria, reference: str) -> HoldReport:
        """Hold what is asked for. Raises UnknownName if there is nothing."""
        runtime = self._runtime
        targets = Targets(runtime)
        found = targets.selected(criteria)
        if not found:
            raise UnknownName("no recording is selected: nothing is held", "`recvault find` shows what there is")
        identities = [each.identity for each in found]
        new = [each for each in identities if name not in held(self.records).names(each)]
        selection = _without_numbers(criteria)
        add_hold(self.records, name, new, reference=reference, selection=selection, now=runtime.clock())
        report = HoldReport(name=name, recordings=len(found), unreadable=targets.unreadable)
        self._set(report, found, on=True)
        return report

    def release(self, name: str, reference: str) -> HoldReport:
        """End a hold. What another hold names, or the configuration holds, stays held in the store."""
        before = held(self.records)
        identities = named_by(self.records, name)
        if not identities:
            raise UnknownName(f"there is no hold {name}", "`recvault hold list` shows those that there are")
        if any(each.name == name for each in before.holds):
            release_hold(self.records, name, reference=reference, now=self._runtime.clock())
        still = held(self.records)
        report = HoldReport(name=name, recordings=len(identities))
        if not self._runtime.settings.archive.object_lock.legal_hold:
            self._set(report, self._targets(each for each in identities if each not in still), on=False)
        return report

    def _targets(self, identities: Iterable[Identity]) -> list[Target]:
        wanted = set(identities)
        if not wanted:
            return []
        criteria = Criteria(recordings=tuple(sorted({each[2] for each in wanted})))
        return [each for each in Targets(self._runtime).selected(criteria) if each.identity in wanted]

    def _set(self, report: HoldReport, targets: Iterable[Target], *, on: bool) -> None:
        finder = VersionFinder(self._runtime.store.remover(), self._runtime.keys)
        for target in targets:
            self._runtime.stop.check()
            for version in finder.of(target):
                try:
                    is_set = finder.remover.hold(version, on=on)
                except KeyRefused as error:
                    report.refused.append(str(error))
                else:
                    report.versions += is_set
                    report.unlocked += not is_set


def _without_numbers(criteria: Criteria) -> JSON:
    """Return what was asked for, as a record may say it."""
    since, until = criteria.window.since, criteria.window.until
    return {
        "numbers": len(criteria.numbers),
        "calls": list(criteria.calls),
        "recordings": list(criteria.recordings),
        "since": since and stamp(since),
        "until": until and stamp(until),
    }
