"""Rows that could not be read: kept with their bodies, and released once they can be."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime

from sqlite_utils import Database

from recvault.ledger.questions import Feed
from recvault.models import Recording, Rejected, stamp


def keep(db: Database, feed: Feed, row: Rejected, now: datetime) -> None:
    """Keep a row's body; where other fields of the same recording's changed meanwhile, its latest."""
    digest = hashlib.sha256(row.body.encode("utf-8", "replace")).hexdigest()
    if row.recording_id is not None:
        db.execute(
            "UPDATE OR REPLACE quarantine SET digest=?, body=? WHERE source=? AND account_id=? AND recording_id=?",
            [digest, row.body, feed.source, feed.account_id, row.recording_id],
        )
    db.execute(
        """
        INSERT INTO quarantine (source, account_id, recording_id, digest, body, reason, first_seen_at, last_seen_at)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT DO UPDATE SET last_seen_at=excluded.last_seen_at, reason=excluded.reason
        """,
        [feed.source, feed.account_id, row.recording_id, digest, row.body, row.reason, stamp(now), stamp(now)],
    )


def release(db: Database, feed: Feed, recordings: Iterable[Recording]) -> None:
    """A row that can be read by now is quarantined no longer."""
    here = [feed.source, feed.account_id]
    kept = db.query("SELECT recording_id FROM quarantine WHERE source=? AND account_id=?", here)
    ids = {row["recording_id"] for row in kept}
    if readable := [(*here, r.recording_id) for r in recordings if r.recording_id in ids]:
        db.conn.executemany("DELETE FROM quarantine WHERE source=? AND account_id=? AND recording_id=?", readable)
