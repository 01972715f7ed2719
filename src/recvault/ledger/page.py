"""A page's recordings as rows: new ones are added, a known one is left as it is, but where a list knows better."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlite_utils import Database

from recvault.ledger.listed import keep
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
    at, due = stamp(now), {Phase.COMPLETE: stamp(now), Phase.UNFINISHED: stamp(now + recheck)}
    rows = [_new_row(feed, recording, at, due) for recording in listed if recording.identity not in settled]
    if not rows:
        return Registered()
    [last] = db.execute("SELECT max(id) FROM recordings").fetchone()
    db.conn.executemany(_REGISTER, rows)
    # No row is ever deleted: what this transaction added, and nothing else, has a higher id.
    new = db.execute(_ADDED, [last or 0]).fetchall()
    texts = {_identity(row): row["recording"] for row in reversed(rows)}  # of two of one identity the first was added
    keep(db, [(row_id, texts[tuple(identity)]) for row_id, _, *identity in new])
    if len(new) < len(rows):
        _contradict(db, _REVIVE, (row for row in rows if row["state"] == State.PENDING))
        _contradict(db, _ENRICH, (row for row in rows if row["status"] is not None))
    states = [state for _, state, *_ in new]
    return Registered(
        tuple(identity[-1] for _, _, *identity in new), states.count(State.GONE), states.count(State.EXTERNAL)
    )


def _contradict(db: Database, change: str, rows: Iterable[Row]) -> None:
    """Change those rows of which a list knows better, and keep what it tells of them."""
    for row in rows:
        for (row_id,) in db.execute(change, row).fetchall():
            keep(db, [(row_id, row["recording"])])


def _identity(row: Row) -> tuple[str, str, str]:
    return (row["provider"], row["account_id"], row["recording_id"])


def _settled(db: Database, listed: Sequence[Recording]) -> set[tuple[str, str, str]]:
    """Those of which no list can tell anything more: most of what a poll meets, and not worth a row."""
    ids = json.dumps([recording.recording_id for recording in listed])
    return set(db.execute(_SETTLED, [ids]).fetchall())


_SETTLED = """
    SELECT provider, account_id, recording_id FROM recordings
    WHERE recording_id IN (SELECT value FROM json_each(?)) AND state='archived'
"""

_ADDED = "SELECT id, state, provider, account_id, recording_id FROM recordings WHERE id > ?"

_REGISTER = """
    INSERT INTO recordings (provider, account_id, recording_id, source, api, created_at, registered_at, watched_since,
                            state, next_attempt_at, settled_at)
    VALUES (:provider, :account_id, :recording_id, :source, :api, :created_at, :registered_at, :registered_at,
            :state, :next_attempt_at, :settled_at)
    ON CONFLICT (recording_id, account_id, provider) DO NOTHING
"""

# A recording that answered 404 and is listed as complete again was never gone; nor is one kept elsewhere whose row
# names no place any more. A list that has no statuses shows what is absent, too: it may contradict itself, not one that
# knows.
_REVIVE = """
    UPDATE recordings SET state='pending', next_attempt_at=:next_attempt_at, settled_at=NULL, missing_since=NULL
    WHERE recording_id=:recording_id AND account_id=:account_id AND provider=:provider AND lease IS NULL
        AND (state='gone' OR (state='external' AND :external_location IS NULL))
        AND (api=:api OR :status IS NOT NULL)
    RETURNING id
"""

# Twilio's 2008 rows tell no status, no channels and no keys: through them an encrypted recording looks like noise, and
# an absent one like one that is late. A transfer under way settles first; the row that tells more stays.
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
    }
