"""`recvault decrypt`: an encrypted recording's plaintext, once it is proven."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from recvault.cli.app import App, verb
from recvault.cli.outputs import NO_TERMINAL, archived_row, private_keys, to_file, to_stdout
from recvault.errors import ConfigError, Interrupted

if TYPE_CHECKING:
    from recvault.app.runtime import Runtime


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
        raise click.UsageError(NO_TERMINAL)
    with app.runtime() as runtime, app.signals():
        try:
            return _decrypt(app, runtime, recording_id, output, key)
        except Interrupted:
            return app.exit_code(Interrupted.exit_code)


def _decrypt(app: App, runtime: Runtime, recording_id: str, output: Path | None, key: str | None) -> int:
    from recvault.operations.decrypt import decrypt, encrypted

    sealed = encrypted(runtime.store, _sidecar_key(runtime, recording_id))
    keys = private_keys([runtime.source(sealed.source)], sealed.source, key)
    if keys is None:
        raise ConfigError(f"source {sealed.source} has no private_keys", "add them to it, or give --key PATH")
    with to_file(output) if output is not None else to_stdout(runtime.settings.transfer) as file:
        done = decrypt(runtime.store, sealed, keys, file.write, app.stop)
    if not app.quiet:
        where = output or "stdout"
        click.echo(f"{sealed.recording_id}: {done.bytes:,} bytes to {where}, sha256 {done.sha256}", err=True)
    return 0


def _sidecar_key(runtime: Runtime, text: str) -> str:
    from recvault.archive import SIDECAR_SUFFIX

    return text if text.endswith(SIDECAR_SUFFIX) else str(archived_row(runtime, text)["sidecar_key"])
