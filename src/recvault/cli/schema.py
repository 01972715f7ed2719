"""`recvault schema`: the sidecar's JSON Schema."""

from __future__ import annotations

import click

from recvault.cli.app import App, question


@click.command("schema")
@question
def command(app: App) -> int:
    """Print the sidecar's JSON Schema, as it stands at schemas/sidecar-v1.json in the bucket."""
    from recvault.archive import schema_bytes

    click.echo(schema_bytes().decode(), nl=False)
    return 0
