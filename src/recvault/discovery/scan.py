"""List a window, register every page, then advance the watermark.

Invariant: every recording that the provider lists with `created_at` before the watermark is in the ledger. The
watermark moves only after every page of the scan is registered, never past the scan's start by the provider's clock
less the lookback; an empty or failed scan leaves it alone. A list in parts is read oldest first, and the watermark
moves with each completely read part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol, cast

from recvault.discovery.endless import with_new_rows
from recvault.discovery.in_parts import MOST_PAGES, InParts
from recvault.discovery.narrower import NarrowedList, Narrower, may_help
from recvault.discovery.time_slices import EPOCH
from recvault.discovery.watermark_bound import Scanned, Tally
from recvault.errors import ConfigError, EndpointRefused, NotFound, NotWhole, RecvaultError, Refused
from recvault.http import Session
from recvault.ledger import Feed, Registered
from recvault.log.lines import get_logger
from recvault.models import ACCOUNT, Phase, Recording, Rejected, Scope, Window
from recvault.providers.base import Page, Provider, Subaccount, SubaccountProvider, longest_window

log = get_logger("recvault.discovery.scan")

_MOST_SCANS = 3  # of a list whose pages shift while it is read
_MOST_IDS = 100  # in one line of the log


@dataclass(frozen=True, slots=True)
class Found:
    """Numbers of what one page of a scan contained."""

    listed: int = 0
    registered: int = 0
    gone: int = 0
    external: int = 0
    rejected: int = 0


class Books(Protocol):
    """Where a scan stores what it finds: the ledger, or a counter."""

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

    def reach(self, feed: Feed, watermark: datetime) -> None: ...

    def watermark(self, feed: Feed) -> datetime | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """One scan of a feed."""

    feed: Feed
    provider: Provider
    session: Session
    ledger: Books
    scope: Scope
    window: Window | None = None  # the window to list again; None: new recordings, which move the watermark
    start_from: datetime | None  # older recordings are not archived
    lookback: timedelta
    recheck_every: timedelta
    clock: Callable[[], datetime]
    on_page: Callable[[Found], None]
    on_listed: Callable[[Provider, Sequence[Recording]], None] = lambda provider, recordings: None  # not registered yet
    on_new: Callable[[Sequence[Recording]], None] = lambda recordings: None  # just registered
    on_wanted: Callable[[Sequence[Recording]], None] = lambda recordings: None  # known and new ones in the window
    on_not_offered: Callable[[datetime], None] = lambda oldest: None  # older bounds are refused
    most_pages: int | None = None  # after which a long list is broken off; what was read is registered
    missed: list[timedelta] = field(default_factory=list)  # ages of new recordings found below the watermark

    def run(self) -> Scanned:
        """Register everything listed between the watermark and now, then advance it; or only list a given window."""
        self.ledger.note_scan_started(self.feed, self.clock())
        try:
            scanned = self._read()
        except (NotFound, Refused) as error:
            raise EndpointRefused(error.message, "check the source's base_url and account") from error
        if scanned.offered_since is not None:
            self.on_not_offered(scanned.offered_since)
        self.ledger.advance(self.feed, None if self.window else scanned.watermark, self.clock())
        return scanned

    def _read(self) -> Scanned:
        """Read the window in one list; in parts if that fails or is too long."""
        started = self.clock()
        since, until = (self.window.since, self.window.until) if self.window else (self._since(), None)
        # Numbered pages shift when a row is added: behind a frozen upper bound only deletions can move them.
        window = Window(since, until or (started if self.provider.offset_pages else None))
        narrower, failed = Narrower(), False
        try:
            if not self._is_too_long(window, started):
                tally = self._settled(window, narrower, self.most_pages or self._most_pages(window, started))
                if self.most_pages or not tally.broken_off:
                    return Scanned.of(tally)
        except RecvaultError as error:
            if self.scope != ACCOUNT or not may_help(error):
                raise  # a call's or a room's list is short and has no date filter
            narrower, failed = self._asking.narrower(window, error, started), True
            log.warning("discover.narrowed", source=self.feed.source, account_id=self.feed.account_id, error=str(error))
        return InParts(
            asking=self._asking,
            settled=self._settled,
            reach=self._reach,
            clock=self.clock,
            window=window,
            narrower=narrower,
            total=Tally(window=window, started=started, lookback=self.lookback),
        ).read(whole_failed=failed)

    def _reach(self, moment: datetime) -> None:
        """Advance the watermark of a poll after a part: if the rest fails, that part is not listed again."""
        if self.window is None:
            self.ledger.reach(self.feed, moment)

    @property
    def _asking(self) -> NarrowedList:
        return NarrowedList(provider=self.provider, session=self.session, scope=self.scope)

    def _is_too_long(self, window: Window, now: datetime) -> bool:
        """Whether the service documents that it does not list a window of this length, or lists only a part of it."""
        longest = longest_window(self.provider)
        if longest is None or self.scope != ACCOUNT:
            return False
        return window.since is None or (window.until or now) - window.since > longest

    def _most_pages(self, window: Window, now: datetime) -> int | None:
        """Return after how many pages a poll's list is read in parts instead, so that each part read is kept."""
        if self.scope != ACCOUNT or self.window is not None:
            return None
        is_long = (window.until or now) - (window.since or EPOCH) > 2 * self._asking.finest
        return MOST_PAGES if is_long else None

    def _settled(self, window: Window, narrower: Narrower, most_pages: int | None = None) -> Tally:
        """Read a list until it is stable and complete by its own totals. Raises NotWhole otherwise."""
        lacking = ""
        for _ in range(_MOST_SCANS):
            tally = self._scan(window, narrower, most_pages)
            lacking = tally.lacking
            if tally.broken_off or not (tally.moved or lacking):
                return tally
        raise NotWhole(
            f"the list of {self.feed.source} is incomplete: {lacking}"
            if lacking
            else f"the list of {self.feed.source} changed during each of {_MOST_SCANS} scans",
            "everything seen is registered and the watermark stays; the next poll lists again",
        )

    def _scan(self, window: Window, narrower: Narrower, most_pages: int | None) -> Tally:
        started = self.clock()
        tally = Tally(window=window, started=started, lookback=self.lookback)
        pages = self.session.pages(self.provider, self._asking.request(window, narrower.page_size))
        for number, (page, reply) in enumerate(pages, 1):
            tally.saw(page, reply, latency=self.clock() - started)
            self._register(page)
            if self.provider.newest_first and tally.passed_the_bound(page):
                tally.passed = True
                break
            if number == most_pages and page.next is not None and not tally.ignored_the_filter:
                tally.broken_off = True
                break
        if tally.ignored_the_filter:
            log.warning(
                "discover.filter_ignored", source=self.feed.source, since=window.since, oldest=tally.oldest_so_far
            )
        return tally

    def _since(self) -> datetime | None:
        return self.ledger.watermark(self.feed) or self.start_from

    def _register(self, page: Page) -> None:
        window = self.window or Window()
        wanted = [
            recording
            for recording in page.recordings
            if recording.created_at in window and (self.start_from is None or recording.created_at >= self.start_from)
        ]
        self.on_listed(self.provider, wanted)
        new = self.ledger.register(self.feed, wanted, page.rejected, self.clock(), self.recheck_every)
        self._tell(new.ids)
        self.on_page(Found(len(page.recordings), new.new, new.gone, new.external, len(page.rejected)))
        self.on_wanted(wanted)
        ids = frozenset(new.ids)
        found = [recording for recording in wanted if recording.recording_id in ids] if ids else []
        self.on_new(found)
        if self.window is not None:
            self._note_missed(found)

    def _tell(self, ids: Sequence[str]) -> None:
        """Log the ids of new recordings: the first line about each in the log."""
        for first in range(0, len(ids), _MOST_IDS):
            names = [*ids[first : first + _MOST_IDS]]
            log.info("discover.registered", source=self.feed.source, account_id=self.feed.account_id, recordings=names)

    def _note_missed(self, new: list[Recording]) -> None:
        """Note how late new recordings below the watermark were found: polls had missed them."""
        mark = self.ledger.watermark(Feed(self.feed.source, self.feed.provider, self.feed.account_id))
        now = self.clock()
        self.missed.extend(now - recording.created_at for recording in new if mark and recording.created_at < mark)


def subaccounts(provider: Provider, session: Session) -> Iterator[Subaccount]:
    """List the accounts, the configured one included. Rows contain tokens: only ids and statuses are returned."""
    if not provider.has_subaccounts:
        raise ConfigError(f"{provider.name} has no sub-accounts")
    lister = cast("SubaccountProvider", provider)
    try:
        pages = session.follow(lister.accounts_request(), lister.parse_accounts)
        for accounts in with_new_rows(pages, lambda each: each.account_id, "accounts"):
            yield from accounts
    except (NotFound, Refused) as error:
        raise EndpointRefused(error.message, "check the source's base_url, or set subaccounts = false") from error


def by_id(provider: Provider, session: Session, recording_id: str) -> Recording:
    """Read one recording by id that no list has returned yet."""
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
