"""What every built-in provider guarantees."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.bodies import (
    BAD_DATE,
    ID_KEY,
    NAMES,
    ROWS,
    SETTINGS,
    STATUS_KEY,
    WINDOW,
    answer,
    make,
    page_of,
    xml_page,
)
from recvault.archive import sidecar_bytes
from recvault.errors import ConfigError, ProtocolError
from recvault.models import ACCOUNT, Phase, Receipt, Recording, Scope, Window
from recvault.providers import registry
from recvault.providers.base import Page, Provider

SECRETS = ("secret-token", "c2VjcmV0", "X-Amz-Signature")
every_provider = pytest.mark.parametrize("name", NAMES)
PREFIX = {
    "twilio": "/2010-04-01/Accounts/AC1/Recordings/",
    "twilio-legacy": "/2008-08-01/Accounts/AC1/Recordings/",
    "twilio-video": "/v1/Recordings/",
    "telnyx": "/v2/recordings/",
    "signalwire": "/api/laml/2010-04-01/Accounts/AC1/Recordings/",
    "plivo": "/v1/Account/AC1/Recording/",
    "bandwidth": "/api/v2/accounts/AC1/calls/c-2a913f94-b6d25421-6fcf-429d-b4b4-fee83151a688/recordings/",
}


def parse(name: str, rows: list[Any]) -> Page:
    provider = make(name)
    return provider.parse_page(answer(provider, page_of(name, rows)))


def read(name: str, **changes: Any) -> Recording:
    (recording,) = parse(name, [{**ROWS[name], **changes}]).recordings
    return recording


@cache
def listed_by(name: str) -> tuple[Provider, Recording]:
    return make(name), read(name)


def requests(provider: Provider, recording: Recording) -> list[httpx.Request]:
    lists = [provider.list_request(WINDOW, Scope(kind, "" if kind == "account" else "CA1")) for kind in provider.scopes]
    media = [each for form in provider.formats for each in provider.media_requests(recording, form)]
    return [*lists, *media, provider.refresh_request(recording), provider.delete_request(recording)]


@every_provider
def test_every_built_in_is_a_provider(name: str) -> None:
    """A built-in provider has all attributes and methods, which are consistent."""
    cls = registry()[name]
    assert name == cls.name
    assert all(secret in cls.settings for group in cls.credentials for secret in group)
    assert cls.scopes[0] == "account"
    assert cls.default_lookback >= timedelta(hours=24)


@every_provider
def test_a_row_is_read_and_kept(name: str) -> None:
    """A row gives its id, UTC date and phase; unknown fields are kept in order."""
    extra = {"new_field": "kept", "another": "too"}
    recording = read(name, **extra)
    assert ROWS[name][ID_KEY.get(name, "sid")] == recording.recording_id
    assert recording.created_at.tzinfo is UTC
    assert recording.phase is Phase.COMPLETE
    assert recording.formats
    assert list({**ROWS[name], **extra}) == list(recording.raw)
    if name != "telnyx":
        assert recording.raw == {**ROWS[name], **extra}


@every_provider
def test_one_bad_row_does_not_cost_the_page(name: str) -> None:
    """A row without date or id is rejected with its body; the others are read."""
    good, no_date, no_id = (copy.copy(ROWS[name]) for _ in range(3))
    del no_date[BAD_DATE.get(name, "date_created")], no_id[ID_KEY.get(name, "sid")]
    page = parse(name, [good, no_date, no_id])
    assert len(page.recordings) == 1
    assert [each.recording_id for each in page.rejected] == [page.recordings[0].recording_id, None]
    assert list(no_date) == list(json.loads(page.rejected[0].body))
    assert not any(secret in each.body for each in page.rejected for secret in SECRETS)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "twilio-legacy"])
@pytest.mark.parametrize("row", [None, 7, "text", [], ["x"], {}, {"sid": "\ud800", "id": "\ud800"}])
def test_rows_of_any_type_are_rejected_alone(name: str, row: Any) -> None:
    """A row that is no object is rejected, not raised."""
    page = parse(name, [row, ROWS[name]])
    assert (len(page.recordings), len(page.rejected)) == (1, 1)
    page.rejected[0].body.encode()


_DEEP = '{"a":' * 900 + "1" + "}" * 900
SPOILT_VALUES = {  # as written in a JSON page and an XML page
    "nested 900 deep": (_DEEP.encode(), None),
    "nested 90,000 deep": (b"[" * 90_000 + b"]" * 90_000, None),
    "a number of 5,000 digits": (b"9" * 5000, None),
    "a megabyte of text": (b'"' + b"x" * 1_000_000 + b'"', b"x" * 1_000_000),
    "a megabyte of keys": (json.dumps({f"{n:0999}": 1 for n in range(1000)}).encode(), None),
    "bytes that are no text, in the status": (b'"\xe9t\xe9"', b"\xff"),
    "a control character": (None, b"&#1;"),
}


def spoilt_page(name: str, value: bytes, key: str) -> bytes:
    """Return three rows, the second with that value."""
    rows = [{**ROWS[name], ID_KEY.get(name, "sid"): f"ID{number}"} for number in range(3)]
    rows[1][key] = "@@"
    body = answer(make(name), page_of(name, rows)).body
    return body.replace(b"@@" if name == "twilio-legacy" else b'"@@"', value)


@every_provider
@pytest.mark.parametrize("spoilt", SPOILT_VALUES)
@pytest.mark.parametrize("key", ["encryption_details", "new_field", "status", "call_sid", "download_urls"])
def test_a_value_that_cannot_travel_costs_its_row_alone(name: str, spoilt: str, key: str) -> None:
    """A row that cannot be stored or sent to a worker is quarantined by its id; its page is read."""
    value = SPOILT_VALUES[spoilt][name == "twilio-legacy"]
    if value is None or ("status" in spoilt and key != "status"):
        return  # not possible in this format, or in a field that is only kept
    provider = make(name)
    told = STATUS_KEY.get(name, key) if key == "status" else key
    page = provider.parse_page(answer(provider, spoilt_page(name, value, told)))
    assert [each.recording_id for each in page.recordings] == ["ID0", "ID2"]
    assert [each.recording_id for each in page.rejected] == ["ID1"]
    page.rejected[0].body.encode()


@every_provider
@pytest.mark.parametrize("spoilt", SPOILT_VALUES)
def test_a_recording_by_id_that_cannot_travel_is_refused(name: str, spoilt: str) -> None:
    """Read by id, such a recording is a ProtocolError."""
    value = SPOILT_VALUES[spoilt][name == "twilio-legacy"]
    if value is None:
        return  # not possible in this format
    row = {**ROWS[name], STATUS_KEY.get(name, "status"): "@@"}
    if name == "twilio-legacy":
        body = xml_page([row]).replace("<Recordings>", "").replace("</Recordings>", "").encode().replace(b"@@", value)
    else:
        body = json.dumps(row).encode().replace(b'"@@"', value)
    provider = make(name)
    with pytest.raises(ProtocolError):
        provider.parse_recording(answer(provider, body))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "twilio-legacy"])
@pytest.mark.parametrize(
    "value",
    ["NaN", "-Infinity", "1e999", "9" * 4000, r'"\ud83d"', '{"a": 1, "a": 2}', '"\t"', "[" * 60 + "]" * 60, '"\xe9"'],
    ids=["NaN", "infinity", "1e999", "4,000 digits", "half a pair", "a key twice", "a tab", "60 deep", "Latin-1"],
)
def test_what_goes_on_can_travel(name: str, value: str) -> None:
    """An odd value in an unimportant field is kept: the row can be stored, pickled and written to a sidecar."""
    provider = make(name)
    body = spoilt_page(name, value.encode("latin-1"), "new_field")
    page = provider.parse_page(answer(provider, body))
    assert page.rejected == ()
    odd = page.recordings[1]
    assert Recording.from_json(odd.to_json()) == odd
    assert pickle.loads(pickle.dumps(odd)).raw == odd.raw
    receipt = Receipt(source="main", recording=odd, sidecar_key="k.json", media=(), archived_at=odd.created_at)
    written = sidecar_bytes(receipt, attempts=1, fetched_from=None, formats_wanted=("wav",))
    assert json.loads(written)["recording_id"] == odd.recording_id


@every_provider
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>Bad gateway</body></html>",
        b"<html><br></html>",
        b"[]",
        b"null",
        b"{}",
        b'{"code": 20500, "message": "An internal error", "status": 200}',
        b'{"recordings": 0}',
        b'{"data": "x"}',
        b'{"recordings": {"a": 1}}',
        b"\xff\xfe\x00",
        b"[" * 100000,
        b"<TwilioResponse/>",
    ],
)
def test_a_page_that_is_no_page_is_a_protocol_error(name: str, body: bytes) -> None:
    """An answer that is no page, even with status 200, is a ProtocolError, never an empty list."""
    provider = make(name)
    if (name, body) != ("bandwidth", b"[]"):  # its empty page
        with pytest.raises(ProtocolError):
            provider.parse_page(answer(provider, body))
    with pytest.raises(ProtocolError):
        provider.parse_recording(answer(provider, body))


@every_provider
def test_an_account_that_is_not_told_is_the_configured_one(name: str) -> None:
    """A row without an account belongs to the configured account."""
    provider = make(name)
    key = "AccountSid" if name == "twilio-legacy" else "account_sid"
    assert provider.account_id == read(name, **{key: None}).account_id


@pytest.mark.parametrize("name", ["twilio", "twilio-video", "telnyx", "signalwire"])
@pytest.mark.parametrize("status", ["in-progress", "processing", "paused", "queued", "stopped", "brand-new", None, 7])
def test_an_unknown_status_is_not_final(name: str, status: Any) -> None:
    """An unknown status is not final: the recording is read again."""
    assert read(name, status=status).phase is Phase.UNFINISHED


@pytest.mark.parametrize("name", ["twilio", "twilio-video", "telnyx", "signalwire"])
@pytest.mark.parametrize("status", ["failed", "deleted", "DELETED", "Failed"])
def test_a_final_status_without_media_is_gone(name: str, status: str) -> None:
    """Failed and deleted in any spelling are gone, and the status is kept."""
    recording = read(name, status=status)
    assert (Phase.GONE, (), status) == (recording.phase, recording.formats, recording.status)


@every_provider
@pytest.mark.parametrize("junk", ["NaN", "-", [], {}, True, None, ""])
def test_a_strange_detail_does_not_cost_a_recording(name: str, junk: Any) -> None:
    """An unreadable price, duration, size or channels is None; the recording is read."""
    if name == "twilio-legacy":
        assert read(name, Duration=None).duration_seconds is None
        return
    keys = ("price", "duration", "duration_millis", "size", "channels", "start_time", "recording_started_at")
    recording = read(name, **dict.fromkeys(keys, junk))
    assert recording.price is recording.duration_seconds is recording.size_bytes is recording.channels is None
    assert recording.started_at is None or name == "bandwidth"  # its date of creation is the start


@pytest.mark.parametrize("name", NAMES)
def test_a_negative_duration_is_not_known_yet(name: str) -> None:
    """A duration of "-1" is unknown."""
    keys = ("Duration",) if name == "twilio-legacy" else ("duration", "duration_millis")
    assert read(name, **dict.fromkeys(keys, "-1")).duration_seconds is None


@pytest.mark.parametrize("name", [name for name in NAMES if name != "twilio-legacy"])
def test_numbers_that_json_does_not_have_stay_storable(name: str) -> None:
    """NaN and 1e999 in a row are kept as text, so that valid JSON is stored."""
    provider = make(name)
    body = json.dumps(page_of(name, [{**ROWS[name], "x": [float("nan"), "BIG"]}])).replace('"BIG"', "1e999")
    (recording,) = provider.parse_page(answer(provider, body)).recordings
    assert recording.raw["x"] == ["NaN", "1e999"]


@every_provider
def test_requests_carry_no_credentials(name: str) -> None:
    """No request has an Authorization header or a secret in its URL, and no repr shows one."""
    provider, recording = make(name), read(name)
    for request in requests(provider, recording):
        assert "authorization" not in request.headers
        if request.url.host != "s3.amazonaws.com":
            assert not any(secret in str(request.url) for secret in SECRETS)
    printed = repr(provider) + repr(recording) + recording.to_json()
    assert not any(secret in printed for secret in SECRETS)


@every_provider
def test_media_are_asked_for_as_they_are(name: str) -> None:
    """Media are requested without compression, so that length and hash are the recording's."""
    recording = read(name)
    for request in make(name).media_requests(recording, recording.formats[0]):
        assert request.headers["accept-encoding"] == "identity"


@every_provider
def test_values_travel_between_processes(name: str) -> None:
    """Providers and recordings pickle, and a stored recording keeps its row."""
    provider, recording = make(name), read(name)
    assert provider == pickle.loads(pickle.dumps(provider))
    assert recording == pickle.loads(pickle.dumps(recording))
    assert recording.raw == Recording.from_json(recording.to_json()).raw


@every_provider
def test_the_base_url_is_the_operators(name: str) -> None:
    """A configured base URL, without its trailing slash, is used for every request."""
    provider, recording = make(name, base_url="http://127.0.0.1:9999/"), read(name)
    for request in requests(provider, replace(recording, media_urls={})):
        assert (request.url.host, request.url.port) == ("127.0.0.1", 9999)
        assert not request.url.path.startswith("//")


@every_provider
def test_a_scope_that_does_not_exist_is_refused(name: str) -> None:
    """A kind of list that the provider lacks is refused: it might answer with the whole account."""
    provider = make(name)
    for kind in {"account", "call", "conference", "room"} - set(provider.scopes):
        with pytest.raises(ConfigError, match=kind):
            provider.list_request(Window(), Scope(kind, "X1"))


@given(
    text=st.text(min_size=1).filter(str.isprintable) | st.sampled_from([".", "..", "../..", "/", "%2e%2e", "?a=b", "#"])
)
@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_id_stays_under_its_account(name: str, text: str) -> None:
    """Whatever an id contains, every request for it stays on the provider's host, one segment below the list."""
    provider, listed = listed_by(name)
    recording = replace(listed, account_id="AC1", recording_id=text, channels=2, media_urls={})
    for request in requests(provider, recording)[len(provider.scopes) :]:
        path = request.url.raw_path.decode().partition("?")[0]
        assert httpx.URL(provider.base_url).host == request.url.host
        assert path.startswith(PREFIX[name])
        rest = path.removeprefix(PREFIX[name])
        assert rest.removesuffix("/Media").removesuffix("/media").removesuffix("/").count("/") == 0
        assert rest not in {"", ".", ".."}


@every_provider
def test_an_id_of_a_list_is_one_segment_too(name: str) -> None:
    """The id of a call, conference or room cannot change the path or add a parameter."""
    provider = make(name)
    for kind in provider.scopes[1:]:
        url = provider.list_request(Window(), Scope(kind, "../x?a=b&c#d")).url
        assert "/x" not in url.raw_path.decode()
        assert "a" not in url.params


@every_provider
def test_an_unbounded_window_sends_no_filter(name: str) -> None:
    """All history is requested without a date."""
    query = make(name).list_request(Window(), ACCOUNT).url.query.decode().lower()
    assert "created" not in query


@every_provider
@pytest.mark.parametrize("zone", ["+05:00", "-08:00", "+00:00"])
def test_bounds_are_told_in_utc(name: str, zone: str) -> None:
    """Equal times in different zones give the same request."""
    local = datetime.fromisoformat(f"2026-10-01T12:00:00{zone}")
    provider = make(name)
    expected = provider.list_request(Window(since=local.astimezone(UTC), until=local.astimezone(UTC)), ACCOUNT)
    assert expected.url == provider.list_request(Window(since=local, until=local), ACCOUNT).url
    assert "+" not in expected.url.query.decode()


@every_provider
def test_credentials_become_a_header(name: str) -> None:
    """The header is Bearer for Telnyx, Basic for the others."""
    header = make(name).authorization(SETTINGS)
    assert header.startswith("Bearer KEY-" if name == "telnyx" else "Basic ")
