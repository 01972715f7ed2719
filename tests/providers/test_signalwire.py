"""SignalWire's compatibility API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from providers.bodies import ROWS, SETTINGS, WINDOW, answer, make, page_of, sample
from recvault.errors import ConfigError
from recvault.models import ACCOUNT, Phase, Recording, Scope
from recvault.providers.signalwire import SignalWire

SIGNALWIRE = SignalWire.from_settings("main", SETTINGS)
PROJECT = "/api/laml/2010-04-01/Accounts/720796a0-8ee9-4350-83bd-2d07a3121f1e"
ROW = ROWS["signalwire"]
BOUNDS = "DateCreated%3E=2026-09-30&DateCreated%3C=2026-10-03"


def read(**changes: Any) -> Recording:
    (recording,) = SIGNALWIRE.parse_page(answer(SIGNALWIRE, page_of("signalwire", [{**ROW, **changes}]))).recordings
    return recording


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (ACCOUNT, f"/Recordings.json?{BOUNDS}&PageSize=1000"),
        (Scope("call", "c-1"), f"/Recordings.json?{BOUNDS}&CallSid=c-1&PageSize=1000"),
        (Scope("conference", "c-1"), f"/Conferences/c-1/Recordings.json?{BOUNDS}&PageSize=1000"),
    ],
)
def test_bounds_are_days_with_one_to_spare(scope: Scope, expected: str) -> None:
    """Bounds are whole days with one more at each end, as it is unknown whether they are inclusive."""
    assert PROJECT + expected == SIGNALWIRE.list_request(WINDOW, scope).url.raw_path.decode()


def test_a_real_page_is_read() -> None:
    """A real page of 2018 is read: channels as text, duration as a number, created at the end."""
    page = SIGNALWIRE.parse_page(answer(SIGNALWIRE, sample("signalwire_recordings_list_real_2018.json")))
    (recording,) = page.recordings
    assert datetime(2018, 12, 19, 16, 28, 16, tzinfo=UTC) == recording.created_at == recording.ended_at
    assert datetime(2018, 12, 19, 16, 27, 56, tzinfo=UTC) == recording.started_at
    assert (
        recording.channels,
        recording.duration_seconds,
        recording.price,
        recording.recorded_by,
    ) == (1, 14.0, 0.0, "RecordVerb")
    assert (recording.phase, recording.formats, page.next) == (Phase.COMPLETE, ("wav", "mp3"), None)


def test_the_docs_long_month_is_read() -> None:
    """A date in `Sept` is read."""
    assert datetime(2018, 9, 25, 23, tzinfo=UTC) == read().created_at


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"channels": "2"}, 2),
        ({"channels": 1}, 1),
        ({"channel": "2"}, 2),
        ({"channels": None, "channel": 1}, 1),
        ({}, None),
    ],
)
def test_channels_come_under_two_names(changes: dict[str, Any], expected: int | None) -> None:
    """`channels` or `channel` are read, as text, as a number, or missing."""
    assert expected == read(**changes).channels


@pytest.mark.parametrize("query", ["Page=1&PageToken=PAx", "Page=1&DateCreated%3E=2018-12-19"])
@pytest.mark.parametrize("prefix", ["/api/laml", ""])
def test_next_links_lead_to_the_same_place_with_or_without_prefix(prefix: str, query: str) -> None:
    """The links' prefix is neither doubled nor missing, and an empty page may have a next one."""
    link = f"{prefix}/2010-04-01/Accounts/p/Recordings?{query}"
    page = SIGNALWIRE.parse_page(answer(SIGNALWIRE, page_of("signalwire", [], next_page_uri=link)))
    assert str(page.next) == f"https://acme.signalwire.com/api/laml/2010-04-01/Accounts/p/Recordings?{query}"


def test_a_hostile_next_link_shows_its_host() -> None:
    """A next link to another host keeps that host."""
    page = SIGNALWIRE.parse_page(
        answer(SIGNALWIRE, page_of("signalwire", [], next_page_uri="//evil.example/2010-04-01/x"))
    )
    assert page.next is not None
    assert page.next.host == "evil.example"


@pytest.mark.parametrize("status", ["queued", "in-progress", "paused", "resumed", "stopped"])
def test_stopped_is_not_final(status: str) -> None:
    """Only completed and absent are final: stopped may still become completed."""
    assert read(status=status).phase is Phase.UNFINISHED


def test_absent_is_gone() -> None:
    """An absent recording has no media."""
    assert read(status="absent").phase is Phase.GONE


def test_addresses_are_built_from_the_sid() -> None:
    """URLs are built from the sid, not the row's `uri`; metadata end in `.json`, media in their format."""
    recording = read(uri="/api/laml/2010-04-01/Accounts/x/Calls/other/Recordings/y.json")
    (media,) = SIGNALWIRE.media_requests(recording, "mp3")
    instance = f"{PROJECT}/Recordings/19e436af-5688-4307-b03b-bdb2b42b8142"
    requests = [SIGNALWIRE.refresh_request(recording), media, SIGNALWIRE.delete_request(recording)]
    assert [f"{instance}.json", f"{instance}.mp3", f"{instance}.json"] == [
        each.url.raw_path.decode() for each in requests
    ]


@pytest.mark.parametrize("space", ["acme", "acme.signalwire.com", "ACME.SignalWire.com"])
def test_the_space_is_the_host(space: str) -> None:
    """A space is its name or its host; a base URL takes precedence."""
    assert make("signalwire", space=space).base_url == "https://acme.signalwire.com"
    assert make("signalwire", space=space, base_url="http://127.0.0.1:1").base_url == "http://127.0.0.1:1"


@pytest.mark.parametrize("space", ["", "acme.example.com", "acme/..", "a@evil.example", "https://acme.signalwire.com"])
def test_a_space_that_is_none_is_refused(space: str) -> None:
    """An invalid space never becomes a host for credentials."""
    with pytest.raises(ConfigError, match="space"):
        make("signalwire", space=space)
