"""`recvault backup`: a copy of the ledger."""

from __future__ import annotations

from pathlib import Path

import click

from recvault.cli.app import App, question


@click.command("backup")
@click.argument("path", type=click.Path(path_type=Path, readable=False))
@question
def command(app: App, path: Path) -> int:
    """Copy the ledger to PATH, a new file that only its owner can read. The daemon can keep running."""
    from recvault.cli.tables import size
    from recvault.ledger.backup import backup

    written = backup(app.settings().ledger.path, path)
    if not app.quiet:
        click.echo(f"{path}: {size(written)}; `systemd/README.md` says how to restore it")
    return 0
