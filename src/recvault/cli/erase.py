"""`recvault erase`: delete recordings for good, on request, so that they stay erased."""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING

import click

from recvault.cli.app import App, now, print_json, verb
from recvault.cli.backfill import Moment, check_window

if TYPE_CHECKING:
    from recvault.operations.erasing import Criteria, Erased

_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


@click.command("erase")
@click.option(
    "--number", "numbers", multiple=True, metavar="N", help="Recordings of calls with this number; repeatable."
)
@click.option("--call", "calls", multiple=True, metavar="ID", help="Recordings of this call; repeatable.")
@click.option("--recording", "recordings", multiple=True, metavar="ID", help="This recording; repeatable.")
@click.option(
    "--due", is_flag=True, help="Erase what an earlier request could not: held or locked then, or interrupted."
)
@click.option("--since", type=Moment(), help="Only recordings created at or after this date or time.")
@click.option("--until", type=Moment(), help="Only recordings created before this date or time.")
@click.option("--reference", metavar="TEXT", help="Why, for the record: a case number. No name, no number.")
@click.option("--dry-run", is_flag=True, help="Say what would be erased, change nothing.")
@click.option("--profile", metavar="NAME", help="Use this profile of the AWS configuration for the bucket.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON document.")
@verb
def command(
    app: App,
    /,
    numbers: tuple[str, ...],
    calls: tuple[str, ...],
    recordings: tuple[str, ...],
    due: bool,
    since: datetime | None,
    until: datetime | None,
    reference: str | None,
    dry_run: bool,
    profile: str | None,
    as_json: bool,
) -> int:
    """Erase recordings: every version in the bucket, their call facts, the catalog's rows, the ledger's.

    They are not archived again: a record in the bucket, without number or name, says so. What is held or locked stays,
    and is due again. After an interruption the same command goes on. Exits with 3 if something is left.
    """
    criteria = criteria_of(numbers, calls, recordings, since, until)
    if (criteria is None) != due:
        raise click.UsageError("say what to erase by --number, --call or --recording; or give --due alone")
    check_reference(reference, numbers, due=due)
    use_profile(profile)
    from recvault.custody.events import tell
    from recvault.operations.erasing import Erase

    with app.signals(), app.runtime() as runtime:
        if runtime.has_ledger:
            runtime.prepare_store()
        if not dry_run:
            tell(runtime.records, "erase", now=now(), reference=reference)
        erased = Erase(runtime=runtime, criteria=criteria, reference=reference or "", due=due, dry_run=dry_run).run()
    if as_json:
        print_json(erased.document())
    else:
        _print(erased)
    return app.exit_code(erased.exit_code)


def use_profile(profile: str | None) -> None:
    """Take the bucket's credentials from a profile alone: keys in the environment would come first."""
    if profile is not None:
        os.environ["AWS_PROFILE"] = profile
        for name in _KEYS:
            os.environ.pop(name, None)


def criteria_of(
    numbers: tuple[str, ...],
    calls: tuple[str, ...],
    recordings: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
) -> Criteria | None:
    """Return what is asked for; None if nothing is."""
    from recvault.catalog.flatten import digits
    from recvault.models import Window
    from recvault.operations.erasing import Criteria

    check_window(since, until)
    if any(len(digits(each)) < 4 for each in numbers):
        raise click.UsageError("--number needs the whole number, with at least four digits")
    if not (numbers or calls or recordings):
        return None
    found = tuple(digits(each) for each in numbers)
    return Criteria(numbers=found, calls=calls, recordings=recordings, window=Window(since, until))


def check_reference(reference: str | None, numbers: tuple[str, ...], *, due: bool) -> None:
    """Refuse a text for the record that is missing, or that has the number."""
    from recvault.catalog.flatten import digits

    if not due and not (reference or "").strip():
        raise click.UsageError("--reference is needed: it is the only trace of why, for example a case number")
    if any(digits(each) in digits(reference or "") for each in numbers):
        raise click.UsageError("--reference contains the number: it would stay in the bucket for ever")


def _print(erased: Erased) -> None:
    from recvault.cli.tables import print_table

    if erased.recordings:
        rows = [
            (
                each.provider,
                each.account_id,
                each.recording_id,
                words(each.outcome),
                each.versions,
                _why(each.refused),
            )
            for each in erased.recordings
        ]
        print_table(("provider", "account", "recording", "outcome", "versions", "why"), rows, prose=("why",))
    told = ", ".join(f"{count:,} {words(name)}" for name, count in sorted(erased.counts.items()))
    click.echo(told or "nothing to erase", err=True)
    if erased.quarantined:
        click.echo(f"rows in quarantine: {erased.quarantined:,}", err=True)
    if erased.unreadable:
        keys = ", ".join(erased.unreadable[:3])
        click.echo(f"{len(erased.unreadable):,} objects could not be read and may have matched: {keys}", err=True)


def words(outcome: str) -> str:
    """Return an outcome as people read it."""
    return outcome.replace("_", " ")


def _why(refused: list[dict[str, object]]) -> str:
    return "; ".join(dict.fromkeys(f"{each['why']}{_until(each['until'])}" for each in refused))


def _until(until: object) -> str:
    return f" until {until}" if until else ""
