"""What SQLite and the file system say of the ledger, as errors of ours, each with what to do."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from recvault.errors import ConfigError, LedgerDamaged, LedgerLocked, LedgerUnavailable, RecvaultError

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_PLACE = frozenset({errno.ENOENT, errno.ENOTDIR})


@contextlib.contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """SQLite's errors as ours."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise _refused(path, error) from error
    except sqlite3.DatabaseError as error:
        raise LedgerDamaged(
            f"the ledger {path} is damaged: {error}",
            "set the file aside and run `recvault rebuild`: the bucket holds what it knew",
        ) from error


@contextlib.contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """The file system's errors as ours, for the files beside the ledger."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise _full(path) from error
        if error.errno in _NO_PLACE and not path.parent.is_dir():
            message = f"{path.parent}, the ledger's directory, does not exist"
            raise ConfigError(message, "create it, or mend ledger.path") from error
        message = f"the ledger {path} cannot be used: {error.filename or path}: {error.strerror}"
        raise RecvaultError(message, _rights(path)) from error


def _refused(path: Path, error: sqlite3.OperationalError) -> RecvaultError:
    """By SQLite's own code: what it says in words varies."""
    name: str = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return LedgerLocked(f"the ledger {path} is locked by another process", "wait for it, or stop it")
    # A full disk has no room for the shared memory either, which a reader needs, too.
    if name in ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE"):
        return _full(path)
    message = f"the ledger {path} cannot be used: {error}"
    if name.startswith("SQLITE_IOERR"):
        return RecvaultError(message, f"its disk fails: look at the kernel's log, and at the mount of {path.parent}")
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return RecvaultError(message, _rights(path))
    return RecvaultError(message, "check its disk and its rights")


def _full(path: Path) -> LedgerUnavailable:
    return LedgerUnavailable(
        f"the ledger {path} cannot be written: its disk is full",
        f"make room where {path.parent} stands: nothing is lost, the next pass goes on from here",
    )


def _rights(path: Path) -> str:
    return (
        f"run as the user that owns {path.parent}, who must own every file of the ledger in it, "
        "and see that its disk is not mounted read-only"
    )
