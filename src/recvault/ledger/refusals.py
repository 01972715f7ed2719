"""What is not taken for a ledger of ours: asked at each opening, cheaply, before anything of the file is changed."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from recvault.errors import ConfigError
from recvault.ledger import commits
from recvault.ledger.migrations import KNOWN
from recvault.ledger.trouble import REBUILD, damaged

_MIGRATIONS = "_sqlite_migrations"  # made before any other table of ours
_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table'"
_APPLIED = "SELECT name FROM _sqlite_migrations WHERE migration_set = 'recvault' ORDER BY id"


def refuse_unsound(connection: sqlite3.Connection, path: Path) -> None:
    """ConfigError for another program's or a newer version's database; LedgerDamaged where commits are missing."""
    tables = [str(name) for (name,) in connection.execute(_TABLES).fetchall()]
    if tables and _MIGRATIONS not in tables:
        raise ConfigError(
            f"{path} is another program's database: it holds {', '.join(tables[:3])}",
            "mend ledger.path: it names a file of recvault's own",
        )
    if tables:
        _refuse_newer(connection, path)
    _refuse_older(connection, path)


def _refuse_newer(connection: sqlite3.Connection, path: Path) -> None:
    """An older version would write rows that a newer one's tables and triggers do not expect."""
    if unknown := [name for (name,) in connection.execute(_APPLIED) if name not in KNOWN]:
        raise ConfigError(
            f"the ledger {path} was written by a newer recvault ({', '.join(unknown)})",
            "run that version, or set the file aside: it can be made anew from the providers and the bucket",
        )


def _refuse_older(connection: sqlite3.Connection, path: Path) -> None:
    """Commits that were durable are there no more: what is left may know a watermark and not the rows below it."""
    noted = commits.noted(path)
    missing = noted - commits.counted(connection)
    if missing > 0:
        raise damaged(
            path,
            f"{missing} of {noted} commits are missing: its -wal file is gone or spoiled, the file was emptied, or an "
            "older copy was laid in its place",
            f"put back what is missing; remove {commits.beside(path)} where an older copy is meant; else {REBUILD}",
        )
