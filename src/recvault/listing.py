"""Ask a source's accounts what they list. One that fails is told, and holds back no other."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from recvault.discovery import Discovery, Found, subaccounts
from recvault.errors import Interrupted, RecvaultError
from recvault.fetch import Line
from recvault.ledger import Feed, Ledger, Policy
from recvault.meter import Meter
from recvault.models import ACCOUNT, Window
from recvault.observe import get_logger
from recvault.report import AccountReport, Report

log = get_logger("recvault.listing")

# Feeds beside the list itself: their own errors and times, no watermark.
ACCOUNTS = "accounts"
RECONCILE = "reconcile"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A configured source, ready to be asked."""

    name: str
    line: Callable[[str], Line]  # of an account's id
    account_id: str
    subaccounts: bool
    start_from: datetime | None
    lookback: timedelta
    policy: Policy

    @property
    def provider(self) -> str:
        """The provider, as identities name it."""
        return self.line(self.account_id).provider.provider

    def feed(self, account_id: str) -> Feed:
        """The list of one of its accounts."""
        return Feed(self.name, self.provider, account_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Scans, and what they are told to. Thread-safe, as long as an account is scanned by one thread at a time."""

    ledger: Ledger
    clock: Callable[[], datetime]
    report: Report
    meter: Meter | None
    on_found: Callable[[], None]

    def accounts(self, source: Source) -> list[str]:
        """The accounts of a source: its own, and below it the active ones, where it is to have them. Begins a round."""
        self._row(source, source.account_id).error = None
        found = [source.account_id]
        if source.subaccounts:
            feed = replace(source.feed(source.account_id), list=ACCOUNTS)
            root = source.line(source.account_id)

            def ask() -> None:
                found.extend(subaccounts(root.provider, root.session))
                self.ledger.advance(feed, None, self.clock())
                self.ledger.note_accounts(source.name, found, self.clock())

            if self._met(source, source.account_id, feed, ask) is not None:
                found += self.ledger.ask.accounts(source.name)  # those that were met before: none is skipped
        return list(dict.fromkeys(found))

    def poll(self, source: Source, account_id: str) -> None:
        """Register what an account lists between its watermark and now."""
        row, begun = self._row(source, account_id), time.monotonic()
        listed, registered = row.listed, row.registered
        if account_id != source.account_id:
            row.error = None
        feed = source.feed(account_id)
        error = self._met(source, account_id, feed, self._discovery(source, account_id, feed).run)
        if error is None:
            seen = {"listed": row.listed - listed, "new": row.registered - registered}
            log.info("discover.done", source=source.name, account_id=account_id, **seen)
        if self.meter is not None and not isinstance(error, Interrupted):
            seconds = time.monotonic() - begun
            self.meter.polled(source.name, account_id, seconds, type(error).__name__ if error else None)

    def reconcile(self, source: Source, account_id: str, window: Window) -> None:
        """List a whole window again, register what polls have missed, and count it: it should be nothing."""
        feed = replace(source.feed(account_id), list=RECONCILE)
        discovery = self._discovery(source, account_id, feed, window)
        if self._met(source, account_id, feed, discovery.run) is not None:
            return
        late = sorted(discovery.missed)
        names = {"source": source.name, "account_id": account_id, "since": str(window.since)}
        if self.meter is not None:
            self.meter.missed(source.name, len(late), late[-1].total_seconds() if late else 0.0)
        if late:
            hint = "the source's lookback is too short for how late this provider lists"
            log.warning("reconcile.missed", **names, new=len(late), latest=str(late[-1]), hint=hint)
        else:
            log.info("reconcile.done", **names)

    def _met(self, source: Source, account_id: str, feed: Feed, work: Callable[[], None]) -> RecvaultError | None:
        """Do the work; its error, told. What is no error of ours is a bug, and goes on up."""
        try:
            work()
        except Interrupted as error:
            return error
        except RecvaultError as error:
            log.error("discover.failed", source=source.name, account_id=account_id, list=feed.list, error=str(error))
            self.report.failed(source.name, source.provider, account_id, str(error), error.exit_code)
            self.ledger.note_scan_error(feed, str(error), self.clock())
            return error
        return None

    def _discovery(self, source: Source, account_id: str, feed: Feed, window: Window | None = None) -> Discovery:
        line = source.line(account_id)
        row = self._row(source, account_id)

        def on_page(found: Found) -> None:
            row.listed += found.listed + found.rejected
            row.registered += found.registered
            row.gone += found.gone
            row.external += found.external
            self.on_found()

        return Discovery(
            feed=feed,
            provider=line.provider,
            session=line.session,
            ledger=self.ledger,
            scope=ACCOUNT,
            window=window,
            start_from=source.start_from,
            lookback=source.lookback,
            recheck_every=source.policy.recheck_every,
            clock=self.clock,
            on_page=on_page,
        )

    def _row(self, source: Source, account_id: str) -> AccountReport:
        return self.report.account(source.name, source.provider, account_id)
