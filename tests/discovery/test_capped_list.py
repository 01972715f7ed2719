"""A list with a most of rows and no further page is cut in time until no part is full."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from discovery.scans import DAY, LOOKBACK, NOW, Scans, fill, ids
from recvault.errors import NotWhole
from recvault.simulator import Switches

Make = Callable[..., Scans]


@pytest.fixture
def scan(scans: Make) -> Scans:
    """A service that lists ten rows at most."""
    made = scans("bandwidth", page_size=10)
    made.simulator.switches = Switches(bandwidth_most=10)
    return made


def test_a_first_poll_of_a_full_list_finds_every_row(scan: Scans) -> None:
    """Ten times as many as a list has, spread over a year and in bursts of many an hour, are all registered."""
    recordings = [*fill(scan, "bandwidth", 60, every=6 * DAY)]
    recordings += fill(scan, "bandwidth", 50, end=NOW - 90 * DAY, every=timedelta(minutes=2))
    scan.scan()
    assert (scan.registered, scan.watermark) == (ids(recordings), NOW - LOOKBACK)


def test_a_list_that_is_not_full_is_one_request(scan: Scans) -> None:
    """What fits into one list is one request."""
    recordings = fill(scan, "bandwidth", 9)
    scan.scan()
    assert (scan.registered, scan.listed) == (ids(recordings), 1)


def test_more_rows_within_a_minute_than_a_list_has_are_an_error(scan: Scans) -> None:
    """What cannot be listed completely is never passed by: an error, and the watermark stays before it."""
    fill(scan, "bandwidth", 12, every=timedelta(seconds=1))
    with pytest.raises(NotWhole):
        scan.scan()
    assert scan.watermark is None or scan.watermark <= NOW - 2 * DAY
