"""Walking through history: what is told as read was read whole, and a slice that was too much is read in pieces."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from recvault.models import Window
from recvault.slices import DAY, bounded
from recvault.stopping import Stop
from recvault.tally import Scanned
from recvault.walk import History, Walk

NOW = datetime(2026, 10, 1, 9, 30, tzinfo=UTC)


@dataclass
class Lists:
    """A provider's list: slices wider than `most` days are broken off, where that is allowed; some fail."""

    most: float = 1e9
    fails: bool = False
    asked: list[Window] = field(default_factory=list)

    def clock(self) -> datetime:
        return NOW

    def window(self, source: Any, account_id: str, window: Window, most_pages: int | None) -> Scanned | None:
        self.asked.append(window)
        if self.fails:
            return None
        since, until = bounded(Window(window.since, window.until or NOW))
        long = most_pages is not None and (until - since) / DAY > self.most
        return Scanned(rows=0, within=0, watermark=None, broken_off=long)


def history(asked: Window, newest_first: bool = True, done: tuple[Window, ...] = ()) -> History:
    return History.of("AC1", asked, NOW, done, page_size=100, newest_first=newest_first)


def walk(lists: Lists, *histories: History, stop: Stop | None = None) -> list[tuple[datetime, datetime]]:
    """What was told as read, by two threads side by side."""
    read: list[tuple[datetime, datetime]] = []
    walking: Any = Walk(
        listing=lists,  # type: ignore[arg-type]
        source=None,  # type: ignore[arg-type]
        histories=[*histories],
        stop=stop or Stop(),
        on_read=lambda history, slice_, scanned, begun: read.append(bounded(slice_)),
    )
    threads = [threading.Thread(target=walking.read) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return sorted(read)


@pytest.mark.parametrize("newest_first", [True, False], ids=["newest first", "oldest first"])
def test_what_is_broken_off_is_not_told_as_read(newest_first: bool) -> None:
    """Its pieces are, and together they are the window, each moment once."""
    since = NOW - 3000 * DAY
    read = walk(Lists(most=20), history(Window(since), newest_first))
    assert [start for start, _ in read] == [since, *(end for _, end in read[:-1])]
    assert (read[-1][1], max(end - start for start, end in read) <= 20 * DAY) == (NOW, True)


def test_history_is_open_at_both_ends() -> None:
    """A row with an odd date, or of a clock that runs ahead, falls out of no slice; a window that is named is kept."""
    lists = Lists()
    walk(lists, history(Window()))
    assert [(each.since is None, each.until is None) for each in lists.asked].count((False, True)) == 1
    assert [each.since for each in lists.asked].count(None) == 1
    named = Lists()
    walk(named, history(Window(NOW - 9 * DAY, NOW - DAY)))
    assert None not in [end for each in named.asked for end in (each.since, each.until)]


def test_what_fails_is_left_after_a_few_slices() -> None:
    """It is not read, and the walk ends."""
    lists, lost = Lists(fails=True), history(Window())
    assert walk(lists, lost) == []
    assert 3 <= len(lists.asked) <= 4
    assert not lost.is_read


def test_a_stop_leaves_the_rest() -> None:
    """Nothing more is asked for."""
    stop, lists = Stop(), Lists()
    stop.asked.set()
    assert (walk(lists, history(Window()), stop=stop), lists.asked) == ([], [])


def test_what_is_done_is_not_asked_for_again() -> None:
    """A rerun lists the gaps alone."""
    done = (Window(NOW - 8 * DAY, NOW - 5 * DAY), Window(NOW - 4 * DAY, NOW - DAY))
    read = walk(Lists(), history(Window(NOW - 6 * DAY), done=done))
    assert (read[0][0], read[-1][1]) == (NOW - 5 * DAY, NOW)
    assert sum((end - start for start, end in read), start=0 * DAY) == 2 * DAY
