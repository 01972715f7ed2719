"""Read a list in parts, oldest first, if it is long or cannot be read as a whole.

Invariant: when `read` returns, each moment of the window is in a completely read part, or older than anything the
provider offers; at any time this holds for everything below what `reach` got.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from recvault.discovery.narrower import FEW, NarrowedList, Narrower, may_help
from recvault.discovery.time_slices import DAY, EPOCH, WIDEST, Slices
from recvault.discovery.watermark_bound import Scanned, Tally
from recvault.errors import RecvaultError
from recvault.models import Window
from recvault.providers.base import longest_window

MOST_PAGES = 8  # of a part that can be split further


@dataclass(slots=True, kw_only=True)
class InParts:
    """Reads one window in parts, for one run."""

    asking: NarrowedList
    settled: Callable[[Window, Narrower, int | None], Tally]  # reads one list until it is stable
    reach: Callable[[datetime], None]  # called with a time before which all was read
    clock: Callable[[], datetime]
    window: Window
    narrower: Narrower
    total: Tally  # of all parts
    _slices: Slices = field(init=False)
    _open: bool = field(init=False)  # the oldest part has no lower bound
    _halved: bool = False
    _unfiltered: bool = False

    def read(self, *, whole_failed: bool) -> Scanned:
        """Read all of it. `whole_failed`: the whole list was not answered; otherwise it was only long."""
        self._begin(whole_failed)
        while (slice_ := self._slices.next()) is not None:
            self.asking.session.stop.check()
            asked = self._asked(slice_)
            try:
                most = MOST_PAGES if self._slices.may_break_off(slice_) else None
                tally = self.settled(asked, self.narrower, most)
            except RecvaultError as error:
                self._failed(slice_, asked, error)
                continue
            if tally.broken_off:
                self._slices.put_back(slice_)
                continue
            self._saw(slice_, tally)
        return replace(
            Scanned.of(self.total),
            unfiltered=self._unfiltered,
            widest=self._slices.widest if self._halved or self._longest else None,
            offered_since=self.narrower.offered_since,
        )

    @property
    def _longest(self) -> timedelta | None:
        return longest_window(self.asking.provider)

    def _begin(self, whole_failed: bool) -> None:
        since, until = self.window.since or EPOCH, self.window.until or self.total.started
        self._open = self.window.since is None and self._longest is None  # an open start may mean: only recent rows
        length = until - since
        finest = self.asking.finest
        self._slices = Slices(
            [Window(since, until)],
            page_size=self.narrower.page_size or self.asking.provider.page_size,
            newest_first=False,
            width=min(DAY, length / 2),
            finest=finest,
            longest=self._longest or WIDEST,
        )
        if whole_failed and self.narrower == Narrower():
            self._slices.no_wider(length / 2)
            self._halved = True
        self._drop()

    def _asked(self, slice_: Window) -> Window:
        """Return the window to request for a slice, open where the whole is, so that no odd date is left out."""
        is_first, is_last = slice_.since == EPOCH, slice_.until == self.total.started
        since = None if self._open and is_first else slice_.since
        return Window(since, None if self.window.until is None and is_last else slice_.until)

    def _failed(self, slice_: Window, asked: Window, error: RecvaultError) -> None:
        """Request less next; raise the error if that is impossible, or if nothing is answered at all."""
        if not may_help(error):
            raise error
        found = self.asking.narrower(asked, error, self.clock())
        if asked.since is None:
            self._open = False  # perhaps the open start was refused
            self._slices.put_back(slice_, 1)
        elif found.differs(self.narrower):
            self.narrower = self.narrower.joined(found)
            self._slices.put_back(slice_, 1)
            self._drop()
        elif self._slices.halve(slice_):
            self._halved = True
        elif self.narrower.page_size is None and self.asking.provider.page_size > FEW:
            self.narrower = replace(self.narrower, page_size=FEW)
            self._slices.put_back(slice_, 1)
        else:
            raise error

    def _drop(self) -> None:
        """Skip what is older than anything the provider offers."""
        if self.narrower.offered_since is not None:
            self._open = False
            self._slices.drop_before(self.narrower.offered_since)

    def _saw(self, slice_: Window, tally: Tally) -> None:
        if tally.ignored_the_filter:
            self._unfiltered = True
            self._slices.cut_no_more()
        else:
            self._slices.saw(slice_, rows=tally.listed, within=tally.within)
        self.total.add(tally)
        if (mark := self.total.watermark) is not None and slice_.until is not None:
            self.reach(min(mark, slice_.until))
