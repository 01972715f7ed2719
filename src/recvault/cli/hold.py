"""`recvault hold`: recordings that may be neither erased nor pruned."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from recvault.cli.app import App, now, print_json, verb
from recvault.cli.backfill import Moment
from recvault.cli.erase import check_reference, criteria_of, use_profile

if TYPE_CHECKING:
    from recvault.operations.holding import HoldReport


@click.group("hold")
def command() -> None:
    """Keep recordings from being erased or pruned, whatever is asked for meanwhile.

    A hold is a record in the bucket. Where the bucket has Object Lock, each version gets the store's legal hold too.
    """


@command.command("add")
@click.argument("name")
@click.option("--number", "numbers", multiple=True, metavar="N", help="Recordings of calls with it; repeatable.")
@click.option("--call", "calls", multiple=True, metavar="ID", help="Recordings of this call; repeatable.")
@click.option("--recording", "recordings", multiple=True, metavar="ID", help="This recording; repeatable.")
@click.option("--since", type=Moment(), help="Only recordings created at or after this date or time.")
@click.option("--until", type=Moment(), help="Only recordings created before this date or time.")
@click.option("--reference", metavar="TEXT", help="Why, for the record: a case number. No name, no number.")
@click.option("--profile", metavar="NAME", help="Use this profile of the AWS configuration for the bucket.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON document.")
@verb
def add(
    app: App,
    /,
    name: str,
    numbers: tuple[str, ...],
    calls: tuple[str, ...],
    recordings: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    reference: str | None,
    profile: str | None,
    as_json: bool,
) -> int:
    """Hold the recordings that there are now. Adding to a NAME extends it."""
    criteria = criteria_of(numbers, calls, recordings, since, until)
    if criteria is None:
        raise click.UsageError("say what to hold by --number, --call or --recording")
    check_reference(reference, numbers, due=False)
    check_reference(name, numbers, due=False)
    use_profile(profile)
    from recvault.custody.events import tell
    from recvault.operations.holding import Holding

    with app.signals(), app.runtime() as runtime:
        if runtime.has_ledger:
            runtime.prepare_store()
        tell(runtime.records, "hold add", now=now(), reference=reference, facts=[{"hold": name}])
        report = Holding(runtime).add(name, criteria, reference or "")
    return _end(app, report, "held", as_json)


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@verb
def list_(app: App, as_json: bool) -> int:
    """List the holds that are not released."""
    from recvault.cli.tables import print_table
    from recvault.custody.holds import held
    from recvault.operations.holding import SCHEMA

    with app.signals(), app.runtime() as runtime:
        holds = held(runtime.records).holds
    if as_json:
        told = [
            {"name": each.name, "since": each.since, "reference": each.reference, "recordings": len(each.recordings)}
            for each in holds
        ]
        print_json({"schema": SCHEMA, "holds": told})
    elif holds:
        rows = [(each.name, each.since, len(each.recordings), each.reference) for each in holds]
        print_table(("name", "since", "recordings", "reference"), rows, prose=("reference",))
    else:
        click.echo("no holds", err=True)
    return 0


@command.command("release")
@click.argument("name")
@click.option("--reference", metavar="TEXT", help="Why, for the record. No name, no number.")
@click.option("--profile", metavar="NAME", help="Use this profile of the AWS configuration for the bucket.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON document.")
@verb
def release(app: App, /, name: str, reference: str | None, profile: str | None, as_json: bool) -> int:
    """End a hold. What was to be erased meanwhile is then due: `recvault erase --due`."""
    check_reference(reference, (), due=False)
    use_profile(profile)
    from recvault.custody.events import tell
    from recvault.operations.holding import Holding

    with app.signals(), app.runtime() as runtime:
        if runtime.has_ledger:
            runtime.prepare_store()
        tell(runtime.records, "hold release", now=now(), reference=reference, facts=[{"hold": name}])
        report = Holding(runtime).release(name, reference or "")
    return _end(app, report, "released", as_json)


def _end(app: App, report: HoldReport, done: str, as_json: bool) -> int:
    """Print the report; exit with 3 if the store refused something, or something could not be read."""
    from recvault.monitoring.report import PARTIAL

    if as_json:
        print_json(report.document())
    else:
        locks = f"{report.versions:,} versions in the store" if report.versions else "by record alone"
        click.echo(f"{report.recordings:,} recordings {done}, {locks}")
        for each in (*report.refused, *(f"could not be read: {key}" for key in report.unreadable)):
            click.echo(each, err=True)
    return app.exit_code(PARTIAL if report.refused or report.unreadable else 0)
