"""Large sets of keys, with hashes, in an anonymous database on disk that is gone when the process ends.

The hashes are the SHA-256 of sidecars that an earlier version archived without storing them. They are learnt from
what proves them. Invariant: a hash that the ledger has is never replaced by a learnt one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Self

from recvault.ledger.connection import Connection


class KeySet:
    """A set of keys. A context manager that frees it; for one thread."""

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
        """Add keys; existing ones stay."""
        self._db.executemany("INSERT OR IGNORE INTO keys VALUES (?)", ([_bytes(key)] for key in keys))


def _bytes(key: str) -> bytes:
    """Encode a key; file names may contain invalid text."""
    return key.encode("utf-8", "surrogatepass")


LEARN = "UPDATE recordings SET sidecar_sha256=? WHERE id=? AND sidecar_key=? AND sidecar_sha256 IS NULL"

_PAGE = 1000
_ADD = """
    INSERT INTO sums VALUES (?, ?) ON CONFLICT DO UPDATE SET sha256 = iif(sha256 = excluded.sha256, sha256, '')
"""
_WITHOUT = """
    SELECT id, sidecar_key FROM recordings
    WHERE id > ? AND sidecar_key IS NOT NULL AND sidecar_sha256 IS NULL ORDER BY id LIMIT ?
"""


class SidecarSums:
    """Sidecar hashes by key, too many for memory. A context manager that frees them; for one thread."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)  # a temporary file, once it outgrows SQLite's cache
        self._db.execute("PRAGMA journal_mode=OFF")
        self._db.execute("CREATE TABLE sums (key TEXT PRIMARY KEY, sha256 TEXT NOT NULL) WITHOUT ROWID")
        self._db.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def add(self, sums: Iterable[tuple[str, str]]) -> None:
        """Add keys with their hashes; a key added with two different hashes has none."""
        self._db.executemany(_ADD, sums)

    def of(self, key: str) -> str | None:
        """Return the hash of a key; None if it is not known."""
        row = self._db.execute("SELECT sha256 FROM sums WHERE key=?", [key]).fetchone()
        return str(row[0]) if row and row[0] else None


def learn(connection: Connection, sums: SidecarSums) -> int:
    """Store missing hashes page by page, in short transactions; return how many were added."""
    learnt, after = 0, 0
    while True:
        with connection.read() as db:
            rows = db.execute(_WITHOUT, [after, _PAGE]).fetchall()
        found = [(sha256, row_id, key) for row_id, key in rows if (sha256 := sums.of(key)) is not None]
        if found:
            with connection.write() as db:
                learnt += sum(db.execute(LEARN, each).rowcount for each in found)
        if len(rows) < _PAGE:
            return learnt
        after = rows[-1][0]
