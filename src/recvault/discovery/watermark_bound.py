"""What one reading of a list contained, compared with its own totals: how far the watermark may move."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import pairwise

from recvault.discovery.time_slices import EPOCH
from recvault.models import Recording, Window
from recvault.providers.base import Page, Reply
from recvault.providers.calendar import moment_before

_IGNORED_FILTER = timedelta(days=3)  # rows so far outside the bounds show that the date filter was ignored


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """The result of a scan, and how far the watermark may move; None if it found nothing."""

    rows: int  # all listed rows
    within: int  # those in the window
    watermark: datetime | None
    broken_off: bool = False  # stopped after `most_pages`; there is more
    unfiltered: bool = False  # the list has rows that its date filter should have excluded
    widest: timedelta | None = None  # the widest part that is answered, if wider ones were not
    offered_since: datetime | None = None  # the provider refuses any bound before it

    @classmethod
    def of(cls, tally: Tally) -> Scanned:
        """Summarise one reading, or the sum of several."""
        return cls(
            rows=tally.listed,
            within=tally.within,
            watermark=tally.watermark,
            broken_off=tally.broken_off,
            unfiltered=tally.ignored_the_filter,
        )


@dataclass(slots=True)
class Tally:
    """One reading of a list, page by page."""

    window: Window
    started: datetime  # by our clock
    lookback: timedelta
    listed: int = 0
    within: int = 0
    pages: int = 0
    broken_off: bool = False  # the list continues
    passed: bool = False  # the list continues below its bound: nothing due follows
    server_start: datetime | None = None  # the scan's start by the provider's clock
    newest: datetime | None = None
    totals: list[int] = field(default_factory=list)
    page_counts: list[int] = field(default_factory=list)
    oldest_so_far: datetime | None = None
    in_order: bool = True  # sorted newest first so far
    page_before: frozenset[str] = frozenset()
    _met: dict[int, int] = field(default_factory=dict)  # rows by the hash of their id, if the list has totals

    def saw(self, page: Page, reply: Reply, *, latency: timedelta) -> None:
        """Count a page."""
        if self.server_start is None:
            self.server_start = _date(reply, latency)
        if page.total is not None:
            self.totals.append(page.total)
        if page.pages is not None:
            self.page_counts.append(page.pages)
        self.pages += 1
        self.listed += len(page.recordings) + len(page.rejected)
        self.within += sum(recording.created_at in self.window for recording in page.recordings)
        for recording in page.recordings:
            if recording.recording_id not in self.page_before:  # moved on by a new row, not out of order
                self._note(recording)
        self.page_before = frozenset(recording.recording_id for recording in page.recordings)
        if self.totals:
            self._count(page)

    @property
    def moved(self) -> bool:
        """Whether rows were added or removed while pages were read, so that one may have been skipped.

        In a list sorted newest first, new rows only move others to later pages: those are seen twice, not missed.
        """
        steps = [after - before for before, after in pairwise(self.totals)]
        return any(step < 0 for step in steps) or (any(steps) and not self.in_order)

    @property
    def lacking(self) -> str:
        """What is missing by the list's own totals; empty if it is complete.

        Uses the smallest total: rows added meanwhile belong to the next scan.
        """
        if self.broken_off or self.passed:
            return ""
        rows, pages = min(self.totals, default=0), min(self.page_counts, default=0)
        if sum(self._met.values()) < rows:
            return f"it announced {rows} rows and contained {sum(self._met.values())}"
        if self.pages < pages:
            return f"it announced {pages} pages and ended after {self.pages}"
        return ""

    @property
    def watermark(self) -> datetime | None:
        """How far this complete scan has read; None if it found nothing. Clocks that are ahead, theirs or ours, are not
        trusted: at worst the next scan reads a little more."""
        start = self.server_start or self.newest
        if self.listed == 0 or start is None:
            return None
        return moment_before(min(start, self.started), self.lookback)

    @property
    def ignored_the_filter(self) -> bool:
        """Whether rows far outside the bounds were listed: scans then read more than requested, but lose nothing."""
        since, oldest, until, newest = self.window.since, self.oldest_so_far, self.window.until, self.newest
        below = since is not None and oldest is not None and oldest < moment_before(since, _IGNORED_FILTER)
        return below or (until is not None and newest is not None and moment_before(newest, _IGNORED_FILTER) > until)

    def add(self, other: Tally) -> None:
        """Add the reading of a later part of the same list."""
        self.listed += other.listed
        self.within += other.within
        self.server_start = self.server_start or other.server_start
        met = [moment for moment in (self.newest, other.newest) if moment]
        self.newest = max(met, default=None)

    def passed_the_bound(self, page: Page) -> bool:
        """Whether a list sorted newest first is far below the bound: its filter is ignored, and nothing due follows."""
        if self.window.since is None or not self.in_order or not page.recordings:
            return False
        return max(r.created_at for r in page.recordings) < moment_before(self.window.since, _IGNORED_FILTER)

    def _note(self, recording: Recording) -> None:
        created = recording.created_at
        self.newest = created if self.newest is None else max(self.newest, created)
        if self.oldest_so_far is not None and created > self.oldest_so_far:
            self.in_order = False
        self.oldest_so_far = created if self.oldest_so_far is None else min(self.oldest_so_far, created)

    def _count(self, page: Page) -> None:
        """Count rows: one that is also on the next page counts once; two alike on one page count twice."""
        names = [recording.recording_id for recording in page.recordings]
        names += [row.recording_id or row.body for row in page.rejected]
        for name, count in Counter(map(hash, names)).items():
            self._met[name] = max(self._met.get(name, 0), count)


def _date(reply: Reply, latency: timedelta) -> datetime | None:
    """Return the scan's start by the provider's clock: its answer's Date, less the time that the answer took."""
    try:
        said = parsedate_to_datetime(reply.headers["date"])
        begun = said.replace(tzinfo=said.tzinfo or UTC) - max(latency, timedelta())
    except (KeyError, ValueError, TypeError, IndexError, OverflowError):
        return None
    return begun if begun > EPOCH else None  # a clock that was never set is useless
