"""Which archived recordings were deleted at their provider, after their copy was proven; and which may be next.

They stay archived. No verb makes one due again: the provider has nothing left to fetch.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recvault.errors import LedgerLocked
from recvault.ledger.expected import Expected, ExpectedMedium
from recvault.ledger.leases import open_lockable
from recvault.ledger.rows import whole
from recvault.ledger.trouble import file_errors, sound_values, stored_time
from recvault.models import State, stamp

if TYPE_CHECKING:
    from recvault.ledger.book import Ledger
    from recvault.ledger.connection import Connection

SCHEMA = (
    "ALTER TABLE recordings ADD COLUMN pruned_at TEXT",  # when it was known to be deleted at the provider
    """
    CREATE TABLE prunings (
        source TEXT, account_id TEXT,
        recordings INTEGER NOT NULL, bytes INTEGER NOT NULL,
        last_at TEXT NOT NULL,
        PRIMARY KEY (source, account_id)
    ) WITHOUT ROWID
    """,
    """
    CREATE TRIGGER pruned_update AFTER UPDATE OF pruned_at ON recordings
    WHEN old.pruned_at IS NULL AND new.pruned_at IS NOT NULL
    BEGIN
        INSERT INTO prunings VALUES (new.source, new.account_id, 1, coalesce(new.bytes, 0), new.pruned_at)
        ON CONFLICT (source, account_id) DO UPDATE SET
            recordings = recordings + 1, bytes = bytes + excluded.bytes, last_at = max(last_at, excluded.last_at);
    END
    """,
    """
    CREATE TRIGGER pruned_moved AFTER UPDATE OF source ON recordings
    WHEN new.pruned_at IS NOT NULL AND old.source <> new.source
    BEGIN
        UPDATE prunings SET recordings = recordings - 1, bytes = bytes - coalesce(old.bytes, 0)
            WHERE source = old.source AND account_id = old.account_id;
        INSERT INTO prunings VALUES (new.source, new.account_id, 1, coalesce(new.bytes, 0), new.pruned_at)
        ON CONFLICT (source, account_id) DO UPDATE SET
            recordings = recordings + 1, bytes = bytes + excluded.bytes, last_at = max(last_at, excluded.last_at);
    END
    """,
)

_LAST_OF = "prune.last:"  # and the source: the fact that says what came of the daemon's last prune
_TOGETHER = 2_000  # row ids read in one query: each is short, whatever the ledger's size
_LAST = "SELECT coalesce(max(id), 0) FROM recordings"
_CANDIDATES = """
    SELECT id, source, provider, api, account_id, recording_id, created_at, settled_at, sidecar_key, sidecar_sha256,
           media, reason, bytes, next_attempt_at IS NOT NULL OR lease IS NOT NULL AS is_due
    FROM recordings
    WHERE id > :after AND id <= :until AND source = :source AND account_id = :account_id AND state = 'archived'
        AND pruned_at IS NULL AND created_at < :before AND settled_at < :before AND sidecar_key IS NOT NULL
    ORDER BY id
"""
_MARK = """
    UPDATE recordings SET pruned_at = ?
    WHERE recording_id = ? AND account_id = ? AND provider = ? AND state = 'archived' AND pruned_at IS NULL
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneCandidate:
    """An archived recording, old enough, that its provider may still store."""

    expected: Expected
    api: str
    created_at: datetime
    archived_at: datetime
    reason: str | None  # why it needs the operator's attention, such as `media.suspect`
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Prunings:
    """What was deleted at the provider of one account so far."""

    source: str
    account_id: str
    recordings: int
    bytes: int
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LastPrune:
    """What came of the daemon's last prune of a source."""

    at: datetime
    deleted: int
    failed: int
    error: str | None


def note_prune(ledger: Ledger, source: str, last: LastPrune) -> None:
    """Remember it, for `status`."""
    told = {"at": stamp(last.at), "deleted": last.deleted, "failed": last.failed, "error": last.error}
    ledger.remember(f"{_LAST_OF}{source}", json.dumps(told))


def last_prune(ledger: Ledger, source: str) -> LastPrune | None:
    """Return what came of the daemon's last prune of a source; None if there was none."""
    found = ledger.fact(f"{_LAST_OF}{source}")
    if found is None:
        return None
    told = json.loads(found)
    return LastPrune(**{**told, "at": stored_time(told["at"])})


class Pruned:
    """The queries of an open ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def candidates(self, source: str, account_id: str, before: datetime) -> Iterator[list[PruneCandidate]]:
        """Yield archived recordings that were created and archived before a time, in the order of registration."""
        with self._connection.read() as db:
            last = int(db.execute(_LAST).fetchone()[0])
        asked = {"source": source, "account_id": account_id, "before": stamp(before)}
        for after in range(0, last, _TOGETHER):
            with self._connection.read() as db:
                rows = list(db.query(_CANDIDATES, {**asked, "after": after, "until": after + _TOGETHER}))
            with sound_values("an archived row"):
                page = [_candidate(row) for row in rows]
            if page:
                yield page

    def mark(self, identities: Iterable[tuple[str, str, str]], now: datetime) -> int:
        """Record that these recordings are deleted at their provider, in one transaction; return how many were new."""
        at = stamp(now)
        with self._connection.write() as db:
            return sum(
                db.execute(_MARK, [at, recording_id, account_id, provider]).rowcount
                for provider, account_id, recording_id in identities
            )

    def so_far(self) -> list[Prunings]:
        """Return what was deleted of each account."""
        with self._connection.read() as db:
            rows = db.execute("SELECT * FROM prunings WHERE recordings > 0 ORDER BY 1, 2").fetchall()
        return [
            Prunings(source=source, account_id=account_id, recordings=count, bytes=size, last_at=stored_time(last))
            for source, account_id, count, size, last in rows
        ]


def _candidate(row: dict[str, Any]) -> PruneCandidate:
    key = row["sidecar_key"]
    expected = Expected(
        id=row["id"],
        source=row["source"],
        provider=row["provider"],
        account_id=row["account_id"],
        recording_id=row["recording_id"],
        state=State.ARCHIVED,
        is_due=bool(row["is_due"]),
        sidecar_key=key,
        media=tuple(
            ExpectedMedium(key=each["key"], bytes=each["bytes"], sha256=each["sha256"])
            for each in (whole(row["media"], key) if row["media"] else ())
        ),
        sidecar_sha256=row["sidecar_sha256"],
    )
    return PruneCandidate(
        expected=expected,
        api=row["api"],
        created_at=stored_time(row["created_at"]),
        archived_at=stored_time(row["settled_at"]),
        reason=row["reason"],
        bytes=row["bytes"] or 0,
    )


@contextlib.contextmanager
def alone_pruning(ledger: Path) -> Iterator[None]:
    """Let one process at a time prune. Raises LedgerLocked if another does; a lock ends with its process."""
    path = ledger.with_name(f"{ledger.name}.prune")
    with file_errors(ledger):
        lock = open_lockable(path, write=True)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LedgerLocked("another process prunes with this ledger", "wait for it, or stop it") from error
        yield
    finally:
        os.close(lock)
