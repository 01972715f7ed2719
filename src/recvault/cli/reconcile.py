"""`recvault reconcile`: a full re-listing against the ledger."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from recvault.cli.app import App, now, print_json, verb
from recvault.cli.backfill import Moment, check_window
from recvault.providers.calendar import moment_before

if TYPE_CHECKING:
    from recvault.app.runtime import Runtime
    from recvault.monitoring.report import Report


@click.command("reconcile")
@click.option("--source", "names", multiple=True, metavar="NAME", help="Only this source; repeatable.")
@click.option("--since", type=Moment(), help="List from this date or time; default: reconcile_window before now.")
@click.option("--until", type=Moment(), help="Recordings created before this date or time; default: now.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON document.")
@verb
def command(app: App, names: tuple[str, ...], since: datetime | None, until: datetime | None, as_json: bool) -> int:
    """List a time range again, completely, and register what polls missed, which should be nothing.

    Nothing is transferred; the next `sync` or the daemon archives what was found.
    """
    from recvault.cli.reports import progress
    from recvault.models import Window
    from recvault.operations.reconcile import reconcile

    check_window(since, until)
    with app.signals(), app.runtime() as runtime:
        chosen = tuple(dict.fromkeys(names)) or tuple(source.name for source in runtime.settings.sources)
        for name in chosen:
            begins = moment_before(now(), runtime.source(name).reconcile_window)
            if until and until <= (since or begins):
                raise click.UsageError(
                    f"--until is before what {name} would be listed from, {begins:%Y-%m-%d}: give --since"
                )
        with progress(app.shows_progress) as shown:
            report = reconcile(runtime, chosen, Window(since, until), shown)
        if as_json:
            print_json(report.document())
        else:
            _print(runtime, report)
    return app.exit_code(report.exit_code)


def _print(runtime: Runtime, report: Report) -> None:
    """Print the usual table of a pass, and a sentence about what was missed."""
    from recvault.cli.reports import print_report
    from recvault.cli.tables import cell

    print_report(report, resume="run the same command to list again")
    for row in report.accounts.values():
        if row.missed:
            words = row.late(report.finished_at or now()).words(runtime.source(row.source).lookback)
            click.echo(cell(f"{row.source} {row.account_id}: {words}"), err=True)
    if any(row.registered for row in report.accounts.values()):
        click.echo("what was found is registered; `recvault sync` or the daemon archives it", err=True)
