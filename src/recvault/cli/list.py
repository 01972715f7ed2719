"""`recvault list`: recordings that the ledger knows, the newest first."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from recvault.cli.app import App, question
from recvault.cli.backfill import Moment, check_window
from recvault.models import State

if TYPE_CHECKING:
    from recvault.app.source_status import Inquiry

SCHEMA = "recvault/list/v1"
SHOWN = 50  # recordings, on a terminal without --limit
COLUMNS = ("created", "source", "recording", "state", "bytes", "call", "account", "sidecar key")


@click.command("list")
@click.option("--call", metavar="ID", help="Only recordings of this call.")
@click.option("--source", "sources", multiple=True, metavar="NAME", help="Only this source; repeatable.")
@click.option("--since", type=Moment(), help="Only recordings created at or after this date or time.")
@click.option("--until", type=Moment(), help="Only recordings created before this date or time.")
@click.option(
    "--state", type=click.Choice([each.value for each in State]), metavar="STATE", help=f"One of {', '.join(State)}."
)
@click.option("--limit", type=click.IntRange(0), help=f"At most N; default: {SHOWN} on a terminal, else all.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@question
def command(app: App, /, limit: int | None, as_json: bool, **chosen: Any) -> int:
    """List recordings that the ledger knows, the newest first: when, where, in which state, of which call.

    `recvault show ID` tells all about one of them, `recvault get ID` fetches its bytes.
    """
    check_window(chosen["since"], chosen["until"])
    most = SHOWN if limit is None and sys.stdout.isatty() and not as_json else limit
    with app.inquiry() as inquiry:
        for name in chosen["sources"]:
            inquiry.source(name)
        # One more than is shown tells whether there are more.
        rows = _found(inquiry, None if most is None else most + 1, **chosen)
        if as_json:
            _print_document(islice(rows, most))
            return 0
        shown = list(islice(rows, most)) if sys.stdout.isatty() else islice(rows, most)
        count = _print_lines(shown)
        if most is not None and next(rows, None) is not None:
            click.echo(f"the {count:,} newest are listed: --limit N lists more", err=True)
        if chosen["call"] and inquiry.has_ledger and inquiry.ledger.fact("calls.incomplete"):
            click.echo(_INCOMPLETE, err=True)
        elif not count:
            click.echo("no recordings", err=True)
    return 0


_INCOMPLETE = (
    "recordings that an earlier version archived have no call in this ledger, and are not among these; to have them, "
    "move the ledger away with all its files while nothing uses it, and make it anew: `recvault rebuild`"
)


def _found(
    inquiry: Inquiry,
    limit: int | None,
    *,
    call: str | None,
    sources: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    state: str | None,
) -> Iterator[dict[str, Any]]:
    from recvault.models import Window

    if not inquiry.has_ledger:
        return iter(())
    return inquiry.ledger.ask.recordings(
        call=call,
        sources=sources or None,
        window=Window(since, until),
        state=State(state) if state else None,
        limit=limit,
    )


def _print_lines(rows: Iterable[dict[str, Any]]) -> int:
    """Print a table on a terminal, else one line per row as it is read; return how many."""
    from recvault.cli.tables import console, plain, show_table

    if isinstance(rows, list):
        if rows:
            cells = [[f"{created:%Y-%m-%d %H:%MZ}", *others] for created, *others in map(_cells, rows)]
            spare = ("sidecar key", "account", "call", "bytes")
            show_table(console(), COLUMNS, cells, seldom=spare, spare=spare, heads=3)
        return len(rows)
    click.echo("\t".join(COLUMNS))
    count = 0
    for row in rows:
        click.echo("\t".join(plain(value) for value in _cells(row)))
        count += 1
    return count


def _cells(row: dict[str, Any]) -> list[Any]:
    from recvault.cli.tables import Size
    from recvault.models import unstamp

    size = None if row["bytes"] is None else Size(row["bytes"])
    names = (row["call_id"], row["account_id"], row["sidecar_key"])
    return [unstamp(row["created_at"]), row["source"], row["recording_id"], row["state"], size, *names]


def _print_document(rows: Iterable[dict[str, Any]]) -> None:
    """Print one document, written as the rows are read: there may be millions."""
    click.echo(f'{{"schema": {json.dumps(SCHEMA)}, "recordings": [', nl=False)
    for number, row in enumerate(rows):
        click.echo(f"{',' if number else ''}\n  {json.dumps(row)}", nl=False)
    click.echo("\n]}")
