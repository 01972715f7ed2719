"""Who holds a lease, and whether they still live: no lease of a killed process needs a hand to free it.

Each process that works on a ledger holds a lock on a file of its own beside it. The kernel drops the lock with the
process, kill -9 included, so a file whose lock can be taken names a dead owner.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from recvault.ledger.ownership import give, open_lockable
from recvault.ledger.trouble import file_errors

LEASE = timedelta(hours=12)  # a backstop only: the leases of a process that ended are freed at once


class Owner:
    """This process's name on its leases, for as long as it lives."""

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
        """The names of owners that no longer live; their files are removed."""
        with file_errors(self._ledger):
            return [path.name for path in self._directory.iterdir() if path != self._path and _is_dead(path)]

    def living(self) -> list[str]:
        """The names of the other processes that hold this ledger now."""
        with file_errors(self._ledger):
            return [path.name for path in self._directory.iterdir() if path != self._path and not _is_dead(path)]

    def declare(self, sources: Sequence[str]) -> None:
        """Tell other processes which sources this one works for."""
        with file_errors(self._ledger):
            self._path.write_text(json.dumps(list(sources)))

    def declared(self) -> frozenset[str]:
        """The sources that other living processes work for."""
        names: set[str] = set()
        for owner in self.living():
            with contextlib.suppress(OSError, ValueError, TypeError):  # it ended meanwhile, or has told nothing
                names.update(map(str, json.loads((self._directory / owner).read_text())))
        return frozenset(names)

    def close(self) -> None:
        """Let go: whoever looks next may take over what is still leased."""
        if self._lock is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None

    def _locked(self) -> int:
        """Make the file and hold its lock. Who looked in between took us for dead and removed it: then once more."""
        while True:
            lock = open_lockable(self._path, write=False)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.fstat(lock).st_nlink:
                return lock
            os.close(lock)


def at_work(ledger: Path) -> list[str]:
    """The names of all that hold a ledger now, seen from outside."""
    directory = ledger.with_name(ledger.name + ".owners")
    with file_errors(ledger):
        return [path.name for path in directory.iterdir() if not _is_dead(path)] if directory.is_dir() else []


def _is_dead(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    except PermissionError:
        return False  # root is making it this instant; where it cannot be asked, its leases end with time
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
