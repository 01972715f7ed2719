"""Whose the ledger's files are: whatever root makes beside a service's ledger belongs to the service.

An operator runs `sudo recvault status` while the daemon runs as a user of its own, in a directory of its own. A file
that stayed root's would lock the daemon out of its own ledger. SQLite sees to its journals by the same rule.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from recvault.errors import ConfigError

LOCKABLE = 0o644  # whoever may enter the directory, which is 0700, may read it, and so ask for its lock


def create(path: Path, mode: int) -> None:
    """Make the file where there is none yet, at once with the owner it is to have. ConfigError for a stranger's."""
    # One that stands is not opened: to close a second descriptor would drop the locks that SQLite holds on the first.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, mode))
    _refuse_strange(path)
    give(path)


def _refuse_strange(path: Path) -> None:
    """In a directory that others may write, another user may have been there first, with a link or a file."""
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        raise ConfigError(f"the ledger {path} is a link", "name the file itself in ledger.path")
    if found.st_uid not in {os.geteuid(), 0, path.parent.stat().st_uid}:
        raise ConfigError(
            f"the ledger {path} belongs to another user, {found.st_uid}",
            f"run as that user, or keep the ledger in a directory that others cannot write, as {path.parent} may be",
        )


def give(path: Path) -> None:
    """Give what root made to the owner of the directory that it stands in; another user makes it so by itself."""
    if (to := _heir(path)) is not None and path.lstat().st_uid != to[0]:
        os.chown(path, *to, follow_symlinks=False)


def _heir(path: Path) -> tuple[int, int] | None:
    """The user and group to whom root gives what it makes there; None where it stays the maker's."""
    if os.geteuid() != 0:
        return None
    directory = path.parent.stat()
    return (directory.st_uid, directory.st_gid) if directory.st_uid != 0 else None


def open_lockable(path: Path, *, write: bool) -> int:
    """Open a file to lock it, made where there is none, lockable for the owner of the directory whatever the umask."""
    access = os.O_RDWR if write else os.O_RDONLY
    descriptor = os.open(path, access | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, LOCKABLE)
    try:
        # By the descriptor: whoever takes it for a dead process's, before it is locked, removes the file.
        if os.fstat(descriptor).st_uid == os.geteuid():
            os.fchmod(descriptor, LOCKABLE)
            if (to := _heir(path)) is not None:
                os.fchown(descriptor, *to)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
