"""The folder of an archive, reopened for each operation, so that it can be unmounted and a missing one is detected.

Invariants. Nothing is read or written if the marker is missing: the empty mount point of an unmounted NAS has none.
Nothing outside the folder is accessed: below it no symbolic link is followed, and no key leads out.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from recvault.errors import KeyRefused, RecvaultError, StoreRefused, StoreUnavailable, Translation

MARKER = ".recvault"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO opens without blocking, then is rejected
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO}
_FULL = {errno.ENOSPC, errno.EDQUOT}
_NOT_ALLOWED = {errno.EACCES, errno.EPERM}
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}  # file systems that write folders synchronously
_FOLDER_MODE = 0o750  # minus the umask; files in it are read-only

Names = tuple[str, ...]


class FileErrors(Translation):
    """Translate OSError to our errors. `reading`: one object is read, so a refusal concerns only that object."""

    __slots__ = ("_reading", "_where")

    def __init__(self, where: str, *, reading: bool = False) -> None:
        self._where, self._reading = where, reading

    def translated(self, error: BaseException) -> RecvaultError | None:
        if not isinstance(error, OSError):
            return None
        said = f"{self._where}: {error.strerror or error}"
        if error.errno in _FULL:
            return StoreUnavailable(f"{said}: nothing more can be archived", "free some space, or enlarge the volume")
        if error.errno == errno.EROFS:
            return StoreRefused(said, "the file system is mounted read-only: mount it read-write")
        if error.errno in _NOT_ALLOWED and self._reading:
            return KeyRefused(said, "other files can be read: check this one's owner and mode")
        if error.errno in _NOT_ALLOWED:
            return StoreRefused(said, "let the user that recvault runs as write the folder of archive.bucket")
        if error.errno in (errno.ENAMETOOLONG, errno.EILSEQ):
            return KeyRefused(said, "the file system takes no such name: check archive.key_template")
        return StoreUnavailable(said, "check the disk, or the connection to the file server")


def names_of(key: str) -> Names | None:
    """Split a key into path names; None if no file can have it: it leads out, or is in recvault's own folder."""
    names = tuple(key.split("/"))
    if any(name in ("", ".", "..") or "\0" in name for name in names) or names[0].lower() == MARKER:
        return None
    try:
        key.encode()
    except UnicodeEncodeError:
        return None
    return names


def where_of(root: Path) -> str:
    """Return the address of an archive, as written in `archive.bucket`."""
    return f"file://{root}"


def not_mounted(root: Path, what: str) -> StoreUnavailable:
    """Return the error for a folder that is not the archive."""
    return StoreUnavailable(
        f"{where_of(root)}: {what}",
        f"mount what holds it; if the archive was copied here without its folder {MARKER}, run: mkdir {root / MARKER}",
    )


@contextlib.contextmanager
def opened(root: Path) -> Iterator[int]:
    """Open the archive's folder. StoreUnavailable if it does not exist or holds no archive."""
    with FileErrors(where_of(root)):
        try:
            top = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # the root itself may be a link
        except (FileNotFoundError, NotADirectoryError):
            raise not_mounted(root, "there is no such folder") from None
    try:
        with FileErrors(where_of(root)):
            if not is_marked(top):
                raise not_mounted(root, f"it holds no archive of recvault: {MARKER} is missing")
        yield top
    finally:
        os.close(top)


def is_marked(top: int) -> bool:
    """Whether a folder holds an archive."""
    try:
        return stat.S_ISDIR(os.stat(MARKER, dir_fd=top, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def folder_at(top: int, names: Names) -> Iterator[int]:
    """Open a folder below the root. Raises OSError untranslated."""
    folder = os.dup(top)
    try:
        for name in names:
            inner = os.open(name, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        yield folder
    finally:
        os.close(folder)


@contextlib.contextmanager
def file_at(top: int, names: Names) -> Iterator[int | None]:
    """Open a regular file below the root for reading; None if there is none."""
    try:
        with folder_at(top, names[:-1]) as folder:
            file = os.open(names[-1], _FILE, dir_fd=folder)
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
        yield None
        return
    try:
        yield file if stat.S_ISREG(os.fstat(file).st_mode) else None
    finally:
        os.close(file)


@contextlib.contextmanager
def made_folder(top: int, names: Names, settled: set[Names]) -> Iterator[int]:
    """Open a folder below the root, created if missing, with its entries synced. KeyRefused if a file is in its place.

    `settled`: folders whose entries this process has synced; one made by another process may not be synced yet.
    """
    folder = os.dup(top)
    try:
        for number, name in enumerate(names, start=1):
            inner, made = _inner(top, folder, name)
            try:
                if made or names[:number] not in settled:
                    flush(folder)
                    settled.add(names[:number])
            finally:
                os.close(folder)
                folder = inner
        yield folder
    finally:
        os.close(folder)


def _inner(top: int, folder: int, name: str) -> tuple[int, bool]:
    """Open or create a folder in a folder; return it, and whether it was created."""
    try:
        return os.open(name, _FOLDER, dir_fd=folder), False
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        raise KeyRefused(f"{name} is a file or a link, and a key needs it as a folder", "move it away") from error
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, _FOLDER_MODE, dir_fd=folder)
    inner = os.open(name, _FOLDER, dir_fd=folder)
    give(inner, top)
    return inner, True


def give(made: int, top: int) -> None:
    """Give what root creates to the owner of the archive's folder; otherwise the service could not write there."""
    if os.geteuid() == 0:
        owner = os.fstat(top)
        with contextlib.suppress(OSError):  # a file server may map root to nobody
            os.fchown(made, owner.st_uid, owner.st_gid)


def flush(folder: int) -> None:
    """Sync a folder's entries to disk."""
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
