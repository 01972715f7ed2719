"""Plivo v1."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from providers.bodies import ROWS, SETTINGS, WINDOW, answer, page_of, sample
from recvault.models import ACCOUNT, Phase, Recording, Window
from recvault.providers.base import longest_window
from recvault.providers.plivo import Plivo

PLIVO = Plivo.from_settings("main", SETTINGS)
LIST = "/v1/Account/MANWVLYTK4ZWU1YTY4ZT/Recording/"


def read(**changes: Any) -> Recording:
    (recording,) = PLIVO.parse_page(answer(PLIVO, page_of("plivo", [{**ROWS["plivo"], **changes}]))).recordings
    return recording


def test_a_window_is_told_in_utc_without_a_zone() -> None:
    """Bounds are `YYYY-MM-DD HH:MM:SS`, rounded outward: the lower one inclusive, the upper one exclusive."""
    expected = f"{LIST}?add_time__gte=2026-10-01%2005%3A00%3A00&add_time__lt=2026-10-02%2005%3A00%3A01&limit=20"
    assert expected == PLIVO.list_request(WINDOW, ACCOUNT).url.raw_path.decode()


def test_a_list_is_never_asked_for_without_a_lower_bound() -> None:
    """Without a bound the service would show the last seven days without a word; and it refuses more than 30."""
    assert "add_time__gte=1970-01-01" in PLIVO.list_request(Window(), ACCOUNT).url.query.decode()
    assert longest_window(PLIVO) == timedelta(days=29)


def test_the_sdks_sample_is_read() -> None:
    """The rows of the SDK's sample: id, UTC date, length, and the file by https although the row says http."""
    asked = PLIVO.list_request(WINDOW, ACCOUNT).url
    page = PLIVO.parse_page(answer(PLIVO, sample("plivo_recordings_list.json"), asked))
    first = page.recordings[0]
    assert (len(page.recordings), page.rejected, page.total) == (3, (), 948)
    assert first.recording_id == "c2186400-1c8c-1124-a664-0026b945b522"
    assert first.created_at == datetime(2014, 8, 5, 10, 45, 15, 852059, UTC)
    assert first.started_at == datetime(2014, 8, 5, 10, 39, 23, 907000, UTC)
    assert (first.duration_seconds, first.call_id) == (345.1, "c2c128e2-1c8c-11e4-9bff-1db8a9db0432")
    assert (first.phase, first.formats) == (Phase.COMPLETE, ("mp3",))
    (request,) = PLIVO.media_requests(first, "mp3")
    assert str(request.url) == f"https://s3.amazonaws.com/recordings_2013/{first.recording_id}.mp3"


def test_the_next_page_keeps_the_bounds() -> None:
    """The sample's link has no bounds, and would lead to another list: only its offset is used."""
    asked = PLIVO.list_request(WINDOW, ACCOUNT).url
    page = PLIVO.parse_page(answer(PLIVO, sample("plivo_recordings_list.json"), asked))
    assert page.next is not None
    assert str(page.next) == f"{asked}&offset=3"


@pytest.mark.parametrize("link", ["https://evil.example/v1/?offset=20", "https://api.plivo.com/v2/?offset=20"])
def test_a_link_to_another_place_stays_one(link: str) -> None:
    """A link to another host or list is passed on as it is, for the sender to refuse or follow."""
    page = PLIVO.parse_page(answer(PLIVO, page_of("plivo", [ROWS["plivo"]], next=link)))
    assert page.next == httpx.URL(link)


@pytest.mark.parametrize("url", [None, "", "nowhere", "s3://bucket/key", 7])
def test_a_row_without_an_address_is_not_finished(url: Any) -> None:
    """Without an address there is nothing to fetch yet: the recording is read again."""
    assert read(recording_url=url).phase is Phase.UNFINISHED


@pytest.mark.parametrize(
    ("said", "expected"), [("wav", ("wav",)), ("MP3", ("mp3",)), ("odd", ("mp3",)), (None, ("mp3",))]
)
def test_each_recording_has_one_format(said: Any, expected: tuple[str, ...]) -> None:
    """A recording is archived in the format of its row."""
    recording = read(recording_format=said)
    assert (recording.formats, tuple(recording.media_urls)) == (expected, expected)
