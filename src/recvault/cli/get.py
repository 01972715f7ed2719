"""`recvault get`: a recording's bytes out of the bucket, once they are proven."""

from __future__ import annotations

import posixpath
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from recvault.cli.app import App, verb
from recvault.cli.outputs import NO_TERMINAL, archived_row, private_keys, to_file, to_stdout
from recvault.errors import Interrupted

if TYPE_CHECKING:
    from recvault.app.runtime import Runtime

_STDOUT = Path("-")


@click.command("get")
@click.argument("recording_id", metavar="ID")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Write to this file or directory, or to stdout (-); default: a new file ID.FORMAT in the current directory.",
)
@click.option("--format", "media_format", metavar="FORMAT", help="wav or mp3, if it is archived as both.")
@click.option("--key", type=click.Path(), help="Decrypt with this private key (PEM) instead of the configured ones.")
@verb
def command(app: App, recording_id: str, output: Path | None, media_format: str | None, key: str | None) -> int:
    """Fetch a recording from the bucket and verify it: size and SHA-256 as its sidecar names them.

    An ID is the provider's own, or SOURCE:ID. An encrypted recording is decrypted if a private key is configured or
    given. Nothing is written to the output before all of it is verified.
    """
    if output == _STDOUT and sys.stdout.isatty():
        raise click.UsageError(NO_TERMINAL)
    with app.runtime() as runtime, app.signals():
        try:
            return _get(app, runtime, recording_id, output, media_format, key)
        except Interrupted:
            return app.exit_code(Interrupted.exit_code)


def _get(
    app: App, runtime: Runtime, recording_id: str, output: Path | None, media_format: str | None, key: str | None
) -> int:
    from recvault.operations.decrypt import decrypt
    from recvault.reading.fetching import described, fetch

    row = archived_row(runtime, recording_id)
    found = described(runtime.store, row["sidecar_key"], row["sidecar_sha256"])
    medium = found.medium(media_format)
    sealed = found.sealed(medium)
    keys = private_keys(runtime, found.source, key) if sealed else None
    place = None if output == _STDOUT else _place(output, posixpath.basename(medium.key))
    with to_file(place) if place else to_stdout(runtime) as file:
        if sealed and keys:
            done = decrypt(runtime.store, sealed, keys, file.write, app.stop)
        else:
            done = fetch(runtime.store, medium, file.write, app.stop)
    if not app.quiet:
        click.echo(f"{found.recording_id}: {done.bytes:,} bytes to {place or 'stdout'}, sha256 {done.sha256}", err=True)
    if not found.is_encryption_known:
        click.echo("whether it is encrypted is not known: its sidecar was restored from the ledger", err=True)
    if sealed and not keys:
        click.echo(f"it is encrypted, and {found.source} has no private_keys: add them, or give --key PATH", err=True)
    return 0


def _place(output: Path | None, name: str) -> Path:
    """Return the file to write. If its name was not given by the user, it must not exist."""
    place = Path(name) if output is None else output / name if output.is_dir() else output
    if output is None and place.exists():
        raise click.UsageError(f"{place} exists: use --output PATH")
    return place
