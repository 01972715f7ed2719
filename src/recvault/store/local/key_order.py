"""List the files of an archive in key order, as S3 does: by the bytes of the complete key.

A folder sorts as if its name ended in a slash, so a depth-first walk yields keys in that order while it holds the names
of one folder per depth in memory. Links, devices and names that are not UTF-8 are not objects.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from recvault.store.local.folder import MARKER, folder_at


@dataclass(frozen=True, slots=True)
class KeyRange:
    """The keys that begin with a prefix, after `after` and before `until`."""

    prefix: str = ""
    after: str = ""
    until: str | None = None

    def holds(self, key: str) -> bool:
        """Whether a key is in the range."""
        return key.startswith(self.prefix) and key > self.after and (self.until is None or key < self.until)

    def meets(self, folder: str) -> bool:
        """Whether a folder may contain keys of the range. Its path ends in a slash."""
        if not (folder.startswith(self.prefix) or self.prefix.startswith(folder)):
            return False
        return (folder > self.after or self.after.startswith(folder)) and (self.until is None or folder < self.until)


def files(top: int, wanted: KeyRange, path: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """Yield the keys of a range below an open folder, with the stat result of each file."""
    for name in _names(top, wanted, path):
        if name.endswith("/"):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError), folder_at(top, (name[:-1],)) as folder:
                yield from files(folder, wanted, path + name)
            continue
        with contextlib.suppress(FileNotFoundError):
            found = os.stat(name, dir_fd=top, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode):
                yield path + name, found


def _names(folder: int, wanted: KeyRange, path: str) -> list[str]:
    """Return sorted names that may be in the range, folders with a slash. Code point order equals UTF-8 byte order."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if (not path and entry.name == MARKER) or not _is_utf8(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                if wanted.meets(f"{path}{entry.name}/"):
                    found.append(f"{entry.name}/")
            elif wanted.holds(path + entry.name):
                found.append(entry.name)
    return sorted(found)


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
