"""Which calls have no recording although their like do, and which recordings are shorter or longer than their call.

Pure: calls as the provider lists them, and what the ledger knows of their recordings. A call, the one that dialled it
and those that it dialled are one family: a recording of any of them is a recording of all.
"""

from __future__ import annotations

import enum
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from recvault.models import JSON
from recvault.monitoring.report import iso
from recvault.providers.calls import CallRow

_OPEN = frozenset({"queued", "initiated", "ringing", "in-progress"})
_COMPLETED = "completed"  # another one was not answered, or failed


class GapKind(enum.StrEnum):
    """What is wrong."""

    MISSING = "no_recording"
    SHORT = "short"
    LONG = "long"


@dataclass(frozen=True, slots=True, kw_only=True)
class GapRule:
    """Which calls ought to be recorded, and how far a length may be off."""

    direction: str = "any"
    numbers: Sequence[str] = field(default=(), repr=False)
    min_seconds: float = 10
    tolerance: float = 10
    late_start: float = 30

    def applies(self, call: CallRow) -> bool:
        """Whether this call ought to be recorded."""
        if call.status != _COMPLETED or call.seconds is None or call.seconds < self.min_seconds:
            return False
        if self.direction != "any" and not (call.direction or "").startswith(self.direction):
            return False
        own = {_digits(each) for each in self.numbers}
        return not own or bool(own & {_digits(call.from_), _digits(call.to)})


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecording:
    """A recording that the ledger knows."""

    call_id: str
    recording_id: str
    seconds: float | None  # None: not archived, or not measurable


@dataclass(frozen=True, slots=True, kw_only=True)
class CallGap:
    """One call with what is wrong. Its numbers are shown in its document, and nowhere else."""

    kind: GapKind
    call: CallRow
    recorded_seconds: float | None = None
    recordings: tuple[str, ...] = ()
    legs: tuple[str, ...] = ()

    def facts(self) -> JSON:
        """Return it without numbers."""
        return {
            "kind": self.kind.value,
            "call_id": self.call.call_id,
            "started_at": iso(self.call.started_at),
            "direction": self.call.direction,
            "call_seconds": self.call.seconds,
            "recorded_seconds": self.recorded_seconds,
            "recordings": list(self.recordings),
            "legs": list(self.legs),
        }

    def document(self) -> JSON:
        """Return it with the numbers."""
        return {**self.facts(), "from": self.call.from_, "to": self.call.to}


def families(rows: Iterable[CallRow]) -> list[list[CallRow]]:
    """Group calls with those that they dialled, each group with the earliest call first."""
    by_id = {row.call_id: row for row in rows}
    groups: defaultdict[str, list[CallRow]] = defaultdict(list)
    for row in by_id.values():
        groups[_root(row, by_id)].append(row)
    return [sorted(group, key=lambda row: (row.parent_call_id is not None, row.call_id)) for group in groups.values()]


def _root(row: CallRow, by_id: Mapping[str, CallRow]) -> str:
    seen = {row.call_id}
    while row.parent_call_id and row.parent_call_id not in seen:
        seen.add(row.parent_call_id)
        if row.parent_call_id not in by_id:
            return row.parent_call_id
        row = by_id[row.parent_call_id]
    return row.call_id


def call_ids(family: Iterable[CallRow]) -> set[str]:
    """Return the ids under which a recording of this family may be known."""
    return {each for row in family for each in (row.call_id, row.parent_call_id) if each}


def is_over(family: Iterable[CallRow], before: datetime) -> bool:
    """Whether all its calls ended before a time: until then a recording may not be listed yet."""
    return all(row.status not in _OPEN and (row.ended_at is None or row.ended_at < before) for row in family)


def gaps(family: Sequence[CallRow], recordings: Sequence[CallRecording], rule: GapRule) -> Iterator[CallGap]:
    """Yield what is wrong with a family that is over."""
    if not recordings:
        missed = [row for row in family if rule.applies(row)]
        if missed:
            legs = tuple(row.call_id for row in family if row is not missed[0])
            yield CallGap(kind=GapKind.MISSING, call=missed[0], legs=legs)
        return
    of: defaultdict[str, list[CallRecording]] = defaultdict(list)
    for each in recordings:
        of[each.call_id].append(each)
    for row in family:
        if row.call_id in of and rule.applies(row):
            yield from _length(row, family, of[row.call_id], rule)


def _length(row: CallRow, family: Iterable[CallRow], of: Sequence[CallRecording], rule: GapRule) -> Iterator[CallGap]:
    """Compare what was recorded with the call, or with one that it dialled: some record only that part."""
    lengths = [each.seconds for each in of if each.seconds is not None]
    if len(lengths) < len(of):
        return
    own = row.seconds or 0
    dialled = [leg.seconds for leg in family if leg.parent_call_id == row.call_id and leg.seconds]
    kind = None
    if sum(lengths) < min([own, *dialled]) - rule.late_start - rule.tolerance:
        kind = GapKind.SHORT
    elif max(lengths) > own + rule.tolerance:
        kind = GapKind.LONG
    if kind is not None:
        names = tuple(sorted(each.recording_id for each in of))
        yield CallGap(kind=kind, call=row, recorded_seconds=round(sum(lengths), 1), recordings=names)


def _digits(number: str | None) -> str:
    return re.sub(r"[^0-9]", "", number or "") or (number or "")
