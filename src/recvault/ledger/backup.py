"""Make a consistent copy of the ledger while others use it."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from recvault.errors import LedgerStands, UnknownName
from recvault.ledger.trouble import file_errors, sqlite_errors

_PAGES = 1024  # copied at a time, so that writers are not blocked


def backup(ledger: Path, target: Path) -> int:
    """Copy the ledger to a new file, readable only by its owner; return its size in bytes.

    The copy belongs to the ledger's user, even if root makes it. Nothing is overwritten or migrated. Raises UnknownName
    if the ledger or the target's directory does not exist, LedgerStands if the target exists.
    """
    if not ledger.is_file():
        raise UnknownName(f"there is no ledger at {ledger} to back up", "`recvault sync` creates it")
    if not target.parent.is_dir():
        raise UnknownName(f"{target.parent} does not exist: nothing was copied", "create it, or use another place")
    beside = target.with_name(f".{target.name}.unfinished")
    with file_errors(target), sqlite_errors(ledger):
        owner = ledger.stat()
        beside.unlink(missing_ok=True)
        os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        try:
            _copy(ledger, beside)
            if os.geteuid() == 0:
                os.chown(beside, owner.st_uid, owner.st_gid)
            _put_in_place(beside, target)
        finally:
            beside.unlink(missing_ok=True)
    return target.stat().st_size


def _copy(ledger: Path, target: Path) -> None:
    source = sqlite3.connect(f"file:{quoted(ledger)}?mode=ro", uri=True)
    try:
        copy = sqlite3.connect(target)
        try:
            source.backup(copy, pages=_PAGES)
            copy.execute("PRAGMA journal_mode=DELETE").fetchall()  # a single file, without a WAL
        finally:
            copy.close()
    finally:
        source.close()


def _put_in_place(finished: Path, target: Path) -> None:
    """Make the copy durable and give it its name. Raises LedgerStands if that name is taken."""
    descriptor = os.open(finished, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        target.hardlink_to(finished)
    except FileExistsError:
        raise LedgerStands(f"{target} already exists: nothing was overwritten", "use another file") from None


def quoted(path: Path) -> str:
    return str(path.resolve()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
