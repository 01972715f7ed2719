"""The files of an archive in the order of their keys, as S3 lists them: byte by byte, over whole keys.

A folder sorts as if its name ended in a slash, so a walk in depth meets the keys in that order, with the names of one
folder at each depth in memory. Links, devices and names that are not UTF-8 are no objects.
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
    """The keys that begin with a prefix, beyond `after` and below `until`."""

    prefix: str = ""
    after: str = ""
    until: str | None = None

    def holds(self, key: str) -> bool:
        """Whether it is one of them."""
        return key.startswith(self.prefix) and key > self.after and (self.until is None or key < self.until)

    def meets(self, folder: str) -> bool:
        """Whether one of them may begin with a folder's path, which ends in a slash."""
        if not (folder.startswith(self.prefix) or self.prefix.startswith(folder)):
            return False
        return (folder > self.after or self.after.startswith(folder)) and (self.until is None or folder < self.until)


def files(top: int, wanted: KeyRange, path: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """The keys of a range beneath an open folder, and what the system says of each file."""
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
    """What may be of the range, folders with a slash, in order: that of code points is that of UTF-8's bytes."""
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
