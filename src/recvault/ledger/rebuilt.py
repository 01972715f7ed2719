"""A new ledger under construction, under a temporary name until it is complete; then it is put in place in one step.

At any time there is either no ledger in place or a complete one. After an interruption the unfinished file stays, and
the same work continues from it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from recvault.errors import LedgerDamaged, LedgerLocked, LedgerStands
from recvault.ledger import editions
from recvault.ledger.connection import Connection, alone
from recvault.ledger.database import Database
from recvault.ledger.leases import at_work
from recvault.ledger.pruned import Pruned
from recvault.ledger.rows import shorten, storable
from recvault.ledger.soundness import commits_beside
from recvault.ledger.trouble import file_errors
from recvault.models import JSON, Receipt, State, stamp

_ORIGIN, _STATE = "rebuilt_from", "rebuilt_so_far"
_BESIDE = ("-wal", "-shm", ".commits")  # endings of the files that belong to a database

_INSERT = """
    INSERT INTO recordings (provider, account_id, recording_id, source, api, created_at, registered_at, watched_since,
                            state, attempts, settled_at, sidecar_key, sidecar_sha256, bytes, media, reason, message,
                            call_id)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (recording_id, account_id, provider) DO NOTHING
"""

# A later edition names the earlier one, which is read first.
_SUPERSEDE = """
    UPDATE recordings SET settled_at=?, sidecar_key=?, sidecar_sha256=?, bytes=?, media=?, reason=?, message=?
    WHERE recording_id=? AND account_id=? AND provider=?
"""

_KNOWN = "SELECT sidecar_key FROM recordings WHERE recording_id=? AND account_id=? AND provider=?"

# The trigger counts rows that become archived; these are inserted as archived.
_DAYS = """
    INSERT INTO days
    SELECT source, account_id, substr(settled_at, 1, 10) AS day, count(*), sum(bytes), max(settled_at)
    FROM recordings GROUP BY source, account_id, day
"""

# Without watermark: the next scan lists all history, and knows the archived recordings already.
_FEEDS = """
    INSERT OR IGNORE INTO feeds (source, account_id, list, provider)
    SELECT DISTINCT source, account_id, 'account', provider FROM recordings
"""

_ACCOUNTS = """
    SELECT recordings.source, provider, recordings.account_id, count(*), sum(bytes), max(settled_at)
    FROM recordings GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""


@dataclass(frozen=True, slots=True)
class Committed:
    """A recording in the bucket as its sidecar describes it, and the number of attempts that it took."""

    receipt: Receipt
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuiltAccount:
    """What was found of one account."""

    source: str
    provider: str
    account_id: str
    recordings: int
    bytes: int
    last_archived_at: str


class NewLedger:
    """Open with `NewLedger.open`; add, and finish or close. One at a time: its owner holds the daemon lock."""

    def __init__(self, path: Path, half: Path) -> None:
        self._path, self._half = path, half
        self._connection = Connection(half)

    @classmethod
    def open(cls, path: Path, origin: str, now: datetime) -> Self:
        """Continue an unfinished ledger of the same origin, or start a new one."""
        half = path.with_name(f"{path.name}.rebuilding")
        if half.exists():
            try:
                begun = cls(path, half)
            except LedgerDamaged:
                pass  # a damaged one is discarded
            else:
                if begun._fact(_ORIGIN) == origin:
                    return begun
                begun.close()
            with file_errors(path):
                for each in _family(half):
                    each.unlink(missing_ok=True)
        new = cls(path, half)
        with new._connection.write() as db:
            _remember(db, "born_at", stamp(now))
            _remember(db, _ORIGIN, origin)
        return new

    def so_far(self) -> JSON:
        """Return the progress stored with the last `add`; empty before the first."""
        found: JSON = json.loads(self._fact(_STATE) or "{}")
        return found

    def add(self, batch: Sequence[Committed], so_far: JSON) -> tuple[list[tuple[str, str]], int]:
        """Store a batch and the progress, in one transaction.

        Returns the skipped sidecars, each with the one used for its recording; and how many were later editions of
        recordings that were stored before.
        """
        with self._connection.write() as db:
            written = [_written(db, each) for each in batch]
            found = [each for each in written if isinstance(each, tuple)]
            later = written.count(True)
            counts = {"seconds": so_far.get("seconds", 0) + len(found), "later": so_far.get("later", 0) + later}
            _remember(db, _STATE, json.dumps({**so_far, **counts}))
        return found, later

    def note_pruned(self, identities: Iterable[tuple[str, str, str]], at: datetime) -> int:
        """Note that recvault deleted these at their provider; return how many were not noted yet."""
        return Pruned(self._connection).mark(identities, at)

    def finish(self) -> list[RebuiltAccount]:
        """Complete the file, make it durable and close it; return its contents by account. It is not in place yet."""
        with self._connection.write() as db:
            db.execute("DELETE FROM days")
            db.execute(_DAYS)
            db.execute(_FEEDS)
            accounts = [
                RebuiltAccount(
                    source=source,
                    provider=provider,
                    account_id=account_id,
                    recordings=count,
                    bytes=size,
                    last_archived_at=last,
                )
                for source, provider, account_id, count, size, last in db.execute(_ACCOUNTS).fetchall()
            ]
        with self._connection.read() as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self.close()
        with file_errors(self._path):
            _sync(self._half)
        return accounts

    def take_place(self, *, aside: Path, replaces: bool) -> Path | None:
        """Put the file in the ledger's place; an earlier ledger is moved to `aside` with all its files.

        Returns where it was moved, if any. Raises LedgerStands if there is one and `replaces` is False.
        """
        with file_errors(self._path), alone(self._path.parent):
            stands = self._path.exists()
            if stands and not replaces:
                raise LedgerStands(
                    f"another ledger was created at {self._path} meanwhile: the new one was not put in its place",
                    "move that one away with all its files, then run the command again",
                )
            for mine, theirs in zip(_family(self._path), _family(aside), strict=True):
                if mine.exists():  # a WAL left there would be taken for the new ledger's
                    mine.rename(theirs)
            commits_beside(self._half).unlink(missing_ok=True)
            self._half.rename(self._path)
            _sync(self._path.parent)
        return aside if stands else None

    def close(self) -> None:
        """Close the file; what was added stays in it."""
        self._connection.close()

    def _fact(self, name: str) -> str | None:
        with self._connection.read() as db:
            row = db.execute("SELECT value FROM facts WHERE name=?", [name]).fetchone()
        return str(row[0]) if row else None


def refuse_company(path: Path) -> None:
    """Raise LedgerLocked if a process uses this ledger: its open file must not be replaced."""
    if names := at_work(path):
        pids = ", ".join(name.partition("-")[0] for name in names)
        raise LedgerLocked(f"another recvault is using the ledger {path}: process {pids}", "wait for it, or stop it")


def _family(path: Path) -> list[Path]:
    """Return a database's file and all that belongs to it."""
    return [path, *(path.with_name(path.name + ending) for ending in _BESIDE)]


def _written(db: Database, each: Committed) -> tuple[str, str] | bool:
    """Write a row; return whether it is a later edition, or the skipped sidecar and the one used instead."""
    receipt, recording = each.receipt, each.receipt.recording
    archived_at = stamp(receipt.archived_at)
    identity = (recording.provider, recording.account_id, recording.recording_id)
    about = (receipt.source, recording.api, stamp(recording.created_at), archived_at, archived_at)
    end = (State.ARCHIVED.value, each.attempts, archived_at, receipt.sidecar_key, receipt.sidecar_sha256)
    media = (receipt.bytes, shorten(receipt), *(receipt.note or (None, None)))
    if db.execute(_INSERT, (*identity, *about, *end, *media, storable(recording.call_id))).rowcount:
        return False
    [key] = db.execute(_KNOWN, identity[::-1]).fetchone()
    is_later = receipt.earlier is not None and receipt.earlier.sidecar_key == key
    if not is_later and key not in receipt.taken:
        return receipt.sidecar_key, str(key)
    editions.keep(db, [receipt], receipt.archived_at)
    db.execute(_SUPERSEDE, (archived_at, *end[3:], *media, *identity[::-1]))
    return True if is_later else (str(key), receipt.sidecar_key)


def _remember(db: Database, name: str, value: str) -> None:
    db.execute("INSERT INTO facts VALUES (?, ?) ON CONFLICT DO UPDATE SET value=excluded.value", [name, value])


def _sync(path: Path) -> None:
    """Flush a file or directory to disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
