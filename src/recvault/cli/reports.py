"""Show a pass: live while it runs, then as a table."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import click

from recvault.cli.tables import Size, cell, console, print_table, shortened
from recvault.ledger.lateness import offered_words
from recvault.monitoring.observer import Observer
from recvault.monitoring.report import AccountReport, Report

SELDOM = ("already archived", "not ready", "gone", "external", "failed", "dead", "accepted", "quarantined")
COLUMNS = ("source", "account", "listed", "registered", "archived", *SELDOM, "bytes")


@contextmanager
def progress(shown: bool) -> Iterator[Observer]:
    """Show live lines on stderr, one per account, while a pass runs."""
    with live(shown) as update:
        yield _Lines(update) if shown else Observer()


class _Lines(Observer):
    """Shows a report while it fills."""

    def __init__(self, update: Callable[[Any], None]) -> None:
        self._update = update

    def changed(self, report: Report) -> None:
        self._update(_lines(report))


@contextmanager
def live(shown: bool) -> Iterator[Callable[[Any], None]]:
    """Show live lines on stderr; log lines scroll by above them."""
    if not shown:
        yield lambda lines: None
        return
    from rich.live import Live

    plain = sys.stderr
    with Live(console=console(stderr=True), refresh_per_second=8, transient=True, redirect_stdout=False) as shows:
        _move_log(plain, sys.stderr)
        try:
            yield shows.update
        finally:
            _move_log(sys.stderr, plain)


def _move_log(before: TextIO, after: TextIO) -> None:
    """Redirect the log, because the live lines would overwrite it."""
    for each in logging.getLogger().handlers:
        if isinstance(each, logging.StreamHandler) and each.stream is before:
            each.setStream(after)


def print_report(
    report: Report, resume: str = "the next `recvault sync` continues from here", *, quiet: bool = False
) -> None:
    """Print the pass as a table, unless quiet; then what needs attention."""
    rows = sorted(report.accounts.values(), key=lambda row: (row.source, row.account_id))
    if not quiet:
        print_table(COLUMNS, [_row(row) for row in rows], seldom=SELDOM)
    for row in rows:
        if row.error:
            click.echo(cell(f"{row.source} {row.account_id}: {row.error.removeprefix(f'{row.source}: ')}"), err=True)
        if row.offered_since:
            click.echo(cell(f"{row.source} {row.account_id}: {offered_words(row.offered_since)}"), err=True)
    waiting = report.failures_total
    if waiting:
        recordings = "recording" if waiting == 1 else "recordings"
        click.echo(f"{waiting:,} {recordings} failing or dead: `recvault failures` says why", err=True)
    if any(row.quarantined for row in rows):
        click.echo("unreadable rows were quarantined: `recvault failures` shows them", err=True)
    if report.interrupted:
        click.echo(cell(f"interrupted: {resume}"), err=True)


def _row(row: AccountReport) -> tuple[object, ...]:
    counts = (
        row.already_archived,
        row.not_ready,
        row.gone,
        row.external,
        row.failed,
        row.dead,
        row.accepted,
        row.quarantined,
    )
    return (row.source, row.account_id, row.listed, row.registered, row.archived, *counts, Size(row.bytes))


def _lines(report: Report) -> Any:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    rows = list(report.accounts.values())
    accounts = shortened(row.account_id for row in rows)
    table = Table.grid(padding=(0, 2))
    errors = []
    for row in rows:
        done = row.archived + row.already_archived
        named = (row.source, accounts[row.account_id])
        texts = (*named, f"{row.listed:,} listed", f"{done:,} archived", cell(Size(row.bytes)))
        table.add_row(*(Text(cell(text)) for text in texts))
        if row.error:  # a line each: the report tells it whole
            errors.append(Text(cell(row.error), "red", no_wrap=True, overflow="ellipsis"))
    return Group(table, *errors)
