"""An erased recording leaves only its id and state in the ledger, and nothing brings it back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ledger.rows import RECHECK, recording
from recvault.ledger import Feed, Ledger
from recvault.models import Rejected, State

NOW = datetime(2026, 12, 1, 4, 0, tzinfo=UTC)
FEED = Feed("main", "twilio", "AC1")
NUMBER = "15550107788"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger with three listed recordings, the second of a call with a number, and an unreadable row with it."""
    made = Ledger.open(tmp_path / "ledger.db", NOW)
    listed = [recording(number, account_id="AC1") for number in (1, 3)]
    called = recording(2, account_id="AC1", raw={"from": "+1 (555) 010-7788"})
    rejected = Rejected(recording_id="RE2", body=json.dumps({"from": f"+{NUMBER}"}), reason="row.unreadable")
    made.register(FEED, [*listed, called], [rejected], NOW, RECHECK)
    yield made
    made.close()


def bury(ledger: Ledger, number: int = 2) -> tuple[int, int]:
    identity = ("twilio", "AC1", f"RE{number}")
    done = ledger.custody.bury([(f"erasures/provider=twilio/account=AC1/RE{number}.json", identity)], NOW)
    return done.known, len(done.leased)


def files(ledger: Ledger) -> bytes:
    found = Path(ledger._connection.path).parent.rglob("*")
    return b"".join(each.read_bytes() for each in found if each.is_file())


def state(ledger: Ledger, number: int = 2) -> str:
    [row] = ledger.ask.find(f"RE{number}")
    return str(row["state"])


def test_nothing_is_left_of_it_in_the_files(ledger: Ledger) -> None:
    """After a burial and a scrub the number is in neither file nor WAL, although it was in a row and the quarantine."""
    assert (b"010-7788" in files(ledger), NUMBER.encode() in files(ledger)) == (True, True)
    assert bury(ledger) == (2, 0)
    ledger.custody.scrub()
    assert (b"010-7788" in files(ledger), NUMBER.encode() in files(ledger)) == (False, False)
    assert (state(ledger), state(ledger, 1)) == (State.ERASED, State.PENDING)


def test_a_number_is_found_however_it_is_written(ledger: Ledger) -> None:
    """Listed facts and unreadable rows with a number are found, also with punctuation between the digits."""
    identities, quarantined = ledger.custody.naming(NUMBER)
    assert (identities, len(quarantined)) == ([("twilio", "AC1", "RE2")], 1)
    assert ledger.custody.naming("15550107789") == ([], [])
    ledger.custody.drop_quarantined(quarantined)
    assert ledger.custody.naming(NUMBER)[1] == []


def test_no_list_and_no_retry_brings_it_back(ledger: Ledger) -> None:
    """A list, a retry, a repair and a claim leave an erased recording alone, whether the ledger knew it or not."""
    bury(ledger)
    bury(ledger, 9)
    again = [recording(number, account_id="AC1") for number in (2, 9)]
    later = NOW + timedelta(days=1)
    assert ledger.register(FEED, again, (), later, RECHECK).ids == ()
    [row] = ledger.ask.find("RE2")
    assert (ledger.retry([row["id"]], later), ledger.retry(None, later), ledger.reopen([row["id"]], later)) == (0, 0, 0)
    assert {job.recording.recording_id for job in ledger.claim("main", later, 10)} == {"RE1", "RE3"}
    assert (state(ledger), ledger.ask.find("RE9")) == (State.ERASED, [])


def test_what_is_under_way_is_left_to_the_next_time(ledger: Ledger) -> None:
    """A row that another attempt works on is untouched, and its tombstone is not noted as honoured."""
    path = "erasures/provider=twilio/account=AC1/RE2.json"
    ledger.claim("main", NOW, 10)
    assert bury(ledger) == (0, 1)
    assert (state(ledger), ledger.custody.unburied([path])) == (State.PENDING, [path])


def test_a_burial_again_changes_nothing(ledger: Ledger) -> None:
    """The same tombstone again finds nothing to do, and is known."""
    bury(ledger)
    assert bury(ledger) == (0, 0)
    assert ledger.custody.unburied(["erasures/provider=twilio/account=AC1/RE2.json"]) == []
    assert ledger.custody.count_buried() == 1


def test_what_was_deleted_before_is_scrubbed_too(ledger: Ledger) -> None:
    """A number that an ordinary deletion left in the file's free space is gone after a scrub."""
    with ledger._connection.read() as db:
        db.execute("PRAGMA secure_delete=OFF")  # as some builds of SQLite are
    ledger.remember("some", f"+{NUMBER[::-1]} " * 400)
    ledger.remember("some", "")
    ledger.custody.scrub()
    assert NUMBER[::-1].encode() not in files(ledger)
