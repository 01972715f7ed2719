"""The ledger's file: opened, migrated, and written in short transactions by one connection per process.

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

from recvault.ledger.database import Database
from recvault.ledger.leases import create
from recvault.ledger.migrations import migrations
from recvault.ledger.soundness import SECONDS, Commits, commits_beside, refuse_unsound, walk
from recvault.ledger.trouble import file_errors, sqlite_errors

BUSY_SECONDS = 10.0


class Connection:
    """One SQLite connection, shared by a process's threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        with sqlite_errors(path), file_errors(path), alone(path.parent):
            if not path.exists():
                commits_beside(path).unlink(missing_ok=True)  # left by a ledger that was moved away
            create(path, 0o600)
            connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            try:
                refuse_unsound(connection, path)
                self._db = _prepared(connection, path)
                self._commits = Commits(path)
            except BaseException:
                connection.close()
                raise

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()
            self._commits.close()

    @contextlib.contextmanager
    def write(self) -> Iterator[Database]:
        """Run one transaction, begun as a writer: a deferred one would fail at its first write beside another."""
        with self._lock, sqlite_errors(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            before = self._db.conn.total_changes
            try:
                yield self._db
                if wrote := self._db.conn.total_changes > before:  # else there is no commit to count
                    self._commits.count(self._db.conn)
                self._db.execute("COMMIT")
                if wrote:
                    self._commits.committed()
            except BaseException as error:
                if self._db.conn.in_transaction:
                    self._db.execute("ROLLBACK")
                if isinstance(error, sqlite3.IntegrityError):  # a bug, or an index that lost a row
                    walk(self._db.conn, self.path, "integrity_check", SECONDS)
                raise

    @contextlib.contextmanager
    def read(self) -> Iterator[Database]:
        """Give access to the database, for queries."""
        with self._lock, sqlite_errors(self.path):
            yield self._db


@contextlib.contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Let one process at a time create or migrate the schema: SQLite locks neither, and does not wait for WAL."""
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
    connection.execute("PRAGMA synchronous=FULL")  # commits survive a power cut
    if migrations.pending(db):
        migrations.apply(db)
    return db
