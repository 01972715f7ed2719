"""`status` on a terminal and in a pipe: the verdict, the daemon, the sources, worst first, and what to do."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from recvault.cli import bars
from recvault.cli.status_document import COUNTS, lag_beyond_lookback
from recvault.cli.tables import Beside, Span, Styled, cell, console, print_table, shortened, show_table
from recvault.ledger.lateness import offered_words
from recvault.timefmt import when

if TYPE_CHECKING:
    from rich.console import Console

    from recvault.cli.overview import FeedCondition, Overview
    from recvault.ledger import RunningDaemon
    from recvault.monitoring.risks import Reason

SELDOM = (
    "failing",
    "not ready",
    "gone",
    "external",
    "dead",
    "accepted",
    "erased",
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
# Omitted in a narrow table, the first one first.
SPARE = (
    "last success",
    "lag",
    "accepted",
    "erased",
    "external",
    "gone",
)
NO_LEDGER = "no ledger yet; `recvault sync` or `recvault run` creates it"
_WIDE = 150  # terminal width from which everything is shown; --json always shows it
COMMAND = " " * 4  # before a command to copy
_MOST_REASONS = 5  # each shown with its command; `status NAME` shows those of one source

Typed = Callable[[str], str]
"""A command as the operator must type it, with the configuration that this one was given."""


def print_page(overview: Overview, typed: Typed) -> None:
    """Print verdict and daemon on stderr, the table on stdout; the rest below it on a terminal, else on stderr."""
    if sys.stdout.isatty():
        show_page(overview, console(), typed)
        return
    click.echo("\n".join([sentence(overview), *_daemon(overview)]), err=True)
    names = ("source", "account", "watermark", "lag", "last success")
    old = tuple(each for each in COUNTS if each != "failing")
    columns = [*names, *map(_words, old), "oldest pending", "next attempt", "failing", "last archived", "condition"]
    rows = [_cells(each, overview.now) for each in overview.sources]
    print_table(columns, [[row[column] for column in columns] for row in rows])
    for line in [*map(_trouble, _troubled(overview)), *_hand(overview)]:
        click.echo(line, err=True)


def show_page(overview: Overview, console: Console, typed: Typed, *, clock: bool = False) -> None:
    """Print everything for people."""
    from rich.text import Text

    console.print(Text(sentence(overview, console.width), "bold green" if overview.verdict.is_safe else "bold red"))
    for below in _daemon(overview):
        console.print(Text(below))
    if clock:
        console.print(Text(f"{overview.now:%H:%M:%S} UTC", "dim"))
    console.print()
    columns = ["source", "account", "condition", "lag", "last success", *map(_words, COUNTS)]
    if console.width >= _WIDE:
        columns += ["watermark", "oldest pending", "next attempt", "last archived"]
    rows = [_cells(each, overview.now) for each in overview.worst_first]
    cells = [[row[name] for name in columns] for row in rows]
    show_table(console, columns, cells, seldom=SELDOM, heads=3, names=("account",), spare=SPARE)
    todo, notes = list(what_to_do(overview, typed)), [*_notes(overview, typed), *map(typed, _hand(overview))]
    if todo or notes:
        console.print()
    for text in todo:
        is_command = text.startswith(COMMAND)  # to be copied whole: the terminal may fold it, we must not
        console.print(Text(text, "bold" if is_command else ""), soft_wrap=is_command)
    for text in notes:
        console.print(Text(text))
    if overview.days:
        console.print(Text("\narchived per day", "dim"))
        for text in bars.lines(series(overview), encoding=console.encoding, width=console.width):
            console.print(Text(text))


def sentence(overview: Overview, width: int | None = None) -> str:
    """Say that all is safe, or the worst reason why not; in at most two lines of this width, as details follow."""
    if overview.verdict.is_safe:
        archived = sum(each.feed.standing.archived for each in overview.sources)
        waiting = sum(each.feed.standing.pending + each.feed.standing.not_ready for each in overview.sources)
        failing = sum(each.feed.standing.failing for each in overview.sources)
        tried = f" ({failing:,} failing, tried again)" if failing else ""
        return f"safe: {archived:,} archived, {waiting:,} waiting{tried}, none lost"
    worst, *others = overview.verdict.reasons
    more = f" (and {len(others):,} more)" if others else ""
    words = cell(f"not safe: {_named(overview, worst)}")
    return f"{words}{more}" if width is None else _in_two_lines(words, more, width)


def _in_two_lines(words: str, more: str, width: int) -> str:
    """Folded at words, and cut where a third line would begin."""
    lines = textwrap.wrap(words + more, width, break_on_hyphens=False)
    if len(lines) <= 2:
        return "\n".join(lines)
    first, *others = textwrap.wrap(words, width, break_on_hyphens=False)
    return f"{first}\n{' '.join(others)[: width - len(more) - 3].rstrip()}...{more}"


def _named(overview: Overview, reason: Reason) -> str:
    """Say a reason with its source, and with its account, shortened, if the source has several."""
    if reason.source is None:
        return reason.message
    feeds = [each.feed.feed for each in overview.sources if each.feed.feed.source == reason.source]
    accounts = {each.account_id for each in feeds}
    account = f" {shortened(accounts).get(reason.account_id or '', '')}" if len(accounts) > 1 else ""
    return f"{reason.source}{account}: {reason.message}"


def what_to_do(overview: Overview, typed: Typed) -> Iterator[str]:
    """Yield each reason, worst first, and below it a command that can be copied."""
    reasons = overview.verdict.reasons
    for reason in reasons[:_MOST_REASONS]:
        yield cell(_named(overview, reason))
        yield f"{COMMAND}{typed(reason.command)}"
    if len(reasons) > _MOST_REASONS:
        yield f"and {len(reasons) - _MOST_REASONS:,} more, which name {_sources(reasons[_MOST_REASONS:])}"
        of = reasons[_MOST_REASONS].source
        yield f"{COMMAND}{typed(f'recvault status {of}' if of else 'recvault status --json')}"


def _sources(reasons: tuple[Reason, ...]) -> str:
    names = list(dict.fromkeys(reason.source or "the daemon" for reason in reasons))
    return ", ".join(names[:4]) + (f" and {len(names) - 4} others" if len(names) > 4 else "")


def _daemon(overview: Overview) -> Iterator[str]:
    """Say whether a daemon runs, and if there is no ledger yet."""
    if overview.daemon is None:
        yield "no daemon is running; nothing is polled automatically"
    else:
        yield f"{runs(overview.daemon)} ({cell(Beside(overview.daemon.started_at, overview.now))})"
    if not overview.has_ledger:
        yield NO_LEDGER
    elif overview.has_catalog:
        at = overview.catalog_written_at
        aged = f"last written {when(at)} ({cell(Beside(at, overview.now))})" if at else "not written yet"
        yield f"the catalog was {aged}"


def runs(daemon: RunningDaemon) -> str:
    """Say since when a daemon runs, and its process id."""
    return f"the daemon has been running since {when(daemon.started_at)}, pid {daemon.pid}"


def _troubled(overview: Overview) -> list[FeedCondition]:
    """Sources with problems, worst first."""
    order = list(STYLES)
    return sorted((each for each in overview.sources if not each.is_well), key=lambda each: order.index(each.condition))


def _trouble(each: FeedCondition) -> str:
    return cell(f"{each.feed.feed.source} {each.feed.feed.account_id} {each.condition}: {each.words}")


def _notes(overview: Overview, typed: Typed) -> list[str]:
    """Return notes about safe sources: a slow scan, recordings that are retried."""
    unsafe = {(each.source, each.account_id) for each in overview.verdict.reasons}
    feeds = [each for each in _troubled(overview) if (each.feed.feed.source, each.feed.feed.account_id) not in unsafe]
    return [cell(typed(f"{each.feed.feed.source} {each.condition}: {each.words}")) for each in feeds]


def _hand(overview: Overview) -> list[str]:
    """Return what needs attention, in few lines."""
    hand, missed = overview.hand, [cell(each.words) for each in overview.missed]
    found = overview.offered_since.items()
    missed += [cell(f"{name} {account_id}: {offered_words(oldest)}") for (name, account_id), oldest in found]
    missed += _erasures(overview)
    if not hand:
        return missed
    counts = [(hand.dead, "dead"), (hand.failing, "failing"), (hand.quarantined, "in quarantine")]
    said = ", ".join(f"{count:,} {word}" for count, word in counts if count)
    ways = "`recvault failures` lists them" + (", `recvault retry --all` makes them due now" if hand.dead else "")
    lines = [f"{said}: {ways}"]
    if hand.reasons:
        lines.append(cell("most often: " + ", ".join(f"{reason} {count:,}" for reason, count in hand.reasons)))
    return [*lines, *missed]


def _erasures(overview: Overview) -> list[str]:
    """Say how many erasures are not complete, and why the first is not."""
    if not overview.open_erasures:
        return []
    first, count = overview.open_erasures[0], len(overview.open_erasures)
    until = f" until {first['until']}" if first.get("until") else ""
    words = f"{count:,} {'erasure is' if count == 1 else 'erasures are'} not complete ({first['why']}{until})"
    return [cell(f"{words}: `recvault erase --due` tries again")]


def series(overview: Overview) -> list[bars.Series]:
    """Return one per source for all its accounts; also for unconfigured sources that archived something."""
    met = {day.source for day in overview.days}
    shown = [each for each in overview.sources if each.condition != "unconfigured" or each.feed.feed.source in met]
    names = list(dict.fromkeys(each.feed.feed.source for each in shown))
    first, last = overview.first_day.date(), overview.now.date()
    return [
        bars.Series.of(
            name,
            first,
            last,
            [(each.day, each.recordings, each.bytes) for each in overview.days if each.source == name],
        )
        for name in names
    ]


def _cells(each: FeedCondition, moment: datetime) -> dict[str, Any]:
    """Return a row by column name."""
    feed = each.feed
    lag = lag_beyond_lookback(each, moment)

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
