"""RingCentral's call log."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from providers.bodies import WINDOW, answer
from recvault.config.source_tables import sort_source
from recvault.errors import ConfigError, ProtocolError
from recvault.models import ACCOUNT, Phase, Recording, Window
from recvault.providers.base import Page, own_origins, token_request_of
from recvault.providers.ringcentral import RingCentral

SETTINGS = {"client_id": "client", "client_secret": "client-secret", "jwt": "a.jwt"}
RINGCENTRAL = RingCentral.from_settings("main", SETTINGS)
ROOT = "https://platform.ringcentral.com/restapi/v1.0/account/~"
# The call is that of RingCentral's tutorial, the recording that of its guide to call recordings.
ROW: dict[str, Any] = {
    "uri": f"{ROOT}/call-log/IXtVRs-3B7A_PfE",
    "id": "IXtVRs-3B7A_PfE",
    "sessionId": "404769762004",
    "startTime": "2014-09-22T12:58:09.000Z",
    "duration": 4,
    "type": "Voice",
    "direction": "Inbound",
    "recording": {
        "uri": f"{ROOT}/recording/6056",
        "id": "6056",
        "type": "Automatic",
        "contentUri": "https://media.ringcentral.com:443/restapi/v1.0/account/400/recording/6056/content",
    },
}
FIRST = {"firstPage": {"uri": f"{ROOT}/call-log?page=1"}}


def page_of(rows: list[Any], navigation: Any = FIRST, provider: RingCentral = RINGCENTRAL) -> Page:
    return provider.parse_page(answer(provider, {"records": rows, "paging": {"page": 1}, "navigation": navigation}))


def read(**changes: Any) -> Recording:
    (recording,) = page_of([{**ROW, **changes}]).recordings
    return recording


def test_only_recorded_calls_are_listed_and_always_by_date() -> None:
    """A list without dateFrom would show the last day alone: it is always sent, also for all history."""
    expected = "dateFrom=2026-10-01T05%3A00%3A00Z&dateTo=2026-10-02T05%3A00%3A01Z&perPage=250&recordingType=All"
    assert str(RINGCENTRAL.list_request(WINDOW, ACCOUNT).url) == f"{ROOT}/call-log?{expected}"
    assert "dateFrom=1970" in str(RINGCENTRAL.list_request(Window(), ACCOUNT).url)


def test_a_row_is_a_call_with_its_recording() -> None:
    """The recording's own id, the call's id and session; the call's length is not the recording's."""
    recording = read()
    assert (recording.recording_id, recording.call_id, recording.session_id) == ("6056", ROW["id"], "404769762004")
    assert recording.created_at == datetime(2014, 9, 22, 12, 58, 9, tzinfo=UTC)
    assert (recording.phase, recording.formats, recording.duration_seconds) == (Phase.COMPLETE, ("mp3",), None)
    assert str(RINGCENTRAL.refresh_request(recording).url) == ROW["uri"]
    (request,) = RINGCENTRAL.media_requests(recording, "mp3")
    assert request.url.host == "media.ringcentral.com"
    with pytest.raises(ConfigError, match="by its call"):
        RINGCENTRAL.refresh_request(replace(recording, call_id=None))


def test_a_row_without_a_recording_is_kept_aside() -> None:
    """A call without a recording is quarantined, as it was asked for recorded ones; without an address it is read
    again."""
    page = page_of([{**ROW, "recording": None}, ROW])
    assert (len(page.recordings), len(page.rejected)) == (1, 1)
    assert read(recording={"id": "6056"}).phase is Phase.UNFINISHED


def test_pages_are_followed_to_the_last() -> None:
    """The next page is a link in an object; a full last page has none, but names the first."""
    following = f"{ROOT}/call-log?page=2&perPage=250"
    assert str(page_of([ROW], {**FIRST, "nextPage": {"uri": following}}).next) == following
    full = [{**ROW, "recording": {**ROW["recording"], "id": str(number)}} for number in range(250)]
    assert page_of(full).next is None
    with pytest.raises(ProtocolError, match="full page"):
        page_of(full, {})


def test_a_token_is_requested_with_the_jwt() -> None:
    """The JWT is in the form, the app's secret in the header of this request; neither shows."""
    request = token_request_of(RINGCENTRAL, SETTINGS)
    assert request is not None
    assert request.url == "https://platform.ringcentral.com/restapi/oauth/token"
    assert dict(request.form)["assertion"] == "a.jwt"
    assert "a.jwt" not in repr(request) and request.login not in repr(request)


@pytest.mark.parametrize(
    ("base_url", "origins"),
    [
        ("https://platform.ringcentral.com", ("https://media.ringcentral.com",)),
        ("https://platform.devtest.ringcentral.com", ("https://media.devtest.ringcentral.com",)),
        ("http://127.0.0.1:8001", ()),
    ],
)
def test_the_service_s_media_host_gets_the_token(base_url: str, origins: tuple[str, ...]) -> None:
    """The media host of the same service, and no other, gets the credentials."""
    assert own_origins(RingCentral(base_url, "main")) == origins


def test_its_quota_is_the_default_pace() -> None:
    """Ten requests a minute, unless the source says otherwise."""
    table = {
        "name": "rc",
        "provider": "ringcentral",
        "client_id": "c",
        "client_secret": {"env": "A"},
        "jwt": {"env": "B"},
    }
    shaped, problems = sort_source(0, table)
    assert (problems, shaped["requests_per_second"]) == ([], 10 / 60)
    assert sort_source(0, {**table, "requests_per_second": 1})[0]["requests_per_second"] == 1
