"""Is a ledger's file sound? Looked at without a change to it, and within bounds: a large one by samples.

No look can vouch for every byte: SQLite keeps no sums of its pages, so a byte that turned inside a text passes. What is
found is damage for certain, and raised as LedgerDamaged; to rebuild is never wrong.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from recvault.ledger.archived import open_to_read
from recvault.ledger.refusals import refuse_unsound
from recvault.ledger.trouble import damaged, file_errors, sqlite_errors

LARGE = 2 << 30  # bytes, past which the structure is not walked whole: it would take minutes
SECONDS = 10.0  # for the walk of a smaller one
_SAMPLES = 1000
_STEPS = 10_000  # of SQLite's machine between two looks at the clock
_AT = "SELECT * FROM recordings WHERE id >= ? ORDER BY id LIMIT 1"
_BY_IDENTITY = "SELECT id FROM recordings WHERE recording_id=? AND account_id=? AND provider=?"


@dataclass(frozen=True, slots=True)
class FileInspection:
    """What was looked at: its structure as a whole, or in part; and so many rows, each found by its index, too."""

    whole: bool
    rows: int


def look(path: Path, *, large: int = LARGE, seconds: float = SECONDS) -> FileInspection:
    """A look that a person waits for. LedgerDamaged, or what else keeps the file from being used, in words."""
    with file_errors(path), sqlite_errors(path), closing(open_to_read(path)) as connection:
        refuse_unsound(connection, path)
        if not _has_rows(connection):
            return FileInspection(whole=True, rows=0)
        whole = path.stat().st_size <= large and walk(connection, path, "quick_check", seconds)
        return FileInspection(whole=whole, rows=_sample(connection, path))


def look_hard(path: Path) -> bool:
    """The same, every page and every index, however long it takes. False for a file in which nothing was made yet."""
    with file_errors(path), sqlite_errors(path), closing(open_to_read(path)) as connection:
        refuse_unsound(connection, path)
        return walk(connection, path, "integrity_check", None) and _has_rows(connection)


def _has_rows(connection: sqlite3.Connection) -> bool:
    """Whether the schema was made at all: a first start may have been killed before it."""
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'recordings'").fetchone() is not None


def walk(connection: sqlite3.Connection, path: Path, pragma: str, seconds: float | None) -> bool:
    """Have SQLite check itself; False where that took too long."""
    if seconds is not None:
        connection.set_progress_handler(_over(time.monotonic() + seconds), _STEPS)
    try:
        [(said, *_), *_] = connection.execute(f"PRAGMA {pragma}(1)").fetchall()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname == "SQLITE_INTERRUPT":
            return False
        raise
    finally:
        connection.set_progress_handler(None, 0)
    if said != "ok":
        raise damaged(path, " ".join(str(said).split()))
    return True


def _over(end: float) -> Callable[[], bool]:
    return lambda: time.monotonic() > end


def _sample(connection: sqlite3.Connection, path: Path) -> int:
    """Read rows here and there, whole, and find each again by its identity."""
    connection.row_factory = sqlite3.Row
    [last] = connection.execute("SELECT coalesce(max(id), 0) FROM recordings").fetchone()
    chosen = random.Random(last).sample(range(1, last + 1), min(_SAMPLES, last))  # noqa: S311 - no secret
    for row_id in chosen:
        row = connection.execute(_AT, [row_id]).fetchone()
        identity = [row["recording_id"], row["account_id"], row["provider"]] if row else []
        found = connection.execute(_BY_IDENTITY, identity).fetchone() if row else None
        if found is None or found["id"] != row["id"]:
            raise damaged(path, f"row {row_id} is not found by its index")
    return len(chosen)
