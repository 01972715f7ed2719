"""`recvault status`: a verdict, the state of each source, what was archived recently, and what needs attention."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

import click

from recvault.cli.app import App, now, print_json, question
from recvault.errors import ConfigError, LedgerLocked

if TYPE_CHECKING:
    from rich.console import Console

    from recvault.app.source_status import Inquiry

WATCH_SECONDS = 2.0
_NOT_SAFE = 3


@click.command("status")
@click.argument("name", required=False, metavar="[NAME]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--watch", is_flag=True, help="Refresh until Ctrl-C.")
@click.option("--exit-code", "tell_by_code", is_flag=True, help="Exit with 3 if the verdict is not safe.")
@question
def command(app: App, name: str | None, as_json: bool, watch: bool, tell_by_code: bool) -> int:
    """Show a verdict (safe, or why not), then each source's condition, watermark, lag, counts and next attempts.

    With the NAME of a source, show that one in depth: its accounts, what fails for which reason, and what to do.
    """
    from recvault.cli.overview import look

    if watch and (as_json or name):
        raise click.UsageError(f"{'--json' if as_json else 'NAME'} and --watch cannot be combined")
    with app.signals() if watch else nullcontext(), _inquiry(app) as inquiry:
        if watch:
            _watch(app, inquiry)
            return app.exit_code(0)
        overview = look(inquiry, now(), name)
        reasons = inquiry.ledger.ask.failure_reasons([name]) if name and inquiry.has_ledger else []
    if as_json:
        from recvault.cli.status_document import document

        print_json(document(overview, reasons if name else None))
    elif name:
        from recvault.cli.status_of_source import print_source

        print_source(overview, reasons, app.typed)
    else:
        from recvault.cli.status_page import print_page

        print_page(overview, app.typed)
    return 0 if overview.verdict.is_safe or not tell_by_code else _NOT_SAFE


@contextmanager
def _inquiry(app: App) -> Iterator[Inquiry]:
    """Read the state. If the configuration is invalid, still report a daemon that runs with an older one."""
    try:
        with app.inquiry() as inquiry:
            yield inquiry
    except ConfigError:
        from recvault import config
        from recvault.cli.status_page import runs
        from recvault.ledger import running_daemon

        if (daemon := running_daemon(config.ledger_path(app.config))) is not None:
            click.echo(f"{runs(daemon)}, with the previous configuration", err=True)
        raise


def _watch(app: App, inquiry: Inquiry) -> None:
    """Refresh until a signal. A busy ledger is reported and read again later."""
    from recvault.cli.overview import look
    from recvault.cli.screen import Screen
    from recvault.cli.status_page import print_page, show_page

    screen = Screen() if sys.stdout.isatty() else None
    while True:
        try:
            overview = look(inquiry, now())
        except LedgerLocked as error:
            words = f"{error.message}; retrying in {WATCH_SECONDS:.0f} s"
            click.echo(words, err=True) if screen is None else screen.show(partial(_say, words))
        else:
            if screen is None:
                print_page(overview, app.typed)
            else:
                screen.show(partial(show_page, overview, typed=app.typed, clock=True))
        if app.stop.asked.wait(WATCH_SECONDS):
            return


def _say(words: str, console: Console) -> None:
    from rich.text import Text

    console.print(Text(words))
