"""What a ledger knows of custody's records: which of them manifests list, and which recordings are erased.

The bucket is the source: a new ledger learns both from it. Of an erased recording nothing is kept but its id and state.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from recvault.errors import LedgerLocked
from recvault.ledger.database import Database
from recvault.models import JSON, stamp

if TYPE_CHECKING:
    from recvault.ledger.connection import Connection

SCHEMA = "CREATE TABLE listed_records (path TEXT PRIMARY KEY) WITHOUT ROWID"
TOMBSTONES = (
    """
    CREATE TABLE tombstones (               -- of erased recordings, which are registered no more
        path TEXT PRIMARY KEY, provider TEXT NOT NULL, account_id TEXT NOT NULL, recording_id TEXT NOT NULL
    ) WITHOUT ROWID
    """,
    "CREATE INDEX tombstones_recording ON tombstones (recording_id)",
)

Identity = tuple[str, str, str]
_OPEN = "erasures.open"
_LONG = 7  # digits of a number that is not found by chance among durations, sizes and years
_PARTY = re.compile(r"from|to$|to_|call(?:er|ed|ee|ing)|number|phone|party|extension|destination", re.IGNORECASE)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9:.]+)?")

_NOT_IN = """
    SELECT value FROM json_each(?) WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE path = value) ORDER BY key
"""
_ROW = "SELECT id, lease, state FROM recordings WHERE recording_id=? AND account_id=? AND provider=?"
_ERASE = """
    UPDATE recordings SET state='erased', next_attempt_at=NULL, failing_since=NULL, verdict=NULL, missing_since=NULL,
        reason='operator.erased', message=NULL, settled_at=:now, sidecar_key=NULL, sidecar_sha256=NULL, bytes=NULL,
        media=NULL, recording=NULL, looks=NULL, call_id=NULL, may_have_put=0, in_doubt=0, in_doubt_since=NULL
    WHERE id=:id
"""
_DELETE_ITS = tuple(
    f"DELETE FROM {table} WHERE id=?"  # noqa: S608 - our own names
    for table in ("listed", "unlisted", "uncatalogued", "uncalled", "editions", "suspects")
)
_TEXTS = """
    SELECT recordings.provider, recordings.account_id, recordings.recording_id, told.recording AS text
    FROM told JOIN recordings USING (id) WHERE told.recording LIKE :like
"""
_BODIES = "SELECT id, source, account_id, recording_id, body AS text FROM quarantine WHERE body LIKE :like"


@dataclass(frozen=True, slots=True, kw_only=True)
class Burial:
    """What became of rows whose recordings are erased."""

    known: int = 0  # rows that held anything
    leased: tuple[Identity, ...] = ()  # under way in another attempt: untouched


class CustodyRecords:
    """What an open ledger knows of custody's records."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def unlisted(self, paths: Sequence[str]) -> list[str]:
        """Return those of these paths that no manifest is known to list, in their order."""
        return self._not_in("listed_records", paths)

    def note_listed(self, paths: Iterable[str]) -> None:
        """Remember that manifests list these."""
        with self._connection.write() as db:
            db.conn.executemany("INSERT OR IGNORE INTO listed_records VALUES (?)", [(path,) for path in paths])

    def unburied(self, paths: Sequence[str]) -> list[str]:
        """Return those of these tombstones that this ledger does not honour yet, in their order."""
        return self._not_in("tombstones", paths)

    def count_buried(self) -> int:
        """Return how many recordings are erased."""
        with self._connection.read() as db:
            return int(db.execute("SELECT count(*) FROM tombstones").fetchone()[0])

    def bury(self, tombstones: Iterable[tuple[str, Identity]], now: datetime) -> Burial:
        """Honour tombstones, by path and identity: their recordings are erased here, and never registered again."""
        known, leased = 0, list[Identity]()
        with self._connection.write() as db:
            db.execute("PRAGMA secure_delete=ON")
            for path, identity in tombstones:
                provider, account_id, recording_id = identity
                row = db.execute(_ROW, [recording_id, account_id, provider]).fetchone()
                if row is not None and row[1] is not None:
                    leased.append(identity)
                    continue
                known += row is not None and row[2] != "erased"
                known += _forget(db, row[0] if row else None, identity, now)
                db.execute("INSERT OR IGNORE INTO tombstones VALUES (?, ?, ?, ?)", [path, *identity])
        return Burial(known=known, leased=tuple(leased))

    def open_erasures(self) -> list[JSON]:
        """Return which erasures were not complete when the bucket was last read: `path`, `why`, `until`."""
        with self._connection.read() as db:
            row = db.execute("SELECT value FROM facts WHERE name=?", [_OPEN]).fetchone()
        found: list[JSON] = json.loads(row[0]) if row else []
        return found

    def note_open(self, erasures: Iterable[JSON]) -> None:
        """Remember them, for `status`."""
        told = sorted(erasures, key=lambda each: str(each["path"]))
        if self.open_erasures() != told:
            with self._connection.write() as db:
                db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", [_OPEN, json.dumps(told)])

    def naming(self, digits: str) -> tuple[list[Identity], list[int]]:
        """Return the recordings whose listed facts contain a number, and the ids of such quarantined rows.

        The number may be written with punctuation between its digits. Part of a longer number, an id or a date is not
        it; a short one, such as an extension, counts only where a party of the call is named.
        """
        like = {"like": f"%{'%'.join(digits)}%"}
        with self._connection.read() as db:
            rows = [row for row in db.query(_TEXTS, like) if _names(row["text"], digits)]
            bodies = [row for row in db.query(_BODIES, like) if _names(row["text"], digits)]
        identities = {(row["provider"], row["account_id"], row["recording_id"]) for row in rows}
        return sorted(identities), [row["id"] for row in bodies]

    def drop_quarantined(self, row_ids: Sequence[int]) -> None:
        """Delete rows of the quarantine."""
        with self._connection.write() as db:
            db.execute("PRAGMA secure_delete=ON")
            db.conn.executemany("DELETE FROM quarantine WHERE id=?", [(row_id,) for row_id in row_ids])

    def scrub(self) -> None:
        """Leave nothing of what was deleted in the ledger's file or its WAL. Takes a minute for millions of rows."""
        with self._connection.read() as db:
            db.conn.execute("VACUUM")
            [busy, _, _] = db.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise LedgerLocked(
                f"{self._connection.path}-wal is in use and may still hold what was erased",
                "run the same command again; it goes on where it was",
            )

    def _not_in(self, table: str, paths: Sequence[str]) -> list[str]:
        with self._connection.read() as db:
            return [path for (path,) in db.execute(_NOT_IN.format(table=table), [json.dumps(paths)]).fetchall()]


def _names(text: str, digits: str) -> bool:
    """Whether a provider's row, as JSON, has a number."""
    number = r"[^0-9A-Za-z\"]{0,3}".join(digits)
    if not re.search(rf"(?:(?<![0-9A-Za-z])|(?<=%2B)){number}(?![0-9A-Za-z])", _DATE.sub(" ", text), re.IGNORECASE):
        return False
    if len(digits) >= _LONG:
        return True
    whole = re.compile(rf"(?:sips?:|tel:)?[^0-9A-Za-z]*{number}(?:[@;].*)?", re.IGNORECASE | re.DOTALL)
    try:
        return any(_PARTY.search(name) and whole.fullmatch(value) for name, value in _values(json.loads(text)))
    except (ValueError, RecursionError):
        return True  # it cannot be told: nothing of it may be left


def _values(found: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield each text and integer of a document with the name it is under."""
    if isinstance(found, dict):
        for key, value in found.items():
            yield from _values(value, key)
    elif isinstance(found, list):
        for value in found:
            yield from _values(value, name)
    elif isinstance(found, str | int):
        yield name, str(found)


def _forget(db: Database, row_id: int | None, identity: Identity, now: datetime) -> int:
    """Delete all that is known of a recording but its id; return how many quarantined rows it had."""
    _, account_id, recording_id = identity
    if row_id is not None:
        db.execute(_ERASE, {"id": row_id, "now": stamp(now)})
        for statement in _DELETE_ITS:
            db.execute(statement, [row_id])
    gone = "DELETE FROM quarantine WHERE account_id=? AND recording_id=?"
    return int(db.execute(gone, [account_id, recording_id]).rowcount)
