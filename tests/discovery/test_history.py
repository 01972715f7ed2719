"""Reading history in slices: what is reported as read was read completely, and too large slices are divided."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from recvault.discovery.history import History, Walk
from recvault.discovery.time_slices import DAY, bounded
from recvault.discovery.watermark_bound import Scanned
from recvault.models import Window
from recvault.shutdown import Stop

NOW = datetime(2026, 10, 1, 9, 30, tzinfo=UTC)


@dataclass
class Lists:
    """A provider's list: slices wider than `most` days are interrupted if allowed; some fail."""

    most: float = 1e9
    fails: bool = False
    told: dict[str, Any] = field(default_factory=dict)  # of each slice
    meet: Callable[[int], None] = lambda number: None  # called with each slice's number, before its answer
    asked: list[Window] = field(default_factory=list)

    def clock(self) -> datetime:
        return NOW

    def window(self, source: Any, account_id: str, window: Window, most_pages: int | None) -> Scanned | None:
        self.asked.append(window)
        self.meet(len(self.asked))
        if self.fails:
            return None
        since, until = bounded(Window(window.since, window.until or NOW))
        long = most_pages is not None and (until - since) / DAY > self.most
        return Scanned(rows=0, within=0, watermark=None, broken_off=long, **self.told)


def history(asked: Window, newest_first: bool = True, done: tuple[Window, ...] = ()) -> History:
    return History.of("AC1", asked, NOW, done, page_size=100, newest_first=newest_first)


def walk(lists: Lists, *histories: History, stop: Stop | None = None) -> list[tuple[datetime, datetime]]:
    """Walk with two threads; return what was reported as read."""
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
    """An interrupted slice is not reported as read; its parts are, and cover the window exactly once."""
    since = NOW - 3000 * DAY
    read = walk(Lists(most=20), history(Window(since), newest_first))
    assert [start for start, _ in read] == [since, *(end for _, end in read[:-1])]
    assert (read[-1][1], max(end - start for start, end in read) <= 20 * DAY) == (NOW, True)


def test_history_is_open_at_both_ends() -> None:
    """History is unbounded at both ends, so that odd or future dates are in a slice; a given window is kept."""
    lists = Lists()
    walk(lists, history(Window()))
    assert [(each.since is None, each.until is None) for each in lists.asked].count((False, True)) == 1
    assert [each.since for each in lists.asked].count(None) == 1
    named = Lists()
    walk(named, history(Window(NOW - 9 * DAY, NOW - DAY)))
    assert None not in [end for each in named.asked for end in (each.since, each.until)]


def test_what_fails_is_left_after_a_few_slices() -> None:
    """After a few failed slices the history is not read, and the walk ends."""
    lists, lost = Lists(fails=True), history(Window())
    assert walk(lists, lost) == []
    assert 3 <= len(lists.asked) <= 4
    assert not lost.is_read


def test_a_stop_leaves_the_rest() -> None:
    """After a stop nothing more is requested."""
    stop, lists = Stop(), Lists()
    stop.asked.set()
    left = history(Window())
    assert (walk(lists, left, stop=stop), lists.asked, left.is_read) == ([], [], False)


def test_what_is_done_is_not_asked_for_again() -> None:
    """A rerun lists only the gaps."""
    done = (Window(NOW - 8 * DAY, NOW - 5 * DAY), Window(NOW - 4 * DAY, NOW - DAY))
    read = walk(Lists(), history(Window(NOW - 6 * DAY), done=done))
    assert (read[0][0], read[-1][1]) == (NOW - 5 * DAY, NOW)
    assert sum((end - start for start, end in read), start=0 * DAY) == 2 * DAY


def test_one_slice_that_failed_leaves_its_history_unread() -> None:
    """If one slice failed, the history counts as unread, so that the watermark stays."""
    failed, fine = history(Window(NOW - DAY / 2)), history(Window(NOW - DAY / 2))
    walk(Lists(fails=True), failed)
    walk(Lists(), fine)
    assert (failed.is_read, fine.is_read, failed.slices.left) == (False, True, [])


def test_a_bug_while_a_slice_is_listed_leaves_its_history_unread() -> None:
    """A bug while listing propagates, and its slice counts as failed."""

    def bug(number: int) -> None:
        raise ZeroDivisionError

    lost = history(Window(NOW - DAY / 2))
    walking = Walk(
        listing=Lists(meet=bug),  # type: ignore[arg-type]
        source=None,  # type: ignore[arg-type]
        histories=[lost],
        stop=Stop(),
        on_read=lambda *_: None,
    )
    with pytest.raises(ZeroDivisionError):
        walking.read()
    assert (lost.is_read, lost.failed) == (False, 1)


def test_what_the_provider_does_not_offer_is_read_without_being_asked_for() -> None:
    """History before the oldest bound that the provider accepts counts as read."""
    oldest, whole = NOW - 30 * DAY, Window(NOW - 3000 * DAY)
    lists, left = Lists(told={"offered_since": oldest}), history(whole)
    read = walk(lists, left)
    assert ((read[0][0], read[-1][1]), left.is_read) == ((whole.since, NOW), True)
    assert sum((end - start for start, end in read), start=0 * DAY) == 3000 * DAY
    assert min(each.until or NOW for each in lists.asked) > oldest


def test_a_list_that_ignores_its_filter_is_not_cut_any_more() -> None:
    """If a list ignores its filter, the rest is requested at once, since each slice would return everything."""
    lists = Lists(told={"unfiltered": True})
    walk(lists, history(Window(NOW - 3000 * DAY)))
    assert len(lists.asked) <= 3  # each of the two threads has one already


def test_slices_are_no_wider_than_the_provider_answers() -> None:
    """The width that a provider answers is used for all slices, with rare attempts at wider ones."""
    lists = Lists(told={"widest": 2 * DAY})
    read = walk(lists, history(Window(NOW - 60 * DAY)))
    wider = [end - start for start, end in read if end - start > 2 * DAY]
    assert len(wider) <= 4 and max(wider, default=DAY) <= 4 * DAY


def test_a_slice_is_told_with_the_moment_at_which_it_was_begun() -> None:
    """A slice is reported with its start time, so that the next run reads again what was created during it."""
    clock, begun = [NOW], list[datetime]()
    lists = Lists(meet=lambda number: clock.append(NOW + number * DAY))
    lists.clock = lambda: clock[-1]  # type: ignore[method-assign]
    Walk(
        listing=lists,  # type: ignore[arg-type]
        source=None,  # type: ignore[arg-type]
        histories=[history(Window(NOW - DAY / 2))],
        stop=Stop(),
        on_read=lambda history, slice_, scanned, moment: begun.append(moment),
    ).read()
    assert begun == [NOW]


class Looked(threading.Event):
    """A stop that is never requested, and that knows when two threads have checked it."""

    def __init__(self) -> None:
        super().__init__()
        self.by_both, self._threads = threading.Event(), set[int]()

    def is_set(self) -> bool:
        self._threads.add(threading.get_ident())
        if len(self._threads) > 1:
            self.by_both.set()
        return super().is_set()


def test_who_finds_nothing_left_waits_for_what_may_come_back_in_pieces() -> None:
    """An idle thread waits for the last slice, and takes parts of it if it is divided."""
    done = Window(NOW - 1000 * DAY, NOW - 20 * DAY)  # so that a rerun begins with slices as wide as the rest
    side_by_side, looked = threading.Barrier(2), Looked()

    def meet(number: int) -> None:
        if number == 1:
            assert looked.by_both.wait(10)  # the other one is idle
        if number in (2, 3):
            side_by_side.wait(10)

    read = walk(Lists(most=10, meet=meet), history(Window(done.since), done=(done,)), stop=Stop(asked=looked))
    assert (read[0][0], read[-1][1], side_by_side.broken) == (done.until, NOW, False)


@pytest.mark.parametrize("ahead", [timedelta(), 5 * DAY, -DAY])
def test_history_ends_now_at_the_latest(ahead: timedelta) -> None:
    """A window into the future is read without upper bound, and the future is not reported as read."""
    lists = Lists()
    read = walk(lists, history(Window(NOW - 9 * DAY, NOW + ahead)))
    assert read[-1][1] == min(NOW, NOW + ahead)
    assert [each.until is None for each in lists.asked].count(True) == (ahead >= timedelta())
