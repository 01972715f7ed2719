"""Try a configuration before it is written: a page of the list, a probe in the bucket, and what there is to archive."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from recvault import check
from recvault.app.runtime import Runtime
from recvault.check.probe import Probe
from recvault.config import Config
from recvault.dispatch.backfill import Asked
from recvault.ledger.expected import Archived
from recvault.operations import backfill_plan
from recvault.shutdown import Stop

_LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What there is to archive. `is_all`: the list was read to its end."""

    recordings: int
    seconds: float
    bytes: int | None
    since: str | None  # the oldest month that was listed
    is_all: bool
    error: str | None = None


def source(settings: Config, clock: Callable[[], datetime], stop: Stop) -> Iterator[Probe]:
    """Test the account: its settings, and a page of its list."""
    with Runtime(settings, clock=clock, stop=stop) as runtime:
        yield from check.sources.settings(runtime)
        yield from check.ways.proxied(runtime)
        yield from check.sources.answers(runtime)


def bucket(settings: Config, clock: Callable[[], datetime], stop: Stop) -> Iterator[Probe]:
    """Test the bucket: a probe is put, read and removed."""
    with Runtime(settings, clock=clock, stop=stop) as runtime:
        yield from check.bucket.answers(runtime)


def estimate(settings: Config, clock: Callable[[], datetime], stop: Stop, most_seconds: float) -> Estimate:
    """Count the history, newest first, for so long at most."""
    name = settings.sources[0].name
    with _limited(stop, most_seconds) as ours, Runtime(settings, clock=clock, stop=ours) as runtime:
        ledger = Archived(settings.ledger.path)
        plan = backfill_plan.make(runtime.listed(name), Asked(), ledger=ledger, stop=ours, clock=clock)
    total, months = plan.total(), [row[1] for row in plan.rows]
    errors = [row.error for row in plan.report.accounts.values() if row.error]
    return Estimate(
        recordings=total.recordings,
        seconds=total.seconds,
        bytes=total.document()["estimated_bytes"],
        since=min(months, default=None),
        is_all=not plan.report.interrupted and not errors,
        error=errors[0] if errors and not plan.report.interrupted else None,
    )


@contextmanager
def _limited(stop: Stop, seconds: float) -> Iterator[Stop]:
    """Yield a stop that is requested after so many seconds, or with the given one."""
    ours, over = Stop(), threading.Event()

    def limit() -> None:
        until = time.monotonic() + seconds
        while not over.wait(_LOOK_SECONDS):
            if stop.asked.is_set() or time.monotonic() > until:
                ours.asked.set()
                return

    watch = threading.Thread(target=limit, name="estimate", daemon=True)
    watch.start()
    try:
        yield ours
    finally:
        over.set()
        watch.join()
