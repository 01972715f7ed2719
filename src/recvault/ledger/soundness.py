"""Check whether a ledger's file is sound and ours, without changing it, in limited time: a large one by samples.

No check can prove every byte: SQLite keeps no checksum of its pages, so a flipped byte inside a text value goes
unnoticed. What is found is certainly damage and raised as LedgerDamaged; a rebuild is always safe. Foreign files are
refused at each opening, cheaply, before anything is changed.

SQLite silently opens a database whose WAL is missing or corrupt in an older state: rows would be missing below a
watermark. So each transaction counts itself in the ledger, and after its commit the count is written to a file beside
it. At any time, whatever is killed or loses power, the count in that file is at most the ledger's own; if it is higher,
commits were lost.
"""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from recvault.errors import ConfigError
from recvault.ledger.expected import open_to_read
from recvault.ledger.leases import create
from recvault.ledger.migrations import KNOWN
from recvault.ledger.trouble import REBUILD, damaged, file_errors, sqlite_errors

_WIDTH = 20
_COUNT = """
    INSERT INTO facts VALUES ('commits', '1') ON CONFLICT DO UPDATE SET value = CAST(value AS INTEGER) + 1
    RETURNING CAST(value AS INTEGER)
"""
_COMMITS_TABLE = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'facts'"
_COUNTED = "SELECT CAST(value AS INTEGER) FROM facts WHERE name = 'commits'"


class Commits:
    """The count in the file beside an open ledger. An unreadable one counts as 0."""

    def __init__(self, ledger: Path) -> None:
        path = commits_beside(ledger)
        create(path, 0o600)
        self._file: int | None = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._count = 0

    def count(self, connection: sqlite3.Connection) -> None:
        """Count the running transaction in the ledger."""
        [self._count] = connection.execute(_COUNT).fetchone()

    def committed(self) -> None:
        """Write the count beside the ledger, after a durable commit. If that fails, only detection suffers."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.pwrite(self._file, f"{self._count:0{_WIDTH}}\n".encode(), 0)

    def close(self) -> None:
        """Close the file; it stays beside its ledger."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def commits_beside(ledger: Path) -> Path:
    """Return the path of a ledger's count file."""
    return ledger.with_name(f"{ledger.name}.commits")


def commits_noted(ledger: Path) -> int:
    """Return the count beside a ledger. Must be read before the ledger's own, which other processes may increase."""
    try:
        return int(commits_beside(ledger).read_bytes()[: _WIDTH + 1])
    except (FileNotFoundError, ValueError):
        return 0


def commits_counted(connection: sqlite3.Connection) -> int:
    """Return the count in a ledger."""
    if connection.execute(_COMMITS_TABLE).fetchone() is None:
        return 0
    row = connection.execute(_COUNTED).fetchone()
    return int(row[0]) if row else 0


_MIGRATIONS = "_sqlite_migrations"  # created before any other table of ours
_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table'"
_APPLIED = "SELECT name FROM _sqlite_migrations WHERE migration_set = 'recvault' ORDER BY id"


def refuse_unsound(connection: sqlite3.Connection, path: Path) -> None:
    """Raise ConfigError for another program's or a newer version's database, LedgerDamaged if commits are missing."""
    tables = [str(name) for (name,) in connection.execute(_TABLES).fetchall()]
    if tables and _MIGRATIONS not in tables:
        raise ConfigError(
            f"{path} is another program's database: it contains {', '.join(tables[:3])}",
            "set ledger.path to a file of its own for recvault",
        )
    if tables:
        _refuse_newer(connection, path)
    _refuse_older(connection, path)


def _refuse_newer(connection: sqlite3.Connection, path: Path) -> None:
    """Raise ConfigError for a newer version's ledger, whose tables and triggers do not expect our rows."""
    if unknown := [name for (name,) in connection.execute(_APPLIED) if name not in KNOWN]:
        raise ConfigError(
            f"the ledger {path} was written by a newer recvault ({', '.join(unknown)})",
            "run that version, or move the file away: a new ledger can be made with `recvault rebuild`",
        )


def _refuse_older(connection: sqlite3.Connection, path: Path) -> None:
    """Raise LedgerDamaged if durable commits are missing: a watermark may be there without the rows below it."""
    noted = commits_noted(path)
    missing = noted - commits_counted(connection)
    if missing > 0:
        raise damaged(
            path,
            f"{missing} of {noted} commits are missing: the -wal file is gone or corrupt, the file was truncated, or "
            "an older copy was put in its place",
            f"put back what is missing; remove {commits_beside(path)} where an older copy is meant; else {REBUILD}",
        )


LARGE = 2 << 30  # bytes; the structure of a larger file is not checked, which would take minutes
SECONDS = 10.0  # for the check of a smaller one
_SAMPLES = 1000
_STEPS = 10_000  # instructions of SQLite's between two looks at the clock
_AT = "SELECT * FROM recordings WHERE id >= ? ORDER BY id LIMIT 1"
_BY_IDENTITY = "SELECT id FROM recordings WHERE recording_id=? AND account_id=? AND provider=?"


@dataclass(frozen=True, slots=True)
class FileInspection:
    """What was checked: whether the whole structure, and how many sampled rows were found by index."""

    whole: bool
    rows: int


def look(path: Path, *, large: int = LARGE, seconds: float = SECONDS) -> FileInspection:
    """Check for a short time. Raises LedgerDamaged, or another error if the file cannot be used."""
    with file_errors(path), sqlite_errors(path), closing(open_to_read(path)) as connection:
        refuse_unsound(connection, path)
        if not _has_rows(connection):
            return FileInspection(whole=True, rows=0)
        whole = path.stat().st_size <= large and walk(connection, path, "quick_check", seconds)
        return FileInspection(whole=whole, rows=_sample(connection, path))


def look_hard(path: Path) -> bool:
    """Check every page and every index, however long it takes. False for a file without a schema."""
    with file_errors(path), sqlite_errors(path), closing(open_to_read(path)) as connection:
        refuse_unsound(connection, path)
        return walk(connection, path, "integrity_check", None) and _has_rows(connection)


def _has_rows(connection: sqlite3.Connection) -> bool:
    """Whether the schema exists: a first start may have been killed before it."""
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'recordings'").fetchone() is not None


def walk(connection: sqlite3.Connection, path: Path, pragma: str, seconds: float | None) -> bool:
    """Run one of SQLite's own checks; False if it took longer than `seconds`. Raises LedgerDamaged."""
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
    """Read random rows completely and look up each by its identity; return how many. Raises LedgerDamaged."""
    connection.row_factory = sqlite3.Row
    [last] = connection.execute("SELECT coalesce(max(id), 0) FROM recordings").fetchone()
    chosen = random.Random(last).sample(range(1, last + 1), min(_SAMPLES, last))  # noqa: S311 - no secret
    for row_id in chosen:
        row = connection.execute(_AT, [row_id]).fetchone()
        identity = [row["recording_id"], row["account_id"], row["provider"]] if row else []
        found = connection.execute(_BY_IDENTITY, identity).fetchone() if row else None
        if found is None or found["id"] != row["id"]:
            raise damaged(path, f"row {row_id} is missing from its index")
    return len(chosen)
