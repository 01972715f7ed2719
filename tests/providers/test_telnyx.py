"""Telnyx v2."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from providers.bodies import ROWS, SETTINGS, WINDOW, answer, page_of, sample
from recvault.models import ACCOUNT, Phase, Recording, Scope, Window
from recvault.providers.base import Page
from recvault.providers.telnyx import Telnyx
from recvault.providers.urls import with_parameter

TELNYX = Telnyx.from_settings("main", SETTINGS)
ROW = ROWS["telnyx"]
CALL = "84a97d76-e40f-11ed-9074-02420a0daa69"
BOUNDS = (
    "filter%5Bcreated_at%5D%5Bgte%5D=2026-10-01T05%3A00%3A00Z&filter%5Bcreated_at%5D%5Blte%5D=2026-10-02T05%3A00%3A01Z"
)
PAGE = "page%5Bnumber%5D=1&page%5Bsize%5D=250"
SIGNED = "https://s3.amazonaws.com/b/k.wav?X-Amz-Expires=600&X-Amz-Signature=abc"


def parse(rows: list[Any], url: str | None = None, **meta: Any) -> Page:
    return TELNYX.parse_page(answer(TELNYX, page_of("telnyx", rows, **meta), url))


def read(**changes: Any) -> Recording:
    (recording,) = parse([{**ROW, **changes}]).recordings
    return recording


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (ACCOUNT, ""),
        (Scope("call", CALL), f"filter%5Bcall_session_id%5D={CALL}&"),
        (Scope("call", "v3:e-31_x"), "filter%5Bcall_control_id%5D=v3%3Ae-31_x&"),
        (Scope("conference", CALL), f"filter%5Bconference_id%5D={CALL}&"),
    ],
)
def test_lists_are_filtered_by_bracketed_names(scope: Scope, expected: str) -> None:
    """Brackets are percent-encoded; a call is its session, unless the id is one of call control."""
    assert f"/v2/recordings?{BOUNDS}&{expected}{PAGE}" == TELNYX.list_request(WINDOW, scope).url.raw_path.decode()


@pytest.mark.parametrize(
    "name", ["telnyx_recordings_list_current_spec_shape.json", "telnyx_recordings_list_2024_docs_double_nested.json"]
)
def test_flat_and_nested_rows_are_read(name: str) -> None:
    """A row is read the same in the list and wrapped in `data`."""
    second = with_parameter(TELNYX.list_request(Window(), ACCOUNT).url, "page[number]", 2)  # as in the sample
    page = TELNYX.parse_page(answer(TELNYX, sample(name), second))
    (recording,) = page.recordings
    assert "3fa85f64-5717-4562-b3fc-2c963f66afa6" == recording.recording_id == recording.raw["id"]
    assert datetime(2018, 2, 2, 22, 25, 27, 521000, UTC) == recording.created_at
    assert (recording.channels, recording.duration_seconds, recording.recorded_by) == (2, 60.0, "conference")
    assert (recording.leg_id, recording.session_id, recording.conference_id) == (CALL, CALL, CALL)
    assert recording.call_id == "v3:e-31OnvjEM7Y4wvxr3TKNk8M3QyLcGZPiUIzCGtwQtOtEjY-B0urkw"
    assert (page.total, page.next and page.next.params["page[number]"]) == (55, "3")


def test_one_recording_is_read() -> None:
    """The reply for one recording is wrapped in `data`."""
    recording = TELNYX.parse_recording(answer(TELNYX, sample("telnyx_recording_get.json")))
    assert recording.recording_id == "3fa85f64-5717-4562-b3fc-2c963f66afa6"


@pytest.mark.parametrize(
    ("number", "meta", "more"),
    [
        (1, {"total_pages": 3}, 2),
        (2, {"total_pages": 3}, 3),
        (3, {"total_pages": 3}, None),
        (4, {"total_pages": None}, 5),
        (4, {"total_pages": 0}, 5),
    ],
)
def test_pages_are_counted(number: int, meta: dict[str, Any], more: int | None) -> None:
    """Pages are counted up to total_pages, or on if it is missing; the filters keep their bytes."""
    url = f"https://api.telnyx.com/v2/recordings?{BOUNDS}&page%5Bsize%5D=250&page%5Bnumber%5D="
    found = parse([ROW], f"{url}{number}", page_number=number, **meta).next
    assert (f"{url}{more}" if more else None) == (None if found is None else str(found))


def test_without_a_count_the_first_empty_page_is_the_last() -> None:
    """Without total_pages the first empty page is the last; a rejected row counts."""
    assert parse([], total_pages=None).next is None
    assert parse([{}], total_pages=None).next is not None


def test_an_id_that_is_no_session_is_looked_for_as_a_leg() -> None:
    """If no session has the id, the list is requested once more by leg."""
    first = TELNYX.list_request(Window(), Scope("call", CALL)).url
    second = parse([], str(first), total_pages=0).next
    assert f"https://api.telnyx.com/v2/recordings?filter%5Bcall_leg_id%5D={CALL}&{PAGE}" == str(second)
    assert parse([], str(second), total_pages=0).next is None
    assert parse([ROW], str(first)).next is None


@pytest.mark.parametrize(
    ("urls", "phase", "formats"),
    [
        ({"wav": SIGNED, "mp3": SIGNED}, Phase.COMPLETE, ("wav", "mp3")),
        ({"mp3": SIGNED, "wav": SIGNED}, Phase.COMPLETE, ("wav", "mp3")),
        ({"mp3": SIGNED}, Phase.COMPLETE, ("mp3",)),
        ({"mp3": SIGNED, "wav": None}, Phase.COMPLETE, ("mp3",)),
        ({"wav": "s3://acme/k", "mp3": SIGNED}, Phase.COMPLETE, ("mp3",)),
        ({"wav": "s3://acme/k"}, Phase.EXTERNAL, ()),
        ({"wav": "gs://acme/k", "mp3": "gs://acme/m"}, Phase.EXTERNAL, ()),
        ({"wav": "string"}, Phase.UNFINISHED, ()),
        ({"wav": "https://h:port/"}, Phase.UNFINISHED, ()),
        ({}, Phase.UNFINISHED, ()),
        (None, Phase.UNFINISHED, ()),
        ("x", Phase.UNFINISHED, ()),
    ],
)
def test_what_can_be_fetched_is_told_by_the_addresses(urls: Any, phase: Phase, formats: tuple[str, ...]) -> None:
    """Formats are those with a web URL, WAV first; only bucket URLs mean external, none yet means not final."""
    recording = read(download_urls=urls)
    assert (phase, formats) == (recording.phase, recording.formats)


def test_an_external_place_is_kept() -> None:
    """The location in the customer's storage is kept, WAV's first."""
    assert read(download_urls={"mp3": "s3://acme/m", "wav": "s3://acme/w?x=y"}).external_location == "s3://acme/w"


def test_media_come_from_the_minted_address() -> None:
    """The signed URL is used as it is, only while in memory: a recording from the ledger has none."""
    recording = read()
    (request,) = TELNYX.media_requests(recording, "wav")
    assert str(request.url) == SIGNED
    assert TELNYX.media_requests(recording, "mp3") == ()
    assert TELNYX.media_requests(Recording.from_json(recording.to_json()), "wav") == ()


def test_signatures_are_not_kept() -> None:
    """Raw has the URLs without their signatures, whatever they are called."""
    recording = read(download_urls={"wav": SIGNED, "mp3": "https://cdn.example/k.mp3?hdnts=abc", "x": 1})
    kept = {"wav": "https://s3.amazonaws.com/b/k.wav", "mp3": "https://cdn.example/k.mp3", "x": 1}
    assert kept == recording.raw["download_urls"]
    assert "abc" not in recording.to_json() + repr(recording)


def test_a_real_signed_address_is_recognised() -> None:
    """A real webhook's URL is used completely and stored without its query."""
    url = answer(TELNYX, sample("telnyx_call_recording_saved_webhook_signed_url.json")).json()["payload"][
        "recording_urls"
    ]["wav"]
    recording = read(download_urls={"wav": url}, other=url)
    assert url == recording.media_urls["wav"]
    assert recording.raw["other"] == url.partition("?")[0] == recording.raw["download_urls"]["wav"]


@pytest.mark.parametrize(
    ("sent", "expected"), [("single", 1), ("DUAL", 2), (2, 2), ("1", 1), ("many", None), (None, None)]
)
def test_channels_are_words(sent: Any, expected: int | None) -> None:
    """Single is one channel, dual two."""
    assert expected == read(channels=sent).channels


def test_microseconds_are_kept() -> None:
    """Three and six digits of a second are read."""
    assert read(created_at="2022-02-04T11:36:13.612978Z").created_at.microsecond == 612978


def test_deletion_is_of_one_id() -> None:
    """DELETE and refresh use the recording's id."""
    recording = replace(read(), recording_id="a/b")
    assert (
        TELNYX.delete_request(recording).method,
        TELNYX.delete_request(recording).url.raw_path,
    ) == ("DELETE", b"/v2/recordings/a%2Fb")


def test_completed_without_addresses_is_not_ready() -> None:
    """A completed row without URLs (null, empty or missing) is not final."""
    for urls in (None, {}, {"wav": None}):
        assert (read(download_urls=urls).phase, read(download_urls=urls).status) == (Phase.UNFINISHED, "completed")


def test_without_a_date_of_creation_the_recordings_own_times_serve() -> None:
    """Without created_at, the end or else the start of the recording is used."""
    times = {"recording_started_at": "2026-11-28T08:00:00Z", "recording_ended_at": "2026-11-28T08:05:00Z"}
    assert read(created_at=None, **times).created_at == datetime(2026, 11, 28, 8, 5, tzinfo=UTC)
    assert read(created_at=None, **{**times, "recording_ended_at": None}).created_at.minute == 0
    assert len(parse([{**ROW, "created_at": "yesterday", **times}]).rejected) == 1
    assert len(parse([{**ROW, "created_at": None}]).rejected) == 1
