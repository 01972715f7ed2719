"""`status NAME`: one source in depth."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from recvault.cli import bars
from recvault.cli.hints import print_reasons
from recvault.cli.status_document import COUNTS, lag_beyond_lookback
from recvault.cli.status_page import COMMAND, Typed, sentence, series, what_to_do
from recvault.cli.tables import Beside, Span, cell, console, say, size

if TYPE_CHECKING:
    from datetime import datetime

    from recvault.cli.overview import FeedCondition, Overview

_NAME_WIDTH = 16
_MOST_REASONS = 10
_WIDE = 120


def print_source(overview: Overview, reasons: list[dict[str, Any]], typed: Typed) -> None:
    """Print the verdict on a source, its accounts, failures by reason, what to do, and what was archived per day."""
    screen = console() if sys.stdout.isatty() else None
    width = screen.width if screen else None
    click.echo(sentence(overview, width))
    for each in overview.worst_first:
        click.echo()
        for name, value in _facts(overview, each, typed):
            say(f"{name:<{_NAME_WIDTH}}", value, width)
    if reasons:
        click.echo("\nfailing and dead, by reason")
    print_reasons(reasons[:_MOST_REASONS], typed, width)
    if len(reasons) > _MOST_REASONS:
        command = typed(f"recvault failures --source {overview.sources[0].feed.feed.source}")
        click.echo(f"and {len(reasons) - _MOST_REASONS:,} more reasons: {command}")
    if overview.verdict.reasons:
        click.echo("\nwhat to do")
    for line in what_to_do(overview, typed):
        say("  ", line, None if line.startswith(COMMAND) else width)
    if overview.days:
        click.echo("\narchived per day")
        for line in bars.lines(series(overview), encoding=screen.encoding if screen else None, width=width or _WIDE):
            click.echo(line)


def _facts(overview: Overview, each: FeedCondition, typed: Typed) -> Iterator[tuple[str, object]]:
    """Yield what is known of an account as names and values, without empty ones."""
    feed, standing, moment = each.feed, each.feed.standing, overview.now
    is_told = any(reason.account_id == feed.feed.account_id for reason in overview.verdict.reasons)  # shown below
    yield "source", f"{feed.feed.source} ({feed.feed.provider})"
    yield "account", feed.feed.account_id
    yield "condition", each.condition if is_told or not each.words else typed(f"{each.condition}: {each.words}")
    if feed.watermark:
        lag = Span(lag_beyond_lookback(each, moment) or 0)
        lookback = Span(each.lookback.total_seconds())
        yield "watermark", f"{cell(feed.watermark)}, {cell(lag)} behind (beside lookback, {cell(lookback)})"
    yield "last success", _aged(feed.last_success_at, moment) or "never"
    if feed.scan_started_at:
        yield "scanning since", _aged(feed.scan_started_at, moment)
    if feed.error:
        yield "error", f"{feed.error} ({_aged(feed.error_at, moment)})" if feed.error_at else feed.error
    counts = ((name, getattr(standing, name)) for name in COUNTS)
    yield "recordings", ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts if count) or "none"
    yield "last archived", _aged(feed.last_archived_at, moment) or "never"
    if done := overview.pruned.get((feed.feed.source, feed.feed.account_id)):
        told = f"{done.recordings:,} recordings, {size(done.bytes)}; the last one {_aged(done.last_at, moment)}"
        yield "pruned", told
    if last := overview.last_prunes.get(feed.feed.source):
        told = f"{last.deleted:,} deleted, {last.failed:,} failed{f': {last.error}' if last.error else ''}"
        yield "last prune", f"{_aged(last.at, moment)}: {told}"
    if feed.oldest_pending_at:
        yield "oldest pending", _aged(feed.oldest_pending_at, moment)
    if feed.next_attempt_at:
        yield (
            "next attempt",
            f"{cell(feed.next_attempt_at)}, {cell(Beside(feed.next_attempt_at, moment, awaited=True))}",
        )
    if feed.transfer_since:
        yield "in transfer", f"{feed.transfer_of} since {_aged(feed.transfer_since, moment)}"


def _aged(at: datetime | None, moment: datetime) -> str | None:
    return None if at is None else f"{cell(at)}, {cell(Beside(at, moment))}"
