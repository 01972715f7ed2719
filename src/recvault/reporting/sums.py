"""Ask the catalog's files: sums a day and source, and how long it took from a call to the archive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recvault.errors import RecvaultError

if TYPE_CHECKING:
    import duckdb

MEMORY = "512MB"
HOUR, DAY = 3600, 86400
_SETTINGS = (
    f"SET memory_limit='{MEMORY}'",
    "SET TimeZone='UTC'",
    "SET autoinstall_known_extensions=false",
    "SET autoload_known_extensions=false",
)
# A recording that was stopped before it is archived at once counts 0, if the provider's clock is ahead.
_DELAY = """greatest(0, epoch(archived_at) - epoch(coalesce(
    ended_at, coalesce(started_at, created_at) + to_seconds(coalesce(duration_seconds, media_seconds, 0)))))"""
_SUMS = f"""
    WITH chosen AS (
        SELECT day, source, provider, coalesce(media_seconds, duration_seconds, 0) AS seconds, {_DELAY} AS delay,
            coalesce(list_sum(list_transform(media, lambda each: each.bytes)), 0) AS bytes,
            list_transform(media, lambda each: each.checked) AS checks, manifest_number, archived_at
        FROM read_parquet(?) WHERE created_at >= ? AND created_at < ?)
    SELECT day, source, count(*) AS recordings,
        coalesce(sum(seconds), 0)::DOUBLE AS seconds, coalesce(sum(bytes), 0)::DOUBLE AS bytes,
        count(*) FILTER (list_contains(checks, 'suspect')) AS suspect,
        count(*) FILTER (list_contains(checks, 'unchecked') AND NOT list_contains(checks, 'suspect')) AS unchecked,
        count(*) FILTER (manifest_number IS NULL) AS unlisted,
        count(*) FILTER (manifest_number IS NULL AND archived_at < ?) AS overdue,
        count(*) FILTER (archived_at < ?) AS settled,
        count(*) FILTER (delay <= {HOUR}) AS within_hour,
        count(*) FILTER (delay > {HOUR} AND delay <= {DAY}) AS within_day,
        quantile_cont(delay, 0.5) AS median, quantile_cont(delay, 0.95) AS slow, max(provider) AS provider
    FROM chosen GROUP BY GROUPING SETS ((day, source), (day), (source), ())
"""
_REASONS = """
    SELECT source, checked_reason, count(*) FROM read_parquet(?)
    WHERE created_at >= ? AND created_at < ? AND checked = 'suspect' GROUP BY ALL ORDER BY 3 DESC, 1, 2 LIMIT 20
"""
_HISTORY = "SELECT day, source, sum(recordings)::BIGINT FROM read_parquet(?) GROUP BY ALL"
_EVER = "SELECT coalesce(sum(recordings), 0)::BIGINT, coalesce(sum(bytes), 0)::DOUBLE, min(day) FROM read_parquet(?)"


class CatalogUnreadable(RecvaultError):
    """A file of the catalog is damaged, or of another kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """What a group of recordings adds up to."""

    recordings: int = 0
    seconds: float = 0.0
    bytes: int = 0
    suspect: int = 0  # a medium is flagged
    unchecked: int = 0  # a medium is of a format that is not checked, and none is flagged
    unlisted: int = 0  # in no manifest
    overdue: int = 0  # … although archived before `listed_by`
    settled: int = 0  # archived before `listed_by`
    within_hour: int = 0  # archived within an hour of the end of the call
    within_day: int = 0  # … later, but within a day
    median: float | None = None  # seconds from the end of the call to the archive
    slow: float | None = None  # … of the slowest twentieth, the fastest
    provider: str = ""

    @property
    def later(self) -> int:
        """How many were archived more than a day after the call."""
        return self.recordings - self.within_hour - self.within_day


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """The answers about one range. Days and sources without recordings have no entry."""

    total: Sum
    days: Mapping[date, Sum]
    sources: Mapping[str, Sum]
    cells: Mapping[tuple[date, str], Sum]
    history: Mapping[tuple[date, str], int]  # recordings of every day and source, of all time
    flagged: tuple[tuple[str, str, int], ...] = ()  # source, reason, count
    ever_recordings: int = 0
    ever_bytes: int = 0
    ever_since: date | None = None
    is_empty: bool = False  # the catalog is known to hold nothing, of no day


def summed(months: Iterable[Path], days: Path | None, since: datetime, until: datetime, listed_by: datetime) -> Sums:
    """Read the files of these months, and the sums of all days if there are any.

    What was archived before `listed_by` should be in a manifest.
    """
    rows, flagged, history, ever = _answers([str(path) for path in months], days, since, until, listed_by)
    known = {(day, source): count for day, source, count in history}
    cells = {(day, source): each for day, source, each in rows if day is not None and source is not None}
    recordings, size, first = ever or (0, 0, None)
    return Sums(
        total=next((each for day, source, each in rows if day is None and source is None), Sum()),
        days={day: each for day, source, each in rows if day is not None and source is None},
        sources={source: each for day, source, each in rows if day is None and source is not None},
        cells=cells,
        history={**{where: each.recordings for where, each in cells.items()}, **known},
        flagged=tuple((source, reason or "", count) for source, reason, count in flagged),
        ever_recordings=recordings,
        ever_bytes=int(size),
        ever_since=first,
        is_empty=ever is not None and not (recordings or known or cells),
    )


def _answers(
    files: list[str], days: Path | None, since: datetime, until: datetime, listed_by: datetime
) -> tuple[Any, ...]:
    import duckdb  # starts a thread when it is loaded: not in a process that forks

    try:
        with duckdb.connect(":memory:") as db:
            for setting in _SETTINGS:
                db.execute(setting)
            rows = [*_rows(db, _SUMS, [files, since, until, listed_by, listed_by])] if files else []
            flagged = db.execute(_REASONS, [files, since, until]).fetchall() if files else []
            history = db.execute(_HISTORY, [str(days)]).fetchall() if days else []
            return rows, flagged, history, db.execute(_EVER, [str(days)]).fetchone() if days else None
    except duckdb.Error as error:
        first = next(iter(str(error).splitlines()), "")
        raise CatalogUnreadable(
            f"a file of the catalog cannot be read: {first}", "make it again: `recvault catalog --rebuild`"
        ) from error


def _rows(db: duckdb.DuckDBPyConnection, query: str, values: list[Any]) -> Iterator[tuple[Any, Any, Sum]]:
    for row in db.execute(query, values).fetchall():
        day, source, recordings, seconds, size, *others = row
        names = (
            "suspect",
            "unchecked",
            "unlisted",
            "overdue",
            "settled",
            "within_hour",
            "within_day",
            "median",
            "slow",
            "provider",
        )
        rest = dict(zip(names, others, strict=True))
        yield day, source, Sum(recordings=recordings, seconds=seconds, bytes=int(size), **rest)
