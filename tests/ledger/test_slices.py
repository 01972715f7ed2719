"""The intervals that a backfill has read, as stored in the ledger."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.rows import FEED, NOW
from recvault.ledger import Feed, Ledger
from recvault.models import Window

DAY = timedelta(days=1)


def days(*bounds: tuple[int, int]) -> list[Window]:
    return [Window(NOW + since * DAY, NOW + until * DAY) for since, until in bounds]


@pytest.mark.parametrize(
    ("added", "kept"),
    [
        ([(0, 1), (2, 3)], [(0, 1), (2, 3)]),
        ([(0, 1), (1, 2)], [(0, 2)]),
        ([(2, 3), (0, 1), (1, 2)], [(0, 3)]),
        ([(0, 5), (1, 2)], [(0, 5)]),
        ([(1, 2), (0, 5)], [(0, 5)]),
    ],
    ids=["apart", "adjoining", "closing a gap", "within", "around"],
)
def test_intervals_that_touch_become_one(
    ledger: Ledger, added: list[tuple[int, int]], kept: list[tuple[int, int]]
) -> None:
    """Adjoining slices are merged, so that few are stored."""
    for window in days(*added):
        ledger.add_slice(FEED, window)
    assert ledger.slices(FEED) == days(*kept)


def test_each_list_has_its_own(ledger: Ledger) -> None:
    """Another account's slices are neither merged nor forgotten."""
    other = Feed("main", "twilio", "AC2")
    for feed in (FEED, other):
        ledger.add_slice(feed, *days((0, 1)))
    ledger.forget_slices(FEED)
    assert (ledger.slices(FEED), ledger.slices(other)) == ([], days((0, 1)))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), max_size=12))
def test_they_cover_what_was_added_and_no_more(
    tmp_path_factory: pytest.TempPathFactory, added: list[tuple[int, int]]
) -> None:
    """A day is in a stored interval exactly if it was in an added one."""
    path: Path = tmp_path_factory.mktemp("slices") / "ledger.db"
    ledger = Ledger.open(path, NOW)
    for since, length in added:
        ledger.add_slice(FEED, *days((since, since + length)))
    kept = ledger.slices(FEED)
    ledger.close()
    for day in range(45):
        moment = NOW + (day + 0.5) * DAY
        assert any(moment in window for window in kept) == any(a <= day < a + n for a, n in added)
