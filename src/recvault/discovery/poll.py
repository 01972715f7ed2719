"""List a source's accounts. A failing one is reported and does not delay others."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from recvault.discovery.closed_accounts import Closings
from recvault.discovery.scan import Books, Discovery, Found, by_id, subaccounts
from recvault.discovery.source import Source
from recvault.discovery.watermark_bound import Scanned
from recvault.errors import (
    Denied,
    EndpointRefused,
    Interrupted,
    LedgerDamaged,
    LedgerLocked,
    LedgerUnavailable,
    NotFound,
    NotWhole,
    RecvaultError,
    Refused,
    UnknownName,
)
from recvault.ledger import ACCOUNTS, BACKFILL, RECONCILE, RECONCILE_PART, Feed
from recvault.ledger.lateness import Late, late_fact, offered_fact
from recvault.log.lines import get_logger
from recvault.models import ACCOUNT, Phase, Recording, Scope, State, Window, stamp
from recvault.monitoring.observer import Observer
from recvault.monitoring.report import AccountReport, Report
from recvault.providers.base import Provider, Subaccount

log = get_logger("recvault.discovery.poll")

_WAITING = (State.FAILING, State.DEAD, State.NOT_READY, State.GONE, State.EXTERNAL)

Row = dict[str, Any]


class ListingQuestions(Protocol):
    """The queries that listing needs."""

    def accounts(self, source: str) -> list[str]: ...

    def find(self, recording_id: str, source: str | None = None) -> list[Row]: ...


class ListingBooks(Books, Protocol):
    """Where listing stores what it finds: the ledger, or a counter."""

    @property
    def ask(self) -> ListingQuestions: ...

    def note_scan_error(self, feed: Feed, error: str, now: datetime) -> None: ...

    def note_accounts(self, source: str, active: Collection[str], now: datetime) -> None: ...

    def retry(self, row_ids: Iterable[int] | None, now: datetime) -> int: ...

    def fact(self, name: str) -> str | None: ...

    def remember(self, name: str, value: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Scans an account's lists, and stores and reports the results. Thread-safe."""

    ledger: ListingBooks
    clock: Callable[[], datetime]
    report: Report
    observer: Observer = field(default_factory=Observer)
    on_listed: Callable[[Provider, Sequence[Recording]], None] = lambda provider, recordings: None
    on_accounts: Callable[[Source, Sequence[str]], None] = lambda source, accounts: None  # before any is listed
    on_new: Callable[[Source, str, Sequence[Recording]], None] = lambda source, account_id, recordings: None
    on_read: Callable[[Source, str], None] = lambda source, account_id: None  # a list was read, or failed
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _closings: Closings = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_closings", Closings(self.ledger))

    def accounts(self, source: Source) -> list[str]:
        """Begin a round; return the accounts of a source: its own, and its readable sub-accounts if configured.

        Returns none if they must not be listed, which is reported.
        """
        self._row(source, source.account_id).error = None
        accounts, own = self._accounts(source), source.feed(source.account_id)
        refused = self._met(source, source.account_id, own, lambda: self.on_accounts(source, accounts))
        return [] if refused is not None else accounts

    def _accounts(self, source: Source) -> list[str]:
        if not source.subaccounts:
            return [source.account_id]
        feed, met = replace(source.feed(source.account_id), list=ACCOUNTS), list[Subaccount]()
        to_read: list[str] = []

        def ask() -> None:
            known = self.ledger.ask.accounts(source.name)
            _listed_twice(source, met)
            active = [source.account_id, *(each.account_id for each in met if each.is_active)]
            self.ledger.advance(feed, None, self.clock())
            self.ledger.note_accounts(source.name, active, self.clock())
            others = [each for each in met if each.account_id != source.account_id]
            before = [name for name in known if name != source.account_id]
            to_read.extend(self._closings.note(source.name, others, before, self.clock()))

        if self._met(source, source.account_id, feed, ask) is not None:
            # The accounts on received pages and those known before: none is skipped.
            names = [*(each.account_id for each in met), *self.ledger.ask.accounts(source.name)]
            to_read = [name for name in names if not self._closings.is_over(source.name, name)]
        return list(dict.fromkeys([source.account_id, *to_read]))

    def poll(self, source: Source, account_id: str) -> RecvaultError | None:
        """Register what an account lists between its watermark and now; return the error, already reported."""
        row, begun = self._row(source, account_id), time.monotonic()
        listed, registered = row.listed, row.registered
        if account_id != source.account_id:
            row.error = None
        feed = source.feed(account_id)

        def ask() -> None:
            self._discovery(source, account_id, feed).run()
            self._closings.read(source.name, account_id, self.clock())

        error = self._met(source, account_id, feed, ask)
        if error is None:
            seen = {"listed": row.listed - listed, "new": row.registered - registered}
            log.info("discover.done", source=source.name, account_id=account_id, **seen)
        if not isinstance(error, Interrupted):
            seconds = time.monotonic() - begun
            self.observer.polled(source.name, account_id, seconds, type(error).__name__ if error else None)
        return error

    def reconcile(self, source: Source, account_id: str, window: Window, *, whole: bool = True) -> None:
        """List a window again; register and count what polls have missed, which should be nothing.

        `whole`: this was the whole range to list again, so the next one is due a full interval from now.
        """
        feed = replace(source.feed(account_id), list=RECONCILE if whole else RECONCILE_PART)
        discovery = self._discovery(source, account_id, feed, window)
        error = self._met(source, account_id, feed, discovery.run)
        late = Late.of(discovery.missed, self.clock())  # even if it failed: what it found until then is registered
        names = {"source": source.name, "account_id": account_id, "since": str(window.since)}
        if late.recordings or error is None:
            self.observer.missed(source.name, late.recordings, late.lateness.total_seconds())
        if late.recordings:
            self._note_late(source, account_id, late)
            said = {"latest": str(late.lateness), "hint": late.words(source.lookback)}
            log.warning("reconcile.missed", **names, new=late.recordings, **said)
        elif error is None:
            log.info("reconcile.done", **names)

    def _note_late(self, source: Source, account_id: str, late: Late) -> None:
        """Report it, and remember it until lookback is long enough."""
        row, name = self._row(source, account_id), late_fact(source.name, account_id)
        with self._lock:
            row.missed += late.recordings
            row.lateness_seconds = max(row.lateness_seconds or 0, round(late.lateness.total_seconds()))
            row.lookback_needed_seconds = max(row.lookback_needed_seconds or 0, round(late.needed.total_seconds()))
            with contextlib.suppress(LedgerLocked, LedgerUnavailable):  # report, log and metrics show it now
                known = self.ledger.fact(name)
                self.ledger.remember(name, (Late.from_json(known) + late if known else late).to_json())

    def _note_not_offered(self, source: Source, account_id: str, oldest: datetime) -> None:
        """Report and remember that older bounds are refused, so earlier history was not listed."""
        row = self._row(source, account_id)
        with self._lock:
            row.offered_since = max(row.offered_since or oldest, oldest)
            with contextlib.suppress(LedgerLocked, LedgerUnavailable):  # report and log show it now
                self.ledger.remember(offered_fact(source.name, account_id), stamp(row.offered_since))
        log.warning("discover.not_offered", source=source.name, account_id=account_id, before=str(oldest))

    def window(self, source: Source, account_id: str, window: Window, most_pages: int | None = None) -> Scanned | None:
        """Register what a list has in a window, without moving the watermark. Returns None if that failed, which is
        reported.
        """
        feed = replace(source.feed(account_id), list=BACKFILL)
        discovery = replace(self._discovery(source, account_id, feed, window), most_pages=most_pages)
        scanned: list[Scanned] = []
        self._met(source, account_id, feed, lambda: scanned.append(discovery.run()))
        return scanned[0] if scanned else None

    def named(self, source: Source, accounts: Sequence[str], scope: Scope) -> bool:
        """Register the recordings of a call, conference or room, and make due those that are not archived.

        Uses the first of these accounts that lists any. False if that failed, which is reported.
        """

        def ask() -> None:
            refused: list[RecvaultError] = []
            for account_id in accounts:
                feed = replace(source.feed(account_id), list=BACKFILL)
                discovery = self._discovery(source, account_id, feed, Window(), scope)
                try:
                    scanned = replace(discovery, on_wanted=self._make_due).run()
                except (EndpointRefused, Denied) as error:
                    refused.append(error)
                    continue
                if scanned.rows:
                    return
            _raise_denied(refused)
            if len(refused) == len(accounts):
                raise UnknownName(f"{source.name} has no {scope.kind} {scope.id}: {refused[0].message}")
            log.warning("backfill.nothing_listed", source=source.name, scope=str(scope))

        return self._met(source, source.account_id, _named_feed(source), ask) is None

    def recording(self, source: Source, accounts: Sequence[str], recording_id: str) -> bool:
        """Register one recording by id, from the first of these accounts that knows it, and make it due now.

        False if that failed, which is reported.
        """

        def ask() -> None:
            refused: list[RecvaultError] = []
            for account_id in accounts:
                line = source.line(account_id)
                try:
                    found = by_id(line.provider, line.session, recording_id)
                except (NotFound, Refused, Denied) as error:
                    refused.append(error)
                    continue
                feed = replace(source.feed(account_id), list=BACKFILL)
                self.on_listed(line.provider, [found])
                new = self.ledger.register(feed, [found], [], self.clock(), source.policy.recheck_every)
                self._make_due([found])
                self._count(source, account_id, Found(1, new.new, new.gone, new.external))
                return
            _raise_denied(refused)
            raise UnknownName(f"{source.name} has no recording {recording_id}: {refused[0]}")

        return self._met(source, source.account_id, _named_feed(source), ask) is None

    def _make_due(self, recordings: Sequence[Recording]) -> None:
        """Make those due that have or await media and are failing, dead, not ready, gone or external."""
        live = [each for each in recordings if each.phase in (Phase.COMPLETE, Phase.UNFINISHED)]
        ids = [
            row["id"]
            for recording in live
            for row in self.ledger.ask.find(recording.recording_id)
            if (row["provider"], row["account_id"], row["recording_id"]) == recording.identity
            and row["state"] in _WAITING
        ]
        if ids:
            self.ledger.retry(ids, self.clock())

    def _met(self, source: Source, account_id: str, feed: Feed, work: Callable[[], object]) -> RecvaultError | None:
        """Do the work; return its error, reported. A bug propagates, and so does LedgerDamaged."""
        try:
            try:
                work()
            finally:
                self.on_read(source, account_id)
        except Interrupted as error:
            return error
        except LedgerDamaged:
            raise  # it concerns all sources: nothing more can be stored
        except RecvaultError as error:
            told = self._closings.met(source.name, account_id, error, self.clock())
            if told is None:
                log.info("discover.account_over", source=source.name, account_id=account_id, error=str(error))
                self.ledger.advance(feed, None, self.clock())
                return None
            log.error("discover.failed", source=source.name, account_id=account_id, list=feed.list, error=str(told))
            self.report.failed(source.name, source.provider, account_id, str(told), told.exit_code)
            if not isinstance(told, LedgerLocked | LedgerUnavailable):  # those cannot be written now
                self.ledger.note_scan_error(feed, str(told), self.clock())
            return told
        return None

    def _count(self, source: Source, account_id: str, found: Found) -> None:
        row = self._row(source, account_id)
        with self._lock:  # slices of one account are listed in parallel
            row.listed += found.listed + found.rejected
            row.registered += found.registered
            row.gone += found.gone
            row.external += found.external
        self.observer.found()
        self.observer.changed(self.report)

    def _discovery(
        self, source: Source, account_id: str, feed: Feed, window: Window | None = None, scope: Scope = ACCOUNT
    ) -> Discovery:
        line = source.line(account_id)
        return Discovery(
            feed=feed,
            provider=line.provider,
            session=line.session,
            ledger=self.ledger,
            scope=scope,
            window=window,
            start_from=source.start_from,
            lookback=source.lookback,
            recheck_every=source.policy.recheck_every,
            clock=self.clock,
            on_page=lambda found: self._count(source, account_id, found),
            on_listed=self.on_listed,
            on_new=lambda recordings: self.on_new(source, account_id, recordings),
            on_not_offered=lambda oldest: self._note_not_offered(source, account_id, oldest),
        )

    def _row(self, source: Source, account_id: str) -> AccountReport:
        return self.report.account(source.name, source.provider, account_id)


def _listed_twice(source: Source, met: list[Subaccount]) -> None:
    """List the accounts; restart once at the first page if a later one is refused, because its token may have
    expired."""
    root = source.line(source.account_id)
    try:
        met.extend(subaccounts(root.provider, root.session))
    except NotWhole:
        met.clear()
        met.extend(subaccounts(root.provider, root.session))


def _raise_denied(refused: Sequence[RecvaultError]) -> None:
    """Raise an error of denied access, if any: it does not show that the recording is missing."""
    for error in refused:
        if isinstance(error, Denied):
            raise error


def _named_feed(source: Source) -> Feed:
    return replace(source.feed(source.account_id), list=BACKFILL)
