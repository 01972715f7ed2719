"""Geometry of the drawings: a month's bars, a day's lanes. SVG attributes alone: the policy forbids inline styles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

HEIGHT = 56
WIDTH_OF_A_DAY = 100
LANE = 20
_LEAST = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A day of the strip."""

    day: date
    count: int
    height: float
    is_chosen: bool
    is_weekend: bool

    @property
    def label(self) -> str:
        """What a screen reader says."""
        noun = "recording" if self.count == 1 else "recordings"
        return f"{self.day:%A} {self.day.day} {self.day:%B %Y}: {self.count:,} {noun}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A source of the lanes: a mark for each ten minutes that have recordings."""

    source: str
    count: int
    marks: list[tuple[int, float]]  # where, how high
    hours: list[int]  # recordings of each


def strip(days: Sequence[tuple[date, int, float]], chosen: date | None) -> list[Bar]:
    """Return a bar for each day of a month, as high as its share of the busiest day."""
    most = max((count for _, count, _ in days), default=0) or 1
    return [
        Bar(
            day=day,
            count=count,
            height=round(max(_LEAST, HEIGHT * count / most), 1) if count else 0.0,
            is_chosen=day == chosen,
            is_weekend=day.weekday() >= 5,
        )
        for day, count, _ in days
    ]


def lanes(found: Sequence[tuple[str, list[int]]]) -> list[Lane]:
    """Return a lane for each source, its marks as high as their share of the day's busiest ten minutes."""
    most = max((count for _, bins in found for count in bins), default=0) or 1
    return [
        Lane(
            source=source,
            count=sum(bins),
            marks=[(at, round(max(4.0, LANE * count / most), 1)) for at, count in enumerate(bins) if count],
            hours=[sum(bins[at : at + 6]) for at in range(0, len(bins), 6)],
        )
        for source, bins in found
    ]
