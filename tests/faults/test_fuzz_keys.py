"""Fuzzed ids: whatever a recording's id, its objects are under the prefix, separate from all others."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults.spoilt import IDS, spoilt
from faults.test_fuzz_pages import every_provider, fuzzed, seeds
from providers.bodies import ID_KEY, ROWS, answer, make, page_of
from recvault.archive import KeyTemplate
from recvault.errors import ProtocolError
from recvault.models import Recording

KEYS = KeyTemplate(prefix="company/voice")
KEY = re.compile(
    r"company/voice/recordings/provider=[a-z]+/account=[A-Za-z0-9_.%~-]+/date=\d{4}-\d\d-\d\d/[A-Za-z0-9_.%~-]+\.[a-z0-9]+"
)
ACCOUNT_KEY = {"twilio-legacy": "AccountSid"}
hostile = (
    st.sampled_from(IDS)
    | st.text(max_size=30)
    | st.text("./%~=\\aé", max_size=12)
    | st.integers(190, 210).map(lambda length: "a/" * length)
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
)


def read(name: str, **changes: Any) -> Recording | None:
    """Read the row as on its provider's page; None if it is rejected."""
    provider = make(name)
    if name == "twilio-legacy":
        return provider.read({**ROWS[name], **changes}) if _is_readable(changes) else None  # type: ignore[attr-defined]
    page = provider.parse_page(answer(provider, json.dumps(page_of(name, [{**ROWS[name], **changes}]))))
    return page.recordings[0] if page.recordings else None


def _is_readable(changes: dict[str, Any]) -> bool:
    try:
        return all(str(value).encode() for value in changes.values())
    except UnicodeEncodeError:
        return False


def keys(recording: Recording) -> list[str]:
    return [KEYS(recording, ext) for ext in (*recording.formats, "json")]


@every_provider
@fuzzed
@given(recording_id=hostile, account_id=hostile)
def test_any_id_makes_a_key_under_the_prefix(name: str, recording_id: Any, account_id: Any) -> None:
    """No id leads out of the prefix, into another account or partition, or beyond S3's limits."""
    changes = {ID_KEY.get(name, "sid"): recording_id, ACCOUNT_KEY.get(name, "account_sid"): account_id}
    recording = read(name, **changes)
    if recording is None:
        return
    for key in keys(recording):
        assert KEY.fullmatch(key), key
        assert len(key.encode()) <= 1024
        assert not {".", ".."} & set(key.split("/"))


@every_provider
@fuzzed
@given(first=st.tuples(hostile, hostile), second=st.tuples(hostile, hostile))
def test_two_recordings_never_share_a_key(name: str, first: Any, second: Any) -> None:
    """Different ids have different keys."""
    one, other = (
        read(name, **{ID_KEY.get(name, "sid"): each[0], ACCOUNT_KEY.get(name, "account_sid"): each[1]})
        for each in (first, second)
    )
    if one is None or other is None or one.identity == other.identity:
        return
    assert not set(keys(one)) & set(keys(other))


@every_provider
@fuzzed
@given(seed=seeds)
def test_any_row_s_objects_stand_apart(name: str, seed: int) -> None:
    """Each medium and sidecar of a damaged page has its own key, under the prefix."""
    provider = make(name)
    try:
        page = provider.parse_page(answer(provider, spoilt(name, seed)))
    except ProtocolError:
        return
    for recording in page.recordings:
        made = keys(recording)
        assert len(set(made)) == len(made)
        assert all(KEY.fullmatch(key) and len(key.encode()) <= 1024 for key in made), made


@pytest.mark.parametrize("container", ["json", "JSON", "m" * 99, "mk/a", "..", "", None, 7, "webm"])
def test_a_container_names_no_other_file(container: Any) -> None:
    """Video's container name becomes the medium's extension, never a sidecar's, and never too long."""
    recording = read("twilio-video", container_format=container)
    assert recording is not None
    assert recording.formats != ("json",)
    assert all(len(name) <= 8 and name.isalnum() for name in recording.formats)
