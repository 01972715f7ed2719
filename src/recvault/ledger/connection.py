"""The ledger's file: opened, migrated, and written in short transactions by one connection a process.

SQLite has one writer anyway; a lock in front of it keeps threads from waiting on its busy timeout.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from sqlite_utils import Database

from recvault.errors import ConfigError
from recvault.ledger.ownership import create
from recvault.ledger.schema import KNOWN, migrations
from recvault.ledger.trouble import file_errors, sqlite_errors

BUSY_SECONDS = 10.0


class Connection:
    """One SQLite connection, shared by a process's threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        with sqlite_errors(path), file_errors(path), _alone(path.parent):
            create(path, 0o600)
            connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            try:
                self._db = _prepared(connection, path)
            except BaseException:
                connection.close()
                raise

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    @contextlib.contextmanager
    def write(self) -> Iterator[Database]:
        """One transaction, begun as a writer: a deferred one would fail on its first write under another writer."""
        with self._lock, sqlite_errors(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.conn.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def read(self) -> Iterator[Database]:
        """The database, for queries."""
        with self._lock, sqlite_errors(self.path):
            yield self._db


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """One process at a time makes or migrates the schema: SQLite has no lock around both, nor a wait for WAL."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _prepared(connection: sqlite3.Connection, path: Path) -> Database:
    path.chmod(0o600)
    db = Database(connection)
    connection.execute("PRAGMA journal_mode=WAL").fetchall()
    connection.execute("PRAGMA synchronous=FULL")  # what is settled survives a power cut
    _refuse_newer(db, path)
    if migrations.pending(db):
        migrations.apply(db)
    return db


def _refuse_newer(db: Database, path: Path) -> None:
    """An older version would write rows that a newer one's tables and triggers do not expect."""
    if unknown := [each.name for each in migrations.applied(db) if each.name not in KNOWN]:
        raise ConfigError(
            f"the ledger {path} was written by a newer recvault ({', '.join(unknown)})",
            "run that version, or set the file aside: it can be made anew from the providers and the bucket",
        )
