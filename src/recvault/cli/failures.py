"""`recvault failures`: dead and failing recordings, unreadable rows, and accepted losses."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import click

from recvault.cli.app import App, now, print_json, question, say_error

if TYPE_CHECKING:
    from recvault.app.source_status import Inquiry

SCHEMA = "recvault/failures/v1"
ACCEPTED_SCHEMA = "recvault/failures-accepted/v1"
TIMES = ("failing_since", "next_attempt_at", "first_seen_at", "accepted_at")
SHOWN = 20  # recordings in a table without --limit
_RECORDINGS = (
    "source",
    "recording_id",
    "state",
    "reason",
    "attempts",
    "failing_since",
    "next_attempt_at",
    "message",
)
_QUARANTINED = ("source", "account_id", "recording_id", "reason", "first_seen_at", "body")
_ACCEPTED = ("source", "account_id", "recording_id", "accepted_at", "message")

Row = dict[str, Any]


@dataclass(slots=True, kw_only=True)
class _Found:
    """The result of the query."""

    reasons: list[Row] = field(default_factory=list)
    failures: list[Row] = field(default_factory=list)
    quarantined: list[Row] = field(default_factory=list)
    unreadable: int = 0  # rows in quarantine, listed or not
    accepted: list[Row] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Number of dead or failing recordings, listed or not."""
        return sum(row["count"] for row in self.reasons)


@click.group("failures", invoke_without_command=True)
@click.option("--source", "sources", multiple=True, metavar="NAME", help="Only this source; repeatable.")
@click.option("--reason", "reasons", multiple=True, metavar="REASON", help="Only this reason; repeatable.")
@click.option("--limit", type=click.IntRange(0), help=f"List at most N recordings; default: {SHOWN}, with --json all.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> None:
    """List dead and failing recordings by reason, with what to do, then each one with its attempts.

    Quarantined rows follow. Use `failures accept` for recordings that can never be archived.
    """
    if ctx.invoked_subcommand is None:
        _list(**options)


@question
def _list(app: App, sources: tuple[str, ...], reasons: tuple[str, ...], limit: int | None, as_json: bool) -> int:
    with app.inquiry() as inquiry:
        for name in sources:
            inquiry.source(name)
        found = _find(inquiry, sources, reasons, limit if limit is not None or as_json else SHOWN)
        stranded = [each for each in inquiry.stranded() if not (sources or reasons)]
    if as_json:
        print_json(
            {
                "schema": SCHEMA,
                "reasons": found.reasons,
                "failures": found.failures,
                "failures_total": found.total,
                "quarantined": found.quarantined,
                "quarantined_total": found.unreadable,
                "accepted": found.accepted,
                "stranded": [asdict(each) for each in stranded],
            }
        )
    else:
        for each in stranded:
            say_error(each.error)
        _show(found, app.typed)
    return 0


def _find(inquiry: Inquiry, sources: tuple[str, ...], reasons: tuple[str, ...], limit: int | None) -> _Found:
    """Query the ledger. UnknownName for a reason that does not exist.

    Reasons belong to recordings, so with one, quarantined rows are left out.
    """
    from recvault.cli.hints import check_reasons

    check_reasons(reasons, _present(inquiry) if reasons else ())
    if not inquiry.has_ledger:
        return _Found()
    ask, of, why = inquiry.ledger.ask, sources or None, reasons or None
    quarantined = [] if why else [row for row in ask.quarantined() if of is None or row["source"] in of]
    return _Found(
        reasons=ask.failure_reasons(of, why),
        failures=ask.failures(limit, of, why),
        quarantined=quarantined[:limit],
        unreadable=len(quarantined),
        accepted=[] if why else ask.accepted(of),
    )


def _present(inquiry: Inquiry) -> set[str]:
    """Return the reasons of dead and failing recordings, at any source."""
    return {row["reason"] for row in inquiry.ledger.ask.failure_reasons()} if inquiry.has_ledger else set()


def _show(found: _Found, typed: Callable[[str], str]) -> None:
    """Print reasons with what to do; then recordings, unreadable rows and accepted losses."""
    from recvault.cli.hints import hint, print_reasons
    from recvault.cli.tables import console, print_table

    if found.reasons and sys.stdout.isatty():
        print_reasons(found.reasons, typed, console().width)
        click.echo()
    elif found.reasons:
        columns = ("source", "reason", "state", "count", "failing since", "what to do")
        rows = [
            [*(_shown(row, name.replace(" ", "_")) for name in columns[:-1]), hint(row, typed)] for row in found.reasons
        ]
        print_table(columns, rows, prose=("what to do",))
    for names, listed, prose in (
        (_RECORDINGS, found.failures, ("message",)),
        (_QUARANTINED, found.quarantined, ("reason", "body")),
        (_ACCEPTED, found.accepted, ("message",)),
    ):
        if listed:
            heads = [_HEADS.get((names, name), name.replace("_", " ")) for name in names]
            print_table(heads, [[_shown(row, name) for name in names] for row in listed], prose=prose)
    if found.total > len(found.failures):
        click.echo(f"{len(found.failures):,} of {found.total:,} recordings are listed: --limit N lists more", err=True)
    if found.unreadable:
        total = f"{found.unreadable:,} {'row' if found.unreadable == 1 else 'rows'} in quarantine"
        left = "" if len(found.quarantined) == found.unreadable else f"{len(found.quarantined):,} of "
        click.echo(f"{left}{total}: {_UNREADABLE}", err=True)
    if not (found.reasons or found.unreadable or found.accepted):
        click.echo("no failing, dead or quarantined recordings")


_UNREADABLE = "report one of them with the output of `recvault failures --json`"
_BODY_SHOWN = 200  # characters of an unreadable row in a table
_HEADS = {
    (_QUARANTINED, "source"): "quarantined in",
    (_QUARANTINED, "account_id"): "account",
    (_ACCEPTED, "source"): "accepted in",
    (_ACCEPTED, "account_id"): "account",
}


def _shown(row: Row, name: str) -> Any:
    """Format a value for people: times to the second, only the beginning of a row."""
    from recvault.models import unstamp

    if name == "body" and len(row[name]) > _BODY_SHOWN:
        return f"{row[name][:_BODY_SHOWN]}..."
    return unstamp(row[name]) if name in TIMES and row[name] else row[name]


@command.command("accept")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--reason", required=True, metavar="TEXT", help="The reason; stored and shown with the recording.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@question
def accept(app: App, ids: tuple[str, ...], reason: str, as_json: bool) -> int:
    """Accept that these recordings can never be archived: no longer exit code 3, no longer an alarm.

    They stay listed and counted as accepted, with reason, user and time. `recvault retry ID` takes one back. The bucket
    gets a record of it first, below events/.
    """
    from recvault.custody.events import tell
    from recvault.log.lines import get_logger

    if not reason.strip():
        raise click.UsageError("--reason is empty: say why these recordings are accepted as lost")
    log = get_logger("recvault.failures")
    with app.runtime() as runtime:
        rows = {row["id"]: row for text in ids for row in runtime.find(text)}
        lost = [row for row in rows.values() if row["state"] not in ("archived", "accepted", "gone", "external")]
        if lost:
            names = ("provider", "account_id", "recording_id", "state")
            told = [{name: row[name] for name in names} for row in lost]
            tell(runtime.records, "failures accept", now=now(), reference=reason.strip(), facts=told)
        taken = runtime.ledger.accept(rows, f"{reason.strip()} (by {_user()})", now())
    for row_id in taken:
        row = rows[row_id]
        log.warning("failure.accepted", source=row["source"], recording_id=row["recording_id"], reason=reason.strip())
    left = [row for row_id, row in rows.items() if row_id not in taken]
    if as_json:
        names = ("source", "account_id", "recording_id", "state")
        print_json(
            {
                "schema": ACCEPTED_SCHEMA,
                "accepted": [{name: rows[row_id][name] for name in names[:-1]} for row_id in taken],
                "unchanged": [{name: row[name] for name in names} for row in left],
            }
        )
    else:
        _tell(len(taken), left)
    return 0


def _tell(taken: int, left: list[Row]) -> None:
    from recvault.cli.tables import cell

    click.echo(f"{taken:,} {'recording' if taken == 1 else 'recordings'} accepted as lost")
    for row in left:
        why = "a transfer is running" if row["lease"] else f"it is {row['state']} already"
        click.echo(cell(f"{row['recording_id']} of {row['source']} is unchanged: {why}"), err=True)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in a container
        return "an unnamed user"
