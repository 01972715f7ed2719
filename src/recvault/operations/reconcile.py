"""List a time range of some sources again, and register what polls missed.

Nothing is transferred, and of the bucket only tombstones are read: what is found becomes due, and `sync` or the daemon
archives it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from recvault.app.runtime import Runtime
from recvault.discovery.source import Source
from recvault.dispatch.thread_pool import Threads, finish
from recvault.models import Window
from recvault.monitoring.observer import Observer
from recvault.monitoring.report import Report
from recvault.providers.calendar import moment_before


def reconcile(
    runtime: Runtime,
    names: Iterable[str],
    window: Window,
    observer: Observer | None = None,
) -> Report:
    """Reconcile a window of these sources; without `since`, it begins `reconcile_window` before now."""
    report = Report(command="reconcile", started_at=runtime.clock())
    runtime.ledger  # noqa: B018 - opened first: without a ledger nothing is begun
    runtime.honour_erasures()
    sources = runtime.usable(names, report)
    with Threads(max(1, len(sources)), "reconcile", runtime.stop) as listers:
        work = runtime.work(sources, listers, report, observer or Observer(), asks_calls=False)

        def look(source: Source) -> None:
            begins = moment_before(report.started_at, runtime.source(source.name).reconcile_window)
            asked = replace(window, since=window.since or begins)
            whole = asked.until is None and asked.since is not None and asked.since <= begins
            for account_id in work.listing.accounts(source):
                work.listing.reconcile(source, account_id, asked, whole=whole)

        finish([listers.submit(look, source) for source in sources], runtime.stop)
        work.complete()
    report.interrupted = runtime.stop.asked.is_set()
    return report
