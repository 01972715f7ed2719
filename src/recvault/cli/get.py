"""`recvault get`: a recording's bytes out of the bucket, once they are proven."""

from __future__ import annotations

import posixpath
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from recvault.cli.app import App, verb
from recvault.cli.archives import chosen_archive, of_archive, open_archive
from recvault.cli.outputs import (
    NO_TERMINAL,
    archived_recording,
    archived_row,
    private_keys,
    to_file,
    to_stdout,
)
from recvault.errors import Interrupted

if TYPE_CHECKING:
    from recvault.config import SourceSettings, TransferSettings
    from recvault.store import Bucket

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
@of_archive
@verb
def command(
    app: App,
    recording_id: str,
    output: Path | None,
    media_format: str | None,
    key: str | None,
    archive: str | None,
    endpoint_url: str | None,
    region: str | None,
) -> int:
    """Fetch a recording from the bucket and verify it: size and SHA-256 as its sidecar names them.

    An ID is the provider's own, or SOURCE:ID. It is looked up in the ledger, or in the bucket if there is no ledger or
    an archive is given. An encrypted recording is decrypted if a private key is configured or given. Nothing is
    written to the output before all of it is verified.
    """
    if output == _STDOUT and sys.stdout.isatty():
        raise click.UsageError(NO_TERMINAL)
    if archive or not app.settings().ledger.path.exists():
        where, catalog = chosen_archive(app, archive, endpoint_url, region)
        sources = () if archive else app.settings().sources
        with open_archive(app, where, catalog) as opened, app.signals():
            one = archived_recording(opened, recording_id)
            found = _Found(opened.access.store, one.sidecar_key, one.sidecar_sha256, sources, None)
            return _get(app, found, output, media_format, key)
    with app.runtime() as runtime, app.signals():
        row = archived_row(runtime, recording_id)
        settings = runtime.settings
        found = _Found(runtime.store, row["sidecar_key"], row["sidecar_sha256"], settings.sources, settings.transfer)
        return _get(app, found, output, media_format, key)


@dataclass(frozen=True, slots=True)
class _Found:
    """Where a recording is, and what its machine knows of keys and of space."""

    store: Bucket
    sidecar_key: str
    sidecar_sha256: str | None
    sources: Sequence[SourceSettings]
    spool: TransferSettings | None


def _get(app: App, found: _Found, output: Path | None, media_format: str | None, key: str | None) -> int:
    from recvault.operations.decrypt import decrypt
    from recvault.reading.fetching import described, fetch

    told = described(found.store, found.sidecar_key, found.sidecar_sha256)
    medium = told.medium(media_format)
    sealed = told.sealed(medium)
    keys = private_keys(found.sources, told.source, key) if sealed else None
    place = None if output == _STDOUT else _place(output, posixpath.basename(medium.key))
    try:
        with to_file(place) if place else to_stdout(found.spool) as file:
            if sealed and keys:
                done = decrypt(found.store, sealed, keys, file.write, app.stop)
            else:
                done = fetch(found.store, medium, file.write, app.stop)
    except Interrupted:
        return app.exit_code(Interrupted.exit_code)
    if not app.quiet:
        click.echo(f"{told.recording_id}: {done.bytes:,} bytes to {place or 'stdout'}, sha256 {done.sha256}", err=True)
    if not told.is_encryption_known:
        click.echo("whether it is encrypted is not known: its sidecar was restored from the ledger", err=True)
    if sealed and not keys:
        click.echo(f"it is encrypted, and {told.source} has no private_keys: add them, or give --key PATH", err=True)
    return 0


def _place(output: Path | None, name: str) -> Path:
    """Return the file to write. If its name was not given by the user, it must not exist."""
    place = Path(name) if output is None else output / name if output.is_dir() else output
    if output is None and place.exists():
        raise click.UsageError(f"{place} exists: use --output PATH")
    return place
