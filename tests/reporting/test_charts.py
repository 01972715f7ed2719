"""What is drawn has the size of its numbers."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date, timedelta

import pytest

from recvault.reporting.charts import Bars, lane, stacked
from reporting.made import FIRST, FULL, judged, month, sums, weeks_before

DAYS = [FIRST + timedelta(days=day) for day in range(4)]


def rectangles(text: str, style: str) -> list[tuple[float, float, float]]:
    """Return x, y and height of the rectangles of a class."""
    found = re.findall(rf'<rect x="([\d.]+)" width="[\d.]+" y="([\d.]+)" height="([\d.]+)" class="{style}"/>', text)
    return [(float(x), float(y), float(height)) for x, y, height in found]


def test_bars_have_the_height_of_their_values() -> None:
    """Each bar is its value's share of the scale, stands on the one below, and is at its day."""
    drawn = stacked(DAYS, [Bars("a", "s0", [30, 0, 15, 60]), Bars("b", "s1", [30, 45, 0, 0])], "{:.0f}".format)
    assert rectangles(drawn, "s0") == [(0.08, 50, 50), (2.08, 75, 25), (3.08, 0, 100)]
    assert rectangles(drawn, "s1") == [(0.08, 0, 50), (1.08, 25, 75)]
    assert re.findall(r"<span>(\d+)</span>", drawn) == ["60", "30", "0"]


def test_a_pointer_is_told_the_numbers() -> None:
    """Each day has a title with its values, also a day without any."""
    drawn = stacked(DAYS, [Bars("a", "s0", [30, 0, 15, 60]), Bars("b", "s1", [30, 45, 0, 0])], "{:.0f}".format)
    titles = re.findall(r"<title>(.*?)</title>", drawn, re.S)
    assert titles == ["Thu 01 Oct\nb: 30\na: 30", "Fri 02 Oct\nb: 45", "Sat 03 Oct\na: 15", "Sun 04 Oct\na: 60"]
    assert "none" in stacked(DAYS, [Bars("a", "s0", [0, 0, 0, 0])], "{:.0f}".format)


def test_a_lane_shows_each_days_state() -> None:
    """A flagged day, a gap and a day without a manifest differ by shape or colour from a proven one."""
    cells = month("voice")
    cells[date(2026, 10, 2), "voice"] = replace(FULL, suspect=1)
    cells[date(2026, 10, 3), "voice"] = replace(FULL, unlisted=1)
    del cells[date(2026, 10, 14), "voice"]
    drawn = lane(judged(sums(cells, weeks_before("voice"))), "voice")
    assert [x for x, _, _ in rectangles(drawn, "flagged")] == [1.08]
    assert [x for x, _, _ in rectangles(drawn, "open")] == [2.08]
    assert [x for x, _, _ in rectangles(drawn, "gap")] == [13.08]
    assert len(rectangles(drawn, "proven")) == 29


@pytest.mark.parametrize("count", [1, 30, 31, 92, 366])
def test_dates_do_not_crowd(count: int) -> None:
    """Any range has one to five dates beneath it."""
    days = [FIRST + timedelta(days=day) for day in range(count)]
    drawn = stacked(days, [Bars("a", "s0", [1.0] * count)], str)
    assert 1 <= drawn.count("left:") <= 5
