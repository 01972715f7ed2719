"""A set of keys too large for memory: in a nameless database on disk, which ends with its process."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Self


class KeySet:
    """Add keys, ask for them. A context that frees them; for one thread."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)  # a temporary file, once it outgrows SQLite's cache
        self._db.execute("PRAGMA journal_mode=OFF")
        self._db.execute("CREATE TABLE keys (key BLOB PRIMARY KEY) WITHOUT ROWID")
        self._db.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def __contains__(self, key: object) -> bool:
        found = self._db.execute("SELECT 1 FROM keys WHERE key=?", [_bytes(str(key))])
        return found.fetchone() is not None

    def __bool__(self) -> bool:
        return self._db.execute("SELECT 1 FROM keys LIMIT 1").fetchone() is not None

    def add(self, keys: Iterable[str]) -> None:
        """Add keys; those that are there already stay."""
        self._db.executemany("INSERT OR IGNORE INTO keys VALUES (?)", ([_bytes(key)] for key in keys))


def _bytes(key: str) -> bytes:
    """File names may hold what is no text."""
    return key.encode("utf-8", "surrogatepass")
