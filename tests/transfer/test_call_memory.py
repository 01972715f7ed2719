"""The facts of calls in memory: kept until they are in the bucket, and bounded."""

from __future__ import annotations

import pytest

from ledger.rows import recording
from recvault.transfer import call_memory
from recvault.transfer.call_memory import CallMemory

ONE, TWO = recording(1), recording(2)


def test_facts_are_kept_until_they_are_forgotten() -> None:
    """What was noted is returned for its recording alone, until it is in the bucket."""
    memory = CallMemory()
    memory.note({ONE.identity: {"from": "a"}})
    assert (memory(ONE), memory(TWO)) == ({"from": "a"}, None)
    assert memory.held([ONE.identity, TWO.identity]) == {ONE.identity: {"from": "a"}}
    memory.forget([ONE.identity, TWO.identity])
    assert memory(ONE) is None


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its size nothing is kept, and there is room again once something is forgotten."""
    monkeypatch.setattr(call_memory, "_MOST", 1)
    memory = CallMemory()
    memory.note({ONE.identity: {"from": "a"}, TWO.identity: {"from": "b"}})
    assert (memory(ONE), memory(TWO), memory.has_room) == ({"from": "a"}, None, False)
    memory.forget([ONE.identity])
    assert memory.has_room


def test_what_is_never_archived_does_not_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Facts of a recording that is not archived for a day make room for others."""
    memory = CallMemory()
    memory.note({ONE.identity: {"from": "a"}})
    assert memory.has_room
    assert memory(ONE) is not None
    monkeypatch.setattr(call_memory, "_KEPT_SECONDS", 0.0)
    assert memory.has_room
    assert memory(ONE) is None
