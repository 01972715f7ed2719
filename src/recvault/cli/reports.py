"""A pass as people see it: live while it runs, in a table when it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from recvault.cli.tables import print_table, size
from recvault.report import AccountReport, Report

COLUMNS = ("source", "account", "listed", "new", "archived", "there already", "not ready", "gone", "external", "failed")


@contextmanager
def progress(shown: bool) -> Iterator[Callable[[Report], None]]:
    """Live lines on stderr, one per account, while a pass runs."""
    if not shown:
        yield lambda report: None
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), refresh_per_second=8, transient=True) as live:
        yield lambda report: live.update(_lines(report))


def print_report(report: Report) -> None:
    """The pass in a table, then what needs a hand."""
    rows = sorted(report.accounts.values(), key=lambda row: (row.source, row.account_id))
    print_table((*COLUMNS, "dead", "quarantined", "bytes"), [_row(row) for row in rows])
    for row in rows:
        if row.error:
            click.echo(f"{row.source} {row.account_id}: {row.error}", err=True)
    waiting = report.failures_total
    if waiting:
        click.echo(f"{waiting} recordings failed or are dead: `recvault failures` says why", err=True)
    if any(row.quarantined for row in rows):
        click.echo("rows that could not be read are kept in quarantine: `recvault failures` shows them", err=True)


def _row(row: AccountReport) -> tuple[object, ...]:
    counts = (row.listed, row.registered, row.archived, row.already_archived, row.not_ready, row.gone, row.external)
    return (row.source, row.account_id, *counts, row.failed, row.dead, row.quarantined, size(row.bytes))


def _lines(report: Report) -> Any:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for row in list(report.accounts.values()):
        done = row.archived + row.already_archived
        table.add_row(
            row.source, f"{row.listed:,} listed", f"{done:,} archived", size(row.bytes), f"[red]{row.error or ''}[/red]"
        )
    return table
