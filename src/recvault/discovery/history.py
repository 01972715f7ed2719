"""Read the history of several accounts in slices, in several threads, accounts in turn.

Invariant: a slice counts as read only after every page of it was registered. An account whose lists keep failing is
given up and does not delay others.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from recvault.discovery.poll import Listing
from recvault.discovery.source import Source
from recvault.discovery.time_slices import DAY, EPOCH, Slices, bounded, without
from recvault.discovery.watermark_bound import Scanned
from recvault.models import Window
from recvault.shutdown import Stop

_MOST_FAILED = 3  # failed slices of an account, after which the next run continues it
_MOST_PAGES = 8  # of a slice that can be split further
_LOOK_SECONDS = 0.2
_RESUMED = 16  # a rerun starts with slices of 1/16 of the longest one read, instead of single days


@dataclass(slots=True, kw_only=True)
class History:
    """One account's history: what is left to list."""

    account_id: str
    whole: Window  # has an end; its start is open if all history is wanted
    slices: Slices
    open_end: bool = False  # it ends now: the newest slice is listed without an upper bound
    failed: int = 0  # slices that could not be read
    seen: int = 0  # rows

    @classmethod
    def of(
        cls,
        account_id: str,
        asked: Window,
        now: datetime,
        done: Sequence[Window],
        *,
        page_size: int,
        newest_first: bool,
    ) -> History:
        """Make the history of a window up to now, without the intervals that are done."""
        until = min(asked.until or now, now)
        whole = Window(asked.since, until)
        left = without(whole, done) if (asked.since or EPOCH) < until else []
        longest = max((stop - start for start, stop in map(bounded, done)), default=DAY)
        slices = Slices(left, width=longest / _RESUMED, page_size=page_size, newest_first=newest_first)
        return cls(account_id=account_id, whole=whole, slices=slices, open_end=until == now)

    @property
    def is_read(self) -> bool:
        """Whether nothing is left and nothing failed."""
        return not self.failed and not self.slices.left

    def asked(self, slice_: Window) -> Window:
        """Return the window to request for a slice, open where the history is, so that no odd date is left out."""
        since = None if self.whole.since is None and slice_.since == EPOCH else slice_.since
        return Window(since, None if self.open_end and slice_.until == self.whole.until else slice_.until)


@dataclass(slots=True, kw_only=True)
class Walk:
    """Lists histories, for one run. Call `read` in as many threads as should list in parallel."""

    listing: Listing
    source: Source
    histories: list[History]
    stop: Stop
    on_read: Callable[[History, Window, Scanned, datetime], None]  # with the time when the slice was started
    _at_work: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def read(self) -> None:
        """List slices of all accounts until none is left or a stop is requested."""
        while (taken := self._take()) is not None:
            history, slice_ = taken
            begun = self.listing.clock()
            try:
                scanned = self._list(history, slice_)
                if scanned is not None and not scanned.broken_off:
                    for part in (slice_, *self._not_offered(history, scanned)):
                        self.on_read(history, part, scanned, begun)
            except BaseException:
                history.failed += 1
                raise
            finally:
                with self._changed:
                    self._at_work -= 1
                    self._changed.notify_all()

    def _list(self, history: History, slice_: Window) -> Scanned | None:
        """List one slice, and adapt the size of the next."""
        most = _MOST_PAGES if history.slices.may_break_off(slice_) else None
        scanned = self.listing.window(self.source, history.account_id, history.asked(slice_), most)
        with self._changed:
            if scanned is None:
                history.failed += 1
                return None
            history.seen += scanned.rows
            if scanned.broken_off:
                history.slices.put_back(slice_)
            elif scanned.unfiltered:
                history.slices.cut_no_more()
            else:
                if scanned.widest is not None:
                    history.slices.no_wider(scanned.widest)
                history.slices.saw(slice_, rows=scanned.rows, within=scanned.within)
        return scanned

    def _not_offered(self, history: History, scanned: Scanned) -> list[Window]:
        """Skip what is older than anything the provider offers; return it."""
        if scanned.offered_since is None:
            return []
        with self._changed:
            return history.slices.drop_before(scanned.offered_since)

    def _take(self) -> tuple[History, Window] | None:
        """Return the next slice, accounts in turn; None at the end. Waits for slices in progress: they may be split."""
        with self._changed:
            while not self.stop.asked.is_set():
                for _ in range(len(self.histories)):
                    self.histories.append(history := self.histories.pop(0))
                    if history.failed < _MOST_FAILED and (slice_ := history.slices.next()) is not None:
                        self._at_work += 1
                        return history, slice_
                if not self._at_work:
                    break
                self._changed.wait(_LOOK_SECONDS)
        return None


def unbounded(source: Source) -> Source:
    """Return the source without start_from: an explicit window or id has its own bound."""
    return replace(source, start_from=None)
