"""`recvault gaps`: calls that were never recorded, and recordings that are too short or too long."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from recvault.cli.app import App, print_json, verb
from recvault.cli.backfill import Moment, check_window

if TYPE_CHECKING:
    from recvault.operations.gaps import GapsReport

_COLUMNS = ("kind", "call", "account", "started", "direction", "call seconds", "recorded seconds", "recordings")


@click.command("gaps")
@click.option("--source", "name", required=True, metavar="NAME", help="The source whose calls are compared.")
@click.option(
    "--since", type=Moment(), help="Calls that began at or after this date or time; default: reconcile_window."
)
@click.option("--until", type=Moment(), help="Calls that began before this date or time; default: now.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, with the numbers of these calls.")
@verb
def command(app: App, name: str, since: datetime | None, until: datetime | None, as_json: bool) -> int:
    """Compare the provider's list of calls with the recordings that the ledger knows.

    Tells calls that ought to be recorded, by the source's `gaps`, and are not; and lengths that do not fit. A record of
    the run is put below events/.
    """
    from recvault.models import Window
    from recvault.operations.gaps import Gaps

    check_window(since, until)
    with app.signals(), app.runtime() as runtime:
        runtime.source(name)
        gaps = Gaps(runtime, name, Window(since, until))
        report = gaps.run()
        if as_json:
            print_json(report.document())
        else:
            _print(report)
        gaps.tell()
    return app.exit_code(report.exit_code)


def _print(report: GapsReport) -> None:
    from recvault.cli.tables import cell, print_table

    if report.found:
        rows = [
            [
                *(gap.kind.value, gap.call.call_id, account_id, gap.call.started_at, gap.call.direction),
                *(gap.call.seconds, gap.recorded_seconds, " ".join(gap.recordings)),
            ]
            for account_id, gap in report.found
        ]
        print_table(_COLUMNS, rows)
    click.echo(f"{len(report.found):,} gaps in {report.calls:,} calls", err=True)
    if report.waiting:
        click.echo(f"{report.waiting:,} calls are not judged yet: they, or their recordings, are too recent", err=True)
    if report.erased:
        click.echo(f"{report.erased:,} calls have none, but a recording of their time is erased: not told", err=True)
    for error in report.errors:
        click.echo(cell(f"{error['account_id']}: {error['message']}"), err=True)
