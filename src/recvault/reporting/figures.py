"""Pure: from sums to what a manager asks. Is everything here, is it proven, what is missing, how late was it?

A day without recordings is a gap if its like have some: of the same weekday of the same source in the eight weeks
before, at least three are known, and three of four have recordings. For a source that began less than three weeks
before, the four weeks after count too.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from recvault.reporting.sums import Sum, Sums

WEEKS_BEFORE, WEEKS_AFTER = 8, 4
LEAST_LIKE, SHARE_LIKE = 3, 0.75
SETTLED = timedelta(days=1)  # a day is judged when the catalog has had a day to hold it
MANIFEST_LATE = timedelta(days=2)
QUIET = timedelta(days=2)
_NOTHING = "nothing is archived yet"


class Cell(StrEnum):
    """The state of a day of a source, best first."""

    PROVEN = "proven"
    EMPTY = "empty"
    OPEN = "open"  # no manifest yet
    FLAGGED = "flagged"
    GAP = "gap"


@dataclass(frozen=True, slots=True)
class Gap:
    """A day without recordings although its like have them."""

    day: date
    source: str
    usual: int  # the median of its like


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """Recordings that could not be archived, as the ledger knows them."""

    source: str
    reason: str
    state: str
    count: int
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FromLedger:
    """What only the ledger knows."""

    failing: tuple[Failing, ...] = ()
    risks: tuple[str, ...] = ()  # why not all is safe, in `status`'s words
    settled: int = 0  # archived in the report's range before MANIFEST_LATE

    @property
    def count(self) -> int:
        return sum(each.count for each in self.failing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """All that the report shows."""

    archive: str
    since: datetime
    until: datetime
    made_at: datetime
    sums: Sums
    days: tuple[date, ...]
    sources: tuple[str, ...]  # the largest first
    gaps: tuple[Gap, ...]
    ledger: FromLedger | None  # None: there is none to ask

    @property
    def total(self) -> Sum:
        return self.sums.total

    @property
    def concerns(self) -> tuple[str, ...]:
        """What needs attention, worst first; empty if nothing does."""
        return tuple(self._concerns())

    def _concerns(self) -> Iterator[str]:
        if self.ledger is not None:
            if self.ledger.count:
                yield f"{_some(self.ledger.count, 'recording')} could not be archived yet"
            yield from self.ledger.risks
            if (lost := self.ledger.settled - self.total.settled) > 0:
                yield f"{_some(lost, 'archived recording')} not in the catalog: `recvault verify` says which is missing"
        if self.gaps:
            yield f"{_some(len(self.gaps), 'day')} without recordings where there usually are some"
        if self.total.suspect:
            yield f"{_some(self.total.suspect, 'recording')} flagged: short, damaged or not decryptable"
        if self.total.recordings and self.total.unlisted == self.total.recordings > self.total.overdue:
            yield "no recording is in a manifest yet, which proves what was archived: `recvault manifest` writes them"
        if self.total.overdue:
            yield f"{_some(self.total.overdue, 'recording')} in no manifest two days after being archived"
        last = max((day for day, _ in self.sums.cells), default=None)
        if self.sums.is_empty:
            yield _NOTHING
        elif last is None or _end(last) + QUIET < min(self.until, self.made_at):
            yield f"no recording since {last:%d %B %Y}" if last else "no recording in these days"

    @property
    def headline(self) -> str:
        """The verdict in one sentence. Whether everything is here, only a ledger tells."""
        if not self.concerns:
            return "Everything is here and proven" if self.ledger else "Everything in the archive is proven"
        if self.concerns == (_NOTHING,):
            return _NOTHING.capitalize()
        return f"{_some(len(self.concerns), 'thing')} {'needs' if len(self.concerns) == 1 else 'need'} attention"

    def cell(self, day: date, source: str) -> Cell:
        """Return the state of a day of a source."""
        found = self.sums.cells.get((day, source))
        if found is None:
            return Cell.GAP if any((each.day, each.source) == (day, source) for each in self.gaps) else Cell.EMPTY
        return Cell.FLAGGED if found.suspect else Cell.OPEN if found.unlisted else Cell.PROVEN


def figures(
    sums: Sums, *, archive: str, since: datetime, until: datetime, made_at: datetime, ledger: FromLedger | None
) -> Figures:
    """Judge a range of an archive."""
    days = tuple(_days(since, min(until, made_at)))
    names = {source for day, source in sums.history if day < max(days, default=date.min)} | set(sums.sources)
    gaps = tuple(gap for source in sorted(names) for gap in _gaps(sums.history, source, days, made_at))
    shown = set(sums.sources) | {gap.source for gap in gaps}
    ordered = sorted(shown, key=lambda source: (-sums.sources.get(source, Sum()).recordings, source))
    return Figures(
        archive=archive,
        since=since,
        until=until,
        made_at=made_at,
        sums=sums,
        days=days,
        sources=tuple(ordered),
        gaps=tuple(sorted(gaps, key=lambda gap: (gap.day, gap.source))),
        ledger=ledger,
    )


def _gaps(
    history: Mapping[tuple[date, str], int], source: str, days: tuple[date, ...], made_at: datetime
) -> Iterator[Gap]:
    known = [day for day, each in history if each == source]
    first = min(known, default=date.max)
    for day in days:
        if day <= first or history.get((day, source)) or _end(day) + SETTLED > made_at:
            continue
        before = [then for week in range(1, WEEKS_BEFORE + 1) if (then := day - timedelta(weeks=week)) >= first]
        after = [day + timedelta(weeks=week) for week in range(1, WEEKS_AFTER + 1)]
        like = before if len(before) >= LEAST_LIKE else before + after
        counts = [history.get((each, source), 0) for each in like if _end(each) + SETTLED <= made_at]
        with_some = [each for each in counts if each]
        if len(counts) >= LEAST_LIKE and len(with_some) >= SHARE_LIKE * len(counts):
            yield Gap(day, source, round(statistics.median(with_some)))


def _days(since: datetime, until: datetime) -> Iterator[date]:
    day = since.astimezone(UTC).date()
    while datetime(day.year, day.month, day.day, tzinfo=UTC) < until:
        yield day
        day += timedelta(days=1)


def _end(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)


def _some(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
