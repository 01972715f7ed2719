"""Lists of calls that fail: since when, and when they are asked again, so that each process knows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from recvault.models import stamp, unstamp

if TYPE_CHECKING:
    from recvault.ledger.connection import Connection

SCHEMA = """
    CREATE TABLE failing_call_lists (
        source TEXT, account_id TEXT,
        failure TEXT NOT NULL,              -- its kind, as far as it matters
        since TEXT NOT NULL,                -- the first failure after the last success
        failures INTEGER NOT NULL,          -- in succession
        next_at TEXT NOT NULL,              -- when it is asked again
        given_up INTEGER NOT NULL DEFAULT 0,    -- recordings that are not asked for any more
        PRIMARY KEY (source, account_id)
    ) WITHOUT ROWID
"""
_READ = "SELECT failure, since, failures, next_at, given_up FROM failing_call_lists WHERE source = ? AND account_id = ?"
_FAILED = """
    INSERT INTO failing_call_lists (source, account_id, failure, since, failures, next_at) VALUES (?, ?, ?, ?, 1, ?)
    ON CONFLICT DO UPDATE SET failure = excluded.failure, failures = failures + 1, next_at = excluded.next_at
"""
_GAVE_UP = "UPDATE failing_call_lists SET given_up = given_up + ? WHERE source = ? AND account_id = ?"


@dataclass(frozen=True, slots=True, kw_only=True)
class FailingList:
    """An account's list of calls that failed when it was last asked for."""

    failure: str
    since: datetime
    failures: int
    next_at: datetime
    given_up: int


class CallLists:
    """The failing lists of an open ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def failing(self, source: str, account_id: str) -> FailingList | None:
        """Return how an account's list fails; None if it was answered last, or never asked for."""
        with self._connection.read() as db:
            row = db.execute(_READ, [source, account_id]).fetchone()
        if row is None:
            return None
        failure, since, failures, next_at, given_up = row
        return FailingList(
            failure=failure, since=unstamp(since), failures=failures, next_at=unstamp(next_at), given_up=given_up
        )

    def failed(self, source: str, account_id: str, failure: str, now: datetime, next_at: datetime) -> None:
        """Note a failure."""
        with self._connection.write() as db:
            db.execute(_FAILED, [source, account_id, failure, stamp(now), stamp(next_at)])

    def gave_up(self, source: str, account_id: str, count: int) -> None:
        """Count recordings that are not asked for any more, as the list fails."""
        with self._connection.write() as db:
            db.execute(_GAVE_UP, [count, source, account_id])

    def answered(self, source: str, account_id: str) -> FailingList | None:
        """Note that an account's list was answered; return how it failed before, if it did."""
        before = self.failing(source, account_id)
        if before is not None:
            with self._connection.write() as db:
                db.execute("DELETE FROM failing_call_lists WHERE source = ? AND account_id = ?", [source, account_id])
        return before
