"""A backfill: a time range of a source's history in slices, or single lists and recordings; then all that is due.

Invariant: it never moves a watermark backward, and forward only if everything before was read completely. Finished
slices stay finished: after a kill the same command continues.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from recvault.discovery.history import History, Walk, unbounded
from recvault.discovery.source import Source
from recvault.discovery.time_slices import EPOCH, bounded, without
from recvault.discovery.watermark_bound import Scanned
from recvault.dispatch.sync_pass import Work
from recvault.dispatch.thread_pool import finish
from recvault.errors import RecvaultError
from recvault.ledger import BACKFILL, Feed, Ledger, StateCounts
from recvault.log.lines import get_logger
from recvault.models import Scope, Window
from recvault.monitoring.progress import Progress
from recvault.monitoring.report import Report
from recvault.providers.base import Provider, check_scope
from recvault.providers.calendar import moment_before

log = get_logger("recvault.dispatch.backfill")

_UNSURE = timedelta(days=1)  # an empty list does not show the provider's clock: ours may differ by so much


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What to archive. If lists or recordings are given, the time range is not read."""

    window: Window = field(default_factory=Window)
    scopes: tuple[Scope, ...] = ()
    recordings: tuple[str, ...] = ()
    oldest_first: bool = False

    @property
    def is_named(self) -> bool:
        return bool(self.scopes or self.recordings)

    def check(self, provider: Provider) -> None:
        """Raise ConfigError for a list that the provider does not have, before anything starts."""
        for scope in self.scopes:
            check_scope(provider, scope)

    def of(self, source: Source) -> Window:
        """Return the window to read: it starts at the source's `start_from`, unless another day is given."""
        return replace(self.window, since=self.window.since or source.start_from)


@dataclass(slots=True, kw_only=True)
class Backfill:
    """Made for one run. `work` has one source."""

    work: Work
    asked: Asked
    listers: Executor
    threads: int  # that list in parallel
    store_error: RecvaultError | None = None
    progress: Progress = field(default_factory=Progress)
    _histories: list[History] = field(default_factory=list)

    def run(self) -> Report:
        """List, and meanwhile transfer all of the source that is due; return the report."""
        work, dispatch = self.work, self.work.dispatch
        dispatch.tidy()
        if self.store_error is not None:
            work.outcomes.store_failed(self.store_error)
        scans = self._begin()
        self.progress.begin(scans, self._left, lambda: work.outcomes.trouble)
        dispatch.run(scans)
        finish(scans, dispatch.stop)  # a bug in discovery is not swallowed
        self._finish()
        report = work.complete()
        report.interrupted = dispatch.stop.asked.is_set()
        work.outcomes.observer.changed(report)
        return report

    def _begin(self) -> Sequence[Future[None]]:
        if self.asked.is_named:
            return [self.listers.submit(self._read_named)]
        source, started = self._source, self.work.dispatch.clock()
        for account_id in self.work.listing.accounts(source):
            history = History.of(
                account_id,
                self.asked.of(source),
                started,
                self._ledger.slices(self._feed(account_id)),
                page_size=source.line(account_id).provider.page_size,
                newest_first=not self.asked.oldest_first,
            )
            self._histories.append(history)
        log.info("backfill.begun", source=source.name, accounts=len(self._histories), **_words(self.asked.of(source)))
        walk = Walk(
            listing=self.work.listing,
            source=unbounded(source),
            histories=[*self._histories],
            stop=self.work.dispatch.stop,
            on_read=self._note_read,
        )
        return [self.listers.submit(walk.read) for _ in range(self.threads)]

    def _read_named(self) -> None:
        source, listing = unbounded(self._source), self.work.listing
        accounts = listing.accounts(source)
        if not accounts:
            return
        for scope in self.asked.scopes:
            listing.named(source, accounts, scope)
        for recording_id in self.asked.recordings:
            listing.recording(source, accounts, recording_id)

    def _note_read(self, history: History, slice_: Window, scanned: Scanned, begun: datetime) -> None:
        """Store a slice as read, up to `settled`: later rows may still be listed late, so the next run reads them
        again."""
        settled = scanned.watermark or moment_before(begun, self._source.lookback + _UNSURE)
        since, until = bounded(slice_)
        if (until := min(until, settled)) > since:
            self._ledger.add_slice(self._feed(history.account_id), Window(since, until))
        names = {"source": self._source.name, "account_id": history.account_id, "listed": scanned.rows}
        log.debug("backfill.slice_read", **names, **_words(slice_))

    def _finish(self) -> None:
        """Hand each completely read account over to polls; if all were, forget their slices: the next backfill starts
        over."""
        whole = [history for history in self._histories if history.is_read]
        for history in whole:
            self._hand_over(history)
        if len(whole) == len(self._histories):
            for history in whole:
                self._forget(history)

    def _hand_over(self, history: History) -> None:
        """Move the watermark to the end of what was read, if nothing is missing before. An empty list moves nothing."""
        source, feed = self._source, self._source.feed(history.account_id)
        since, mark = self.asked.window.since, self._ledger.watermark(feed)
        known = max((moment for moment in (mark, source.start_from) if moment), default=None)
        is_empty = not history.seen and self._ledger.ask.standing(feed.source, feed.account_id) == StateCounts()
        if is_empty or not (since is None or (known and since <= known)):
            return
        begins = history.whole.since or EPOCH
        ends = [bounded(done)[1] for done in self._ledger.slices(self._feed(history.account_id)) if begins in done]
        if ends and (mark is None or ends[0] > mark):
            self._ledger.advance(feed, ends[0], self.work.dispatch.clock())

    def _forget(self, history: History) -> None:
        """Forget the slices in this backfill's range; what another one read of other years stays read."""
        feed = self._feed(history.account_id)
        others = [part for done in self._ledger.slices(feed) for part in without(done, [history.whole])]
        self._ledger.forget_slices(feed)
        for part in others:
            self._ledger.add_slice(feed, part)

    def _left(self) -> int:
        """Return how many recordings still wait for their first transfer."""
        ask, name = self._ledger.ask, self._source.name
        standings = [ask.standing(name, account_id) for account_id in ask.accounts(name)]
        return sum(standing.pending - standing.failing for standing in standings)

    def _feed(self, account_id: str) -> Feed:
        return replace(self._source.feed(account_id), list=BACKFILL)

    @property
    def _source(self) -> Source:
        return self.work.sources[0]

    @property
    def _ledger(self) -> Ledger:
        return self.work.dispatch.ledger


def _words(window: Window) -> dict[str, str]:
    ends = {"since": window.since, "until": window.until}
    return {name: moment.isoformat() for name, moment in ends.items() if moment}
