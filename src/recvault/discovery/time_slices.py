"""Cut a window into slices that can be listed in parallel: wide where there is little, narrow where there is much.
Pure: results are passed in.

Invariant: in whatever order results arrive, each moment of the windows is in exactly one slice that was taken and not
put back, or is left.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from recvault.models import Window

EPOCH = datetime(2008, 1, 1, tzinfo=UTC)  # before any provider recorded a call: where "all history" begins
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)  # the narrowest slice: some providers' filters are by the day
WIDEST = timedelta(days=5 * 366)
_PIECES = 8  # pieces into which a too long slice is cut
_CONVINCED = 8  # completely listed slices of the widest size, after which twice that size is tried


class Slices:
    """The slices of some windows, newest first or oldest first. Not thread-safe: its owner holds a lock."""

    def __init__(
        self,
        windows: Iterable[Window],
        *,
        page_size: int,
        newest_first: bool,
        width: timedelta = DAY,
        finest: timedelta = DAY,
        longest: timedelta = WIDEST,
    ) -> None:
        parts = sorted(bounded(window) for window in windows)
        self._left = [part for part in parts if part[0] < part[1]]
        self._page_size = page_size
        self._newest_first = newest_first
        self._finest = finest
        self._longest = longest  # width that the provider documents; no wider slice is ever tried
        self.widest = longest  # width that the provider lists, as far as is known
        self._listed = 0  # slices listed of the widest size, since that changed
        self._convincing, self._tries_wider = _CONVINCED, False
        self._width: timedelta | None = min(longest, max(finest, width))  # None: no more cutting

    @property
    def left(self) -> list[Window]:
        """What is not taken, or was put back, in order."""
        return [Window(*part) for part in self._left]

    def next(self) -> Window | None:
        """Take the next slice to list; None if none is left.

        Slices end at midnight UTC, as providers' filters do, or at full hours if they are that short.
        """
        if not self._left:
            return None
        since, until = self._left.pop(-1 if self._newest_first else 0)
        if self._width is None or until - since <= self._width:
            return Window(since, until)
        if self._newest_first:
            cut = self._floor(until - self._width + self._finest - timedelta.resolution)
            insort(self._left, (since, cut))
            return Window(cut, until)
        cut = self._floor(since + self._width)
        insort(self._left, (cut, until))
        return Window(since, cut)

    def saw(self, slice_: Window, *, rows: int, within: int) -> None:
        """Learn from a completely listed slice: how many rows came, and how many of them are within it.

        Aims at one to two pages per slice; more if a filter by day mostly lists rows outside.
        """
        if self._width is None:
            return
        since, until = bounded(slice_)
        self._listed_whole(until - since)
        factor = 2 if rows > self._page_size / 8 else 4
        wider = min(self.widest, max(self._width, factor * (until - since)))
        if rows < self._page_size / 2 or rows > max(1.5 * within, self._page_size):
            self._width = wider
        elif within > 2 * self._page_size:
            self._width = max(self._finest, min(self._width, (until - since) / 2))

    def _listed_whole(self, width: timedelta) -> None:
        """Try wider slices again after enough successes: a failure may have had another cause, or be over."""
        self._tries_wider = self._tries_wider and width < self.widest
        if self.widest < self._longest and width > self.widest / 2:
            self._listed += 1
            if self._listed >= self._convincing:
                self.widest, self._listed, self._tries_wider = min(self._longest, 2 * self.widest), 0, True

    def may_break_off(self, slice_: Window) -> bool:
        """Whether a slice that turns out to be long can be split."""
        since, until = bounded(slice_)
        return self._width is not None and until - since > 2 * self._finest

    def put_back(self, slice_: Window, pieces: int = _PIECES) -> None:
        """Put back a slice that was too long to list at once, in pieces."""
        since, until = bounded(slice_)
        piece = max(self._finest, (until - since) / pieces)
        while since < until:
            cut = min(until, max(self._floor(since + piece), since + self._finest / 2))
            insort(self._left, (since, cut))
            since = cut
        if self._width is not None:
            self._width = max(self._finest, min(self._width, piece))

    def halve(self, slice_: Window) -> bool:
        """Put back the halves of a slice that could not be listed, and cut no more slices of its width.

        Returns False if it cannot be halved.
        """
        since, until = bounded(slice_)
        if until - since <= self._finest:
            return False
        self.put_back(slice_, 2)
        self.no_wider((until - since) / 2)
        return True

    def no_wider(self, width: timedelta) -> None:
        """Cut no wider slices: the provider does not list them."""
        if (narrower := max(self._finest, min(self.widest, width))) < self.widest:
            self.widest, self._listed = narrower, 0
            if self._tries_wider:  # the wider size failed: the next try is later
                self._convincing, self._tries_wider = 2 * self._convincing, False
        if self._width is not None:
            self._width = min(self._width, self.widest)

    def drop_before(self, moment: datetime) -> list[Window]:
        """Drop and return what is older than the provider lists."""
        dropped = [(since, min(until, moment)) for since, until in self._left if since < moment]
        self._left = [(max(since, moment), until) for since, until in self._left if until > moment]
        return [Window(*part) for part in dropped]

    def cut_no_more(self) -> None:
        """Stop cutting: the date filter is ignored, so one list holds everything. A documented limit still holds."""
        if self._longest == WIDEST:
            self._width = None

    def _floor(self, moment: datetime) -> datetime:
        """Return the start of its day, in UTC; of its hour or its minute, if slices may be so short."""
        utc = moment.astimezone(UTC)
        hour = 0 if self._finest >= DAY else utc.hour
        return utc.replace(hour=hour, minute=0 if self._finest >= HOUR else utc.minute, second=0, microsecond=0)


def without(window: Window, done: Sequence[Window]) -> list[Window]:
    """Return the parts of a window that are in none of the done intervals, in order."""
    since, end = bounded(window)
    left = []
    for start, stop in sorted(bounded(each) for each in done):
        if start > since:
            left.append((since, min(start, end)))
        since = max(since, stop)
        if since >= end:
            break
    if since < end:
        left.append((since, end))
    return [Window(*part) for part in left if part[0] < part[1]]


def bounded(window: Window) -> tuple[datetime, datetime]:
    """Return both ends; an open start becomes EPOCH. Raises ValueError for an open end."""
    if window.until is None:
        raise ValueError("a window that is to be cut has an end")
    return window.since or EPOCH, window.until
