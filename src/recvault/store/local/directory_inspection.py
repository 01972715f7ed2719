"""What `check` tests on a directory: that it exists, free space, one file system, and what the file system keeps."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from recvault.errors import ConfigError, StoreRefused, StoreUnavailable
from recvault.store.inspection import Notice, Question
from recvault.store.local import attributes
from recvault.store.local.folder import MARKER, FileErrors, file_at, names_of, opened, where_of

_FREE_LEAST, _FREE_LITTLE = 64 << 20, 1 << 30


class DirectoryInspection:
    """See Inspection."""

    lesser: frozenset[str] = frozenset()

    def __init__(self, root: Path) -> None:
        self._root = root

    def before(self, root: str) -> Iterator[Question]:
        """See Inspection.before."""
        yield Question("directory", self._directory, needed=True)
        yield Question("free space", self._free)

    def after(self, key: str) -> Iterator[Question]:
        """See Inspection.after."""
        yield Question("one file system", self._is_one)
        yield Question("attributes", lambda: self._keeps(key))
        yield Question("letter case", lambda: self._tells_case(key))

    def default_lock(self) -> str | None:
        """See Inspection.default_lock. A directory locks nothing."""
        return None

    def explained(self, verb: str, refusal: StoreRefused) -> StoreRefused:
        """See Inspection.explained. Each refusal already has its hint."""
        return refusal

    def _directory(self) -> str | Notice:
        if not self._root.is_dir():
            raise ConfigError(f"{self._root} is not a directory", "create it, or mount what holds it")
        begun = (self._root / MARKER).is_dir()
        said = f"{self._root} is there, {'an archive' if begun else 'and no archive yet'}"
        said += f"{', mounted' if os.path.ismount(self._root) else ''}"
        if self._root.stat().st_mode & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH:
            return Notice(f"{said}; everyone may write there", f"chmod o-w {self._root}: others can delete recordings")
        return said

    def _free(self) -> str | Notice:
        with FileErrors(where_of(self._root)):
            free = shutil.disk_usage(self._root).free
        if free < _FREE_LEAST:
            raise StoreUnavailable(f"{self._root} has {free >> 20} MiB free", "free some space, or enlarge the volume")
        said = f"{free / (1 << 30):.1f} GiB"
        return said if free >= _FREE_LITTLE else Notice(f"{said} is left", "free some space, or enlarge the volume")

    def _is_one(self) -> str:
        """Check that all folders are on one file system: files cannot be hard-linked into another."""
        with FileErrors(where_of(self._root)), opened(self._root) as top:
            device = os.stat(MARKER, dir_fd=top, follow_symlinks=False).st_dev
            others = [
                entry.name
                for entry in os.scandir(top)
                if entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_dev != device
            ]
        if others:
            raise ConfigError(
                f"{', '.join(sorted(others))} in {self._root} is another file system: nothing can be linked into it",
                "mount one file system for the whole archive",
            )
        return "files are written beside the archive, and linked into it"

    def _keeps(self, key: str) -> str:
        with FileErrors(where_of(self._root)), opened(self._root) as top, file_at(top, names_of(key) or ()) as file:
            if file is not None and attributes.read(file):
                return "each file keeps its SHA-256 and content type"
        return "not kept by this file system: `recvault verify --deep` compares each file with its sidecar"

    def _tells_case(self, key: str) -> str | Notice:
        with opened(self._root) as top, file_at(top, names_of(key.swapcase()) or ()) as file:
            if file is None:
                return "upper and lower case are different names"
        return Notice(
            "upper and lower case are one name: of ids that differ in case alone, the second becomes an edition (~2)",
            "use a file system that tells them apart, where your provider's ids need it",
        )
