"""Archived recordings whose sidecar lacks the facts of their call, to be asked for later. No phone number is stored."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from recvault.ledger.connection import Connection
from recvault.ledger.database import Database
from recvault.models import Receipt, stamp, unstamp

SOON = timedelta(minutes=15)  # after the commit: many recordings are asked for together
_NOTE = """
    INSERT OR IGNORE INTO uncalled (id, next_at)
    SELECT id, ? FROM recordings WHERE recording_id=? AND account_id=? AND provider=?
"""
_PAGE = """
    SELECT uncalled.id, provider, account_id, recording_id, call_id, created_at, misses,
        failures, coalesce(settled_at, created_at)
    FROM uncalled CROSS JOIN recordings USING (id)
    WHERE source = ? AND next_at <= ? AND call_id IS NOT NULL ORDER BY next_at LIMIT ?
"""

_TOLD = """
    DELETE FROM uncalled WHERE id = (
        SELECT id FROM recordings WHERE recording_id=? AND account_id=? AND provider=?
    )
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class UncalledRow:
    """A recording that waits for the facts of its call."""

    id: int
    identity: tuple[str, str, str]
    call_id: str
    created_at: datetime
    misses: int  # how often the list was read without it
    failures: int  # how often the list could not be read
    archived_at: datetime


def note(db: Database, receipts: Iterable[Receipt], now: datetime) -> None:
    """Note new commits without the facts of their call; inside the transaction that stores them."""
    lacking = [
        (stamp(now + SOON), each.recording.recording_id, each.recording.account_id, each.recording.provider)
        for each in receipts
        if each.recording.call_id and not (each.has_call or each.already_archived)
    ]
    if lacking:
        db.conn.executemany(_NOTE, lacking)


class Uncalled:
    """The queue of an open ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def due(self, source: str, now: datetime, limit: int) -> list[UncalledRow]:
        """Return those of a source that are due, the one that waited longest first."""
        with self._connection.read() as db:
            rows = db.execute(_PAGE, [source, stamp(now), limit]).fetchall()
        return [
            UncalledRow(
                id=row_id,
                identity=(provider, account_id, recording_id),
                call_id=call_id,
                created_at=unstamp(created_at),
                misses=misses,
                failures=failures,
                archived_at=unstamp(archived_at),
            )
            for row_id, provider, account_id, recording_id, call_id, created_at, misses, failures, archived_at in rows
        ]

    def still(self, row_ids: Iterable[int]) -> set[int]:
        """Return those that wait still: what is erased meanwhile does not."""
        wanted = json.dumps(list(row_ids))
        with self._connection.read() as db:
            rows = db.execute("SELECT id FROM uncalled WHERE id IN (SELECT value FROM json_each(?))", [wanted])
            return {int(row_id) for (row_id,) in rows.fetchall()}

    def done(self, row_ids: Iterable[int]) -> None:
        """Forget those whose facts are in the bucket, or which the provider does not know."""
        with self._connection.write() as db:
            db.conn.executemany("DELETE FROM uncalled WHERE id=?", [(row_id,) for row_id in row_ids])

    def told(self, identities: Iterable[tuple[str, str, str]]) -> None:
        """Forget recordings whose facts came in another way."""
        rows = [(recording_id, account_id, provider) for provider, account_id, recording_id in identities]
        with self._connection.write() as db:
            db.conn.executemany(_TOLD, rows)

    def later(self, row_ids: Sequence[int], at: datetime, *, missed: bool = False, failed: bool = False) -> None:
        """Ask for these again at a time. `missed`: the list did not have them; `failed`: it could not be read."""
        rows = [(stamp(at), missed, failed, row_id) for row_id in row_ids]
        with self._connection.write() as db:
            db.conn.executemany("UPDATE uncalled SET next_at=?, misses=misses+?, failures=failures+? WHERE id=?", rows)

    def count(self) -> int:
        """Return how many wait."""
        with self._connection.read() as db:
            return int(db.execute("SELECT count(*) FROM uncalled").fetchone()[0])
