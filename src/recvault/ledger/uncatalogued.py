"""Recordings whose row in the catalog is not written yet, and the objects with call facts that were joined.

A trigger queues each recording in the transaction that archives it, and a manifest that lists it queues it again, as
its number is in the row. Each entry has a number of its own: what is queued again meanwhile is not cleared.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recvault.ledger.connection import Connection

SCHEMA = (
    """
    CREATE TABLE uncatalogued (
        entry INTEGER PRIMARY KEY AUTOINCREMENT,    -- never used twice
        id INTEGER NOT NULL UNIQUE,                 -- of an archived row
        manifest_number INTEGER                     -- of the manifest that lists its sidecar; null: none known
    )
    """,
    "CREATE TABLE joined_calls (key TEXT PRIMARY KEY) WITHOUT ROWID",  # of an object under calls/
    "INSERT INTO uncatalogued (id) SELECT id FROM recordings WHERE state = 'archived'",
    """
    CREATE TRIGGER uncatalogued_update AFTER UPDATE OF state ON recordings
    WHEN new.state = 'archived' AND old.state <> 'archived'
    BEGIN
        DELETE FROM uncatalogued WHERE id = new.id;
        INSERT INTO uncatalogued (id) VALUES (new.id);
    END
    """,
    """
    CREATE TRIGGER uncatalogued_insert AFTER INSERT ON recordings WHEN new.state = 'archived'
    BEGIN INSERT INTO uncatalogued (id) VALUES (new.id); END
    """,
)
LISTED = """
    INSERT OR REPLACE INTO uncatalogued (id, manifest_number) SELECT id, ?1 FROM recordings WHERE id = ?2
        AND sidecar_key = ?3 AND state = 'archived'
"""
"""Queue a recording again: a manifest of this number lists its sidecar."""
CATALOG_WRITTEN_AT = "catalog.written_at"
"""The fact that says when the catalog was last written without an error."""
_PAGE = """
    SELECT entry, sidecar_key, manifest_number FROM uncatalogued JOIN recordings USING (id)
    WHERE entry > ? AND state = 'archived' ORDER BY entry LIMIT ?
"""
_LAST = "SELECT coalesce(max(entry), 0) FROM uncatalogued"
_ARCHIVED = "SELECT EXISTS (SELECT 1 FROM tallies WHERE state = 'archived' AND count > 0)"
_CREATED = "SELECT created_at FROM recordings WHERE recording_id = ? AND account_id = ? AND provider = ?"


@dataclass(frozen=True, slots=True, kw_only=True)
class UncataloguedRow:
    """A sidecar to read, and the manifest that lists it."""

    entry: int
    sidecar_key: str
    manifest_number: int | None


class Uncatalogued:
    """The queue of an open ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def page(self, after: int, limit: int) -> list[UncataloguedRow]:
        """Return entries in their order, beginning after `after`."""
        with self._connection.read() as db:
            rows = db.execute(_PAGE, [after, limit]).fetchall()
        return [UncataloguedRow(entry=entry, sidecar_key=key, manifest_number=number) for entry, key, number in rows]

    @property
    def last(self) -> int:
        """The newest entry; 0 if the queue is empty."""
        with self._connection.read() as db:
            return int(db.execute(_LAST).fetchone()[0])

    @property
    def may_have_rows(self) -> bool:
        """Whether this ledger knows of an archived recording: then a catalog has rows, queued or not."""
        with self._connection.read() as db:
            return bool(db.execute(_ARCHIVED).fetchone()[0])

    def month(self, provider: str, account_id: str, recording_id: str) -> str | None:
        """Return the month of a recording; None if this ledger does not know it."""
        with self._connection.read() as db:
            row = db.execute(_CREATED, [recording_id, account_id, provider]).fetchone()
        return str(row[0])[:7] if row else None

    def joined(self) -> set[str]:
        """Return the keys of the objects under calls/ that were joined."""
        with self._connection.read() as db:
            return {row[0] for row in db.execute("SELECT key FROM joined_calls")}

    def clear(self, entries: Iterable[int], calls: Iterable[str] = ()) -> None:
        """Take entries from the queue, and note joined objects, in one transaction: after the catalog was put."""
        with self._connection.write() as db:
            db.conn.executemany("DELETE FROM uncatalogued WHERE entry = ?", [(each,) for each in entries])
            db.conn.executemany("INSERT OR IGNORE INTO joined_calls VALUES (?)", [(each,) for each in calls])

    def clear_through(self, last: int, calls: Iterable[str]) -> None:
        """Take all entries up to one from the queue: after the whole catalog was made again."""
        with self._connection.write() as db:
            db.execute("DELETE FROM uncatalogued WHERE entry <= ?", [last])
            db.conn.executemany("INSERT OR IGNORE INTO joined_calls VALUES (?)", [(each,) for each in calls])
