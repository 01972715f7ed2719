"""`recvault backfill`: a window of a source's history, or named lists and recordings."""

from __future__ import annotations

import os
import shlex
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from recvault.cli.app import App, clustered, now, print_json, verb
from recvault.discovery.time_slices import EPOCH
from recvault.log.lean_imports import SCREEN, without
from recvault.providers.calendar import EARLIEST, LATEST, clamped

if TYPE_CHECKING:
    from recvault.app.runtime import Runtime
    from recvault.dispatch.backfill import Asked


class Moment(click.ParamType[datetime]):
    """A date or an ISO time; without a zone it is UTC. One outside the calendar of recordings is moved to its end."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            given = datetime.fromisoformat(str(value).strip())
        except ValueError:
            self.fail(f"{value} is not a date or an ISO time, such as 2026-10-01 or 2026-10-01T09:30:00Z", param, ctx)
        moment = clamped(given)
        if moment in (EARLIEST, LATEST) and given.replace(tzinfo=None) != moment.replace(tzinfo=None):
            option = param.opts[0] if param else "time"
            click.echo(f"{option} {value} is taken as {moment:%Y-%m-%d}: no recordings exist beyond it", err=True)
        return moment


def check_window(since: datetime | None, until: datetime | None) -> None:
    """Raise UsageError for a window that cannot contain anything: empty, or in the future."""
    if since and until and since >= until:
        raise click.UsageError("--since must be before --until")
    if since and since >= now():
        raise click.UsageError("--since is in the future")
    if until and until <= EPOCH:
        raise click.UsageError(f"--until is before {EPOCH:%Y}: no provider has recordings that old")


@click.command("backfill")
@click.option("--source", "name", required=True, metavar="NAME", help="The source to archive.")
@click.option(
    "--since",
    type=Moment(),
    help="Recordings created at or after this date or time; default: start_from, or all history.",
)
@click.option("--until", type=Moment(), help="Recordings created before this date or time; default: now.")
@click.option("--call", "calls", multiple=True, metavar="ID", help="Only recordings of this call; repeatable.")
@click.option(
    "--conference", "conferences", multiple=True, metavar="ID", help="Only recordings of this conference; repeatable."
)
@click.option("--room", "rooms", multiple=True, metavar="ID", help="Only recordings of this video room; repeatable.")
@click.option("--recording", "recordings", multiple=True, metavar="ID", help="Only this recording; repeatable.")
@click.option("--oldest-first", is_flag=True, help="Start with the oldest recordings; default: the newest.")
@click.option("--dry-run", is_flag=True, help="Only count what would be archived, by account, month and format.")
@click.option("--workers", type=click.IntRange(1), help="Threads per process; default: transfer.workers.")
@click.option("--processes", type=click.IntRange(1), help="Worker processes; default: transfer.processes.")
@clustered
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON document.")
@verb
def command(
    app: App,
    /,
    name: str,
    dry_run: bool,
    workers: int | None,
    processes: int | None,
    cluster: str | None,
    as_json: bool,
    **given: Any,
) -> int:
    """Archive a source's history, a time range of it, or single calls, rooms or recordings. Resumable, and safe beside
    the daemon."""
    asked = _asked(**given)
    chosen: dict[str, Any] = {"workers": workers, "processes": processes, "cluster": cluster}
    with app.signals(), app.runtime(transfers=not dry_run, **chosen) as runtime:
        start_from = runtime.source(name).start_from
        asked.check(runtime.provider(name))
        if asked.window.until and start_from and not asked.window.since and asked.window.until <= start_from:
            raise click.UsageError(f"--until is before start_from of {name}, {start_from:%Y-%m-%d}: give --since")
        code = _plan(app, runtime, name, asked, as_json) if dry_run else _run(app, runtime, name, asked, as_json)
    return app.exit_code(code)


def _asked(
    since: datetime | None,
    until: datetime | None,
    calls: tuple[str, ...],
    conferences: tuple[str, ...],
    rooms: tuple[str, ...],
    recordings: tuple[str, ...],
    oldest_first: bool,
) -> Asked:
    """Combine the options. UsageError if they contradict each other."""
    with without(*SCREEN):
        from recvault.dispatch.backfill import Asked
    from recvault.models import Scope, Window

    kinds = (("call", calls), ("conference", conferences), ("room", rooms))
    asked = Asked(
        window=Window(since, until),
        scopes=tuple(Scope(kind, each) for kind, ids in kinds for each in dict.fromkeys(ids)),
        recordings=tuple(dict.fromkeys(recordings)),
        oldest_first=oldest_first,
    )
    if not all([*(scope.id for scope in asked.scopes), *recordings]):
        raise click.UsageError("an ID must not be empty")
    if asked.is_named and (since or until):
        raise click.UsageError("--since/--until cannot be combined with --call, --conference, --room or --recording")
    check_window(since, until)
    return asked


def _run(app: App, runtime: Runtime, name: str, asked: Asked, as_json: bool) -> int:
    from recvault.cli.advance import advance
    from recvault.cli.reports import print_report
    from recvault.monitoring.progress import Progress

    progress = Progress(
        line=lambda: next((each for each in runtime.line_facts() if each.source == name), None),
        requests_per_second=runtime.source(name).requests_per_second,
        spending=runtime.spending,
        cores=_cores(runtime),
    )
    with advance(progress, name, shown=app.shows_progress):
        report = runtime.backfill(name, asked, progress)
    if as_json:
        print_json(report.document())
    else:
        print_report(report, resume=f"to continue, run the same command: {_same_command()}")
    return report.exit_code


def _cores(runtime: Runtime) -> int:
    """How many cores its processes can use; those of a cluster's machines are not known, and are no limit here."""
    transfer = runtime.settings.transfer
    return sys.maxsize if transfer.cluster else min(len(os.sched_getaffinity(0)), transfer.processes)


def _plan(app: App, runtime: Runtime, name: str, asked: Asked, as_json: bool) -> int:
    from recvault.cli.plans import print_plan
    from recvault.cli.reports import progress
    from recvault.ledger.expected import Archived
    from recvault.operations import backfill_plan

    with progress(app.shows_progress) as shown:
        made = backfill_plan.make(
            runtime.listed(name),
            asked,
            ledger=Archived(runtime.settings.ledger.path),
            stop=app.stop,
            clock=runtime.clock,
            observer=shown,
        )
    if as_json:
        print_json(made.document())
    else:
        print_plan(made)
    return made.report.exit_code


def _same_command() -> str:
    return shlex.join(["recvault", *sys.argv[1:]])
