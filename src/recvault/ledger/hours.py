"""In which hours each account had recordings, of the last weeks: by these a source that falls silent is recognised.

An hour is one of the provider's dates, so that a first scan of history brings the weeks before it.
"""

from __future__ import annotations

from datetime import UTC, datetime

from recvault.ledger.database import Database

_HOUR = "%Y-%m-%dT%H"

SCHEMA = (
    """
    CREATE TABLE hours (
        source TEXT, account_id TEXT,
        hour TEXT,                          -- in UTC, in which a recording was created; of the last 77 days
        PRIMARY KEY (source, account_id, hour)
    ) WITHOUT ROWID
    """,
    """
    INSERT INTO hours SELECT DISTINCT source, account_id, substr(created_at, 1, 13) FROM recordings
    WHERE created_at >= (SELECT date(max(registered_at), '-77 days') FROM recordings)
    """,
    """
    CREATE TRIGGER hour_insert AFTER INSERT ON recordings WHEN new.created_at >= date(new.registered_at, '-77 days')
    BEGIN
        INSERT INTO hours VALUES (new.source, new.account_id, substr(new.created_at, 1, 13)) ON CONFLICT DO NOTHING;
    END
    """,
    """
    CREATE TRIGGER hour_forget AFTER INSERT ON hours
    BEGIN
        DELETE FROM hours WHERE source = new.source AND account_id = new.account_id
            AND hour < date(substr(new.hour, 1, 10), '-77 days');
    END
    """,
)
MOVE = (
    """
    INSERT INTO hours SELECT :to, account_id, hour FROM hours WHERE source=:of AND account_id=:account
    ON CONFLICT DO NOTHING
    """,
    "DELETE FROM hours WHERE source=:of AND account_id=:account",
)
_LAST = "SELECT max(hour) FROM hours WHERE source = ? AND account_id = ?"
_ALL = "SELECT hour FROM hours WHERE source = ? AND account_id = ? ORDER BY hour"


def hours(db: Database, source: str, account_id: str, before: datetime) -> list[datetime]:
    """Return the hours with recordings of the last weeks, oldest first; none if there was one after `before`."""
    [last] = db.execute(_LAST, [source, account_id]).fetchone()
    if last is None or _moment(last) > before:
        return []  # not silent: that is the usual case, and costs one look-up
    return [_moment(hour) for (hour,) in db.execute(_ALL, [source, account_id]).fetchall()]


def _moment(hour: str) -> datetime:
    return datetime.strptime(hour, _HOUR).replace(tzinfo=UTC)
