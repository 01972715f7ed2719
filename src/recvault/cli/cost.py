"""`recvault cost`: what the providers still store, what that costs, and what a prune would save."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from recvault.cli.app import App, print_json, question

if TYPE_CHECKING:
    from recvault.operations.cost import CostReport


@click.command("cost")
@click.option("--source", "name", metavar="NAME", help="Only this source; default: all.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@question
def command(app: App, name: str | None, as_json: bool) -> int:
    """Estimate by the ledger what the providers still store, what it costs a month, and what a prune would save.

    Prices are in the configuration, under [cost]; what is not known is told so.
    """
    from recvault.operations.cost import cost

    with app.inquiry() as inquiry:
        report = cost(inquiry, name)
    if as_json:
        print_json(report.document())
    else:
        _print(report)
    return 0


def _print(report: CostReport) -> None:
    from recvault.cli.tables import Size, cell, print_table, size

    columns = ("source", "account", "month", "recordings", "archived", "minutes", "bytes", "prunable minutes")
    rows = [
        (
            *(each.source, each.account_id, each.month, each.recordings, each.archived, each.minutes),
            *(Size(each.bytes), each.prunable_minutes),
        )
        for each in report.months
    ]
    if rows:
        print_table(columns, rows)
    for bill in report.bills:
        told = f"{bill.provider} {bill.account_id}: {bill.minutes:,} minutes, {size(bill.bytes)} at the provider"
        click.echo(cell(f"{told}: {_money(bill.monthly, report)} a month; a prune saves {_money(bill.saving, report)}"))
        if bill.unknown:
            click.echo(f"  of {bill.unknown:,} recordings the duration is not known: they are counted as 0 minutes")
        if bill.price_source:
            free = f", {bill.free_minutes:,.0f} minutes free" if bill.free_minutes else ""
            click.echo(cell(f"  {bill.per_minute:g} {report.currency} a minute{free}: {bill.price_source}"))
    click.echo(f"bucket: {size(report.bucket_bytes)}: {_money(report.bucket_monthly, report)} a month")
    if report.bucket_price_source:
        click.echo(cell(f"  {report.bucket_per_gb:g} {report.currency} for 2^30 bytes: {report.bucket_price_source}"))


def _money(amount: float | None, report: CostReport) -> str:
    return "not known" if amount is None else f"{amount:,.2f} {report.currency}"
