"""Lists that are too large, too old or incomplete are read in parts, from the oldest accepted bound, or fail."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from discovery.rules import bounds, fails_beyond, fails_on_large_pages, fails_on_page, lay, refuses_before
from discovery.scans import DAY, LOOKBACK, NOW, PROVIDERS, Scans, fill, ids
from recvault.errors import EndpointRefused, NotWhole, ProtocolError, Unavailable
from recvault.simulator import twilio_common

every_provider = pytest.mark.parametrize("name", PROVIDERS)
Make = Callable[..., Scans]
HOUR = timedelta(hours=1)


@every_provider
@pytest.mark.parametrize("status", [500, 504])
def test_a_list_too_wide_to_be_answered_is_read_in_parts(
    scans: Make, name: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list that is too wide to be answered is read completely in narrower parts."""
    scan = scans(name)
    if (name, status) != ("voice", 504):  # all history is hundreds of parts
        scan.start_from = NOW - 400 * DAY
    recordings = fill(scan, name, 9, every=20 * DAY)
    lay(monkeypatch, fails_beyond(31 * DAY, NOW + HOUR, status))

    scan.scan()

    assert (scan.registered, scan.watermark) == (ids(recordings), NOW - LOOKBACK)


@every_provider
def test_an_outage_is_not_taken_for_a_list_too_wide(scans: Make, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If even a short list fails, it is an outage: few requests, an error, and the watermark stays."""
    scan = scans(name)
    fill(scan, name, 3)
    lay(monkeypatch, fails_beyond(timedelta(), NOW))
    with pytest.raises(Unavailable):
        scan.scan()
    assert (scan.watermark, scan.listed) == (None, 3)  # two tries and one short list


@every_provider
def test_pages_too_large_to_be_answered_are_asked_for_smaller(
    scans: Make, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If large pages fail whatever the window, fifty rows a page are requested, the usual default."""
    scan = scans(name, page_size=90)
    recordings = fill(scan, name, 130, every=timedelta(minutes=1))
    lay(monkeypatch, fails_on_large_pages(60))

    scan.scan()

    assert (scan.registered, scan.watermark) == (ids(recordings), NOW - LOOKBACK)


@every_provider
def test_a_body_beyond_the_limit_is_asked_for_in_parts(scans: Make, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page beyond the size limit is no outage: fewer rows are requested."""
    monkeypatch.setattr("recvault.http.session._MOST", {"row": 1 << 20, "page": 20_000})
    scan = scans(name, page_size=90)
    recordings = fill(scan, name, 90, every=4 * HOUR)

    scan.scan()

    assert (scan.registered, scan.watermark) == (ids(recordings), NOW - LOOKBACK)


@every_provider
@pytest.mark.parametrize("status", [400, 403, 404, 410])
def test_a_page_that_is_refused_amid_a_list_is_not_a_wrong_address(
    scans: Make, name: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a later page is refused, the address is right, and parts without such a page are read."""
    scan = scans(name)
    if status != 404:  # all history is hundreds of parts
        scan.start_from = NOW - 400 * DAY
    recordings = fill(scan, name, 12, every=DAY)
    lay(monkeypatch, fails_on_page(2, status))

    scan.scan()

    assert (scan.registered, scan.watermark) == (ids(recordings), NOW - LOOKBACK)


@every_provider
def test_a_page_that_is_always_refused_is_a_temporary_failure(
    scans: Make, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a later page is refused in every part, exit 75 says what was refused, without a hint at base_url."""
    scan = scans(name)
    fill(scan, name, 12, every=timedelta(seconds=1))
    lay(monkeypatch, fails_on_page(2))
    with pytest.raises(NotWhole, match="page 3 of a list was refused") as caught:
        scan.scan()
    assert (caught.value.exit_code, "base_url" in str(caught.value), scan.watermark) == (75, False, None)


@every_provider
@pytest.mark.parametrize("status", [400, 422])
def test_a_bound_older_than_what_is_offered_is_moved(
    scans: Make, name: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the provider offers 400 days, these are registered, and the scan reports the limit."""
    scan = scans(name)
    recordings = fill(scan, name, 6, every=100 * DAY)
    scan.start_from = NOW - 3000 * DAY
    lay(monkeypatch, refuses_before(NOW - 400 * DAY, status))

    scan.scan()

    offered = {each.recording_id for each in recordings if each.created_at >= NOW - 400 * DAY}
    assert 0 < len(offered) < 6
    assert (scan.registered, scan.watermark) == (offered, NOW - LOOKBACK)
    assert scan.scanned is not None and scan.scanned.offered_since is not None
    assert timedelta() <= scan.scanned.offered_since - (NOW - 400 * DAY) <= 3 * DAY


def test_what_is_refused_for_its_length_alone_is_read_in_parts(scans: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """If windows of more than a month are refused, all history is read month by month."""
    scan = scans("voice")
    recordings = fill(scan, "voice", 9, every=20 * DAY)
    scan.start_from = NOW - 300 * DAY
    lay(monkeypatch, fails_beyond(31 * DAY, NOW + HOUR, 400))

    scan.scan()

    assert (scan.registered, scan.watermark) == (ids(recordings), NOW - LOOKBACK)
    assert scan.scanned is not None and scan.scanned.offered_since is None


@every_provider
def test_a_list_that_is_always_refused_is_a_matter_of_configuration(
    scans: Make, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If even the shortest and newest window is refused, address or account is wrong: exit 78."""
    scan = scans(name)
    lay(monkeypatch, refuses_before(NOW + 9000 * DAY))
    scan.start_from = NOW - 3000 * DAY
    with pytest.raises(EndpointRefused) as caught:
        scan.scan()
    assert (caught.value.exit_code, scan.listed <= 3) == (78, True)


def test_what_was_read_of_a_long_gap_stays_read(scans: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The watermark moves with each part, oldest first, so that an interrupted poll continues."""
    scan = scans("voice")
    recordings = fill(scan, "voice", 60, end=NOW - DAY, every=DAY)
    reached: list[Any] = []

    def rule(request: Any, dialect: Any) -> None:
        since, _ = bounds(request)
        reached.append(scan.watermark)
        if since is not None and since > NOW - 20 * DAY:
            raise twilio_common.refuse(dialect, 500, 20500, "down")

    lay(monkeypatch, rule)
    with pytest.raises(Unavailable):
        scan.scan()
    mark = scan.watermark
    assert mark is not None and NOW - 40 * DAY < mark <= NOW - 10 * DAY
    assert len({each for each in reached if each}) > 1
    old = {each.recording_id for each in recordings if each.created_at < mark}
    assert old <= scan.registered

    monkeypatch.undo()
    scan.simulator.clear_requests()
    scan.scan()
    assert (scan.registered, scan.watermark) == (ids(recordings), NOW - LOOKBACK)


def test_a_long_list_is_broken_off_and_read_in_parts(scans: Make) -> None:
    """A first scan of years does not start over when it is interrupted."""
    scan = scans("voice")
    recordings = fill(scan, "voice", 60, end=NOW - DAY, every=3 * DAY)
    marks: list[Any] = []
    scan.between = lambda _: marks.append(scan.watermark)

    scan.scan()

    assert scan.registered == ids(recordings)
    assert scan.watermark == NOW - LOOKBACK
    assert len(set(marks)) > 2
    assert [mark for mark in marks if mark] == sorted(mark for mark in marks if mark)


# -- what a list tells of itself ---------------------------------------------------------------------------------------


def test_fewer_rows_than_the_list_tells_of_are_an_error(scans: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a list announces 300 rows and page 2 is empty, it is an error, and the watermark stays."""
    scan = scans("telnyx")
    fill(scan, "telnyx", 5)

    def edit(page: Any, request: Any) -> Any:
        return {**page, "data": [] if request.param("page[number]") == "2" else page["data"]}

    lay(monkeypatch, edit=edit)
    with pytest.raises(NotWhole, match="announced 5 rows and contained 3") as caught:
        scan.scan()
    assert (caught.value.exit_code, scan.watermark) == (75, None)


@pytest.mark.parametrize(
    ("said", "words"),
    [({"total": 9}, "announced 9 rows"), ({"num_pages": 4}, "4 pages"), ({"last_page_uri": "/x?Page=6"}, "7 pages")],
)
def test_other_counts_that_contradict_are_an_error(
    scans: Make, monkeypatch: pytest.MonkeyPatch, said: dict[str, Any], words: str
) -> None:
    """Contradictory counts of any kind are an error."""
    scan = scans("voice")
    fill(scan, "voice", 3)
    lay(monkeypatch, edit=lambda page, request: {**page, **said})
    with pytest.raises(ProtocolError, match=words):
        scan.scan()
    assert scan.watermark is None


def test_a_list_that_lost_a_row_once_is_read_again(scans: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that lost a row once is read again, and the scan is complete."""
    scan = scans("telnyx")
    recordings = fill(scan, "telnyx", 5)
    left = [1]

    def edit(page: Any, request: Any) -> Any:
        return {**page, "data": page["data"][:-1]} if left and left.pop() else page

    lay(monkeypatch, edit=edit)
    scan.scan()
    assert (scan.registered, scan.watermark) == (ids(recordings), NOW - LOOKBACK)


def test_a_live_list_does_not_fail_for_ever(scans: Make) -> None:
    """A list from which rows are always being deleted is read in parts, which are complete."""
    scan = scans("telnyx")
    recordings = fill(scan, "telnyx", 24, every=12 * HOUR)
    doomed = recordings[::6]
    kept = ids(recordings) - ids(doomed)
    scan.between = lambda page: scan.simulator.delete(doomed.pop()) if doomed and page % 3 == 0 else None
    scan.scan()
    assert scan.registered >= kept
    assert scan.watermark == NOW - LOOKBACK


def test_the_same_row_twice_on_a_page_is_two_rows(scans: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that is listed and counted twice on a page is no missing row."""
    scan = scans("telnyx", page_size=10)
    fill(scan, "telnyx", 3)

    def edit(page: Any, request: Any) -> Any:
        rows = [*page["data"], page["data"][0]]
        return {"data": rows, "meta": {**page["meta"], "total_results": len(rows)}}

    lay(monkeypatch, edit=edit)
    scan.scan()
    assert scan.watermark == NOW - LOOKBACK


def test_a_row_that_is_met_on_two_pages_makes_up_for_none(scans: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row on two pages means that another is missing although the count is right: the watermark stays."""
    scan = scans("telnyx")
    fill(scan, "telnyx", 5)
    last: list[Any] = []

    def edit(page: Any, request: Any) -> Any:
        if request.param("page[number]") == "1":
            last[:] = page["data"][-1:]
        elif request.param("page[number]") == "2":
            return {**page, "data": [*last, *page["data"][1:]]}
        return page

    lay(monkeypatch, edit=edit)
    with pytest.raises(NotWhole, match="announced 5 rows and contained"):
        scan.scan()
    assert scan.watermark is None


def test_rows_that_cannot_be_read_count_as_rows(scans: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unreadable rows are quarantined, and count as rows of their list."""
    scan = scans("telnyx")
    recordings = fill(scan, "telnyx", 5)

    def edit(page: Any, request: Any) -> Any:
        first, *others = page["data"]
        return {**page, "data": [{**first, "created_at": "never"}, *others]}

    lay(monkeypatch, edit=edit)
    scan.scan()
    assert scan.registered < ids(recordings)
    assert scan.watermark == NOW - LOOKBACK


def test_a_service_whose_clock_was_never_set_moves_no_watermark_out_of_the_calendar(
    scans: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a service's Date is in the year 1, its newest row gives the time instead."""
    from recvault.simulator import simulated_service as service_module

    headers = service_module.SimulatedService._headers

    def ancient(*arguments: Any) -> Any:
        return [
            (key, "Mon, 01 Jan 0001 00:00:00 GMT" if key == "Date" else value) for key, value in headers(*arguments)
        ]

    monkeypatch.setattr(service_module.SimulatedService, "_headers", ancient)
    scan = scans("voice")
    newest = fill(scan, "voice", 3)[-1].created_at
    scan.scan()
    assert scan.watermark == newest - LOOKBACK
