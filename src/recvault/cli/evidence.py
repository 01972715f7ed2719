"""`recvault verify --manifests`: a copy of the bucket against its manifests; no configuration, no network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from recvault.cli.app import App, print_json

if TYPE_CHECKING:
    from recvault.operations.manifests import CopyChecked

_HEAD_LENGTH = 64


def check_copy(app: App, root: Path, heads: tuple[str, ...], as_json: bool) -> int:
    """Check a copy, and report what differs from its manifests."""
    from recvault.operations.manifests import check

    if any(len(head) != _HEAD_LENGTH for head in heads):
        raise click.UsageError("--head takes the complete SHA-256 of a manifest, as printed by `recvault manifest`")
    with app.signals():
        checked = check(root, heads=[head.lower() for head in heads], stop=app.stop)
    if as_json:
        print_json(checked.document())
    else:
        _print(checked)
    return checked.exit_code


def _print(checked: CopyChecked) -> None:
    from recvault.cli.tables import cell, print_table

    if checked.differences:
        print_table(
            ("what", "path", "why"),
            [(each.kind, each.path, each.words) for each in checked.differences],
            prose=("why",),
        )
    counts = checked.counts
    for chain in checked.chains:
        words = f"{chain['provider']} {chain['account_id']}: manifests {chain['manifests']:,}"
        click.echo(cell(f"{words}, through {chain['through']}, head {chain['sha256']}"), err=True)
    erased = f"{counts['erased']:,} erased; " if counts["erased"] else ""
    click.echo(
        f"{counts['checked']:,} files listed, {counts['ok']:,} unchanged; {erased}"
        f"not covered yet: {counts['not_covered']:,}; media without a sidecar: {counts['orphan_media']:,}",
        err=True,
    )
    if left := checked.differences_total - len(checked.differences):
        click.echo(f"{left:,} more differences are not shown", err=True)
