"""`recvault status`: how each source stands."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from recvault.cli.app import App, now, print_json, verb

if TYPE_CHECKING:
    from recvault.ledger import FeedStatus
    from recvault.runtime import Runtime

SCHEMA = "recvault/status/v1"
COUNTS = ("pending", "not_ready", "archived", "gone", "external", "dead", "quarantined")
SELDOM = ("not ready", "gone", "external", "dead", "quarantined", "oldest pending", "next attempt")
WATCH_SECONDS = 2.0


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.option("--watch", is_flag=True, help="Refresh until interrupted.")
@verb
def command(app: App, as_json: bool, watch: bool) -> int:
    """Per source: watermark, lag, last success, counts, oldest pending, next attempts."""
    if as_json and watch:
        raise click.UsageError("--json prints one document: leave out --watch")
    with app.signals() if watch else nullcontext(), app.runtime() as runtime:
        while True:
            feeds = runtime.feeds()
            if as_json:
                print_json({"schema": SCHEMA, "sources": [_document(feed, now()) for feed in feeds]})
            else:
                _print(runtime, feeds, clear=watch)
            if not watch or app.stop.asked.wait(WATCH_SECONDS):
                return app.exit_code(0)


def _print(runtime: Runtime, feeds: list[FeedStatus], *, clear: bool) -> None:
    from recvault.cli.tables import Span, cell, print_table

    if clear:
        click.clear()
    moment = now()
    columns = ("source", "account", "watermark", "lag", "last success", *COUNTS, "oldest pending", "next attempt")
    print_table(
        [column.replace("_", " ") for column in columns],
        [
            (
                each.feed.source,
                each.feed.account_id,
                each.watermark,
                None if (lag := _lag(each, moment)) is None else Span(lag),
                each.last_success_at,
                *(getattr(each.standing, name) for name in COUNTS),
                each.oldest_pending_at,
                each.next_attempt_at,
            )
            for each in feeds
        ],
        seldom=SELDOM,
    )
    for each in feeds:
        if each.error:
            click.echo(cell(f"{each.feed.source} {each.feed.account_id}: {each.error}"), err=True)


def _document(each: FeedStatus, moment: datetime) -> dict[str, Any]:
    from recvault.report import iso

    counts = asdict(each.standing)
    return {
        "source": each.feed.source,
        "provider": each.feed.provider,
        "account_id": each.feed.account_id,
        "watermark": iso(each.watermark),
        "lag_seconds": _lag(each, moment),
        "last_success_at": iso(each.last_success_at),
        "counts": {name: counts[name] for name in COUNTS},
        "oldest_pending_at": iso(each.oldest_pending_at),
        "next_attempt_at": iso(each.next_attempt_at),
        "error": each.error,
    }


def _lag(each: FeedStatus, moment: datetime) -> int | None:
    return None if each.watermark is None else max(0, round((moment - each.watermark).total_seconds()))
