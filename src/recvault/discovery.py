"""List a window, register every page, then advance the watermark.

Invariant: every recording that the provider lists with `created_at` before the watermark is in the ledger. The
watermark moves only after every page of the scan is registered, never past the scan's start by the provider's clock
less the lookback; an empty or failed scan leaves it alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import pairwise
from typing import Protocol, cast

from recvault.errors import ConfigError, EndpointRefused, NotFound, ProtocolError, Refused
from recvault.http import Session
from recvault.ledger import Feed, Registered
from recvault.models import Phase, Recording, Rejected, Scope, Window
from recvault.observe import get_logger
from recvault.providers.base import Page, Provider, Reply, SubaccountProvider

log = get_logger("recvault.discovery")

_MOST_SCANS = 3  # of a list whose pages shift while it is read
_MOST_IDS = 100  # named in one line of the log
_IGNORED_FILTER = timedelta(days=3)  # rows so far below the bound say that the date filter was ignored


@dataclass(frozen=True, slots=True)
class Found:
    """What a scan met, page by page."""

    listed: int = 0
    registered: int = 0
    gone: int = 0
    external: int = 0
    rejected: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """What a scan came to, and how far a watermark may go by it; None where it met nothing."""

    rows: int  # listed
    within: int  # of them, in the window
    watermark: datetime | None
    broken_off: bool = False  # after `most_pages`: the list goes on
    unfiltered: bool = False  # the list holds what its date filter should have kept out


class Books(Protocol):
    """Where a scan writes down what it meets: the ledger, or what only counts."""

    def note_scan_started(self, feed: Feed, now: datetime) -> None: ...

    def register(
        self,
        feed: Feed,
        recordings: Iterable[Recording],
        rejected: Iterable[Rejected],
        now: datetime,
        recheck: timedelta,
    ) -> Registered: ...

    def advance(self, feed: Feed, watermark: datetime | None, now: datetime) -> None: ...

    def watermark(self, feed: Feed) -> datetime | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """One feed's scan: everything it needs."""

    feed: Feed
    provider: Provider
    session: Session
    ledger: Books
    scope: Scope
    window: Window | None = None  # to be listed again; None: what is new, which moves the watermark
    start_from: datetime | None  # the operator's bound: what is older is not archived
    lookback: timedelta
    recheck_every: timedelta
    clock: Callable[[], datetime]
    on_page: Callable[[Found], None]
    on_listed: Callable[[Sequence[Recording]], None] = lambda recordings: None  # before they are registered
    on_wanted: Callable[[Sequence[Recording]], None] = lambda recordings: None  # known or new, in the window
    most_pages: int | None = None  # after which a long list is broken off: what was read of it is registered
    missed: list[timedelta] = field(default_factory=list)  # how late they were found: new ones below the watermark

    def run(self) -> Scanned:
        """Register everything listed between the watermark and now, then advance; or a given window."""
        self.ledger.note_scan_started(self.feed, self.clock())
        try:
            for _ in range(_MOST_SCANS):
                scan = self._scan()
                if scan.broken_off or not scan.moved:
                    self.ledger.advance(self.feed, None if self.window else scan.watermark, self.clock())
                    return scan.scanned
        except (NotFound, Refused) as error:
            raise EndpointRefused(error.message, "check the source's base_url and account") from error
        raise ProtocolError(
            f"the list of {self.feed.source} changed during each of {_MOST_SCANS} scans",
            "all that was seen is registered, the watermark stays: the next poll lists again",
        )

    def _scan(self) -> _Scan:
        started = self.clock()
        since, until = (self.window.since, self.window.until) if self.window else (self._since(), None)
        # Numbered pages shift when a row is added: behind a frozen upper bound only deletions can move them.
        window = Window(since, until or (started if self.provider.offset_pages else None))
        scan = _Scan(window=window, started=started, lookback=self.lookback)
        pages = self.session.pages(self.provider, self.provider.list_request(window, self.scope))
        for number, (page, reply) in enumerate(pages, 1):
            scan.saw(page, reply, latency=self.clock() - started)
            self._register(page)
            if self.provider.newest_first and scan.passed_the_bound(page):
                break
            if number == self.most_pages and page.next is not None and not scan.ignored_the_filter:
                scan.broken_off = True
                break
        if scan.ignored_the_filter:
            log.warning("discover.filter_ignored", source=self.feed.source, since=since, oldest=scan.oldest_so_far)
        return scan

    def _since(self) -> datetime | None:
        return self.ledger.watermark(self.feed) or self.start_from

    def _register(self, page: Page) -> None:
        window = self.window or Window()
        wanted = [
            recording
            for recording in page.recordings
            if recording.created_at in window and (self.start_from is None or recording.created_at >= self.start_from)
        ]
        self.on_listed(wanted)
        new = self.ledger.register(self.feed, wanted, page.rejected, self.clock(), self.recheck_every)
        self._tell(new.ids)
        self.on_page(Found(len(page.recordings), new.new, new.gone, new.external, len(page.rejected)))
        self.on_wanted(wanted)
        if self.window is not None:
            ids = frozenset(new.ids)
            self._note_missed([recording for recording in wanted if recording.recording_id in ids])

    def _tell(self, ids: Sequence[str]) -> None:
        """Where the story of each recording begins in the log."""
        for first in range(0, len(ids), _MOST_IDS):
            names = [*ids[first : first + _MOST_IDS]]
            log.info("discover.registered", source=self.feed.source, account_id=self.feed.account_id, recordings=names)

    def _note_missed(self, new: list[Recording]) -> None:
        """What polls should have registered: a list of what is new passed it before it appeared there."""
        mark = self.ledger.watermark(Feed(self.feed.source, self.feed.provider, self.feed.account_id))
        now = self.clock()
        self.missed.extend(now - recording.created_at for recording in new if mark and recording.created_at < mark)


@dataclass(slots=True)
class _Scan:
    """What one reading of a list has shown so far."""

    window: Window
    started: datetime  # by our clock
    lookback: timedelta
    listed: int = 0
    within: int = 0
    broken_off: bool = False
    server_start: datetime | None = None  # the scan's start by the provider's clock
    newest: datetime | None = None
    totals: list[int] = field(default_factory=list)
    oldest_so_far: datetime | None = None
    in_order: bool = True  # newest first, as far as it was read
    page_before: frozenset[str] = frozenset()

    def saw(self, page: Page, reply: Reply, *, latency: timedelta) -> None:
        if self.server_start is None:
            self.server_start = _date(reply, latency)
        if page.total is not None:
            self.totals.append(page.total)
        self.listed += len(page.recordings) + len(page.rejected)
        self.within += sum(recording.created_at in self.window for recording in page.recordings)
        for recording in page.recordings:
            if recording.recording_id not in self.page_before:  # pushed on by a new row, not out of order
                self._note(recording)
        self.page_before = frozenset(recording.recording_id for recording in page.recordings)

    @property
    def moved(self) -> bool:
        """Rows came or went while the pages were read, so that one may have been skipped.

        Of a list in order, newest first, new rows only push others to a later page: those are met twice, not missed.
        """
        steps = [after - before for before, after in pairwise(self.totals)]
        return any(step < 0 for step in steps) or (any(steps) and not self.in_order)

    @property
    def watermark(self) -> datetime | None:
        """How far this whole scan has read; None where it met nothing. A clock that runs ahead, theirs or ours, is
        not believed: at worst the next scan reads a little more."""
        start = self.server_start or self.newest
        if self.listed == 0 or start is None:
            return None
        return min(start, self.started) - self.lookback

    @property
    def ignored_the_filter(self) -> bool:
        """Rows far beyond a bound were listed: each scan reads more than it asked for, and loses nothing."""
        since, oldest, until, newest = self.window.since, self.oldest_so_far, self.window.until, self.newest
        below = since is not None and oldest is not None and oldest < since - _IGNORED_FILTER
        return below or (until is not None and newest is not None and newest > until + _IGNORED_FILTER)

    @property
    def scanned(self) -> Scanned:
        return Scanned(
            rows=self.listed,
            within=self.within,
            watermark=self.watermark,
            broken_off=self.broken_off,
            unfiltered=self.ignored_the_filter,
        )

    def passed_the_bound(self, page: Page) -> bool:
        """A list in order, newest first, has gone far below the bound: its filter is ignored, nothing due follows."""
        if self.window.since is None or not self.in_order or not page.recordings:
            return False
        return max(r.created_at for r in page.recordings) < self.window.since - _IGNORED_FILTER

    def _note(self, recording: Recording) -> None:
        created = recording.created_at
        self.newest = created if self.newest is None else max(self.newest, created)
        if self.oldest_so_far is not None and created > self.oldest_so_far:
            self.in_order = False
        self.oldest_so_far = created if self.oldest_so_far is None else min(self.oldest_so_far, created)


def subaccounts(provider: Provider, session: Session) -> Iterator[str]:
    """The ids of the active accounts below (and including) the configured one. Rows hold tokens: only ids leave."""
    if not provider.has_subaccounts:
        raise ConfigError(f"{provider.name} has no sub-accounts")
    lister = cast("SubaccountProvider", provider)
    for accounts in session.follow(lister.accounts_request(), lister.parse_accounts):
        yield from accounts


def by_id(provider: Provider, session: Session, recording_id: str) -> Recording:
    """Read one recording that no list has shown yet."""
    unread = Recording(
        provider=provider.provider,
        api=provider.api,
        account_id=provider.account_id,
        recording_id=recording_id,
        created_at=datetime.fromtimestamp(0, UTC),
        status=None,
        phase=Phase.UNFINISHED,
        formats=(),
    )
    return provider.parse_recording(session.send(provider.refresh_request(unread)))


def _date(reply: Reply, latency: timedelta) -> datetime | None:
    """When the scan began, by the provider's clock: its answer's Date, less the time that answer took."""
    try:
        said = parsedate_to_datetime(reply.headers["date"])
        return said.replace(tzinfo=said.tzinfo or UTC) - max(latency, timedelta())
    except (KeyError, ValueError, TypeError, IndexError, OverflowError):
        return None
