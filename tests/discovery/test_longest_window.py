"""A list that answers a long window with a part of it is read in windows that it answers completely."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs

import pytest

from discovery.scans import DAY, LOOKBACK, NOW, Scans, fill, ids
from recvault.discovery.time_slices import EPOCH, Slices
from recvault.models import Window
from recvault.simulator import Switches

Make = Callable[..., Scans]
HALF = timedelta(days=29)


def windows(scan: Scans) -> list[tuple[str, str]]:
    """Return the bounds of the first pages, in order."""
    asked = [parse_qs(each.query) for each in scan.simulator.requests if each.path.endswith("/Recording/")]
    return [(each["add_time__gte"][0], each.get("add_time__lt", ["end"])[0]) for each in asked if "offset" not in each]


def test_a_first_poll_reads_all_history_in_windows(scans: Make) -> None:
    """A first poll of a service that refuses more than 30 days finds what is years old, without a refused request."""
    scan = scans("plivo", page_size=20)
    recordings = fill(scan, "plivo", 30, every=60 * DAY)

    scan.scan()

    assert (scan.registered, scan.watermark) == (ids(recordings), NOW - LOOKBACK)
    assert {each.status for each in scan.simulator.requests} == {200}
    asked = windows(scan)
    assert asked[0][0] == "2008-01-01 00:00:00"
    assert all(until == since for (_, until), (since, _) in pairwise(asked))
    assert len(asked) < 280  # 18 years, of which each is 13 windows


def test_a_silent_part_is_never_taken_for_the_whole(scans: Make) -> None:
    """The same for a service that would answer a long window without error, with the last seven days alone."""
    scan = scans("plivo", page_size=20)
    scan.simulator.switches = Switches(plivo_window_days=0, plivo_unbounded_days=7)
    recordings = fill(scan, "plivo", 5, every=200 * DAY)
    scan.scan()
    assert scan.registered == ids(recordings)


def test_a_short_poll_is_one_list(scans: Make) -> None:
    """Once the watermark is recent, a poll is one request."""
    scan = scans("plivo", page_size=20)
    fill(scan, "plivo", 3)
    scan.scan()
    scan.simulator.clear_requests()
    scan.scan()
    assert len(windows(scan)) == 1


@pytest.mark.parametrize("newest_first", [False, True])
def test_no_slice_is_ever_longer(newest_first: bool) -> None:
    """However many empty slices convince of wider ones, none is longer than the documented limit."""
    slices = Slices([Window(EPOCH, NOW)], page_size=20, newest_first=newest_first, longest=HALF)
    taken: list[Any] = []
    while (slice_ := slices.next()) is not None:
        taken.append(slice_.until - slice_.since)  # type: ignore[operator]
        slices.saw(slice_, rows=0, within=0)
        if len(taken) == 5:
            slices.cut_no_more()
    assert max(taken) == HALF


def test_a_limit_that_was_found_grows_back_to_the_documented_one() -> None:
    """Slices that had to be shorter grow again, up to the limit and not beyond."""
    slices = Slices([Window(EPOCH, NOW)], page_size=20, newest_first=False, longest=HALF)
    slices.no_wider(timedelta(days=20))
    widest = []
    while (slice_ := slices.next()) is not None:
        slices.saw(slice_, rows=0, within=0)
        widest.append(slices.widest)
    assert (widest[0], widest[-1]) == (timedelta(days=20), HALF)


def test_slices_leave_nothing_out() -> None:
    """The slices of a window add up to it."""
    slices = Slices([Window(EPOCH, NOW)], page_size=20, newest_first=True, longest=HALF)
    taken: list[Any] = []
    while (slice_ := slices.next()) is not None:
        taken.append(slice_.until - slice_.since)  # type: ignore[operator]
    assert sum(taken, timedelta()) == NOW - EPOCH
