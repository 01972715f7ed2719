"""The files beside a ledger: their owner, and which processes with leases are still alive.

Files that root creates beside a service's ledger belong to the service: an operator may run `sudo recvault status`
while the daemon runs as its own user, whom a file owned by root would lock out. SQLite treats its journals alike.

Each process that works on a ledger holds a lock on its own file beside it. The kernel releases the lock with the
process, even after kill -9. A file whose lock is free therefore names a dead owner, whose leases are freed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import stat
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from recvault.errors import ConfigError
from recvault.ledger.trouble import file_errors

LOCKABLE = 0o644  # readable, and so lockable, for whoever may enter the directory, which is 0700


def create(path: Path, mode: int) -> None:
    """Create the file if there is none, with the right owner. Raises ConfigError for a link or a stranger's file."""
    # An existing file is not opened: closing a second descriptor would release SQLite's locks on the first.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, mode))
    _refuse_strange(path)
    give(path)


def _refuse_strange(path: Path) -> None:
    """Raise ConfigError for another user's link or file, possible in a directory that others can write to."""
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        raise ConfigError(f"the ledger {path} is a symbolic link", "set ledger.path to the file itself")
    if found.st_uid not in {os.geteuid(), 0, path.parent.stat().st_uid}:
        raise ConfigError(
            f"the ledger {path} belongs to another user, {found.st_uid}",
            f"run as that user, or move the ledger to a directory that others cannot write to (check {path.parent})",
        )


def give(path: Path) -> None:
    """Give a file made by root to the owner of its directory."""
    if (to := _heir(path)) is not None and path.lstat().st_uid != to[0]:
        os.chown(path, *to, follow_symlinks=False)


def _heir(path: Path) -> tuple[int, int] | None:
    """Return the user and group for files that root creates there; None if nothing needs to change."""
    if os.geteuid() != 0:
        return None
    directory = path.parent.stat()
    return (directory.st_uid, directory.st_gid) if directory.st_uid != 0 else None


def open_lockable(path: Path, *, write: bool) -> int:
    """Open or create a file for locking, readable for the owner of the directory, whatever the umask."""
    access = os.O_RDWR if write else os.O_RDONLY
    descriptor = os.open(path, access | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, LOCKABLE)
    try:
        # By descriptor: until it is locked, another process may take it for a dead owner's and remove it.
        if os.fstat(descriptor).st_uid == os.geteuid():
            os.fchmod(descriptor, LOCKABLE)
            if (to := _heir(path)) is not None:
                os.fchown(descriptor, *to)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


LEASE = timedelta(hours=12)  # only a fallback: the leases of a dead process are freed by the next one that looks


class Owner:
    """This process's name on its leases, valid while it lives."""

    def __init__(self, ledger: Path) -> None:
        self._ledger = ledger
        self._directory = ledger.with_name(ledger.name + ".owners")
        self.name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._path = self._directory / self.name
        with file_errors(ledger):
            self._directory.mkdir(mode=0o700, exist_ok=True)
            give(self._directory)
            self._lock: int | None = self._locked()

    def dead(self) -> list[str]:
        """Return the names of dead owners, and remove their files."""
        with file_errors(self._ledger):
            return [path.name for path in self._directory.iterdir() if path != self._path and _is_dead(path)]

    def living(self) -> list[str]:
        """Return the names of the other processes that use this ledger now."""
        with file_errors(self._ledger):
            return [path.name for path in self._directory.iterdir() if path != self._path and not _is_dead(path)]

    def declare(self, sources: Sequence[str]) -> None:
        """Publish which sources this process works for."""
        with file_errors(self._ledger):
            self._path.write_text(json.dumps(list(sources)))

    def declared(self) -> frozenset[str]:
        """Return the sources that other living processes work for."""
        names: set[str] = set()
        for owner in self.living():
            with contextlib.suppress(OSError, ValueError, TypeError):  # it ended meanwhile, or has declared nothing
                names.update(map(str, json.loads((self._directory / owner).read_text())))
        return frozenset(names)

    def close(self) -> None:
        """Release the lock: others may take over the remaining leases."""
        if self._lock is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None

    def _locked(self) -> int:
        """Create the file and lock it; again if another process removed it in between, taking it for a dead owner's."""
        while True:
            lock = open_lockable(self._path, write=False)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.fstat(lock).st_nlink:
                return lock
            os.close(lock)


def at_work(ledger: Path) -> list[str]:
    """Return the names of all processes that use a ledger now, without joining them."""
    directory = ledger.with_name(ledger.name + ".owners")
    with file_errors(ledger):
        return [path.name for path in directory.iterdir() if not _is_dead(path)] if directory.is_dir() else []


def _is_dead(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    except PermissionError:
        return False  # root is creating it now; if it stays unreadable, its leases expire
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        return True
    finally:
        os.close(descriptor)
