"""A recording is found by its call in every state: the ledger keeps the call after archiving."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlite_utils import Database

from ledger.rows import NOW, POLICIES, many, receipt, recording, register
from recvault.ledger import Ledger
from recvault.ledger.migrations import migrations
from recvault.models import State, Window


def ids(ledger: Ledger, call: str) -> list[str]:
    return [row["recording_id"] for row in ledger.ask.recordings(call=call)]


def test_a_call_is_known_before_and_after_its_recording_is_archived(ledger: Ledger) -> None:
    """All recordings of a call are found, newest first, in any state."""
    register(
        ledger, recording(1, call_id="CA1"), recording(2, call_id="CA1"), recording(3, call_id="CA2"), recording(4)
    )
    assert ids(ledger, "CA1") == ["RE2", "RE1"]
    ledger.settle([receipt(job) for job in ledger.claim("main", NOW, 9)], NOW, POLICIES)
    assert ids(ledger, "CA1") == ["RE2", "RE1"]
    assert (ids(ledger, "CA2"), ids(ledger, "CA3")) == (["RE3"], [])


def test_a_text_that_sqlite_refuses_is_no_obstacle(ledger: Ledger) -> None:
    """A lone surrogate in a call's id, which JSON allows, does not prevent registration of its page."""
    assert register(ledger, recording(1, call_id="CA\ud800")).new == 1
    assert ids(ledger, "CA?") == ["RE1"]


def test_what_is_chosen(ledger: Ledger) -> None:
    """Recordings can be selected by source, state, and time, including `since` and excluding `until`."""
    register(ledger, *many(5))
    ledger.settle([receipt(job) for job in ledger.claim("main", NOW, 2)], NOW, POLICIES)
    moments = [recording(number).created_at for number in range(5)]
    within = ledger.ask.recordings(window=Window(moments[1], moments[3]))
    assert [row["recording_id"] for row in within] == ["RE2", "RE1"]
    assert len(list(ledger.ask.recordings(state=State.ARCHIVED))) == 2
    assert [row["recording_id"] for row in ledger.ask.recordings(sources=["main"], limit=1)] == ["RE4"]
    assert list(ledger.ask.recordings(sources=["other"])) == []


def test_a_ledger_of_an_earlier_version_learns_what_it_can(path: Path) -> None:
    """It learns the calls of recordings that are not archived, and remembers that others are missing, only if so."""
    with closing(sqlite3.connect(path, isolation_level=None)) as plain:
        migrations.apply(Database(plain), stop_before="calls")
        for number, state in ((1, "pending"), (2, "archived")):
            plain.execute(
                "INSERT INTO recordings (id, provider, account_id, recording_id, source, api, created_at, "
                "registered_at, watched_since, state) "
                "VALUES (?1, 'twilio', 'AC1', 'RE' || ?1, 'main', 'v', 't', 't', 't', ?2)",
                [number, state],
            )
        plain.execute("INSERT INTO listed VALUES (1, ?)", [recording(1, call_id="CA1").to_json()])
    ledger = Ledger.open(path, NOW)
    assert (ids(ledger, "CA1"), ledger.fact("calls.incomplete")) == (["RE1"], "yes")
    ledger.close()
    new = Ledger.open(path.with_name("new.db"), NOW)
    assert new.fact("calls.incomplete") is None
    new.close()
