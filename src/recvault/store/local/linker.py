"""Write files under their keys: completely or not at all, once, and synced to disk before returning.

A file is written in .recvault/incoming and synced, then hard-linked under its key. The link fails if the key exists, so
one of two writers wins. A kill leaves a file in incoming and nothing else.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from recvault.errors import ConfigError, KeyConflict, KeyRefused, StoreUnavailable
from recvault.store.local import attributes
from recvault.store.local.folder import (
    MARKER,
    FileErrors,
    Names,
    file_at,
    flush,
    folder_at,
    give,
    made_folder,
    names_of,
    opened,
    where_of,
)
from recvault.store.protocol import Put

CHUNK = 1 << 20
INCOMING: Names = (MARKER, "incoming")
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS}
_READ_ONLY = 0o440  # minus the umask


class Linker:
    """Writes to one archive. Thread-safe. `check` is called for each chunk, and may raise."""

    def __init__(self, root: Path, check: Callable[[], None]) -> None:
        self._root, self._check = root, check
        self._settled: set[Names] = set()

    def put(self, put: Put) -> bool:
        """See ObjectStore.put."""
        names = self._names(put)
        with self._at(put) as top:
            if self._stands(put, names, top):
                return False
            with self._incoming(put, top) as (incoming, name), self._folder(top, names) as folder:
                try:
                    self._link(incoming, name, folder, names)
                except FileExistsError:
                    if not _is_one(incoming, name, folder, names[-1]):  # NFS may report this for its own repeated link
                        if self._stands(put, names, top):
                            return False
                        raise _conflict(put.key) from None  # a folder or a link
                flush(folder)
        return True

    def replace(self, put: Put, may: Callable[[], bool] = lambda: True) -> bool:
        """Put an object, replacing any existing one, if `may` says so, asked with its folder locked; else False."""
        names = self._names(put)
        with self._at(put) as top, self._incoming(put, top) as (incoming, name), self._folder(top, names) as folder:
            with contextlib.suppress(OSError):  # some file servers lock no folders: then only one machine may write
                fcntl.flock(folder, fcntl.LOCK_EX)
            if not may():
                return False
            os.replace(name, names[-1], src_dir_fd=incoming, dst_dir_fd=folder)
            flush(folder)
        return True

    def excludes(self, put: Put) -> bool:
        """Whether the file system refuses a second link under an existing key."""
        names = self._names(put)
        with self._at(put) as top, self._incoming(put, top) as (incoming, name), self._folder(top, names) as folder:
            try:
                self._link(incoming, name, folder, names)
            except FileExistsError:
                return True
        return False

    def mark(self, top: int) -> None:
        """Mark an open folder as an archive."""
        with made_folder(top, INCOMING, self._settled):
            pass

    def clear(self, older_than: datetime) -> int:
        """Remove incoming files (left by a kill) last written before `older_than`; return how many."""
        cleared, before = 0, older_than.timestamp()
        with (
            FileErrors(where_of(self._root)),
            opened(self._root) as top,
            made_folder(top, INCOMING, self._settled) as incoming,
        ):
            for name in os.listdir(incoming):  # noqa: PTH208 - the folder is already open
                with contextlib.suppress(FileNotFoundError):  # another process was first
                    if os.stat(name, dir_fd=incoming, follow_symlinks=False).st_mtime < before:
                        os.unlink(name, dir_fd=incoming)
                        cleared += 1
        return cleared

    @contextlib.contextmanager
    def _at(self, put: Put) -> Iterator[int]:
        """Open the archive's folder and translate errors, except those of the body, which are not the store's."""
        try:
            with FileErrors(f"{where_of(self._root)}/{put.key}"), opened(self._root) as top:
                yield top
        except _BodyBroke as broke:
            raise broke.error from None

    def _folder(self, top: int, names: Names) -> contextlib.AbstractContextManager[int]:
        return made_folder(top, names[:-1], self._settled)

    def _names(self, put: Put) -> Names:
        names = names_of(put.key)
        if names is None:
            where = f"{where_of(self._root)}/{put.key}"
            raise KeyRefused(f"{where}: no file can have this name", "check archive.key_template")
        return names

    def _link(self, incoming: int, name: str, folder: int, names: Names) -> None:
        try:
            os.link(name, names[-1], src_dir_fd=incoming, dst_dir_fd=folder, follow_symlinks=False)
        except OSError as error:
            if error.errno == errno.EXDEV:
                raise ConfigError(
                    f"{'/'.join(names[:-1])} in {self._root} is another file system, into which nothing can be linked",
                    "mount one file system for the whole archive",
                ) from error
            if error.errno in _NO_LINKS:
                raise ConfigError(
                    f"the file system of {self._root} has no hard links ({error.strerror}), which keep recvault from "
                    "overwriting anything",
                    "use one that has them: ext4, XFS, Btrfs, ZFS, NFS or SMB 3, but not FAT or exFAT",
                ) from error
            raise

    def _stands(self, put: Put, names: Names, top: int) -> bool:
        """Whether these bytes are under their key, synced to disk. KeyConflict if others are."""
        with file_at(top, names) as file:
            if file is None:
                return False
            if os.fstat(file).st_size != put.bytes or hashed(file, self._check)[1] != put.sha256:
                raise _conflict(put.key)
            os.fsync(file)  # another process may have linked it a moment ago
            with folder_at(top, names[:-1]) as folder:
                flush(folder)
        return True

    @contextlib.contextmanager
    def _incoming(self, put: Put, top: int) -> Iterator[tuple[int, str]]:
        """Write a put's bytes, synced to disk, under a temporary name that is removed when the block ends."""
        name = uuid4().hex
        with made_folder(top, INCOMING, self._settled) as incoming:
            file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640, dir_fd=incoming)
            try:
                with os.fdopen(file, "wb") as writable:
                    for chunk in self._proven(put):
                        writable.write(chunk)
                    writable.flush()
                    attributes.write(file, put)
                    give(file, top)
                    with contextlib.suppress(PermissionError):  # a file system without modes
                        os.fchmod(file, os.fstat(file).st_mode & _READ_ONLY)
                    os.fsync(file)
                yield incoming, name
            finally:
                with contextlib.suppress(OSError):  # the next start removes leftovers
                    os.unlink(name, dir_fd=incoming)

    def _proven(self, put: Put) -> Iterator[bytes]:
        """Yield a put's body in chunks. StoreUnavailable at the end if it does not match its size and SHA-256."""
        digest, size = hashlib.sha256(), 0
        try:
            put.body.seek(0)
            while chunk := put.body.read(CHUNK):
                self._check()
                digest.update(chunk)
                size += len(chunk)
                yield chunk
        except OSError as error:
            raise _BodyBroke(error) from error
        if (size, digest.hexdigest()) != (put.bytes, put.sha256):
            raise StoreUnavailable(f"{put.key} came with other bytes than its SHA-256 says: nothing was written")


class _BodyBroke(Exception):
    """The body of a put cannot be read."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error)
        self.error = error


def hashed(file: int, check: Callable[[], None]) -> tuple[int, str]:
    """Read a whole file and return its size and SHA-256."""
    digest, size = hashlib.sha256(), 0
    while chunk := os.read(file, CHUNK):
        check()
        digest.update(chunk)
        size += len(chunk)
    return size, digest.hexdigest()


def _is_one(one: int, name: str, other: int, key: str) -> bool:
    """Whether two names refer to the same file."""
    found = os.stat(key, dir_fd=other, follow_symlinks=False)
    return os.path.samestat(os.stat(name, dir_fd=one, follow_symlinks=False), found)


def _conflict(key: str) -> KeyConflict:
    return KeyConflict(f"{key} holds other bytes: nothing was overwritten", "compare both and decide which to keep")
