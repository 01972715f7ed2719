"""`recvault prune`: delete at the provider what is proven to be archived."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from recvault.cli.app import App, now, print_json, verb

if TYPE_CHECKING:
    from recvault.operations.prune import PruneSummary


class Age(click.ParamType[timedelta]):
    """A duration such as `30d`."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        from recvault.config.units import parse_duration

        try:
            age = parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if age <= timedelta():
            self.fail("must be greater than 0s", param, ctx)
        return age


@click.command("prune")
@click.option("--source", "name", required=True, metavar="NAME", help="The source at whose provider is deleted.")
@click.option(
    "--older-than",
    required=True,
    type=Age(),
    metavar="AGE",
    help="Only recordings that were created, and archived, longer ago than this: 30d.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Delete at most so many; default: 1000.")
@click.option("--dry-run", is_flag=True, help="Prove and count, but delete nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON document.")
@verb
def command(app: App, name: str, older_than: timedelta, limit: int | None, dry_run: bool, as_json: bool) -> int:
    """Delete recordings at the provider once a fresh check of the bucket has proven each.

    The copy stays in the bucket. If interrupted, run the same command again to continue.
    """
    from recvault.custody.events import tell
    from recvault.operations.prune import MOST, Prune

    with app.signals(), app.runtime() as runtime:
        runtime.source(name)
        runtime.prepare_store()
        if not dry_run:
            tell(runtime.records, "prune", now=now(), facts=[{"source": name}])
        summary = Prune(runtime, name, older_than, limit=limit or MOST, dry_run=dry_run).run()
    if as_json:
        print_json(summary.document())
    else:
        _print(summary)
    return app.exit_code(summary.exit_code)


def _print(summary: PruneSummary) -> None:
    from recvault.cli.tables import cell, size
    from recvault.operations.prune.deletion_records import Deletion
    from recvault.operations.prune.prune_rule import SKIPPED

    minutes = f"{summary.seconds / 60:,.0f} minutes, {size(summary.bytes)}"
    if summary.dry_run:
        click.echo(
            f"{summary.eligible:,} of {summary.checked:,} recordings would be deleted at the provider: {minutes}"
        )
    else:
        gone = summary.deletions[Deletion.GONE]
        click.echo(f"{summary.deleted:,} of {summary.checked:,} recordings are deleted at the provider: {minutes}")
        if gone:
            click.echo(f"{gone:,} of them were gone already")
    if summary.settled:
        click.echo(f"{summary.settled:,} more, of an earlier run, are confirmed to be deleted")
    for name, count in summary.skipped.most_common():
        click.echo(cell(f"{count:,} stay: {SKIPPED[name]}"), err=True)
    if summary.limit_reached:
        click.echo(f"the limit of {summary.limit:,} is reached: run it again for the rest", err=True)
    for failure in summary.failures:
        click.echo(cell(f"{failure['recording_id']}: {failure['deletion']}: {failure['message']}"), err=True)
    for error in summary.errors:
        click.echo(cell(f"{error['account_id']}: {error['message']}"), err=True)
