"""Show a verification to people: a live line while it runs, then a sentence if all is well, else a table."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from recvault.cli.reports import live
from recvault.cli.tables import cell, print_table, size
from recvault.timefmt import span

if TYPE_CHECKING:
    from recvault.operations.verify import Result, Verify

SHOWN = 100  # differences in a table; `--json` has more
HINTS = 12
COLUMNS = ("kind", "source", "recording id", "key", "what")
_LOOK_SECONDS = 0.5


@contextmanager
def advance(verification: Verify, *, shown: bool) -> Iterator[None]:
    """Show a live line while it runs."""
    over, began = threading.Event(), time.monotonic()
    with live(shown) as update:

        def look() -> None:
            from rich.text import Text

            while not over.wait(_LOOK_SECONDS):
                update(Text(_line(verification.result, time.monotonic() - began)))

        def begin(_: Result) -> None:
            if shown:
                looking.start()

        looking = threading.Thread(target=look, name="progress", daemon=True)
        verification.on_begin = begin
        try:
            yield
        finally:
            over.set()
            if looking.ident is not None:
                looking.join()


def _line(result: Result, seconds: float) -> str:
    rate = result.checked / seconds if seconds else 0.0
    found = f"{result.total:,} differences" if result.total else "no differences so far"
    first = f"{result.checked:,} of {result.expected:,} recordings checked, {found}"
    parts = [f"{rate:,.0f}/s"]
    if result.read_bytes:
        parts.append(f"{size(result.read_bytes)} read, {size(result.read_bytes / seconds)}/s")
    if result.checked and result.expected > result.checked:
        parts.append(f"about {span((result.expected - result.checked) / rate)} left")
    return f"{first}\n  {'  '.join(parts)}"


def print_result(result: Result) -> None:
    """Print differences on stdout and what to do on stderr; one sentence if there are none."""
    shown = result.differences[:SHOWN]
    if shown:
        rows = [(each.kind, each.source, each.recording_id, each.key, each.message) for each in shown]
        print_table(COLUMNS, rows, seldom=("source", "recording id"), prose=("what",))
        if result.total > len(shown):
            click.echo(
                f"and {result.total - len(shown):,} more: --json lists up to 1,000 and counts all of them", err=True
            )
    click.echo(cell(_sentence(result)), err=bool(result.total))
    for text in _besides(result):
        click.echo(cell(text), err=True)
    _print_hints(result)


def _print_hints(result: Result) -> None:
    """Print what to do, each hint once."""
    hints: dict[str, dict[str, None]] = {}
    for each in result.differences:
        hints.setdefault(each.hint, {})[each.reason] = None
    for hint, reasons in list(hints.items())[:HINTS]:
        click.echo(cell(f"  {', '.join(reasons)}: {hint}"), err=True)
    if len(hints) > HINTS:
        click.echo("  --json says what to do about each of the others", err=True)


def _sentence(result: Result) -> str:
    """Say what was checked, and whether there are differences."""
    if not result.total:
        proof = f"{result.media:,} media files match the size and hash in their sidecars"
        well = "no differences so far" if result.interrupted or result.unanswered_total else "no differences"
        return f"{_many(result.checked, 'recording')} checked, {well}: {proof}{_read(result)}"
    counts = result.counts
    kinds = ("ok", "missing", "different", "orphan_media", "uncommitted", "unknown")
    said = ", ".join(f"{counts[name]:,} {name.replace('_', ' ')}" for name in kinds if counts[name] or name == "ok")
    return f"{_many(result.checked, 'recording')} checked: {said}{_read(result)}"


def _read(result: Result) -> str:
    sample = result.sample
    if not sample.percent:
        return ""
    read = f"; every byte of {_many(result.read_recordings, 'recording')} was read, {size(result.read_bytes)}"
    return read if sample.percent >= 100 else f"{read}, a sample of {sample.percent:g} % by --seed {sample.seed}"


def _besides(result: Result) -> Iterator[str]:
    """Yield further facts about the result."""
    if result.interrupted:
        all_ = _many(result.expected, "recording")
        yield f"interrupted after {result.checked:,} of {all_}: the rest was not checked"
    for error in result.unanswered[:3]:
        yield f"not checked: {error}"
    if result.unanswered_total:
        yield f"{_many(result.unanswered_total, 'question')} got no answer: run verify again later"
    if result.erased:
        yield f"{_many(result.erased, 'recording')} erased on request: nothing is expected of them"
    if result.made_due:
        yield f"{_many(result.made_due, 'recording')} made due: the next `recvault sync` restores what is missing"
    if result.unproven:
        yield (
            f"the store keeps no SHA-256 for {result.unproven:,} media: only their size was checked; --deep reads them"
        )
    if result.unproven_sidecars:
        sidecars = _many(result.unproven_sidecars, "sidecar")
        yield (
            f"an earlier version archived {sidecars} and kept no SHA-256 of them, so a change in them goes unnoticed. "
            "`recvault manifest` keeps their hashes from now on"
        )
    if result.restored:
        sidecars = _many(result.restored, "sidecar")
        yield f"{sidecars} restored from the ledger: fields that only the provider knew are listed in them as unknown"
    if result.cold:
        yield f"{_many(result.cold, 'object')} in an archive class: present, but not read"
    if result.under_way:
        yield f"{_many(result.under_way, 'medium', 'media')} without a sidecar may be in transfer: not counted"


def _many(count: int, one: str, more: str = "") -> str:
    return f"{count:,} {one if count == 1 else more or f'{one}s'}"
