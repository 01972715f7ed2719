"""`recvault schema`: the sidecar's JSON Schema."""

from __future__ import annotations

import click

from recvault.cli.app import App, question


@click.command("schema")
@question
def command(app: App) -> int:
    """Print the JSON Schema of sidecars, as stored in the bucket at schemas/sidecar-v1.json."""
    from recvault.archive import schema_bytes

    click.echo(schema_bytes().decode(), nl=False)
    return 0
