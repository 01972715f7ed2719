"""`recvault find`: recordings by number, call, time or source, by the bucket alone."""

from __future__ import annotations

import csv
import heapq
import json
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from recvault.cli.app import App, question
from recvault.cli.archives import chosen_archive, of_archive, of_selection, open_archive, shown_url
from recvault.cli.backfill import check_window
from recvault.exporting.spreadsheet import COLUMNS, spreadsheet_row

if TYPE_CHECKING:
    from recvault.reading.archive import Archive
    from recvault.reading.recordings import ArchivedRecording

SCHEMA = "recvault/find/v1"
SHOWN = 50  # recordings, on a terminal without --limit
_TABLE = {  # what a terminal shows
    "created, UTC": "created_at",
    "source": "source",
    "recording": "recording_id",
    "from": "from_number",
    "to": "to_number",
    "seconds": "duration_seconds",
    "call": "call_id",
}
_UNREADABLE_SHOWN = 5
_UNREADABLE = 3  # exit code: something may be missing in the answer
_Row = dict[str, Any]


@click.command("find")
@of_selection
@click.option("--recording", "recording_id", metavar="ID", help="Only this recording.")
@click.option("--limit", type=click.IntRange(0), help=f"The N newest; default: {SHOWN} on a terminal, else all.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV with a header, safe to open in a spreadsheet.")
@of_archive
@question
def command(
    app: App,
    /,
    limit: int | None,
    as_json: bool,
    as_csv: bool,
    archive: str | None,
    endpoint_url: str | None,
    region: str | None,
    **chosen: Any,
) -> int:
    """Find recordings in the bucket, the oldest first: who called whom, when, and where the audio is.

    It needs the right to list and read the bucket, and no ledger. It reads the catalog where there is one, else every
    sidecar of these days. `recvault get ID` fetches a recording's bytes.
    """
    check_window(chosen["since"], chosen["until"])
    if as_json and as_csv:
        raise click.UsageError("give --json or --csv, not both")
    is_table = sys.stdout.isatty() and not (as_json or as_csv)
    most = SHOWN if limit is None and is_table else limit
    where, catalog = chosen_archive(app, archive, endpoint_url, region)
    with open_archive(app, where, catalog) as opened, app.signals():
        found = _Found(opened, _rows(opened, chosen))
        rows = found.newest(most)
        if as_json:
            _print_json(shown_url(where), opened, rows)
        elif as_csv:
            _print_csv(rows)
        elif is_table:
            _show(list(rows))
        else:
            _print_lines(rows)
        return _tell(app, opened, found, most)


class _Found:
    """What was found, and how many."""

    def __init__(self, archive: Archive, rows: Iterator[_Row]) -> None:
        self._archive, self._rows = archive, rows
        self.count = 0

    def newest(self, limit: int | None) -> Iterable[_Row]:
        """Return the newest, the oldest of them first; read as they are returned if all are wanted, and sorted."""
        if limit is not None:
            return sorted(heapq.nlargest(limit, self._counted(), key=_age), key=_age)
        first = next(self._rows, None)
        rows = self._counted([] if first is None else [first])
        return rows if self._archive.read_from == "catalog" else sorted(rows, key=_age)

    def _counted(self, before: Iterable[_Row] = ()) -> Iterator[_Row]:
        for rows in (before, self._rows):
            for row in rows:
                self.count += 1
                yield row


def _age(row: _Row) -> tuple[str, str]:
    return (row["created_at"], row["recording_id"])


def _rows(archive: Archive, chosen: dict[str, Any]) -> Iterator[_Row]:
    try:
        found = archive.recordings(**chosen)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    return map(_row, found)


def _row(recording: ArchivedRecording) -> _Row:
    return {name: recording.row[name] for name in COLUMNS}


def _print_json(url: str, archive: Archive, rows: Iterable[_Row]) -> None:
    """Print one document, written as the rows are read: there may be millions."""
    click.echo(f'{{"schema": {json.dumps(SCHEMA)}, "archive": {json.dumps(url)}, "recordings": [', nl=False)
    for number, row in enumerate(rows):
        click.echo(f"{',' if number else ''}\n  {json.dumps(row)}", nl=False)
    as_of = archive.catalog.as_of if archive.read_from == "catalog" else None
    told = {"read_from": archive.read_from, "catalog_as_of": as_of.isoformat() if as_of else None}
    unread = [{"key": each.key, "reason": each.reason} for each in archive.unreadable]
    click.echo(f"\n], {json.dumps({**told, 'unreadable': unread})[1:]}")


def _print_csv(rows: Iterable[_Row]) -> None:
    written = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
    written.writeheader()
    for row in rows:
        written.writerow(spreadsheet_row(row))


def _print_lines(rows: Iterable[_Row]) -> None:
    from recvault.cli.tables import plain

    click.echo("\t".join(COLUMNS))
    for row in rows:
        click.echo("\t".join(plain(_cell(value)) for value in row.values()))


def _show(rows: list[_Row]) -> None:
    from recvault.cli.tables import console, show_table

    cells = [[_cell(row[name]) for name in _TABLE.values()] for row in rows]
    for cell in cells:
        cell[0] = cell[0].text[:16].replace("T", " ")
    if cells:
        spare = ("call", "seconds", "source")
        show_table(console(), list(_TABLE), cells, seldom=[*spare, "from", "to"], spare=spare, heads=3)


def _cell(value: Any) -> Any:
    from recvault.cli.tables import Unmasked

    if isinstance(value, float):
        return f"{value:g}"
    return Unmasked(value or "") if value is None or isinstance(value, str) else value


def _tell(app: App, archive: Archive, found: _Found, limit: int | None) -> int:
    """Say beside the answer what it was read from, and what may be missing in it. Return the exit code."""
    if not app.quiet:
        _tell_source(archive, found, limit)
    if not archive.unreadable:
        return app.exit_code(0)
    click.echo(f"sidecars that could not be read, {len(archive.unreadable):,}: something may be missing", err=True)
    for each in archive.unreadable[:_UNREADABLE_SHOWN]:
        click.echo(f"  {each.key}: {each.reason}", err=True)
    click.echo("  run `recvault verify` to find what differs", err=True)
    return app.exit_code(_UNREADABLE)


def _tell_source(archive: Archive, found: _Found, limit: int | None) -> None:
    if not found.count:
        click.echo("no recordings", err=True)
    elif limit is not None and found.count > limit:
        click.echo(f"the {limit:,} newest of {found.count:,} are listed: --limit N lists more", err=True)
    as_of = archive.catalog.as_of
    if archive.read_from == "catalog" and as_of is not None:
        click.echo(f"by the catalog of {as_of:%Y-%m-%d %H:%MZ}: what was archived since is not in it", err=True)
    elif as_of is not None:
        click.echo("by the sidecars: the catalog does not hold numbers in plain", err=True)
    else:
        click.echo("by the sidecars: there is no catalog (`recvault catalog` writes one, which is faster)", err=True)
