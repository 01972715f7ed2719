"""`recvault manifest`: write the manifests of the days that have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from recvault.cli.app import App, print_json, verb

if TYPE_CHECKING:
    from recvault.operations.manifests import Summary


@click.command("manifest")
@click.option(
    "--survey", is_flag=True, help="Also search the whole bucket for objects unknown to manifests and ledger."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@verb
def command(app: App, survey: bool, as_json: bool) -> int:
    """Write the manifests of the days that have ended, as the daemon does daily, in the format of `sha256sum -c`.

    Prints the newest manifest of each account; keep the hashes elsewhere.
    """
    from recvault.operations.manifests import Manifests

    with app.signals(), app.runtime() as runtime:
        runtime.prepare_store()
        summary = Manifests.of(runtime, threads=runtime.settings.transfer.workers).write(survey=survey)
    if as_json:
        print_json(summary.document())
    else:
        _print(summary)
    return app.exit_code(summary.exit_code)


def _print(summary: Summary) -> None:
    from recvault.cli.tables import cell, print_table

    if summary.chains:
        columns = ("provider", "account", "number", "through", "sha256")
        rows = [
            (each.provider, each.account_id, each.number, str(each.through), each.sha256) for each in summary.chains
        ]
        print_table(columns, rows)
    recordings = sum(each.recordings for each in summary.written)
    click.echo(
        f"written now: {_count(len(summary.written), 'manifest')}, of {_count(recordings, 'recording')}", err=True
    )
    for kind, key in summary.troubles:
        click.echo(cell(f"{kind.replace('_', ' ')}: {key}"), err=True)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
