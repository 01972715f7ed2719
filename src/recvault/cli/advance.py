"""Show a running backfill: two live lines on a terminal, elsewhere a log line each minute."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from recvault.cli.reports import live
from recvault.cli.tables import Size, cell, size
from recvault.errors import RecvaultError
from recvault.log.lines import get_logger
from recvault.log.meter import PROVIDER, STORE
from recvault.monitoring.progress import CONCURRENCY, CPU, LIMITED, PACE, SLOWER, STORE_DOWN, Progress, Reading
from recvault.timefmt import span

log = get_logger("recvault.dispatch.backfill")

EVERY_SECONDS = 60.0  # between log lines
_LOOK_SECONDS = 0.5
_WORDS = {
    STORE_DOWN: "the bucket, which accepts nothing now",
    LIMITED: "the provider, which throttles: {concurrency} of {max_concurrency} concurrent requests",
    PACE: "requests_per_second = {pace:g}",
    CPU: "this machine's CPU",
    CONCURRENCY: "max_concurrency = {max_concurrency}",
    SLOWER: "the provider, which slows down under load: {concurrency} of {max_concurrency} concurrent requests",
    STORE: "the bucket's response time: more --workers may help",
    PROVIDER: "the provider's response time: more --workers may help",
}


@contextmanager
def advance(progress: Progress, source: str, *, shown: bool, every_seconds: float = EVERY_SECONDS) -> Iterator[None]:
    """Show progress while a backfill runs."""
    over = threading.Event()
    with live(shown) as update:

        def look() -> None:
            while not over.wait(_LOOK_SECONDS if shown else every_seconds):
                try:
                    reading = progress.read()
                except RecvaultError:
                    continue  # the ledger's error, which the backfill itself reports
                if shown:
                    update(_lines(progress, source, reading))
                else:
                    tell(source, reading)

        looking = threading.Thread(target=look, name="progress", daemon=True)
        looking.start()
        try:
            yield
        finally:
            over.set()
            looking.join()


def tell(source: str, reading: Reading) -> None:
    """Log one line."""
    eta = reading.eta_seconds
    log.info(
        "backfill.progress",
        source=source,
        listing=reading.listing,
        listed=reading.listed,
        recordings=reading.recordings,
        bytes=reading.bytes,
        audio_hours=round(reading.audio_seconds / 3600, 2),
        per_second=round(reading.per_second, 2),
        bytes_per_second=round(reading.bytes_per_second),
        left=reading.left,
        eta_seconds=None if eta is None else round(eta),
        failures=reading.failures,
        held_back_by=reading.held_back_by,
    )


def _lines(progress: Progress, source: str, reading: Reading) -> Any:
    from rich.text import Text

    eta = reading.eta_seconds
    if reading.listing:
        ahead = f"listing, {reading.listed:,} so far"
    else:
        ahead = f"{reading.left:,} left" + (f", about {span(eta)}" if eta else "")
    first = [
        source,
        f"{reading.recordings:,} archived",
        cell(Size(reading.bytes)),
        f"{reading.audio_seconds / 3600:,.1f} h of audio",
        f"{reading.per_second:,.1f}/s, {size(reading.bytes_per_second)}/s",
        ahead,
    ]
    if reading.failures:
        first.append(f"{reading.failures:,} failed")
    lines = Text(cell("  ".join(first)))
    if reading.held_back_by:
        lines.append(f"\n  limited by {_why(progress, reading.held_back_by)}", style="dim")
    return lines


def _why(progress: Progress, reason: str) -> str:
    line = progress.line()
    facts = {
        "concurrency": line.concurrency if line else 0,
        "max_concurrency": line.max_concurrency if line else 0,
        "pace": progress.requests_per_second,
    }
    return _WORDS[reason].format(**facts)
