"""In which hours an account had recordings: noted as they are registered, and by migration for older ledgers."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlite_utils import Database

from ledger.rows import NOW, many, recording, register
from recvault.ledger import Feed, Ledger
from recvault.ledger.migrations import migrations

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LATER = NOW + 400 * DAY
FIRST = NOW.replace(minute=0, second=0, microsecond=0)


def test_an_hour_is_noted_once_for_each_account(ledger: Ledger) -> None:
    """Several recordings of an hour are one; hours are those of the recordings' dates, in UTC."""
    moments = (FIRST, FIRST + timedelta(minutes=59, seconds=59), FIRST - 3 * HOUR)
    register(ledger, *(replace(recording(number), created_at=at) for number, at in enumerate(moments)))
    register(ledger, recording(7, account_id="B", provider="telnyx"), feed=Feed("other", "telnyx", "B"))
    assert ledger.ask.hours("main", "AC1", LATER) == [FIRST - 3 * HOUR, FIRST]
    assert ledger.ask.hours("main", "AC9", LATER) == []


def test_none_are_read_while_there_are_recent_ones(ledger: Ledger) -> None:
    """An account that is not silent costs one look-up."""
    register(ledger, replace(recording(1), created_at=FIRST))
    assert ledger.ask.hours("main", "AC1", FIRST) == [FIRST]
    assert ledger.ask.hours("main", "AC1", FIRST - timedelta(seconds=1)) == []


def test_only_the_last_weeks_are_kept(ledger: Ledger) -> None:
    """A long history adds no rows, and what was noted long ago is removed as new hours come."""
    register(ledger, replace(recording(1), created_at=NOW - 78 * DAY))
    assert ledger.ask.hours("main", "AC1", LATER) == []
    register(ledger, replace(recording(2), created_at=FIRST - 76 * DAY))
    assert ledger.ask.hours("main", "AC1", LATER) == [FIRST - 76 * DAY]
    register(ledger, replace(recording(3), created_at=FIRST + 2 * DAY))
    assert ledger.ask.hours("main", "AC1", LATER) == [FIRST + 2 * DAY]


def test_an_older_ledger_gets_them(tmp_path: Path) -> None:
    """The hours of a ledger from before are those of its recordings."""
    path = tmp_path / "ledger.db"
    with closing(Ledger.open(path, datetime(2026, 10, 1, tzinfo=UTC))) as ledger:
        register(ledger, *many(3))
        noted = ledger.ask.hours("main", "AC1", LATER)
    db = Database(path)
    for statement in ("DROP TRIGGER hour_insert", "DROP TABLE hours"):
        db.execute(statement)
    db.execute("DELETE FROM _sqlite_migrations WHERE name = 'hours'")
    db.conn.commit()
    migrations.apply(db)
    found = [hour for (hour,) in db.execute("SELECT hour FROM hours WHERE account_id = 'AC1' ORDER BY hour").fetchall()]
    assert found == [f"{each:%Y-%m-%dT%H}" for each in noted]
    assert found
