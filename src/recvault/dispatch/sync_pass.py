"""A pass: discover what each source lists, and meanwhile run the due jobs on an executor.

Invariant: kill -9 at any instant loses nothing, duplicates nothing and leaves no orphan that the next pass does not
clean. A source that fails does not hold back another; a recording that fails does not hold back another.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Self

from recvault.discovery.poll import Listing
from recvault.discovery.source import Source
from recvault.dispatch.call_desk import CallDesk
from recvault.dispatch.dispatcher import Dispatch
from recvault.dispatch.doubts import Doubts
from recvault.dispatch.outcomes import Outcomes
from recvault.dispatch.thread_pool import finish
from recvault.dispatch.url_cache import Minted
from recvault.dispatch.watchdog import Watched
from recvault.errors import RecvaultError
from recvault.ledger import Ledger
from recvault.models import Job, Outcome, State
from recvault.monitoring.observer import Observer
from recvault.monitoring.report import MOST_FAILURES, AccountReport, Report
from recvault.shutdown import Stop

_NOBODY = Observer()


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The objects of a pass: what lists sources, transfers their recordings, and reacts to outcomes."""

    sources: Sequence[Source]
    listing: Listing
    dispatch: Dispatch
    outcomes: Outcomes
    calls: CallDesk | None = None
    _requests: Counter[tuple[str, str]] = field(default_factory=Counter, repr=False)  # already in the report

    @classmethod
    def of(
        cls,
        sources: Sequence[Source],
        *,
        ledger: Ledger,
        executor: Executor,
        transfer: Callable[[Job], Outcome],
        workers: int,
        stop: Stop,
        drain_timeout: timedelta,
        clock: Callable[[], datetime],
        report: Report,
        observer: Observer = _NOBODY,
        on_accounts: Callable[[Source, Sequence[str]], None] = lambda source, accounts: None,
        rest_seconds: float = math.inf,
        calls: CallDesk | None = None,
    ) -> Self:
        """Connect them. Results go to a report and an observer."""
        minted = Minted(clock)
        policies = {source.name: source.policy for source in sources}
        doubts = Doubts(ledger=ledger, clock=clock, policies=policies)
        outcomes = Outcomes(
            sources=sources,
            report=report,
            observer=observer,
            rest_seconds=rest_seconds,
            doubts=doubts,
        )
        lend: Callable[[Job], Job] = (lambda job: job) if calls is None else calls.lend
        dispatch = Dispatch(
            names=[source.name for source in sources],
            ledger=ledger,
            executor=executor,
            transfer=Watched(transfer, stop.pulse, observer),
            workers=workers,
            stop=stop,
            drain_timeout=drain_timeout,
            clock=clock,
            policies=policies,
            on_settled=outcomes.settled if calls is None else _both(calls, outcomes),
            on_quiet=doubts.judge,
            prepared=lambda job: lend(minted.lend(doubts.begun(job))),
        )
        outcomes.dispatch = dispatch
        listing = Listing(
            ledger=ledger,
            clock=clock,
            report=report,
            observer=observer,
            on_listed=minted.note,
            on_accounts=on_accounts,
        )
        if calls is not None:
            listing = replace(listing, on_new=calls.listed, on_read=calls.scanned)
        return cls(sources=sources, listing=listing, dispatch=dispatch, outcomes=outcomes, calls=calls)

    def complete(self) -> Report:
        """Return the report so far, with open recordings from the ledger, whichever pass left them."""
        report, ledger = self.listing.report, self.dispatch.ledger
        for source in self.sources:
            report.account(source.name, source.provider, source.account_id)
            for account_id in ledger.ask.accounts(source.name):
                self._complete_row(report.account(source.name, source.provider, account_id), source)
        names = {source.name for source in self.sources}
        report.failures_total = ledger.ask.failures_total(names)
        report.failures = [_failure_row(row) for row in ledger.ask.failures(MOST_FAILURES, names)]
        report.finished_at = self.listing.clock()
        return report

    def _complete_row(self, row: AccountReport, source: Source) -> None:
        ledger = self.dispatch.ledger
        standing = ledger.ask.standing(row.source, row.account_id)
        row.watermark = ledger.watermark(source.feed(row.account_id))
        row.not_ready, row.failed, row.dead = standing.not_ready, standing.failing, standing.dead
        row.quarantined, row.accepted = standing.quarantined, standing.accepted
        self._count_requests(row, source)
        self.outcomes.tell_missing(row)
        row.error = row.error or self.outcomes.trouble

    def end_calls(self, seconds: float) -> None:
        """Wait so long for the facts of calls, and end asking for them; what that took is in the report, too."""
        if self.calls is None:
            return
        self.calls.finish(seconds)
        for source in self.sources:
            for row in [row for row in self.listing.report.accounts.values() if row.source == source.name]:
                self._count_requests(row, source)

    def _count_requests(self, row: AccountReport, source: Source) -> None:
        """Add to an account's row what was requested since this was last done."""
        key, requests = (row.source, row.account_id), source.line(row.account_id).session.count.requests
        row.requests += requests - self._requests[key]
        self._requests[key] = requests


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One pass over some sources. Made for one run."""

    work: Work
    listers: Executor  # a thread per source, so that a slow one delays no other
    store_error: RecvaultError | None = None  # the bucket cannot be used: list and register, transfer nothing

    def run(self) -> Report:
        """Discover and transfer all that is due; return the report. Raises nothing that concerns one source or
        recording."""
        work = self.work
        dispatch = work.dispatch
        dispatch.tidy()  # e.g. after a backfill beside the daemon that was killed
        if self.store_error is not None:
            work.outcomes.store_failed(self.store_error)
        scans = [self.listers.submit(self._discover, source) for source in work.sources]
        dispatch.run(scans)
        finish(scans, dispatch.stop)  # raises a bug in discovery
        report = work.complete()
        report.interrupted = dispatch.stop.asked.is_set()
        work.outcomes.observer.changed(report)
        return report

    def _discover(self, source: Source) -> None:
        """Scan every account of a source, one after the other."""
        for account_id in self.work.listing.accounts(source):
            self.work.listing.poll(source, account_id)


def _both(calls: CallDesk, outcomes: Outcomes) -> Callable[[Job, Outcome, State], None]:
    def settled(job: Job, outcome: Outcome, state: State) -> None:
        calls.settled(outcome)
        outcomes.settled(job, outcome, state)

    return settled


def _failure_row(row: dict[str, object]) -> dict[str, object]:
    names = ("source", "recording_id", "verdict", "reason", "attempts", "next_attempt_at")
    return {name: row[name] for name in names}
