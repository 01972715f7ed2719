"""Write a recording's bytes to a file or stdout once all are verified; find the recording and its keys."""

from __future__ import annotations

import contextlib
import errno
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from recvault.errors import ConfigError, NotAsArchived, RecvaultError, UnknownName
from recvault.reading.proven_file import proven_file

if TYPE_CHECKING:
    from recvault.app.runtime import Runtime
    from recvault.config import SourceSettings, TransferSettings
    from recvault.media.decryptor import PrivateKeys
    from recvault.reading.archive import Archive
    from recvault.reading.recordings import ArchivedRecording

_PIECE = 1 << 20
_MEMORY = 8 << 20  # bytes, past which a file on disk is used
# What the typed path is the cause of, not this machine, nor the configuration.
_TYPED = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP}
)
NO_TERMINAL = "refusing to write a recording to a terminal: use --output PATH or a pipe"


def archived_row(runtime: Runtime, text: str) -> dict[str, Any]:
    """Return the one archived recording with this ID. UnknownName if there is none, or more than one."""
    rows = runtime.find(text)
    if len(rows) > 1:
        sources = ", ".join(sorted({str(row["source"]) for row in rows}))
        raise UnknownName(f"{text} is in several sources: {sources}", "write SOURCE:ID")
    if not rows[0]["sidecar_key"]:
        raise UnknownName(f"{text} is not archived: it is {rows[0]['state']}", f"`recvault show {text}` says why")
    return rows[0]


def archived_recording(archive: Archive, text: str) -> ArchivedRecording:
    """Return the one recording with this ID in the bucket. UnknownName if there is none, or more than one."""
    found = list(archive.recordings(recording_id=text))
    source, colon, rest = text.partition(":")
    if not found and colon:
        found = list(archive.recordings(recording_id=rest, source=source))
    if len(found) > 1:
        sources = ", ".join(sorted({each.source for each in found}))
        raise UnknownName(f"{text} is in several sources: {sources}", "write SOURCE:ID")
    if not found and archive.unreadable:
        unread = archive.unreadable[0]
        raise NotAsArchived(f"{unread.key} cannot be read: {unread.reason}", "run `recvault verify` for details")
    if not found:
        raise UnknownName(f"no recording {text} is in the bucket", "`recvault find` lists what is there")
    return found[0]


def private_keys(sources: Iterable[SourceSettings], source: str, key: str | None) -> PrivateKeys | None:
    """Return the given key, else those of the recording's source; None if there are none."""
    from recvault.app import wiring
    from recvault.config import PrivateKeyRef, SecretRef

    configured = next((each.private_keys for each in sources if each.name == source), ())
    return wiring.private_keys(
        configured if key is None else (PrivateKeyRef(secret=SecretRef(file=key, owner="--key")),)
    )


@contextlib.contextmanager
def to_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that appears under its name only when complete, readable only by its owner."""
    check_place(path)
    try:
        with proven_file(path) as file:
            yield file
    except OSError as error:
        raise unwritable(path, error) from error


def check_place(path: Path) -> None:
    """Raise UnknownName or UsageError if no file can have this path."""
    try:
        is_there, is_file = path.exists(), path.is_file()
    except OSError as error:
        raise unwritable(path, error) from error
    if is_there and not is_file:
        raise click.UsageError(f"{path} is not a regular file")
    if not path.parent.is_dir():
        hint = f"mkdir -p {shlex.quote(str(path.parent))}" if not path.parent.exists() else "use another path"
        raise UnknownName(f"{path.parent} is not a directory: nothing was written", hint)


@contextlib.contextmanager
def to_stdout(spool: TransferSettings | None) -> Iterator[tempfile.SpooledTemporaryFile[bytes]]:
    """Open an unnamed file that is copied to stdout if all went well: bytes in a pipe cannot be taken back.

    It is in the spool of a configuration, else where this machine has its temporary files.
    """
    memory, place = (spool.spool_memory, str(spool.spool_dir)) if spool else (_MEMORY, tempfile.gettempdir())
    with tempfile.SpooledTemporaryFile(max_size=memory, dir=place) as file:
        try:
            yield file
            file.seek(0)
        except OSError as error:
            hint = "correct transfer.spool_dir or its permissions, or use --output" if spool else "use --output"
            raise ConfigError(f"{place} cannot be written: {error.strerror}", hint) from error
        shutil.copyfileobj(file, sys.stdout.buffer, _PIECE)
        sys.stdout.buffer.flush()


def unwritable(path: Path, error: OSError) -> RecvaultError:
    """Return the error for a file that the command line names: exit code 2 if another path would help."""
    message = f"{path} cannot be written: {error.strerror}"
    if error.errno in _TYPED:
        return UnknownName(message, "correct the path or its permissions, or use another file")
    return ConfigError(message, "free space there, or use another path")
