"""Show a backfill's dry run: by account, month and format, then totals."""

from __future__ import annotations

import click

from recvault.cli.tables import Size, Span, cell, print_table
from recvault.operations.backfill_plan import BackfillPlan, Total
from recvault.timefmt import span

COLUMNS = ("account", "month", "format", "recordings", "audio", "estimated size", "size unknown", "archived already")
SELDOM = ("size unknown", "archived already")


def print_plan(plan: BackfillPlan) -> None:
    """Print a table on stdout; totals, and what is not counted, on stderr."""
    print_table(COLUMNS, [(*row[:3], *_cells(row[3])) for row in plan.rows], seldom=SELDOM)
    total, document = plan.total(), plan.total().document()
    size = document["estimated_bytes"]
    told = [
        f"{total.recordings:,} recordings to archive, {span(total.seconds)} of audio",
        "size unknown" if size is None else f"about {cell(Size(size))}",
    ]
    if total.unknown_sizes and size is not None:
        told.append(f"besides {total.unknown_sizes:,} of unknown size")
    if plan.notebook.archived.is_known:
        told.append(f"{total.archived:,} archived already")
    else:
        told.append("there is no ledger yet, so what is archived already is unknown")
    click.echo("; ".join(told), err=True)
    for account_id, account in sorted(plan.notebook.accounts.items()):
        counts = {
            "not final yet": account.not_ready,
            "gone": account.gone,
            "in your own storage": account.external,
            "unreadable": account.unreadable,
        }
        if found := [f"{count:,} {word}" for word, count in counts.items() if count]:
            click.echo(cell(f"{account_id}: {', '.join(found)}"), err=True)
    for row in plan.report.accounts.values():
        if row.error:
            click.echo(cell(f"{row.source} {row.account_id}: {row.error}"), err=True)
    if plan.report.interrupted:
        click.echo("interrupted: the list is incomplete", err=True)


def _cells(total: Total) -> tuple[object, ...]:
    size = total.document()["estimated_bytes"]
    return (
        total.recordings,
        Span(round(total.seconds)),
        None if size is None else Size(size),
        total.unknown_sizes,
        total.archived,
    )
