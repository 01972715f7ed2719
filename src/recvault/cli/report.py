"""`recvault report`: one HTML file about a time range of the archive."""

from __future__ import annotations

import contextlib
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from recvault.cli.app import App, now, question, say_error
from recvault.cli.archives import chosen_archive, of_archive, shown_url
from recvault.cli.backfill import Moment, check_window
from recvault.cli.outputs import check_place, to_file
from recvault.errors import ConfigError, RecvaultError
from recvault.monitoring.risks import Risk

if TYPE_CHECKING:
    from recvault.config.settings import ArchiveSettings
    from recvault.reporting.figures import FromLedger
    from recvault.reporting.sums import Sums

DAYS = 30
_STDOUT = Path("-")


@click.command("report")
@click.option("--since", type=Moment(), help=f"From this date or time; default: {DAYS} days before --until.")
@click.option("--until", type=Moment(), help="Until before this date or time; default: now.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Write to this file, or to stdout (-); default: a new file in the current directory.",
)
@of_archive
@question
def command(
    app: App,
    since: datetime | None,
    until: datetime | None,
    output: Path | None,
    archive: str | None,
    endpoint_url: str | None,
    region: str | None,
) -> int:
    """Write a report as one HTML file: is everything here and proven, what is missing, how much, how late.

    It is made from the catalog in the bucket, and from the ledger if there is one. It loads nothing from the network.
    """
    from recvault.reporting.figures import MANIFEST_LATE, figures
    from recvault.reporting.html_page import page

    check_window(since, until)
    made_at = now()
    end = min(until or made_at, made_at)
    begin = since or end - timedelta(days=DAYS)
    place = output or Path(f"recvault-report-{begin:%Y-%m-%d}-{end - timedelta(microseconds=1):%Y-%m-%d}.html")
    if output is None and place.exists():
        raise click.UsageError(f"{place} exists: use --output PATH")
    if output != _STDOUT:
        check_place(place)  # now: the figures may take minutes
    where, source = chosen_archive(app, archive, endpoint_url, region)
    with app.signals():
        sums = _sums(app, source, begin, end, made_at - MANIFEST_LATE)
    ledger = None if archive else _ledger(app, begin, end, made_at - MANIFEST_LATE)
    found = figures(sums, archive=shown_url(where), since=begin, until=end, made_at=made_at, ledger=ledger)
    _write(page(found), output, place)
    if not app.quiet and output != _STDOUT:
        click.echo(f"{place}: {found.headline}")
    return 0


def _write(document: str, output: Path | None, place: Path) -> None:
    text = document.encode("utf-8", "backslashreplace")
    if output == _STDOUT:
        sys.stdout.buffer.write(text)
        return
    with to_file(place) as file:
        file.write(text)


def _sums(app: App, where: ArchiveSettings, since: datetime, until: datetime, listed_by: datetime) -> Sums:
    from recvault.app.opened_store import opened
    from recvault.catalog.spawned import require
    from recvault.config.settings import TransferSettings
    from recvault.reporting.gathering import gathered

    require()
    with contextlib.closing(opened(where, TransferSettings(), app.stop, _nothing)) as store:
        prefix = f"{where.prefix}/" if where.prefix else ""
        return gathered(store, prefix, since, until, listed_by)


def _nothing() -> NoReturn:
    raise AssertionError("a report writes nothing to the bucket")


def _ledger(app: App, since: datetime, until: datetime, settled_by: datetime) -> FromLedger | None:
    """Return what the ledger knows of failures; None if there is no ledger, or it cannot be read."""
    from recvault.cli.hints import hint
    from recvault.cli.overview import look
    from recvault.reporting.figures import Failing, FromLedger

    try:
        with app.inquiry() as inquiry:
            if not inquiry.has_ledger:
                return None
            reasons = look(inquiry, now()).verdict.reasons
            failing = inquiry.ledger.ask.failure_reasons()
            settled = inquiry.ledger.ask.archived_between(since, until, settled_by)
    except RecvaultError as error:
        if isinstance(error, ConfigError):
            raise
        say_error(error)
        return None
    return FromLedger(
        settled=settled,
        failing=tuple(
            Failing(**{each: row[each] for each in ("source", "reason", "state", "count")}, advice=hint(row, app.typed))
            for row in failing
        ),
        risks=tuple(each.sentence for each in reasons if each.risk is not Risk.DEAD),
    )
