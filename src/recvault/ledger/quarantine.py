"""Rows that could not be read: kept with their bodies, and released once they can be.

A list may hold thousands of them, and shows them again at each poll: each is found by an index, and of those that have
not changed only the time at which they were seen is written, for all in one statement.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlite_utils import Database

from recvault.ledger.questions import Feed
from recvault.models import Recording, Rejected, stamp

_KNOWN = """
    SELECT digest, recording_id, reason FROM quarantine
    WHERE source=? AND account_id=? AND digest IN (SELECT value FROM json_each(?))
"""
_SEEN = """
    UPDATE quarantine SET last_seen_at=?
    WHERE source=? AND account_id=? AND digest IN (SELECT value FROM json_each(?))
"""
_REPLACE = "UPDATE OR REPLACE quarantine SET digest=?, body=? WHERE source=? AND account_id=? AND recording_id=?"
_KEEP = """
    INSERT INTO quarantine (source, account_id, recording_id, digest, body, reason, first_seen_at, last_seen_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET last_seen_at=excluded.last_seen_at, reason=excluded.reason
"""
_ANY = "SELECT 1 FROM quarantine WHERE source=? AND account_id=? LIMIT 1"
_RELEASE = """
    DELETE FROM quarantine WHERE source=? AND account_id=? AND recording_id IN (SELECT value FROM json_each(?))
"""


def keep(db: Database, feed: Feed, rejected: Iterable[Rejected], now: datetime) -> None:
    """Keep each row's body; where other fields of the same recording's changed meanwhile, its latest."""
    rows = {_digest(row): row for row in rejected}  # one that a page shows twice is one
    if not rows:
        return
    here, at = [feed.source, feed.account_id], stamp(now)
    known = set(db.execute(_KNOWN, [*here, json.dumps(list(rows))]).fetchall())
    same = [digest for digest, row in rows.items() if (digest, row.recording_id, row.reason) in known]
    db.execute(_SEEN, [at, *here, json.dumps(same)])
    changed = [(digest, row) for digest, row in rows.items() if (digest, row.recording_id, row.reason) not in known]
    named = [(digest, row.body, *here, row.recording_id) for digest, row in changed if row.recording_id is not None]
    db.conn.executemany(_REPLACE, named)
    db.conn.executemany(
        _KEEP, [(*here, row.recording_id, digest, row.body, row.reason, at, at) for digest, row in changed]
    )


def release(db: Database, feed: Feed, recordings: Sequence[Recording]) -> None:
    """A row that can be read by now is quarantined no longer."""
    here = [feed.source, feed.account_id]
    if recordings and db.execute(_ANY, here).fetchone():
        db.execute(_RELEASE, [*here, json.dumps([recording.recording_id for recording in recordings])])


def _digest(row: Rejected) -> str:
    return hashlib.sha256(row.body.encode("utf-8", "replace")).hexdigest()
