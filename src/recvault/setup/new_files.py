"""Put files in place, all or none.

Invariants: each file is complete under its name or missing; an existing file is replaced only if it is still as it was
when it was read; after an error, everything that was made is removed again.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

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
    scratch = _scratch(file)
    try:
        if file.before is None:
            os.link(scratch, file.path)  # fails if it was made meanwhile
            undo.callback(_forget, file.path.unlink)
        else:
            _replace(file, scratch, undo)
    finally:
        scratch.unlink(missing_ok=True)


def _replace(file: NewFile, scratch: Path, undo: contextlib.ExitStack) -> None:
    was = file.path.stat()
    if file.path.read_text(encoding="utf-8-sig") != file.before:
        raise ConfigError(f"{file.path} was changed meanwhile", "run the command again")
    scratch.chmod(stat.S_IMODE(was.st_mode) & (0o700 if file.is_secret else 0o777))
    if os.geteuid() == 0:
        os.chown(scratch, was.st_uid, was.st_gid)
    kept = file.path.read_bytes()
    scratch.replace(file.path)
    undo.callback(_forget, lambda: file.path.write_bytes(kept))


def _scratch(file: NewFile) -> Path:
    handle, name = tempfile.mkstemp(dir=file.path.parent, prefix=f".{file.path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as opened:
        os.fchmod(opened.fileno(), file.mode)
        opened.write(file.text)
        opened.flush()
        os.fsync(opened.fileno())
    return Path(name)


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
