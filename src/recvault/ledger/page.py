"""What a scan writes: a page's recordings, its unreadable rows, and the parts of a list that were read completely.

New recordings are added; a known one is changed only if the list has better information.

A list may hold thousands of unreadable rows, and shows them at each poll. Each is kept with its body, found by an
index, and released once it can be read. For unchanged ones only the time of the last sight is written, in one
statement.

Intervals that a backfill has read completely are kept, so that a killed one continues where it was. Those of one feed
never overlap or adjoin: a new one is merged with those it touches.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from recvault.ledger.database import Database
from recvault.ledger.feeds import Feed
from recvault.ledger.questions import Row
from recvault.ledger.rows import keep_listed, storable
from recvault.ledger.trouble import stored_time
from recvault.models import Phase, Recording, Rejected, State, Window, stamp


@dataclass(frozen=True, slots=True)
class Registered:
    """What a page added: the new ids, and how many of those have nothing to archive."""

    ids: tuple[str, ...] = ()
    gone: int = 0
    external: int = 0

    @property
    def new(self) -> int:
        return len(self.ids)


def write(db: Database, feed: Feed, listed: Sequence[Recording], now: datetime, recheck: timedelta) -> Registered:
    """Write a page's rows; inside a transaction."""
    settled = _settled(db, listed)
    at, due = stamp(now), {Phase.COMPLETE: stamp(now), Phase.UNFINISHED: stamp(now + recheck)}
    rows = [_new_row(feed, recording, at, due) for recording in listed if recording.identity not in settled]
    if not rows:
        return Registered()
    [last] = db.execute("SELECT max(id) FROM recordings").fetchone()
    db.conn.executemany(_REGISTER, rows)
    # No row is ever deleted: what this transaction added, and nothing else, has a higher id.
    new = db.execute(_ADDED, [last or 0]).fetchall()
    texts = {_identity(row): row["recording"] for row in reversed(rows)}  # the first of two duplicates was added
    keep_listed(db, [(row_id, texts[tuple(identity)]) for row_id, _, *identity in new])
    if len(new) < len(rows):
        _contradict(db, _REVIVE, (row for row in rows if row["state"] == State.PENDING))
        _contradict(db, _ENRICH, (row for row in rows if row["status"] is not None))
    states = [state for _, state, *_ in new]
    return Registered(
        tuple(identity[-1] for _, _, *identity in new), states.count(State.GONE), states.count(State.EXTERNAL)
    )


def _contradict(db: Database, change: str, rows: Iterable[Row]) -> None:
    """Apply a change to the rows for which the list has better information, and store its facts."""
    for row in rows:
        for (row_id,) in db.execute(change, row).fetchall():
            keep_listed(db, [(row_id, row["recording"])])


def _identity(row: Row) -> tuple[str, str, str]:
    return (row["provider"], row["account_id"], row["recording_id"])


def _settled(db: Database, listed: Sequence[Recording]) -> set[tuple[str, str, str]]:
    """Return the archived ones, about which no list can add anything: most of what a poll meets; and the erased."""
    ids = json.dumps([recording.recording_id for recording in listed])
    return set(db.execute(_SETTLED, [ids]).fetchall())


_SETTLED = """
    SELECT provider, account_id, recording_id FROM recordings
    WHERE recording_id IN (SELECT value FROM json_each(?1)) AND state='archived'
    UNION ALL
    SELECT provider, account_id, recording_id FROM tombstones WHERE recording_id IN (SELECT value FROM json_each(?1))
"""

_ADDED = "SELECT id, state, provider, account_id, recording_id FROM recordings WHERE id > ?"

_REGISTER = """
    INSERT INTO recordings (provider, account_id, recording_id, source, api, created_at, registered_at, watched_since,
                            state, next_attempt_at, settled_at, call_id)
    VALUES (:provider, :account_id, :recording_id, :source, :api, :created_at, :registered_at, :registered_at,
            :state, :next_attempt_at, :settled_at, :call_id)
    ON CONFLICT (recording_id, account_id, provider) DO NOTHING
"""

# A recording that answered 404 and is listed as complete again is not gone; nor is one external whose row no longer
# names a location. A list without statuses also shows absent recordings: it may overrule only what it listed itself.
_REVIVE = """
    UPDATE recordings SET state='pending', next_attempt_at=:next_attempt_at, settled_at=NULL, missing_since=NULL
    WHERE recording_id=:recording_id AND account_id=:account_id AND provider=:provider AND lease IS NULL
        AND (state='gone' OR (state='external' AND :external_location IS NULL))
        AND (api=:api OR :status IS NOT NULL)
    RETURNING id
"""

# Twilio's 2008 rows have no status, channels or keys: an encrypted recording looks like noise, an absent one like a
# late one. A leased recording keeps its state until its transfer settles; the row with more information is kept.
_ENRICH = """
    UPDATE recordings SET source=:source, api=:api, faults=0, failing_since=NULL,
        state=iif(lease IS NULL, :state, state),
        next_attempt_at=iif(lease IS NULL, :next_attempt_at, next_attempt_at),
        settled_at=iif(lease IS NULL, :settled_at, settled_at)
    WHERE recording_id=:recording_id AND account_id=:account_id AND provider=:provider
        AND state IN ('pending', 'failing', 'not_ready', 'dead')
        AND (SELECT json_extract(recording, '$.status') FROM told WHERE told.id = recordings.id) IS NULL
    RETURNING id
"""

_FIRST_STATE: Mapping[Phase, State] = {
    Phase.COMPLETE: State.PENDING,
    Phase.UNFINISHED: State.NOT_READY,
    Phase.GONE: State.GONE,
    Phase.EXTERNAL: State.EXTERNAL,
}


def _new_row(feed: Feed, recording: Recording, now: str, due: Mapping[Phase, str]) -> Row:
    next_attempt_at = due.get(recording.phase)
    return {
        "provider": recording.provider,
        "account_id": recording.account_id,
        "recording_id": recording.recording_id,
        "source": feed.source,
        "api": recording.api,
        "status": recording.status,
        "created_at": stamp(recording.created_at),
        "registered_at": now,
        "state": _FIRST_STATE[recording.phase].value,
        "next_attempt_at": next_attempt_at,
        "settled_at": None if next_attempt_at else now,
        "external_location": recording.external_location,
        "recording": recording.to_json(),
        "call_id": storable(recording.call_id),
    }


_QUARANTINED = """
    SELECT digest, recording_id, reason FROM quarantine
    WHERE source=? AND account_id=? AND digest IN (SELECT value FROM json_each(?))
"""
_SEEN_AGAIN = """
    UPDATE quarantine SET last_seen_at=?
    WHERE source=? AND account_id=? AND digest IN (SELECT value FROM json_each(?))
"""
_REPLACE = "UPDATE OR REPLACE quarantine SET digest=?, body=? WHERE source=? AND account_id=? AND recording_id=?"
_QUARANTINE = """
    INSERT INTO quarantine (source, account_id, recording_id, digest, body, reason, first_seen_at, last_seen_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET last_seen_at=excluded.last_seen_at, reason=excluded.reason
"""
_ANY_REJECTED = "SELECT 1 FROM quarantine WHERE source=? AND account_id=? LIMIT 1"
_RELEASE = """
    DELETE FROM quarantine WHERE source=? AND account_id=? AND recording_id IN (SELECT value FROM json_each(?))
"""


def keep_rejected(db: Database, feed: Feed, rejected: Iterable[Rejected], now: datetime) -> None:
    """Store each row's body; if a row of the same recording changed, the latest."""
    rows = {_digest(row): row for row in rejected}  # duplicates on a page count once
    if not rows:
        return
    here, at = [feed.source, feed.account_id], stamp(now)
    known = set(db.execute(_QUARANTINED, [*here, json.dumps(list(rows))]).fetchall())
    same = [digest for digest, row in rows.items() if (digest, row.recording_id, row.reason) in known]
    db.execute(_SEEN_AGAIN, [at, *here, json.dumps(same)])
    changed = [(digest, row) for digest, row in rows.items() if (digest, row.recording_id, row.reason) not in known]
    named = [(digest, row.body, *here, row.recording_id) for digest, row in changed if row.recording_id is not None]
    db.conn.executemany(_REPLACE, named)
    db.conn.executemany(
        _QUARANTINE, [(*here, row.recording_id, digest, row.body, row.reason, at, at) for digest, row in changed]
    )


def release_readable(db: Database, feed: Feed, recordings: Sequence[Recording]) -> None:
    """Remove from the quarantine what can be read now."""
    here = [feed.source, feed.account_id]
    if recordings and db.execute(_ANY_REJECTED, here).fetchone():
        db.execute(_RELEASE, [*here, json.dumps([recording.recording_id for recording in recordings])])


def _digest(row: Rejected) -> str:
    return hashlib.sha256(row.body.encode("utf-8", "replace")).hexdigest()


def add_interval(db: Database, feed: Feed, done: Window) -> None:
    """Store an interval, merged with those it touches; inside a transaction."""
    if done.since is None or done.until is None:
        raise ValueError("an interval that is done has both ends")
    bounds = [stamp(done.since), stamp(done.until)]
    touched = "FROM slices WHERE source=? AND account_id=? AND list=? AND since <= ? AND until >= ?"
    here = [*feed.key, bounds[1], bounds[0]]
    [first, last] = db.execute(f"SELECT min(since), max(until) {touched}", here).fetchone()
    db.execute(f"DELETE {touched}", here)
    merged = [min(bounds[0], first or bounds[0]), max(bounds[1], last or bounds[1])]
    db.execute("INSERT INTO slices VALUES (?, ?, ?, ?, ?)", [*feed.key, *merged])


def intervals(db: Database, feed: Feed) -> list[Window]:
    """Return the finished intervals, in order."""
    rows = db.query(
        "SELECT since, until FROM slices WHERE source=? AND account_id=? AND list=? ORDER BY since", feed.key
    )
    return [Window(stored_time(row["since"]), stored_time(row["until"])) for row in rows]


def forget_intervals(db: Database, feed: Feed) -> None:
    """Delete a feed's intervals, as its backfill is complete."""
    db.execute("DELETE FROM slices WHERE source=? AND account_id=? AND list=?", feed.key)
