"""A page's recordings as rows: new ones are added, a known one is left as it is, but where a list knows better."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlite_utils import Database

from recvault.ledger.questions import Feed, Row
from recvault.models import Phase, Recording, State, stamp


@dataclass(frozen=True, slots=True)
class Registered:
    """What registering a page added: the new ids, and how many of those have nothing to archive."""

    ids: tuple[str, ...] = ()
    gone: int = 0
    external: int = 0

    @property
    def new(self) -> int:
        return len(self.ids)


def write(db: Database, feed: Feed, listed: Sequence[Recording], now: datetime, recheck: timedelta) -> Registered:
    """Write a page's rows; inside a transaction."""
    settled = _settled(db, listed)
    rows = [_new_row(feed, recording, now, recheck) for recording in listed if recording.identity not in settled]
    if not rows:
        return Registered()
    [last] = db.execute("SELECT max(id) FROM recordings").fetchone()
    db.conn.executemany(_REGISTER, rows)
    # No row is ever deleted: what this transaction added, and nothing else, has a higher id.
    new = db.execute("SELECT recording_id, state FROM recordings WHERE id > ?", [last or 0]).fetchall()
    if len(new) < len(rows):
        db.conn.executemany(_REVIVE, [row for row in rows if row["state"] == State.PENDING])
        db.conn.executemany(_ENRICH, [row for row in rows if row["status"] is not None])
    states = [state for _, state in new]
    return Registered(tuple(name for name, _ in new), states.count(State.GONE), states.count(State.EXTERNAL))


def _settled(db: Database, listed: Sequence[Recording]) -> set[tuple[str, str, str]]:
    """Those of which no list can tell anything more: most of what a poll meets, and not worth a row."""
    ids = json.dumps([recording.recording_id for recording in listed])
    return set(db.execute(_SETTLED, [ids]).fetchall())


_SETTLED = """
    SELECT provider, account_id, recording_id FROM recordings
    WHERE recording_id IN (SELECT value FROM json_each(?)) AND state IN ('archived', 'external')
"""

_REGISTER = """
    INSERT INTO recordings (provider, account_id, recording_id, source, api, created_at, registered_at, watched_since,
                            state, next_attempt_at, settled_at, recording)
    VALUES (:provider, :account_id, :recording_id, :source, :api, :created_at, :registered_at, :registered_at,
            :state, :next_attempt_at, :settled_at, :recording)
    ON CONFLICT (recording_id, account_id, provider) DO NOTHING
"""

# A recording that answered 404 once and is listed as complete again was never gone. A list that has no statuses shows
# what is absent, too: it may contradict itself, not a list that knows.
_REVIVE = """
    UPDATE recordings SET state='pending', next_attempt_at=:next_attempt_at, settled_at=NULL, recording=:recording
    WHERE recording_id=:recording_id AND account_id=:account_id AND provider=:provider AND state='gone'
        AND (api=:api OR :status IS NOT NULL)
"""

# Twilio's 2008 rows tell no status, no channels and no keys: through them an encrypted recording looks like noise, and
# an absent one like one that is late. A transfer under way settles first; the row that tells more stays.
_ENRICH = """
    UPDATE recordings SET source=:source, api=:api, recording=:recording, faults=0, failing_since=NULL,
        state=iif(lease IS NULL, :state, state),
        next_attempt_at=iif(lease IS NULL, :next_attempt_at, next_attempt_at),
        settled_at=iif(lease IS NULL, :settled_at, settled_at)
    WHERE recording_id=:recording_id AND account_id=:account_id AND provider=:provider
        AND state IN ('pending', 'failing', 'not_ready', 'dead') AND json_extract(recording, '$.status') IS NULL
"""

_FIRST_STATE: Mapping[Phase, State] = {
    Phase.COMPLETE: State.PENDING,
    Phase.UNFINISHED: State.NOT_READY,
    Phase.GONE: State.GONE,
    Phase.EXTERNAL: State.EXTERNAL,
}


def _new_row(feed: Feed, recording: Recording, now: datetime, recheck: timedelta) -> Row:
    due = {Phase.COMPLETE: stamp(now), Phase.UNFINISHED: stamp(now + recheck)}.get(recording.phase)
    return {
        "provider": recording.provider,
        "account_id": recording.account_id,
        "recording_id": recording.recording_id,
        "source": feed.source,
        "api": recording.api,
        "status": recording.status,
        "created_at": stamp(recording.created_at),
        "registered_at": stamp(now),
        "state": _FIRST_STATE[recording.phase].value,
        "next_attempt_at": due,
        "settled_at": None if due else stamp(now),
        "recording": recording.to_json(),
    }
