"""Twilio Voice, 2010-04-01."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from providers.bodies import ROWS, SETTINGS, WINDOW, answer, make, page_of, sample
from recvault.errors import ProtocolError
from recvault.models import ACCOUNT, Phase, Recording, Scheme, Scope, Window, WrappedKey
from recvault.providers.base import Page
from recvault.providers.twilio import Twilio
from recvault.providers.twilio_account import wrapped_key

TWILIO = Twilio.from_settings("main", SETTINGS)
AC = "/2010-04-01/Accounts/AC309475e5fede1b49e100272a8640f438"
ROW = ROWS["twilio"]


def golden(name: str) -> Page:
    return TWILIO.parse_page(answer(TWILIO, sample(name)))


def read(**changes: Any) -> Recording:
    (recording,) = TWILIO.parse_page(answer(TWILIO, page_of("twilio", [{**ROW, **changes}]))).recordings
    return recording


def test_the_accounts_list_is_filtered_by_the_second() -> None:
    """Filter names end in the comparison and times in Z; fractions widen the window."""
    query = "DateCreated%3E=2026-10-01T05%3A00%3A00Z&DateCreated%3C=2026-10-02T05%3A00%3A01Z&PageSize=1000"
    assert f"{AC}/Recordings.json?{query}" == TWILIO.list_request(WINDOW, ACCOUNT).url.raw_path.decode()


@pytest.mark.parametrize(("kind", "parent"), [("call", "Calls"), ("conference", "Conferences")])
def test_lists_below_a_call_or_conference_take_days(kind: str, parent: str) -> None:
    """A call's list takes dates; the upper bound is the next day, as a date means its midnight."""
    expected = f"{AC}/{parent}/X1/Recordings.json?DateCreated%3E=2026-10-01&DateCreated%3C=2026-10-03&PageSize=1000"
    assert expected == TWILIO.list_request(WINDOW, Scope(kind, "X1")).url.raw_path.decode()


def test_an_upper_bound_at_midnight_is_that_day() -> None:
    """An upper bound at midnight of the 13th is the 13th."""
    window = Window(until=datetime(2014, 10, 13, tzinfo=UTC))
    assert "DateCreated%3C=2014-10-13&" in str(TWILIO.list_request(window, Scope("call", "CA1")).url)


def test_the_accounts_page_is_read() -> None:
    """A page of the account's list gives typed values."""
    (recording,) = golden("twilio_voice_recordings_list.json").recordings
    assert datetime(2016, 10, 14, 21, 56, 34, tzinfo=UTC) == recording.created_at == recording.started_at
    assert (
        recording.duration_seconds,
        recording.channels,
        recording.price,
        recording.price_unit,
    ) == (4.0, 1, 0.04, "USD")
    assert recording.recorded_by == "StartConferenceRecordingAPI"
    assert recording.call_id == "CAaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    assert recording.conference_id == "CFaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"


def test_an_encrypted_recording_has_wav_only() -> None:
    """An encrypted recording has only WAV, and its key fields are kept."""
    (recording,) = golden("twilio_voice_recordings_list.json").recordings
    assert recording.formats == ("wav",)
    assert recording.encryption is not None
    assert set(recording.encryption) == {"encryption_public_key_sid", "encryption_cek", "encryption_iv"}


def test_a_calls_page_is_read() -> None:
    """A call's rows have a track, but no media_url."""
    (recording,) = golden("twilio_voice_call_recordings_list.json").recordings
    assert (
        recording.track,
        recording.channels,
        recording.price,
        recording.phase,
    ) == ("both", 2, -0.0025, Phase.COMPLETE)


def test_a_conferences_row_is_addressed_by_its_sid() -> None:
    """A conference's row, whose `uri` names the list, is addressed by its sid."""
    (recording,) = golden("twilio_voice_conference_recordings_list.json").recordings
    url = TWILIO.refresh_request(recording).url
    assert (
        url.path
        == f"/2010-04-01/Accounts/{'ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'}/Recordings/{recording.recording_id}.json"
    )


def test_deleted_rows_are_gone_and_offsets_are_kept() -> None:
    """A soft-deleted row is gone; +0100 and +0000 in one row are distinguished."""
    gone, kept = golden("twilio_voice_recordings_include_soft_deleted.json").recordings
    assert (gone.phase, kept.phase) == (Phase.GONE, Phase.COMPLETE)
    assert datetime(2022, 2, 14, 21, 23, tzinfo=UTC) == kept.created_at
    assert datetime(2022, 2, 14, 22, 23, tzinfo=UTC) == kept.started_at


def test_an_empty_page_is_the_end() -> None:
    """A page without rows and next link ends the list."""
    assert Page(recordings=()) == golden("twilio_voice_recordings_empty.json")


def test_rows_of_2011_are_read() -> None:
    """A real page of 2011, without statuses but with a total, gives fifty complete recordings."""
    page = golden("twilio_voice_recordings_list_real_2011.json")
    assert (len(page.recordings), page.total) == (50, 132)
    assert {Phase.COMPLETE} == {recording.phase for recording in page.recordings}
    assert str(page.next) == (
        "https://api.twilio.com/2010-04-01/Accounts/AC4bf2dafbed59a5733d2c1c1c69a83a28/Recordings.json?Page=1&PageSize=50"
    )


@pytest.mark.parametrize(
    "name", ["twilio_voice_recording_fetch.json", "twilio_voice_recording_instance_real_2011.json"]
)
def test_an_instance_is_read(name: str) -> None:
    """One recording is read by id, of today and of 2011."""
    assert TWILIO.parse_recording(answer(TWILIO, sample(name))).phase is Phase.COMPLETE


def test_a_real_row_is_read() -> None:
    """A real row of 2023 with nulls has WAV and MP3."""
    rows = answer(TWILIO, sample("twilio_voice_recording_row_real_2023_normalised.json")).json()
    (recording,) = TWILIO.parse_page(answer(TWILIO, page_of("twilio", rows))).recordings
    assert (recording.formats, recording.encryption, recording.conference_id) == (("wav", "mp3"), None, None)


@pytest.mark.parametrize(
    "name", ["twilio_calls_page1_with_pagetoken.json", "twilio_conferences_page_with_date_filters.json"]
)
def test_next_links_are_joined_to_the_host_verbatim(name: str) -> None:
    """A real next link keeps its token and encoded filters; only the host is added."""
    body = answer(TWILIO, sample(name)).json()
    links = [link for key, link in body.items() if key.endswith("_uri") and link]
    assert links
    for link in links:
        page = TWILIO.parse_page(answer(TWILIO, page_of("twilio", [], next_page_uri=link)))
        assert f"https://api.twilio.com{link}" == str(page.next)


@pytest.mark.parametrize("link", ["//evil.example/2010-04-01/x", "https://evil.example/x"])
def test_a_hostile_next_link_shows_its_host(link: str) -> None:
    """A next link to another host keeps that host."""
    page = TWILIO.parse_page(answer(TWILIO, page_of("twilio", [], next_page_uri=link)))
    assert page.next is not None
    assert page.next.host == "evil.example"


def test_two_channels_are_asked_for_first() -> None:
    """Two channels are requested first, then the default."""
    paths = [request.url.raw_path.decode() for request in TWILIO.media_requests(read(channels=2), "mp3")]
    media = f"{AC}/Recordings/RE41331862605f3d662488fdafda2e175f.mp3"
    assert [f"{media}?RequestedChannels=2", media] == paths


@pytest.mark.parametrize("channels", [1, None])
def test_a_mono_recording_is_asked_for_once(channels: int | None) -> None:
    """Two channels of a mono recording are not requested, as that is a 400."""
    (request,) = TWILIO.media_requests(read(channels=channels), "wav")
    assert f"{AC}/Recordings/RE41331862605f3d662488fdafda2e175f.wav" == request.url.raw_path.decode()


def test_addresses_are_built_from_the_sid() -> None:
    """URLs are built from the sid, not from the row, which may have plain http or another host."""
    elsewhere = "http://api.twilio.com/2010-04-01/Accounts/AC2/Recordings/RE2"
    recording = read(uri="/2010-04-01/Accounts/AC2/Recordings/RE2.json", media_url=elsewhere, channels=2)
    requests = [*TWILIO.media_requests(recording, "wav"), TWILIO.refresh_request(recording)]
    instance = f"{AC}/Recordings/RE41331862605f3d662488fdafda2e175f"
    assert [f"{instance}.wav", f"{instance}.wav", f"{instance}.json"] == [each.url.path for each in requests]
    assert {"https"} == {each.url.scheme for each in requests}


def test_a_format_that_is_not_served_is_not_asked_for() -> None:
    """There is no request for an unknown format."""
    assert TWILIO.media_requests(read(), "../x") == ()


@pytest.mark.parametrize(
    ("media_url", "expected"),
    [
        ("https://acme.s3.amazonaws.com/RE1?X-Amz-Signature=a", "https://acme.s3.amazonaws.com/RE1"),
        ("s3://acme/RE1", "s3://acme/RE1"),
        ("https://eviltwilio.com/RE1", "https://eviltwilio.com/RE1"),
        ("http://api.twilio.com/2010-04-01/RE1", None),
        ("https://API.Dublin.ie1.Twilio.com/RE1", None),
        ("/2010-04-01/RE1", None),
        ("https://[broken", None),
        ("", None),
        (None, None),
    ],
)
def test_another_place_of_the_media_is_kept(media_url: str | None, expected: str | None) -> None:
    """A media_url off Twilio's hosts is kept without signature, and Twilio is still requested first."""
    recording = read(media_url=media_url)
    assert expected == recording.external_location
    assert (recording.phase, recording.formats) == (Phase.COMPLETE, ("wav", "mp3"))


def test_the_configured_host_is_not_external() -> None:
    """A media_url on a configured base_url is not external."""
    provider = make("twilio", base_url="http://127.0.0.1:9000")
    row = {**ROW, "media_url": "http://127.0.0.1:9000/RE1"}
    assert provider.parse_page(answer(provider, page_of("twilio", [row]))).recordings[0].external_location is None


def test_an_external_row_that_is_not_done_is_not_final() -> None:
    """An unfinished external row is not final."""
    assert read(status="processing", media_url="https://acme.example/x").phase is Phase.UNFINISHED


def test_absent_is_gone_and_says_why() -> None:
    """An absent recording is gone, and raw keeps the error code."""
    recording = read(status="absent", error_code=16101)
    assert (recording.phase, recording.raw["error_code"]) == (Phase.GONE, 16101)


def test_another_accounts_recording_is_fetched_there() -> None:
    """A sub-account's row is addressed below that account."""
    assert "/Accounts/AC2/" in TWILIO.delete_request(replace(read(), account_id="AC2")).url.path


def test_deletion_is_of_the_metadatas_address() -> None:
    """DELETE goes to the instance with `.json`."""
    request = TWILIO.delete_request(read())
    assert ("DELETE", f"{AC}/Recordings/RE41331862605f3d662488fdafda2e175f.json") == (request.method, request.url.path)


def test_sub_accounts_are_listed_by_sid_alone() -> None:
    """Sub-accounts are listed with any status; auth tokens are never read."""
    rows = [{"sid": "AC1", "status": "active", "auth_token": "t"}, {"sid": "AC2", "status": "suspended"}]
    rows += [{"sid": "AC3", "status": "closed"}, {"sid": "AC4", "status": "Active"}]
    body = {"accounts": rows, "next_page_uri": "/2010-04-01/Accounts.json?Page=1&PageToken=PAAC4"}
    listed, following = TWILIO.parse_accounts(answer(TWILIO, body))
    assert (
        [(each.account_id, each.is_active) for each in listed],
        str(following),
    ) == (
        [("AC1", True), ("AC2", False), ("AC3", False), ("AC4", True)],
        "https://api.twilio.com/2010-04-01/Accounts.json?Page=1&PageToken=PAAC4",
    )
    assert TWILIO.accounts_request().url.raw_path == b"/2010-04-01/Accounts.json?PageSize=1000"


def test_an_account_that_cannot_be_read_is_told_without_its_row() -> None:
    """An account without a sid is an error that shows no auth token."""
    with pytest.raises(ProtocolError) as caught:
        TWILIO.parse_accounts(answer(TWILIO, {"accounts": [{"auth_token": "secret-token"}]}))
    assert "secret-token" not in str(caught.value)


def test_the_auth_token_goes_before_the_api_key() -> None:
    """The auth token is preferred to an API key, as it reaches sub-accounts."""
    key = {"account_sid": "AC1", "api_key_sid": "SK1", "api_key_secret": "s"}
    assert f"Basic {base64.b64encode(b'SK1:s').decode()}" == Twilio.authorization(key)
    assert f"Basic {base64.b64encode(b'AC1:t').decode()}" == Twilio.authorization({**key, "auth_token": "t"})


def test_voice_media_carry_no_keys() -> None:
    """Headers of voice media give no key material."""
    assert TWILIO.media_encryption(httpx.Headers({"x-amz-meta-x-amz-key": "k"})) is None


def test_without_a_date_of_creation_the_start_serves() -> None:
    """Without date_created the start is used, as every date may be null (OpenAPI)."""
    start = "Mon, 30 Nov 2026 08:00:00 +0000"
    assert read(date_created=None, start_time=start).created_at == datetime(2026, 11, 30, 8, tzinfo=UTC)


def test_key_fields_of_calls_and_tracks_are_read() -> None:
    """A call's row and a track's headers state the wrapped key each in fields of their own; other fields are none."""
    call = {"encryption_public_key_sid": "CR1", "encryption_cek": "key", "encryption_iv": "iv"}
    track = {"x-amz-key": "key", "x-amz-iv": "iv", "x-amz-unencrypted-content-length": "12", "x-amz-matdesc": "{}"}
    assert wrapped_key(call) == WrappedKey(scheme=Scheme.OAEP_GCM, key="key", vector="iv", public_key_id="CR1")
    assert wrapped_key(track) == WrappedKey(scheme=Scheme.PKCS1_CBC, key="key", vector="iv", plain_bytes=12)
    assert wrapped_key(track | {"x-amz-unencrypted-content-length": "-1"}) == WrappedKey(
        scheme=Scheme.PKCS1_CBC, key="key", vector="iv"
    )
    assert wrapped_key({"encryption_key": "key"}) is None
