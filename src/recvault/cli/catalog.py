"""`recvault catalog`: write the catalog, for SQL over what the sidecars say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from recvault.cli.app import App, print_json, verb

if TYPE_CHECKING:
    from recvault.operations.catalog import CatalogSummary


@click.command("catalog")
@click.option("--rebuild", is_flag=True, help="Make it again from everything in the bucket, whatever the ledger says.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@verb
def command(app: App, rebuild: bool, as_json: bool) -> int:
    """Write the catalog, as the daemon does daily with [catalog] enabled: Parquet files of what the sidecars say.

    Reads the sidecars that are not in it yet. Rows of recordings that somebody deleted from the bucket stay: --rebuild
    drops them. Use it also after changing [catalog] numbers. Extra: catalog.
    """
    from recvault.operations.catalog import Catalog

    with app.signals(), app.runtime() as runtime:
        runtime.prepare_store()
        summary = Catalog.of(runtime, threads=runtime.settings.transfer.workers).write(rebuild=rebuild)
    if as_json:
        print_json(summary.document())
    else:
        _print(summary)
    return app.exit_code(summary.exit_code)


def _print(summary: CatalogSummary) -> None:
    from recvault.cli.tables import cell, print_table

    if summary.written:
        rows = [(each.key, each.rows, each.bytes) for each in summary.written]
        print_table(("file", "rows", "bytes"), rows)
    click.echo(f"read: {summary.sidecars:,} sidecars, {summary.calls:,} objects with call facts", err=True)
    for kind, key in summary.problems:
        click.echo(cell(f"{kind}: {key}"), err=True)
