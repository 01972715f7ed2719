"""`recvault decrypt`: an encrypted recording's plaintext, once it is proven."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from recvault.cli.app import App, verb
from recvault.errors import ConfigError, Interrupted, UnknownName

if TYPE_CHECKING:
    from recvault.app.runtime import Runtime
    from recvault.media.decryptor import PrivateKeys
    from recvault.operations.decrypt import Encrypted

_PIECE = 1 << 20


@click.command("decrypt")
@click.argument("recording_id", metavar="ID")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file, mode 0600; default: stdout.")
@click.option("--key", type=click.Path(), help="Use this private key (PEM) instead of the configured ones.")
@verb
def command(app: App, recording_id: str, output: Path | None, key: str | None) -> int:
    """Decrypt an encrypted recording from the bucket and verify the plaintext.

    An ID is the provider's own, or SOURCE:ID, or the key of its sidecar in the bucket (then no ledger is needed).
    Nothing is written to the output before all of it is verified.
    """
    if output is None and sys.stdout.isatty():
        raise click.UsageError("refusing to write a recording to a terminal: use --output PATH or a pipe")
    with app.runtime() as runtime, app.signals():
        try:
            return _decrypt(app, runtime, recording_id, output, key)
        except Interrupted:
            return app.exit_code(Interrupted.exit_code)


def _decrypt(app: App, runtime: Runtime, recording_id: str, output: Path | None, key: str | None) -> int:
    from recvault.operations.decrypt import decrypt, encrypted

    sealed = encrypted(runtime.store, _sidecar_key(runtime, recording_id))
    keys = _keys(runtime, sealed, key)
    with _to_file(output) if output is not None else _to_stdout(runtime) as file:
        done = decrypt(runtime.store, sealed, keys, file.write, app.stop)
    if not app.quiet:
        where = output or "stdout"
        click.echo(f"{sealed.recording_id}: {done.bytes:,} bytes to {where}, sha256 {done.sha256}", err=True)
    return 0


def _sidecar_key(runtime: Runtime, text: str) -> str:
    from recvault.archive import SIDECAR_SUFFIX

    if text.endswith(SIDECAR_SUFFIX):
        return text
    rows = runtime.find(text)
    if len(rows) > 1:
        sources = ", ".join(sorted({str(row["source"]) for row in rows}))
        raise UnknownName(f"{text} is in several sources: {sources}", "write SOURCE:ID")
    sidecar_key = rows[0]["sidecar_key"]
    if not sidecar_key:
        raise UnknownName(f"{text} is not archived: it is {rows[0]['state']}", f"`recvault show {text}` says why")
    return str(sidecar_key)


def _keys(runtime: Runtime, sealed: Encrypted, key: str | None) -> PrivateKeys:
    """The key that was given, else those of the recording's source."""
    from recvault.app import wiring
    from recvault.config import PrivateKeyRef, SecretRef

    written = (
        (PrivateKeyRef(secret=SecretRef(file=key, owner="--key")),)
        if key is not None
        else runtime.source(sealed.source).private_keys
    )
    keys = wiring.private_keys(written)
    if keys is None:
        raise ConfigError(f"source {sealed.source} has no private_keys", "add them to it, or give --key PATH")
    return keys


@contextlib.contextmanager
def _to_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name only when it is complete, readable by its owner only."""
    if path.exists() and not path.is_file():
        raise click.UsageError(f"{path} is not a regular file")
    try:
        number, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".part", dir=path.parent)  # mode 0600
    except OSError as error:
        raise _unwritable(path, error) from error
    made = Path(name)
    try:
        with os.fdopen(number, "wb") as file:
            yield file
            file.flush()
            os.fsync(number)
        made.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        made.unlink(missing_ok=True)


@contextlib.contextmanager
def _to_stdout(runtime: Runtime) -> Iterator[tempfile.SpooledTemporaryFile[bytes]]:
    """A nameless file, which is poured out when all went well: a pipe takes nothing back."""
    settings = runtime.settings.transfer
    with tempfile.SpooledTemporaryFile(max_size=settings.spool_memory, dir=str(settings.spool_dir)) as file:
        try:
            yield file
            file.seek(0)
        except OSError as error:
            raise _unwritable(settings.spool_dir, error) from error
        shutil.copyfileobj(file, sys.stdout.buffer, _PIECE)
        sys.stdout.buffer.flush()


def _unwritable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{path} cannot be written: {error.strerror}", "correct the path or its permissions, or use another file"
    )
