"""A private temporary directory. A process that is killed leaves it, and the next one removes it.

Invariant: only a directory of this user is removed, whose process has ended and whose lock nobody holds; no symbolic
link is followed. In another container the process may be alive although no process has its id here: it has the lock.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

_PREFIX = "recvault-browse-"
_NAME = re.compile(rf"{_PREFIX}([1-9][0-9]{{0,9}})-\w+")


class Copies:
    """The directory of this process. `top`: where it is made; default: the system's place for temporary files."""

    def __init__(self, top: Path | None = None) -> None:
        place = top or Path(tempfile.gettempdir())
        _remove_stale(place)
        self.path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=place))
        self._lock: int | None = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def close(self) -> None:
        """Remove it, once."""
        if self._lock is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = None


def _remove_stale(place: Path) -> None:
    with suppress(OSError):
        for each in place.glob(f"{_PREFIX}*"):
            named = _NAME.fullmatch(each.name)
            if named and not _is_alive(int(named[1])):
                with suppress(OSError):
                    _remove(each)


def _remove(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)  # an error for a link
    try:
        state = os.fstat(directory)
        if stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid():
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(directory)


def _is_alive(pid: int) -> bool:
    """Whether a process has this id. Ours was another's before, e.g. in a container that was started again."""
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # another user's
        return True
    return True
