"""Translate errors of SQLite and the file system about the ledger, each with what to do."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

from recvault.errors import ConfigError, LedgerDamaged, LedgerLocked, LedgerUnavailable, RecvaultError
from recvault.models import unstamp

REBUILD = (
    "stop every recvault that uses it, then run `recvault rebuild --set-aside`: it keeps this file under another name "
    "and makes a new ledger from the bucket"
)

_TURNED = ("malformed", "no such table", "no such column", "has no column named")
_IN_PROGRESS = "statements in progress"  # from sqlite-utils' savepoint, if rows cannot be decoded
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_PLACE = frozenset({errno.ENOENT, errno.ENOTDIR})


@contextlib.contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Translate SQLite's errors. Errors about our own statements are bugs and stay unchanged."""
    try:
        yield
    except UnicodeDecodeError as error:  # in SQLite's own message, which quotes the file
        raise damaged(path, f"it contains invalid text: {error.reason}") from error
    except sqlite3.DatabaseError as error:
        if _is_damage(error):
            raise damaged(
                path, "a text value in it cannot be read" if _IN_PROGRESS in str(error) else str(error)
            ) from error
        if isinstance(error, sqlite3.OperationalError):
            raise _refused(path, error) from error
        raise


def damaged(path: Path, why: str, hint: str = REBUILD) -> LedgerDamaged:
    """Return the error that the ledger is damaged, with the reason."""
    return LedgerDamaged(f"the ledger {path} is damaged: {why}", hint)


@contextlib.contextmanager
def sound_values(where: str) -> Iterator[None]:
    """Treat a value that cannot be read as damage: rows are always written complete.

    Raises sqlite3.DatabaseError, as SQLite does for damage that it notices; `sqlite_errors` translates it.
    """
    try:
        yield
    except (ValueError, KeyError, TypeError, StopIteration) as error:
        raise sqlite3.DatabaseError(f"{where} cannot be read: {error!r}") from error


@contextlib.contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Translate the file system's errors, for the files beside the ledger."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise _full(path) from error
        if error.errno in _NO_PLACE and not path.parent.is_dir():
            message = f"{path.parent}, the ledger's directory, does not exist"
            raise ConfigError(message, "create it, or correct ledger.path") from error
        message = f"the ledger {path} cannot be used: {error.filename or path}: {error.strerror}"
        raise RecvaultError(message, _rights(path)) from error


def stored_time(text: str) -> datetime:
    """Read a time from a row. Raises sqlite3.DatabaseError if it is damaged."""
    with sound_values("a time"):
        return unstamp(text)


def stored_day(text: str) -> date:
    """Read a day from a row. Raises sqlite3.DatabaseError if it is damaged."""
    with sound_values("a day"):
        return date.fromisoformat(text)


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether it is damage, by SQLite's code; our own errors, and Python's about invalid UTF-8, have none."""
    name: str = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT")):
        return True
    if name == "SQLITE_ERROR":  # our statements fit our schema, and our JSON was valid
        return any(words in str(error) for words in _TURNED)
    if _IN_PROGRESS in str(error):
        return True
    return not name and (type(error) is sqlite3.DatabaseError or "Could not decode" in str(error))


def _refused(path: Path, error: sqlite3.OperationalError) -> RecvaultError:
    """Translate by SQLite's code, because its messages vary."""
    name: str = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return LedgerLocked(f"the ledger {path} is locked by another process", "wait for it, or stop it")
    # On a full disk there is no room for the shared memory either, which readers also need.
    if name in ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE"):
        return _full(path)
    message = f"the ledger {path} cannot be used: {error}"
    if name.startswith("SQLITE_IOERR"):
        return RecvaultError(message, f"the disk is failing: check the kernel log and the mount of {path.parent}")
    if path.is_dir():
        return ConfigError(f"the ledger {path} cannot be used: it is a directory", "set ledger.path to a file")
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return RecvaultError(message, _rights(path))
    return RecvaultError(message, "check its disk and its permissions")


def _full(path: Path) -> LedgerUnavailable:
    return LedgerUnavailable(
        f"the ledger {path} cannot be written: its disk is full",
        f"free space in {path.parent}; nothing is lost, the next pass continues from here",
    )


def _rights(path: Path) -> str:
    return (
        f"run as the owner of {path.parent}, who must also own every file of the ledger, and make sure that the disk "
        "is not mounted read-only"
    )
