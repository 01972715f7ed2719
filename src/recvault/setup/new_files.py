"""Put files in place, all or none.

Invariants: each file is complete under its name or missing; an existing file is replaced only if it is still as it was
when it was read; after an error, everything that was made is removed again.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex

from recvault.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFile:
    """A file to write. `before` is the text that it replaces, then it keeps its mode; None if it must not exist yet.

    If it `is_secret`, nobody but its owner can read it, even if everybody could read the file that it replaces.
    """

    path: Path
    text: str = field(repr=False)
    mode: int
    before: str | None = field(default=None, repr=False)
    is_secret: bool = False


def place(files: Sequence[NewFile], folders: Sequence[Path] = ()) -> None:
    """Write all of them, and make the folders. ConfigError names the one that failed, and then nothing has changed."""
    with contextlib.ExitStack() as undo:
        for folder in [*(each.path.parent for each in files), *folders]:
            _make(folder, undo)
        for each in files:
            with _told(each.path):
                _write(each, undo)
        undo.pop_all()


def _make(folder: Path, undo: contextlib.ExitStack) -> None:
    """Make a missing folder and those above it: mode 0755 directly below / and /etc, else 0700."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        with _told(each):
            each.mkdir(mode=0o755 if each.parent in (Path("/"), Path("/etc")) else 0o700)
        undo.callback(_forget, each.rmdir)


def _write(file: NewFile, undo: contextlib.ExitStack) -> None:
    if file.before is not None:
        _replace(file, file.before, undo)
        return
    with _opened(file.path.parent, os.O_DIRECTORY) as folder:
        with _scratch(folder, file.path.name, file.text.encode(), file.mode) as scratch:
            # fails if it was made meanwhile
            os.link(scratch, file.path.name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        undo.callback(_forget, file.path.unlink)


def _replace(file: NewFile, before: str, undo: contextlib.ExitStack) -> None:
    """Replace the file; if its path is a link, replace what the link leads to."""
    real = Path(os.path.realpath(file.path, strict=True))

    def is_unchanged(found: bytes) -> bool:
        return _text(found) == before

    made = file.text.encode()
    was = _swap(real, made, is_unchanged, most=0o700 if file.is_secret else 0o777)
    if was is None:
        raise ConfigError(f"{file.path} was changed meanwhile", "run the command again")
    kept = was
    undo.callback(_forget, lambda: _swap(real, kept, lambda found: found == made, most=0o777))


def _swap(path: Path, data: bytes, is_expected: Callable[[bytes], bool], *, most: int) -> bytes | None:
    """Replace a file that is as expected, and return what it contained; else return None.

    The new one keeps owner and mode, of which `most` is allowed. The folder is opened once, and owner and mode are set
    on the open file: who may write to the folder, but is not root, must not lead root to another file by a link.
    """
    with _opened(path.parent, os.O_DIRECTORY) as folder:
        with _opened(path.name, os.O_NOFOLLOW, folder) as old, os.fdopen(old, "rb", closefd=False) as opened:
            was, found = os.fstat(old), opened.read()
        if not is_expected(found):
            return None
        owner = (was.st_uid, was.st_gid) if os.geteuid() == 0 else None
        with _scratch(folder, path.name, data, stat.S_IMODE(was.st_mode) & most, owner) as scratch:
            os.replace(scratch, path.name, src_dir_fd=folder, dst_dir_fd=folder)
    return found


@contextlib.contextmanager
def _scratch(folder: int, name: str, data: bytes, mode: int, owner: tuple[int, int] | None = None) -> Iterator[str]:
    """Write a complete file beside the one of that name; it is removed again if it still has its own name."""
    scratch = f".{name}.{token_hex(8)}"
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder)
    try:
        with os.fdopen(handle, "wb") as opened:
            opened.write(data)
            opened.flush()
            if owner is not None:
                os.fchown(handle, *owner)
            os.fchmod(handle, mode)
            os.fsync(handle)
        yield scratch
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(scratch, dir_fd=folder)


@contextlib.contextmanager
def _opened(path: Path | str, flags: int, folder: int | None = None) -> Iterator[int]:
    handle = os.open(path, os.O_RDONLY | flags, dir_fd=folder)
    try:
        yield handle
    finally:
        os.close(handle)


def _text(data: bytes) -> str:
    """Decode a file as it was read: without a mark of its encoding, and with plain line ends."""
    return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


def _forget(undo: object) -> None:
    with contextlib.suppress(OSError):
        undo()  # type: ignore[operator]


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise ConfigError(f"{path} already exists and is never overwritten", "move it away, or use it") from error
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}", "run as a user who may, or choose another place"
        ) from error
