"""Objects under `calls/`: their keys and lines."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from recvault.archive import KeyTemplate
from recvault.archive.late_calls import LateCall, calls_bytes, calls_key, calls_root, read_calls

NOW = datetime(2026, 10, 2, 3, 4, 5, tzinfo=UTC)
LATE = [
    LateCall(provider="twilio", account_id="AC1", recording_id=name, call={"from": "+15550100001", "to": "sip:ü@x"})
    for name in ("RE1", "RE2")
]


def test_lines_are_read_as_they_were_written() -> None:
    """One line of JSON a recording, which reads back as it was."""
    body = calls_bytes(LATE)
    assert body.count(b"\n") == 2
    assert list(read_calls(body)) == LATE


def test_a_key_holds_day_time_and_hash_and_no_number() -> None:
    """The key is below the account's root, differs by content, is no recording's, and names no number."""
    key = calls_key("twilio", "AC1", NOW, calls_bytes(LATE))
    root = "calls/provider=twilio/account=AC1/"
    assert calls_root("twilio", "AC1") == root
    assert key.startswith(f"{root}date=2026-10-02/20261002T030405Z-")
    assert key.endswith(".jsonl")
    assert key != calls_key("twilio", "AC1", NOW, calls_bytes(LATE[:1]))
    assert "5550100001" not in key
    assert KeyTemplate().is_reserved(key)
    assert KeyTemplate().read(key) is None


def test_ids_cannot_lead_elsewhere() -> None:
    """An account's id stays one segment of the key."""
    assert calls_root("twilio", "../x") == "calls/provider=twilio/account=%2E./x/".replace("./x", ".%2Fx")


@pytest.mark.parametrize("body", [b"{}", b"[]", b"1", b'{"provider": "a"}', b"x"])
def test_other_content_is_refused(body: bytes) -> None:
    """A line that is none of recvault's is a ValueError."""
    with pytest.raises(ValueError, match=r"."):
        list(read_calls(body))


def test_numbers_are_not_shown() -> None:
    """The facts are not part of the text of an object in memory, which a log might show."""
    assert "5550100001" not in repr(LATE[0])
