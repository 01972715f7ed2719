"""Figures made by hand, for tests of the verdict and of the page."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

from recvault.reporting.figures import Figures, FromLedger, figures
from recvault.reporting.sums import Sum, Sums

FIRST, LAST = date(2026, 10, 1), date(2026, 10, 31)
SINCE, UNTIL = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)
MADE = datetime(2026, 11, 3, 8, tzinfo=UTC)
FULL = Sum(recordings=40, seconds=7200, bytes=1 << 30, within_hour=39, within_day=1, median=600, slow=3000)

Cells = dict[tuple[date, str], Sum]


def month(*sources: str, each: Sum = FULL) -> Cells:
    """Return a month in which every source has recordings on each day."""
    return {(FIRST + timedelta(days=day), source): each for source in sources for day in range(31)}


def added(found: list[Sum]) -> Sum:
    names = (
        "recordings",
        "seconds",
        "bytes",
        "suspect",
        "unchecked",
        "unlisted",
        "overdue",
        "within_hour",
        "within_day",
    )
    counts = {name: sum(getattr(each, name) for each in found) for name in names}
    return Sum(**counts, median=600, slow=3000) if found else Sum()


def sums(cells: Cells, before: Mapping[tuple[date, str], int] | None = None, **others: object) -> Sums:
    """Return the sums of these days, after this history."""
    days, sources = ({where[place] for where in cells} for place in (0, 1))
    return Sums(
        total=added([*cells.values()]),
        days={day: added([each for where, each in cells.items() if where[0] == day]) for day in days},
        sources={name: added([each for where, each in cells.items() if where[1] == name]) for name in sources},
        cells=cells,
        history={**(before or {}), **{where: each.recordings for where, each in cells.items()}},
        **others,  # type: ignore[arg-type]
    )


def weeks_before(*sources: str, count: int = 40) -> dict[tuple[date, str], int]:
    """Return eight weeks of recordings on each day before the month."""
    return {(FIRST - timedelta(days=day), source): count for source in sources for day in range(1, 57)}


def judged(found: Sums, *, ledger: FromLedger | None = None, made_at: datetime = MADE) -> Figures:
    return figures(found, archive="s3://acme-recordings", since=SINCE, until=UNTIL, made_at=made_at, ledger=ledger)
