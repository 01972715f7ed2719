"""One bar per day on a line: what was archived from a source recently."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from recvault.cli.tables import size

BLOCKS = "·▁▂▃▄▅▆▇█"  # none, then steps of an eighth of the busiest day
PLAIN = ".12345678"


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A source's recordings and bytes by day."""

    name: str
    first: date
    recordings: Sequence[int]
    bytes: int

    @classmethod
    def of(cls, name: str, first: date, last: date, days: Iterable[tuple[date, int, int]]) -> Series:
        """Sum `(day, recordings, bytes)` by day; skip days before `first` or after `last`."""
        counts, total = [0] * ((last - first).days + 1), 0
        for day, recordings, size_ in days:
            if first <= day <= last:
                counts[(day - first).days] += recordings
                total += size_
        return cls(name=name, first=first, recordings=counts, bytes=total)

    @property
    def last(self) -> date:
        return self.first + timedelta(days=len(self.recordings) - 1)


def lines(series: Sequence[Series], *, encoding: str | None, width: int) -> list[str]:
    """Return one line per source, in the same form: with dates without year, and without words, as far as the terminal
    is narrow.
    """
    levels = BLOCKS if _can_show(BLOCKS, encoding) else PLAIN
    name = max((len(each.name) for each in series), default=0)
    forms = (("%Y-%m-%d", " recordings"), ("%m-%d", " recordings"), ("%m-%d", ""))
    drawn: list[str] = []
    for dates, unit in forms:
        drawn = [_line(each, levels, name, dates, unit) for each in series]
        if max(map(len, drawn), default=0) <= width:
            break
    return drawn


def bar(counts: Sequence[int], levels: str) -> str:
    """Return one character per day: the busiest is full height, and a day with any recording differs from an empty
    one."""
    most, top = max(counts, default=0), len(levels) - 1
    return "".join(levels[-(-count * top // most) if count else 0] for count in counts)


def _line(series: Series, levels: str, name: int, dates: str, unit: str) -> str:
    ends = f"{series.first:{dates}} {bar(series.recordings, levels)} {series.last:{dates}}"
    return f"{series.name:<{name}}  {ends}  {sum(series.recordings):,}{unit}, {size(series.bytes)}"


def _can_show(text: str, encoding: str | None) -> bool:
    try:
        text.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
