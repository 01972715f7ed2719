"""`recvault backup`: a copy of the ledger."""

from __future__ import annotations

from pathlib import Path

import click

from recvault.cli.app import App, question


@click.command("backup")
@click.argument("path", type=click.Path(path_type=Path, readable=False))
@question
def command(app: App, path: Path) -> int:
    """Write a copy of the ledger to PATH, a new file that its owner alone can read. The daemon may go on meanwhile."""
    from recvault.cli.tables import Size
    from recvault.ledger.backup import backup

    size = backup(app.settings().ledger.path, path)
    if not app.quiet:
        click.echo(f"{path}: {Size(size)}; `systemd/README.md` says how to restore it")
    return 0
