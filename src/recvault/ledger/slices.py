"""Which parts of a list a backfill has read whole: kept so that a killed one goes on where it was.

Intervals of one feed never overlap nor adjoin: what is added is merged with what it touches.
"""

from __future__ import annotations

from sqlite_utils import Database

from recvault.ledger.questions import Feed
from recvault.ledger.trouble import stored_time
from recvault.models import Window, stamp


def add(db: Database, feed: Feed, done: Window) -> None:
    """Remember an interval, merged with those it touches; inside a transaction."""
    if done.since is None or done.until is None:
        raise ValueError("an interval that is done has both ends")
    bounds = [stamp(done.since), stamp(done.until)]
    touched = "FROM slices WHERE source=? AND account_id=? AND list=? AND since <= ? AND until >= ?"
    here = [*feed.key, bounds[1], bounds[0]]
    [first, last] = db.execute(f"SELECT min(since), max(until) {touched}", here).fetchone()
    db.execute(f"DELETE {touched}", here)
    merged = [min(bounds[0], first or bounds[0]), max(bounds[1], last or bounds[1])]
    db.execute("INSERT INTO slices VALUES (?, ?, ?, ?, ?)", [*feed.key, *merged])


def read(db: Database, feed: Feed) -> list[Window]:
    """The intervals that are done, in order."""
    rows = db.query(
        "SELECT since, until FROM slices WHERE source=? AND account_id=? AND list=? ORDER BY since", feed.key
    )
    return [Window(stored_time(row["since"]), stored_time(row["until"])) for row in rows]


def forget(db: Database, feed: Feed) -> None:
    """Forget them all: the backfill that they belong to is complete."""
    db.execute("DELETE FROM slices WHERE source=? AND account_id=? AND list=?", feed.key)
