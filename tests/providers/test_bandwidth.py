"""Bandwidth Voice v2."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from providers.bodies import ROWS, SETTINGS, WINDOW, answer, sample
from recvault.errors import ConfigError, NotWhole
from recvault.models import ACCOUNT, Phase, Recording, Scope
from recvault.providers.bandwidth import Bandwidth
from recvault.providers.base import capped_list

BANDWIDTH = Bandwidth.from_settings("main", SETTINGS)
ROOT = "/api/v2/accounts/55555555"
CALL = "c-2a913f94-b6d25421-6fcf-429d-b4b4-fee83151a688"
NAME = "r-357381a2-d189-4404-9aa4-6ac344d21621"


def read(**changes: Any) -> Recording:
    (recording,) = BANDWIDTH.parse_page(answer(BANDWIDTH, [{**ROWS["bandwidth"], **changes}])).recordings
    return recording


def test_lists_are_limited_by_the_start() -> None:
    """The account's list and a call's, by start time in UTC; there is no parameter for rows a page."""
    bounds = "minStartTime=2026-10-01T05%3A00%3A00Z&maxStartTime=2026-10-02T05%3A00%3A01Z"
    assert f"{ROOT}/recordings?{bounds}" == BANDWIDTH.list_request(WINDOW, ACCOUNT).url.raw_path.decode()
    of_call = BANDWIDTH.list_request(WINDOW, Scope("call", CALL)).url.raw_path.decode()
    assert of_call == f"{ROOT}/calls/{CALL}/recordings?{bounds}"


def test_the_docs_sample_is_read() -> None:
    """Length by ISO 8601, UTC dates, and media at an address built from the ids."""
    (recording,) = BANDWIDTH.parse_page(answer(BANDWIDTH, sample("bandwidth_recordings_list.json"))).recordings
    assert (recording.recording_id, recording.call_id, recording.account_id) == (NAME, CALL, "55555555")
    assert recording.created_at == datetime(2019, 10, 21, 16, 44, 40, 928000, UTC)
    assert (recording.duration_seconds, recording.channels) == (1.415, 1)
    assert (recording.phase, recording.formats) == (Phase.COMPLETE, ("wav",))
    (request,) = BANDWIDTH.media_requests(recording, "wav")
    assert str(request.url) == f"https://voice.bandwidth.com{ROOT}/calls/{CALL}/recordings/{NAME}/media"


def test_a_full_list_may_lack_the_rest() -> None:
    """A list of 1,000 rows is not taken for the whole; one of 999 is."""
    rows = [{**ROWS["bandwidth"], "recordingId": f"r-{number}"} for number in range(1000)]
    assert capped_list(BANDWIDTH)
    with pytest.raises(NotWhole, match="1000 rows"):
        BANDWIDTH.parse_page(answer(BANDWIDTH, rows))
    page = BANDWIDTH.parse_page(answer(BANDWIDTH, rows[1:]))
    assert (len(page.recordings), page.next) == (999, None)


@pytest.mark.parametrize(
    ("status", "url", "phase"),
    [
        ("complete", "https://x/media", Phase.COMPLETE),
        ("partial", "https://x/media", Phase.COMPLETE),
        ("complete", None, Phase.UNFINISHED),
        ("processing", None, Phase.UNFINISHED),
        ("brand-new", "https://x/media", Phase.UNFINISHED),
        ("deleted", None, Phase.GONE),
        ("error", None, Phase.GONE),
    ],
)
def test_what_can_be_fetched_is_complete(status: str, url: str | None, phase: Phase) -> None:
    """Complete and partial recordings with an address are final; an unknown status is read again."""
    assert read(status=status, mediaUrl=url).phase is phase


@pytest.mark.parametrize(
    ("told", "seconds"),
    [("PT13.67S", 13.67), ("PT1H2M3S", 3723), ("P1DT1S", 86401), ("PT0S", 0), ("13", None), ("P", None), (7, None)],
)
def test_lengths_are_iso_8601(told: Any, seconds: float | None) -> None:
    """A length in any unit is read; anything else is unknown."""
    assert read(duration=told).duration_seconds == seconds


def test_a_recording_is_read_by_its_call() -> None:
    """There is no address without the call: the error says what to do, and a row without one is quarantined."""
    with pytest.raises(ConfigError, match="by its call"):
        BANDWIDTH.refresh_request(replace(read(), call_id=None))
    row = {**ROWS["bandwidth"], "callId": None}
    page = BANDWIDTH.parse_page(answer(BANDWIDTH, [row, ROWS["bandwidth"]]))
    assert (len(page.recordings), [each.recording_id for each in page.rejected]) == (1, [NAME])
