"""A tombstone's path says whose it is, and is never that of another recording's."""

from __future__ import annotations

import pytest

from recvault.custody import Records, RecordSchema, Tombstones, done_path, is_done, tombstone_path
from recvault.testing.memory import MemoryStore


def test_a_listing_says_what_is_erased() -> None:
    """Whose recording is erased, and which erasures are not complete, is known from one listing."""
    records = Records(store=MemoryStore(), prefix="in/")
    one, two = tombstone_path("twilio", "AC1", "RE1"), tombstone_path("telnyx", "a/b", "2 3")
    for path in (one, done_path(one), two):
        records.put(path, RecordSchema.TOMBSTONE, {})
    found = Tombstones.listed(records)
    assert ("twilio", "AC1", "RE1") in found
    assert ("telnyx", "a/b", "2 3") in found
    assert ("twilio", "AC2", "RE1") not in found
    assert found.open == [two]


@pytest.mark.parametrize("recording_id", ["RE1.done", "RE1.done.done", ".done", "done", "RE1%2Edone", "R" * 400])
def test_no_name_looks_like_another_s(recording_id: str) -> None:
    """No recording's id makes its tombstone a record of another's completed erasure."""
    path = tombstone_path("twilio", "AC1", recording_id)
    others = [tombstone_path("twilio", "AC1", each) for each in ("RE1", "RE1.done", "") if each != recording_id]
    assert not is_done(path)
    assert path not in {*others, *map(done_path, others)}
