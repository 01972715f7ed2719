"""`recvault status`: the state of each source, what was archived recently, and what needs attention."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from recvault.cli.app import App, now, print_json, question
from recvault.errors import ConfigError, LedgerLocked

if TYPE_CHECKING:
    from rich.console import Console

    from recvault.app.source_status import Inquiry
    from recvault.cli.overview import FeedCondition, Overview
    from recvault.ledger import RunningDaemon

SCHEMA = "recvault/status/v1"
COUNTS = ("pending", "failing", "not_ready", "archived", "gone", "external", "dead", "accepted", "quarantined")
SELDOM = (
    "failing",
    "not ready",
    "gone",
    "external",
    "dead",
    "accepted",
    "quarantined",
    "oldest pending",
    "next attempt",
)
STYLES = {  # worst first
    "stale": "bold red",
    "failing": "red",
    "attention": "red",
    "slow": "yellow",
    "unconfigured": "yellow",
    "new": "dim",
    "ok": "green",
}
WATCH_SECONDS = 2.0
_FOLDED = 20  # characters of two lines that may stay empty if a word does not fit
_NOT_SAFE = 3
SPARE = ("last success", "lag", "accepted", "external", "gone")  # left out of a narrow table, the first one first
_WIDE = 150  # terminal width from which everything is shown; --json always shows it
NO_LEDGER = "no ledger yet; `recvault sync` or `recvault run` creates it"


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--watch", is_flag=True, help="Refresh until Ctrl-C.")
@click.option("--exit-code", "tell_by_code", is_flag=True, help="Exit with 3 if the verdict is not safe.")
@question
def command(app: App, as_json: bool, watch: bool, tell_by_code: bool) -> int:
    """Show a verdict (safe, or why not), then each source's condition, watermark, lag, counts and next attempts."""
    from recvault.cli.overview import look

    if as_json and watch:
        raise click.UsageError("--json and --watch cannot be combined")
    with app.signals() if watch else nullcontext(), _inquiry(app) as inquiry:
        if watch:
            _watch(app, inquiry)
            return app.exit_code(0)
        overview = look(inquiry, now())
        if as_json:
            print_json(_document(overview))
        else:
            _print(overview)
    return _NOT_SAFE if tell_by_code and overview.unsafe else 0


@contextmanager
def _inquiry(app: App) -> Iterator[Inquiry]:
    """Read the state. If the configuration is invalid, still report a daemon that runs with an older one."""
    try:
        with app.inquiry() as inquiry:
            yield inquiry
    except ConfigError:
        from recvault import config
        from recvault.ledger import running_daemon

        if (daemon := running_daemon(config.ledger_path(app.config))) is not None:
            click.echo(f"{_runs(daemon)}, with the previous configuration", err=True)
        raise


def _watch(app: App, inquiry: Inquiry) -> None:
    """Refresh until a signal. A busy ledger is reported and read again later."""
    from recvault.cli.overview import look
    from recvault.cli.screen import Screen

    screen = Screen() if sys.stdout.isatty() else None
    while True:
        try:
            overview = look(inquiry, now())
        except LedgerLocked as error:
            words = f"{error.message}; retrying in {WATCH_SECONDS:.0f} s"
            click.echo(words, err=True) if screen is None else screen.show(partial(_say, words))
        else:
            _print(overview) if screen is None else screen.show(partial(_show, overview, clock=True))
        if app.stop.asked.wait(WATCH_SECONDS):
            return


def _say(words: str, console: Console) -> None:
    from rich.text import Text

    console.print(Text(words))


def _print(overview: Overview) -> None:
    """The daemon on stderr, the table on stdout; on a terminal all else below it, without one the trouble on stderr."""
    from recvault.cli.tables import console, print_table

    if sys.stdout.isatty():
        _show(overview, console())
        return
    click.echo(_daemon(overview), err=True)
    names = ("source", "account", "watermark", "lag", "last success")
    old = tuple(each for each in COUNTS if each != "failing")
    columns = [*names, *map(_words, old), "oldest pending", "next attempt", "failing", "last archived", "condition"]
    rows = [_cells(each, overview.now) for each in overview.sources]
    print_table(columns, [[row[column] for column in columns] for row in rows])
    for line in [*map(_trouble, _troubled(overview)), *_hand(overview)]:
        click.echo(line, err=True)


def _show(overview: Overview, console: Console, *, clock: bool = False) -> None:
    """All of it, for people."""
    from rich.text import Text

    from recvault.cli import bars
    from recvault.cli.tables import show_table

    verdict, *lines = _daemon(overview).splitlines()
    if cut := _cut_verdict(overview, console.width):
        verdict = cut
    console.print(Text(verdict, "bold red" if overview.unsafe else "bold green"))
    for below in lines:
        console.print(Text(below))
    if clock:
        console.print(Text(f"{overview.now:%H:%M:%S} UTC", "dim"))
    columns = ["source", "account", "condition", "lag", "last success", *map(_words, COUNTS)]
    if console.width >= _WIDE:
        columns += ["watermark", "oldest pending", "next attempt", "last archived"]
    rows = [_cells(each, overview.now) for each in overview.worst_first]
    cells = [[row[name] for name in columns] for row in rows]
    show_table(console, columns, cells, seldom=SELDOM, heads=3, names=("account",), spare=SPARE)
    console.print()
    for each in _troubled(overview):
        line = Text(_trouble(each))
        line.highlight_words([f" {each.condition}: "], STYLES[each.condition])
        console.print(line)
    for text in _hand(overview):
        console.print(Text(text))
    if overview.days:
        console.print(Text("\narchived per day", "dim"))
        for text in bars.lines(_series(overview), encoding=console.encoding, width=console.width):
            console.print(Text(text))


def _daemon(overview: Overview) -> str:
    from recvault.cli.tables import Beside, cell

    lines = [cell(_verdict(overview))]
    if overview.daemon is None:
        lines.append("no daemon is running; nothing is polled automatically")
    else:
        ago = cell(Beside(overview.daemon.started_at, overview.now))
        lines.append(f"{_runs(overview.daemon)} ({ago})")
        lines += [
            cell(f"the daemon: {trouble}") for trouble in overview.daemon_troubles[1:]
        ]  # the verdict has the first
    if not overview.has_ledger:
        lines.append(NO_LEDGER)
    return "\n".join(lines)


def _runs(daemon: RunningDaemon) -> str:
    from recvault.timefmt import when

    return f"the daemon has been running since {when(daemon.started_at)}, pid {daemon.pid}"


def _verdict(overview: Overview) -> str:
    """One sentence: safe, or the worst of what says otherwise."""
    if unsafe := overview.unsafe:
        more = f" (and {len(unsafe) - 1} more)" if len(unsafe) > 1 else ""
        return f"not safe: {unsafe[0]}{more}"
    archived = sum(each.feed.standing.archived for each in overview.sources)
    waiting = sum(each.feed.standing.pending + each.feed.standing.not_ready for each in overview.sources)
    return f"safe: {archived:,} archived, {waiting:,} waiting, none lost"


def _cut_verdict(overview: Overview, width: int) -> str | None:
    """On at most two terminal lines if it is about a source, because its full message is shown below."""
    from recvault.cli.tables import cell, shortened

    if not overview.at_risk or overview.daemon_troubles or not overview.has_ledger:
        return None
    worst, more = overview.at_risk[0], len(overview.at_risk) - 1
    feed = worst.feed.feed
    accounts = [each.feed.feed.account_id for each in overview.sources if each.feed.feed.source == feed.source]
    name = f"{feed.source} {shortened(accounts)[feed.account_id]}" if len(accounts) > 1 else feed.source
    end = f" (and {more} more)" if more else ""
    words, room = cell(f"not safe: {name}: {worst.words}"), 2 * width - len(end) - _FOLDED
    return f"{words if len(words) <= room else words[: room - 3] + '...'}{end}"


def _troubled(overview: Overview) -> list[FeedCondition]:
    """Sources with problems, worst first."""
    order = list(STYLES)
    return sorted((each for each in overview.sources if not each.is_well), key=lambda each: order.index(each.condition))


def _trouble(each: FeedCondition) -> str:
    from recvault.cli.tables import cell

    return cell(f"{each.feed.feed.source} {each.feed.feed.account_id} {each.condition}: {each.words}")


def _hand(overview: Overview) -> list[str]:
    """What needs attention, in a line or two."""
    from recvault.cli.tables import cell
    from recvault.ledger.lateness import offered_words

    hand, missed = overview.hand, [cell(each.words) for each in overview.missed]
    found = overview.offered_since.items()
    missed += [cell(f"{name} {account_id}: {offered_words(oldest)}") for (name, account_id), oldest in found]
    if not hand:
        return missed
    counts = [(hand.dead, "dead"), (hand.failing, "failing"), (hand.quarantined, "in quarantine")]
    said = ", ".join(f"{count:,} {word}" for count, word in counts if count)
    ways = "`recvault failures` lists them" + (", `recvault retry --all` makes them due now" if hand.dead else "")
    lines = [f"{said}: {ways}"]
    if hand.reasons:
        lines.append(cell("most often: " + ", ".join(f"{reason} {count:,}" for reason, count in hand.reasons)))
    return [*lines, *missed]


def _series(overview: Overview) -> list[Any]:
    """One for each source over all its accounts, and for sources no longer configured that archived something."""
    from recvault.cli.bars import Series

    met = {day.source for day in overview.days}
    shown = [each for each in overview.sources if each.condition != "unconfigured" or each.feed.feed.source in met]
    names = list(dict.fromkeys(each.feed.feed.source for each in shown))
    first, last = overview.first_day.date(), overview.now.date()
    return [
        Series.of(
            name,
            first,
            last,
            [(each.day, each.recordings, each.bytes) for each in overview.days if each.source == name],
        )
        for name in names
    ]


def _cells(each: FeedCondition, moment: datetime) -> dict[str, Any]:
    """A row by its columns' names."""
    from recvault.cli.tables import Beside, Span, Styled

    feed = each.feed
    lag = _lag_beyond_lookback(each, moment)

    def beside(at: datetime | None, *, awaited: bool = False) -> Beside | None:
        return None if at is None else Beside(at, moment, awaited)

    return {
        "source": feed.feed.source,
        "account": feed.feed.account_id,
        "condition": Styled(each.condition, STYLES[each.condition]),
        "watermark": feed.watermark,
        "lag": None if lag is None else Span(lag),
        "last success": beside(feed.last_success_at),
        **{_words(name): getattr(feed.standing, name) for name in COUNTS},
        "oldest pending": beside(feed.oldest_pending_at),
        "next attempt": beside(feed.next_attempt_at, awaited=True),
        "last archived": beside(feed.last_archived_at),
    }


def _words(name: str) -> str:
    return name.replace("_", " ")


def _document(overview: Overview) -> dict[str, Any]:
    from recvault.monitoring.report import iso

    daemon, hand = overview.daemon, overview.hand
    attention = {
        "dead": hand.dead,
        "failing": hand.failing,
        "quarantined": hand.quarantined,
        "reasons": [{"reason": reason, "count": count} for reason, count in hand.reasons],
    }
    return {
        "schema": SCHEMA,
        "verdict": {"safe": not overview.unsafe, "reasons": overview.unsafe},
        "daemon": None
        if daemon is None
        else {
            "pid": daemon.pid,
            "started_at": iso(daemon.started_at),
            "errors": list(daemon.troubles),
            "troubles": list(daemon.troubles),  # deprecated: errors
        },
        "sources": [_source(each, overview) for each in overview.sources],
        "needs_attention": attention,
        "needs_hand": attention,  # deprecated: needs_attention
        "missed_by_polls": [
            {
                "source": each.source,
                "account_id": each.account_id,
                "recordings": each.late.recordings,
                "lateness_seconds": round(each.late.lateness.total_seconds()),
                "lookback_seconds": round(each.lookback.total_seconds()),
                "lookback_needed_seconds": round(each.late.needed.total_seconds()),
                "found_at": iso(each.late.found_at),
            }
            for each in overview.missed
        ],
    }


def _source(each: FeedCondition, overview: Overview) -> dict[str, Any]:
    from recvault.monitoring.report import iso

    feed, counts = each.feed.feed, asdict(each.feed.standing)
    days = [day for day in overview.days if (day.source, day.account_id) == (feed.source, feed.account_id)]
    return {
        "source": feed.source,
        "provider": feed.provider,
        "account_id": feed.account_id,
        "condition": each.condition,
        "message": each.words,
        "words": each.words,  # deprecated: message
        "watermark": iso(each.feed.watermark),
        "lag_seconds": _lag(each, overview.now),
        "lag_beyond_lookback_seconds": _lag_beyond_lookback(each, overview.now),
        "last_success_at": iso(each.feed.last_success_at),
        "last_archived_at": iso(each.feed.last_archived_at),
        "counts": {name: counts[name] for name in COUNTS},
        "oldest_pending_at": iso(each.feed.oldest_pending_at),
        "next_attempt_at": iso(each.feed.next_attempt_at),
        "offered_since": iso(overview.offered_since.get((feed.source, feed.account_id))),
        "error": each.feed.error,
        "archived_per_day": [
            {"day": day.day.isoformat(), "recordings": day.recordings, "bytes": day.bytes} for day in days
        ],
    }


def _lag_beyond_lookback(each: FeedCondition, moment: datetime) -> int | None:
    """Seconds; 0 where all is well: a watermark stays a lookback behind on purpose."""
    lag = _lag(each, moment)
    return None if lag is None else max(0, lag - round(each.lookback.total_seconds()))


def _lag(each: FeedCondition, moment: datetime) -> int | None:
    watermark = each.feed.watermark
    return None if watermark is None else max(0, round((moment - watermark).total_seconds()))
