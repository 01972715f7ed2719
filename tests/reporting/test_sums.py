"""The report's numbers are those of the sidecars."""

from __future__ import annotations

import statistics
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reading import population
from reading.flat import catalog
from reading.population import Sidecar
from recvault.models import unstamp
from recvault.reporting.sums import DAY, HOUR, Sum, Sums, summed

SINCE, UNTIL = datetime(2026, 9, 20, 6, tzinfo=UTC), datetime(2026, 11, 3, tzinfo=UTC)

LISTED_BY = datetime(2026, 10, 20, 12, tzinfo=UTC)


def chosen(known: list[Sidecar]) -> list[Sidecar]:
    return [each for each in known if SINCE <= unstamp(each["created_at"]) < UNTIL]


def delay(sidecar: Sidecar) -> float:
    """Return the seconds from the end of a call to its archive."""
    medium = sidecar["media"][0]
    lasted = sidecar["duration_seconds"] if sidecar["duration_seconds"] is not None else medium["duration_seconds"]
    ended = unstamp(sidecar["ended_at"] or sidecar["started_at"] or sidecar["created_at"])
    if not sidecar["ended_at"]:
        ended += timedelta(seconds=lasted or 0)
    return max(0.0, (unstamp(sidecar["archive"]["archived_at"]) - ended).total_seconds())


def true_sum(known: list[Sidecar]) -> dict[str, Any]:
    delays = [delay(each) for each in known]
    status = Counter(each["media"][0]["checked"]["status"] for each in known)
    return {
        "recordings": len(known),
        "seconds": sum(each["media"][0]["duration_seconds"] for each in known),
        "bytes": sum(each["media"][0]["bytes"] for each in known),
        "suspect": status["suspect"],
        "unchecked": status["unchecked"],
        "unlisted": len(known),
        "settled": sum(unstamp(each["archive"]["archived_at"]) < LISTED_BY for each in known),
        "overdue": sum(unstamp(each["archive"]["archived_at"]) < LISTED_BY for each in known),
        "within_hour": sum(each <= HOUR for each in delays),
        "within_day": sum(HOUR < each <= DAY for each in delays),
        "median": statistics.median(delays),
    }


def told(found: Sum, names: Any) -> dict[str, Any]:
    return {name: getattr(found, name) for name in names}


@pytest.fixture(scope="module")
def known() -> list[Sidecar]:
    """Recordings with every kind of end, delay and check."""
    known = population.sidecars(1500)
    for index, each in enumerate(known):
        created = unstamp(each["created_at"])
        if index % 7 == 0:
            each["ended_at"] = population.iso(created + timedelta(minutes=3))
        if index % 11 == 0:
            each["archive"]["archived_at"] = population.iso(created + timedelta(hours=1, minutes=index % 3000))
        if index % 13 == 0:
            each["media"][0]["checked"] = {"status": "unchecked", "method": "none", "reason": None}
        if index % 17 == 0:
            each["archive"]["archived_at"] = population.iso(created - timedelta(seconds=1))
    return known


@pytest.fixture(scope="module")
def sums(known: list[Sidecar], tmp_path_factory: pytest.TempPathFactory) -> Sums:
    return sums_of(known, tmp_path_factory.mktemp("catalog"))


def sums_of(known: list[Sidecar], folder: Path) -> Sums:
    catalog(known, folder)
    return summed(sorted(folder.glob("2026-??.parquet")), folder / "days.parquet", SINCE, UNTIL, LISTED_BY)


def test_the_total_is_the_truth(known: list[Sidecar], sums: Sums) -> None:
    """Counts, seconds, bytes, checks and delays of a range are those of its sidecars, to the second of its bounds."""
    truth = true_sum(chosen(known))
    assert told(sums.total, truth) == pytest.approx(truth)
    assert 0 < truth["unchecked"] < truth["within_day"] < truth["within_hour"]
    assert sums.total.later == truth["recordings"] - truth["within_hour"] - truth["within_day"] > 0


def test_each_day_and_source_is_the_truth(known: list[Sidecar], sums: Sums) -> None:
    """So are those of each day, each source, and each day of a source; none is there without recordings."""
    in_range = chosen(known)
    days = {each["created_at"][:10] for each in in_range}
    assert {str(day) for day in sums.days} == days
    assert set(sums.sources) == set(population.LISTS)
    for day, found in sums.days.items():
        truth = true_sum([each for each in in_range if each["created_at"][:10] == str(day)])
        assert told(found, truth) == pytest.approx(truth)
    for source, found in sums.sources.items():
        truth = true_sum([each for each in in_range if each["source"] == source])
        assert told(found, truth) == pytest.approx(truth)
    counted = Counter((each["created_at"][:10], each["source"]) for each in in_range)
    assert {(str(day), source): found.recordings for (day, source), found in sums.cells.items()} == counted


def test_all_of_history_is_known(known: list[Sidecar], sums: Sums) -> None:
    """What came before the range is counted too, without reading its recordings."""
    counted = Counter((each["created_at"][:10], each["source"]) for each in known)
    assert {(str(day), source): count for (day, source), count in sums.history.items()} == counted
    assert (sums.ever_recordings, str(sums.ever_since)) == (len(known), min(day for day, _ in counted))
    assert sums.ever_bytes == sum(each["media"][0]["bytes"] for each in known)


def test_flagged_ones_are_told_by_reason(known: list[Sidecar], sums: Sums) -> None:
    """Flagged recordings are counted by source and reason, the most frequent first."""
    suspect = [each for each in chosen(known) if each["media"][0]["checked"]["status"] == "suspect"]
    counted = Counter((each["source"], each["media"][0]["checked"]["reason"]) for each in suspect)
    assert {(source, reason): count for source, reason, count in sums.flagged} == counted
    assert [count for _, _, count in sums.flagged] == sorted(counted.values(), reverse=True)


def test_a_clock_ahead_makes_no_negative_delay(tmp_path: Path) -> None:
    """Recordings that were archived before their end, by the provider's clock, count as archived at once."""
    known = population.sidecars(20)
    for each in known:
        each["archive"]["archived_at"] = each["created_at"]
    total = sums_of(known, tmp_path).total
    assert (total.median, total.slow, total.within_hour) == (0, 0, total.recordings)
    assert total.recordings > 0


def test_nothing_is_nothing() -> None:
    """Without files there are no sums, and no error."""
    assert summed([], None, SINCE, UNTIL, LISTED_BY) == Sums(total=Sum(), days={}, sources={}, cells={}, history={})
