"""The watermark: everything that the provider lists as created before it is in the ledger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from discovery.scans import APIS, DAY, LOOKBACK, NOW, PROVIDERS, Scans, fill, ids
from recvault.discovery import scan as discovery_module
from recvault.discovery.scan import Found
from recvault.errors import EndpointRefused, Interrupted, ProtocolError, Unavailable
from recvault.ledger import Ledger
from recvault.models import Window
from recvault.simulator import Simulator, Switches
from recvault.simulator import signalwire as signalwire_module
from recvault.simulator import simulated_service as service_module

every_provider = pytest.mark.parametrize("name", PROVIDERS)
Make = Callable[..., Scans]
HOUR = timedelta(hours=1)


@every_provider
def test_a_whole_scan_registers_all_history_and_moves_the_watermark(scans: Make, name: str) -> None:
    """A complete scan registers every listed recording; the watermark is the scan's start less the lookback."""
    scan = scans(name)
    recordings = fill(scan, name, 8)

    assert scan.scan() == Found(listed=8, registered=8)

    assert scan.registered == ids(recordings)
    assert scan.watermark == NOW - LOOKBACK
    assert scan.listed >= 3


@every_provider
def test_a_scan_that_fails_on_its_second_page_leaves_the_watermark_alone(scans: Make, name: str) -> None:
    """A failed page leaves the watermark, which moves only after every page is registered; read pages stay."""
    scan = scans(name)
    recordings = fill(scan, name, 8)
    broken = scan.simulator.faults.plan("http_500", kind="list", times=3, skip=1)  # a short list fails, too

    with pytest.raises(Unavailable):
        scan.scan()

    assert scan.simulator.faults.unfired() == [] and broken.spent
    assert (scan.watermark, len(scan.registered)) == (None, 3)
    assert scan.scan() == Found(listed=8, registered=5)
    assert (scan.watermark, scan.registered) == (NOW - LOOKBACK, ids(recordings))


@every_provider
def test_a_failing_scan_never_takes_back_what_an_earlier_one_reached(scans: Make, name: str) -> None:
    """An empty or failed scan leaves an earlier watermark."""
    scan = scans(name)
    fill(scan, name, 2)
    scan.scan()
    before = scan.watermark
    scan.simulator.advance(DAY)

    scan.simulator.faults.plan("malformed_page", kind="list", times=2)
    with pytest.raises(ProtocolError):
        scan.scan()

    assert scan.watermark == before


@every_provider
def test_the_watermark_moves_only_after_the_last_page(scans: Make, name: str) -> None:
    """While pages are read the watermark stays: a crash costs a re-listing, never a recording."""
    scan = scans(name)
    fill(scan, name, 8)
    seen: list[datetime | None] = []
    scan.between = lambda _: seen.append(scan.watermark)

    scan.scan()

    assert len(seen) >= 3
    assert set(seen) == {None}
    assert scan.watermark is not None


@every_provider
def test_a_stop_ends_a_scan_between_two_pages(scans: Make, name: str) -> None:
    """A stop ends a scan between pages: read pages stay registered, and the next scan continues."""
    scan = scans(name)
    recordings = fill(scan, name, 8)
    scan.between = lambda _: scan.stop.asked.set()

    with pytest.raises(Interrupted):
        scan.scan()

    assert (scan.watermark, len(scan.registered)) == (None, 3)
    scan.stop.asked.clear()
    scan.between = lambda _: None
    scan.scan()
    assert scan.registered == ids(recordings)


@every_provider
def test_an_empty_scan_leaves_the_watermark_alone(scans: Make, name: str) -> None:
    """An empty list moves no watermark, since the provider may interpret the filter differently."""
    scan = scans(name)
    assert scan.scan() == Found()
    assert scan.watermark is None

    fill(scan, name, 2, end=NOW - 10 * DAY)
    scan.scan()
    mark = scan.watermark
    scan.simulator.advance(90 * DAY)
    assert scan.scan() == Found()
    assert scan.watermark == mark


@every_provider
@pytest.mark.parametrize("wrong_by", [-DAY, DAY], ids=["a day behind", "a day ahead"])
def test_a_wrong_local_clock_loses_nothing(scans: Make, name: str, wrong_by: timedelta) -> None:
    """The watermark is never past the scan's start by the provider's clock less the lookback, whatever our clock."""
    scan = scans(name)
    scan.clock = lambda: scan.simulator.now + wrong_by
    fill(scan, name, 4)
    scan.scan()
    assert scan.watermark == min(NOW, NOW + wrong_by) - LOOKBACK  # a provider's fast clock is not trusted either

    late = [scan.simulator.add(scan.account, api_of(name), created_at=NOW - HOUR, visible_at=NOW + HOUR)]
    for _ in range(3):
        scan.simulator.advance(12 * HOUR)
        scan.scan()

    assert ids(late) < scan.registered
    assert scan.watermark is not None and scan.watermark <= scan.simulator.now - LOOKBACK


def api_of(name: str) -> Any:
    return APIS[name]


@every_provider
def test_without_a_date_header_the_newest_row_is_the_mark(
    scans: Make, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a Date header the watermark is the newest row's time less the lookback."""
    headers = service_module.SimulatedService._headers

    def dateless(*arguments: object) -> list[tuple[str, str]]:
        return [(key, value) for key, value in headers(*arguments) if key != "Date"]  # type: ignore[arg-type]

    monkeypatch.setattr(service_module.SimulatedService, "_headers", dateless)
    scan = scans(name)
    newest = max(recording.created_at for recording in fill(scan, name, 5))
    scan.clock = lambda: NOW + 99 * DAY

    scan.scan()

    assert scan.watermark == newest - LOOKBACK


def test_a_slow_first_answer_is_taken_off(scans: Make) -> None:
    """The Date of an answer that took a minute is a minute after the scan's start, and corrected for it."""
    scan = scans("voice")
    fill(scan, "voice", 2)
    times = iter([NOW - timedelta(minutes=1)] * 3)  # when it is noted, begins, and requests
    scan.clock = lambda: next(times, NOW)

    scan.scan()

    assert scan.watermark == NOW - timedelta(minutes=1) - LOOKBACK


@every_provider
def test_what_appears_late_within_the_lookback_is_registered_by_the_next_scan(scans: Make, name: str) -> None:
    """The lookback is read again: late rows are registered, known rows unchanged."""
    scan = scans(name)
    seen = fill(scan, name, 4, end=NOW - HOUR, every=timedelta(minutes=1))
    late = scan.simulator.add(
        scan.account, api_of(name), created_at=NOW - timedelta(hours=25), visible_at=NOW + timedelta(minutes=30)
    )
    assert scan.scan() == Found(listed=4, registered=4)

    scan.simulator.advance(HOUR)

    assert scan.scan() == Found(listed=5, registered=1)
    assert scan.registered == ids([*seen, late])


@every_provider
def test_start_from_bounds_what_is_archived(scans: Make, name: str) -> None:
    """Recordings before start_from are not registered, even if the filter knows only days."""
    scan = scans(name)
    recordings = fill(scan, name, 20, every=3 * HOUR)
    scan.start_from = recordings[10].created_at

    scan.scan()

    assert scan.registered == ids(recordings[10:])
    scan.simulator.advance(HOUR)
    scan.scan()
    assert scan.registered == ids(recordings[10:])


# -- lists that shift --------------------------------------------------------------------------------------------------

offset_pages = pytest.mark.parametrize("name", ["telnyx", "legacy"])


@offset_pages
@pytest.mark.parametrize("victim", [0, -1], ids=["oldest", "newest"])
def test_a_deletion_while_offset_pages_are_read_loses_nothing(scans: Make, name: str, victim: int) -> None:
    """A deletion that shifts offset pages is detected, and the list is read again."""
    scan = scans(name)
    recordings = fill(scan, name, 9)
    doomed = recordings[victim]
    scan.between = lambda page: scan.simulator.delete(doomed) if page == 1 else None

    scan.scan()

    assert scan.registered >= ids(recordings) - {doomed.recording_id}
    assert scan.watermark == NOW - LOOKBACK


@offset_pages
def test_a_deletion_that_an_insertion_covers_up_is_noticed(scans: Make, name: str) -> None:
    """A deletion hidden by an insertion, with equal totals, is detected, and the list is read again."""
    scan = scans(name)
    recordings = fill(scan, name, 9)

    def between(page: int) -> None:
        if page == 1:
            scan.simulator.delete(recordings[-1])
        if page == 2:
            scan.simulator.add(scan.account, api_of(name), created_at=NOW - 2 * DAY)

    scan.between = between
    scan.scan()

    assert scan.registered >= ids(recordings[:-1])


@offset_pages
def test_a_list_that_never_stands_still_is_an_error_and_the_watermark_stays(scans: Make, name: str) -> None:
    """If even the shortest part keeps changing, it is an error: seen rows stay registered, the watermark stays."""
    scan = scans(name)
    live = fill(scan, name, 12, every=timedelta(minutes=1))

    def between(page: int) -> None:
        if page % 2:
            scan.simulator.delete(live.pop(0))
        else:
            live.extend(scan.simulator.add(scan.account, api_of(name), created_at=NOW - 2 * DAY) for _ in range(2))

    scan.between = between

    with pytest.raises(ProtocolError, match=r"changed during each of 3 scans|is incomplete") as caught:
        scan.scan()

    assert (scan.watermark, caught.value.exit_code) == (None, 75)
    assert scan.registered


@every_provider
def test_rows_that_arrive_while_pages_are_read_do_not_disturb(scans: Make, name: str) -> None:
    """New recordings that shift the pages do not hide older ones."""
    scan = scans(name)
    recordings = fill(scan, name, 9, end=NOW - HOUR)

    def between(page: int) -> None:
        if page == 1:
            scan.simulator.advance(timedelta(minutes=1))
            scan.simulator.add(scan.account, api_of(name))

    scan.between = between
    scan.scan()

    assert scan.registered >= ids(recordings)
    scan.between = lambda page: None
    scan.simulator.advance(HOUR)
    scan.scan()
    assert scan.registered == ids(scan.simulator.recordings(scan.account))


def test_a_busy_list_in_no_order_is_read_in_one_scan(scans: Make) -> None:
    """Numbered pages are read up to a fixed bound, so that new rows do not shift them."""
    scan = scans("telnyx")
    scan.simulator.switches = Switches(telnyx_order="random")
    recordings = fill(scan, "telnyx", 9, end=NOW - HOUR)

    def between(page: int) -> None:
        scan.simulator.advance(timedelta(minutes=1))
        scan.simulator.add(scan.account, "telnyx")

    scan.between = between

    assert scan.scan() == Found(listed=9, registered=9)

    assert scan.registered == ids(recordings)
    assert scan.watermark == NOW - LOOKBACK


# -- a filter that is ignored ------------------------------------------------------------------------------------------


def test_an_ignored_filter_ends_early_where_the_list_is_newest_first(
    scans: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If SignalWire ignores its date filter, the scan ends early, and says so."""
    scan = scans("signalwire", page_size=10)
    scan.simulator.switches = Switches(signalwire_date_filter="ignored")
    fill(scan, "signalwire", 100, end=NOW - HOUR, every=6 * HOUR)
    scan.scan()
    scan.simulator.clear_requests()
    told: list[str] = []
    monkeypatch.setattr(discovery_module.log, "warning", lambda event, **_: told.append(event), raising=False)

    again = scan.scan()

    assert again.registered == 0
    assert told == ["discover.filter_ignored"]
    assert scan.listed == 3  # of ten: the bound is 26 h and 3 days back, four rows a day
    assert scan.watermark == NOW - LOOKBACK


def test_rows_out_of_order_are_read_to_the_end(scans: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a list is not newest first after all, the scan does not end early."""
    monkeypatch.setattr(signalwire_module, "_bounds", lambda *_: replace(signalwire_module.Query(), order="oldest"))
    scan = scans("signalwire", page_size=10)
    recordings = fill(scan, "signalwire", 60, end=NOW - HOUR, every=6 * HOUR)
    scan.ledger.advance(scan.feed, NOW - 2 * DAY, NOW)

    scan.scan()

    assert scan.listed == 6
    assert scan.registered == ids(recordings)


@every_provider
def test_a_later_scan_lists_the_lookback_alone(scans: Make, name: str) -> None:
    """History is listed once; later scans list only the lookback."""
    scan = scans(name)
    recordings = fill(scan, name, 6, end=NOW - HOUR, every=4 * DAY)
    assert scan.scan() == Found(listed=6, registered=6)
    assert scan.scan() == Found(listed=1)
    assert scan.registered == ids(recordings)


@every_provider
def test_a_filter_that_is_ignored_does_not_widen_start_from(
    scans: Make, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a provider ignores the filter, nothing before start_from is archived."""
    scan = scans(name)
    recordings = fill(scan, name, 8, end=NOW - HOUR, every=3 * HOUR)
    scan.start_from = recordings[5].created_at
    asking = type(scan.provider).list_request
    monkeypatch.setattr(
        type(scan.provider), "list_request", lambda provider, window, scope: asking(provider, Window(), scope)
    )

    found = scan.scan()

    assert (found.listed, found.registered) == (8, 3)
    assert scan.registered == ids(recordings[5:])


# -- answers that cannot be used ---------------------------------------------------------------------------------------


@every_provider
def test_a_page_that_leads_to_itself_is_an_error(scans: Make, name: str) -> None:
    """A page already seen is an error, not a loop: exit 75, the watermark stays, read pages are registered."""
    if name == "telnyx":
        pytest.skip("Telnyx has no next links")
    scan = scans(name)
    fill(scan, name, 8)
    scan.simulator.faults.plan("page_loop", kind="list")

    with pytest.raises(ProtocolError, match=r"read before|same page") as caught:
        scan.scan()

    assert (scan.watermark, caught.value.exit_code, len(scan.registered)) == (None, 75, 3)
    assert scan.listed <= 2


def test_an_endless_list_is_an_error(scans: Make) -> None:
    """SignalWire's second page that links to itself is an error."""
    scan = scans("signalwire")
    scan.simulator.switches = Switches(signalwire_repeated_next=True)
    fill(scan, "signalwire", 12)
    with pytest.raises(ProtocolError):
        scan.scan()
    assert scan.watermark is None
    assert scan.listed <= 3


def test_a_next_link_to_another_host_is_not_followed(scans: Make) -> None:
    """A next link to another host is not followed: exit 75, and the watermark stays."""
    scan = scans("video")
    scan.simulator.switches = Switches(video_hostile_next=True)
    fill(scan, "video", 8)

    with pytest.raises(ProtocolError, match=r"another host, video\.twilio\.com\.example\.net") as caught:
        scan.scan()

    assert (scan.watermark, caught.value.exit_code) == (None, 75)


def test_an_empty_page_with_a_next_link_is_not_the_end(scans: Make) -> None:
    """SignalWire's list ends only without a next link, not at an empty page."""
    scan = scans("signalwire")
    scan.simulator.switches = Switches(signalwire_empty_page=True)
    recordings = fill(scan, "signalwire", 8)
    scan.scan()
    assert scan.registered == ids(recordings)


@pytest.mark.parametrize(
    ("name", "count", "more"),
    [
        ("voice", 1005, {}),
        ("legacy", 1005, {}),
        ("legacy", 1005, {"legacy_nextpageuri": False}),
        ("video", 105, {"video_page_size_over": "clamp"}),
        ("telnyx", 255, {"telnyx_page_size_over": "clamp"}),
        ("signalwire", 1005, {}),
    ],
)
def test_a_page_smaller_than_asked_for_is_not_the_last(
    scans: Make, name: str, count: int, more: dict[str, Any]
) -> None:
    """A page smaller than requested is not taken for the last one."""
    scan = scans(name, page_size=5000)
    scan.simulator.switches = Switches(**more)
    recordings = fill(scan, name, count, every=timedelta(seconds=1))
    assert scan.scan() == Found(listed=count, registered=count)
    assert (scan.registered, scan.listed) == (ids(recordings), 2)


@every_provider
@pytest.mark.parametrize("malformed", ["no_date", "bad_date"])
def test_a_row_that_cannot_be_read_is_quarantined_while_its_page_goes_on(
    scans: Make, name: str, malformed: str
) -> None:
    """An unreadable row is quarantined with its body, its page is registered, and it counts as open."""
    scan = scans(name)
    recordings = fill(scan, name, 8)
    bad = scan.simulator.add(
        scan.account, api_of(name), created_at=recordings[4].created_at, malformed=malformed, duration_seconds=1
    )

    assert scan.scan() == Found(listed=8, registered=8, rejected=1)
    scan.scan()

    [kept] = scan.ledger.ask.quarantined()
    assert kept["recording_id"] == bad.recording_id
    assert bad.recording_id in kept["body"]
    assert scan.ledger.ask.standing("main", scan.feed.account_id).quarantined == 1
    assert scan.watermark == NOW - LOOKBACK


def test_an_endpoint_that_is_gone_is_a_matter_of_configuration(scans: Make) -> None:
    """A 410 of a retired API version exits 78 with a hint."""
    scan = scans("legacy")
    scan.simulator.switches = Switches(legacy_retired=True)
    with pytest.raises(EndpointRefused) as caught:
        scan.scan()
    assert (caught.value.exit_code, "base_url" in caught.value.hint) == (78, True)
    assert (scan.watermark, scan.listed) == (None, 1)


def test_an_endpoint_that_is_not_there_is_a_matter_of_configuration(
    scans: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A 404 of a list means a wrong base_url: exit 78."""
    scan = scans("voice")
    monkeypatch.setattr(type(scan.provider), "root", "/2010-04-01/Nowhere")
    with pytest.raises(EndpointRefused):
        scan.scan()
    assert scan.watermark is None


def test_the_ledger_outlives_the_scans(scans: Make, simulator: Simulator, tmp_path: Path) -> None:
    """A scan in a new process continues from the stored watermark, and lists only the lookback."""
    scan = scans("voice", page_size=10)
    fill(scan, "voice", 50, end=NOW - HOUR, every=2 * HOUR)
    scan.scan()
    scan.ledger.close()
    scan.ledger = Ledger.open(tmp_path / "ledger.db", NOW)
    simulator.clear_requests()

    again = scan.scan()

    assert (again.listed, again.registered, scan.listed) == (13, 0, 2)


# -- what is told ------------------------------------------------------------------------------------------------------


def test_each_new_recording_is_named_once_in_the_log(scans: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each new recording's id is logged once, at most a hundred on a line."""
    scan = scans("voice", page_size=250)
    recordings = fill(scan, "voice", 260)
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(
        discovery_module.log, "info", lambda event, **keys: told.append({"event": event, **keys}), raising=False
    )

    scan.scan()
    scan.scan()

    assert {line["event"] for line in told} == {"discover.registered"}
    assert {(line["source"], line["account_id"]) for line in told} == {("main", scan.feed.account_id)}
    assert [len(line["recordings"]) for line in told] == [100, 100, 50, 10]
    assert sorted(name for line in told for name in line["recordings"]) == sorted(ids(recordings))


def test_a_scan_is_noted_while_it_runs(scans: Make) -> None:
    """A running scan and the last one's duration are stored; an interrupted one leaves its start."""
    scan = scans("voice")
    fill(scan, "voice", 7)
    seen: list[object] = []
    scan.between = lambda page: seen.append(scan.ledger.ask.feeds()[0].scan_started_at)
    scan.scan()
    assert seen == [NOW] * 3
    [status] = scan.ledger.ask.feeds()
    assert (status.scan_started_at, status.scan_seconds) == (None, 0.0)

    scan.stop.asked.set()
    with pytest.raises(Interrupted):
        scan.scan()
    [status] = scan.ledger.ask.feeds()
    assert (status.scan_started_at, status.scan_seconds) == (NOW, 0.0)
