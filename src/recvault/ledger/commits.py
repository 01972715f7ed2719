"""How many transactions a ledger has seen, counted in it and once more beside it: a lost or damaged WAL shows.

SQLite takes a database whose WAL is gone, or whose WAL is spoiled from some page on, for an older one, without a word:
rows would be missing below a watermark. Each transaction counts itself in the ledger, and only after its commit is the
count written beside it. So at any time, whatever is killed or loses its power, the count beside is never ahead of the
ledger's own; where it is, commits were lost.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from recvault.ledger.ownership import create

_WIDTH = 20
_COUNT = """
    INSERT INTO facts VALUES ('commits', '1') ON CONFLICT DO UPDATE SET value = CAST(value AS INTEGER) + 1
    RETURNING CAST(value AS INTEGER)
"""
_TABLE = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'facts'"
_COUNTED = "SELECT CAST(value AS INTEGER) FROM facts WHERE name = 'commits'"


class Commits:
    """The count beside a ledger that is open. A file that says nothing readable counts for nothing."""

    def __init__(self, ledger: Path) -> None:
        path = beside(ledger)
        create(path, 0o600)
        self._file: int | None = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._count = 0

    def count(self, connection: sqlite3.Connection) -> None:
        """Count the transaction that is under way, in the ledger."""
        [self._count] = connection.execute(_COUNT).fetchone()

    def committed(self) -> None:
        """It is durable: write its count beside the ledger. Where that fails, less is noticed, and nothing else."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.pwrite(self._file, f"{self._count:0{_WIDTH}}\n".encode(), 0)

    def close(self) -> None:
        """Close the file; it stays beside its ledger."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def beside(ledger: Path) -> Path:
    """The file that holds the count of a ledger."""
    return ledger.with_name(f"{ledger.name}.commits")


def noted(ledger: Path) -> int:
    """The count beside a ledger. Read before the ledger's own, which another process may be moving on."""
    try:
        return int(beside(ledger).read_bytes()[: _WIDTH + 1])
    except (FileNotFoundError, ValueError):
        return 0


def counted(connection: sqlite3.Connection) -> int:
    """The count in a ledger."""
    if connection.execute(_TABLE).fetchone() is None:
        return 0
    row = connection.execute(_COUNTED).fetchone()
    return int(row[0]) if row else 0
