"""Holds are read from the bucket alone, and what cannot be read holds everything."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from recvault.archive import HOLDS
from recvault.custody import Records, RecordSchema
from recvault.custody.holds import MOST, add_hold, held, release_hold
from recvault.errors import ConfigError
from recvault.testing.memory import MemoryStore

NOW = datetime(2026, 12, 1, 4, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ONE, TWO = ("twilio", "AC1", "RE1"), ("telnyx", "a/b", "2 3")


@pytest.fixture
def records() -> Records:
    """Records in an empty bucket."""
    return Records(store=MemoryStore(), prefix="in/")


def add(records: Records, name: str, *recordings: tuple[str, str, str], at: datetime = NOW) -> list[str]:
    return add_hold(records, name, recordings, reference="case 7", selection={"recordings": 1}, now=at)


def test_what_is_held_is_known_by_name(records: Records) -> None:
    """Each recording's holds are told by name, with reference and time."""
    add(records, "case/7", ONE, TWO)
    add(records, "audit", ONE)
    found = held(records)
    assert (found.names(ONE), found.names(TWO)) == (["audit", "case/7"], ["case/7"])
    assert ("twilio", "AC2", "RE1") not in found
    assert [(each.name, each.reference, len(each.recordings)) for each in found.holds] == [
        ("audit", "case 7", 1),
        ("case/7", "case 7", 2),
    ]


def test_a_release_ends_what_was_held_before(records: Records) -> None:
    """A release ends its hold alone; what is added under the name afterwards is held again."""
    add(records, "a", ONE)
    add(records, "b", ONE)
    release_hold(records, "a", reference="closed", now=NOW + SECOND)
    assert held(records).names(ONE) == ["b"]
    add(records, "a", TWO, at=NOW + 2 * SECOND)
    assert (held(records).names(ONE), held(records).names(TWO)) == (["b"], ["a"])


def test_a_name_is_extended(records: Records) -> None:
    """Adding to a name holds both what was there and what comes."""
    add(records, "a", ONE)
    add(records, "a", TWO, at=NOW + SECOND)
    assert [ONE in held(records), TWO in held(records)] == [True, True]


def test_large_holds_have_several_records(records: Records) -> None:
    """A hold of more recordings than a record takes is put in several, all of which count."""
    many = [("twilio", "AC1", f"RE{number}") for number in range(MOST + 1)]
    assert len(add(records, "a", *many)) == 2
    assert len(held(records).holds[0].recordings) == MOST + 1


@pytest.mark.parametrize("recordings", [None, {}, [{}], ["RE1"]])
def test_a_hold_that_cannot_be_read_holds_everything(records: Records, recordings: object) -> None:
    """What a record holds must be known before anything is deleted: else it is an error with the record's path."""
    records.put(f"{HOLDS}a/x.json", RecordSchema.HOLD, {"recordings": recordings})
    with pytest.raises(ConfigError, match=r"holds/a/x\.json"):
        held(records)


def test_another_object_among_holds_is_an_error(records: Records) -> None:
    """An object that is not a hold is not passed over."""
    records.put(f"{HOLDS}a/x.json", RecordSchema.PRUNES, {})
    with pytest.raises(ConfigError, match="not a hold"):
        held(records)


def test_a_hold_after_a_release_by_a_clock_ahead(records: Records) -> None:
    """What is added after a release is held, though the release was put by a host whose clock is ahead."""
    add(records, "a", ONE)
    release_hold(records, "a", reference="closed", now=NOW + 90 * SECOND)
    add(records, "a", ONE, at=NOW + 60 * SECOND)
    assert held(records).names(ONE) == ["a"]


def test_a_release_by_a_clock_behind(records: Records) -> None:
    """A release ends what was put before it by a host whose clock is ahead."""
    add(records, "a", ONE, at=NOW + SECOND)
    release_hold(records, "a", reference="closed", now=NOW)
    assert ONE not in held(records)


def test_a_long_name_is_known_whole(records: Records) -> None:
    """A name that its path shortens is told as it was given, so that it can be released."""
    name = "é" * 60
    add(records, name, ONE)
    assert ([each.name for each in held(records).holds], held(records).names(ONE)) == ([name], [name])
