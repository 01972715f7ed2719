"""Slices of a window: whatever the answers and their order, they cover it exactly once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recvault.discovery.time_slices import DAY, EPOCH, WIDEST, Slices, bounded, without
from recvault.models import Window

START = datetime(2026, 10, 1, 9, 30, tzinfo=UTC)
MOMENTS = st.integers(0, 18 * 365 * 86_400).map(lambda seconds: EPOCH + timedelta(days=400, seconds=seconds))
LISTED = st.tuples(st.integers(0, 9000), st.floats(0, 1))
DEEDS = st.sampled_from(("saw", "saw", "saw", "put back", "unfiltered"))


def slices(*windows: Window, newest_first: bool = True, page_size: int = 100) -> Slices:
    return Slices(windows, page_size=page_size, newest_first=newest_first)


def take_all(cut: Slices, rows: int = 0, within: int | None = None) -> list[Window]:
    taken = []
    while (slice_ := cut.next()) is not None:
        taken.append(slice_)
        cut.saw(slice_, rows=rows, within=rows if within is None else within)
    return taken


@settings(max_examples=200, deadline=None)
@given(since=st.none() | MOMENTS, until=MOMENTS, newest_first=st.booleans(), data=st.data())
def test_slices_are_the_window_each_moment_once(
    since: datetime | None, until: datetime, newest_first: bool, data: st.DataObject
) -> None:
    """For any window, any answers in any order, and divided slices, every moment is in exactly one slice."""
    cut, out, read = slices(Window(since, until), newest_first=newest_first), [], []
    for _ in range(100_000):
        if (slice_ := cut.next()) is not None:
            out.append(slice_)
        if not out:
            break
        if slice_ is not None and len(out) < 4 and data.draw(st.booleans()):
            continue
        answered = out.pop(data.draw(st.integers(0, len(out) - 1)))
        rows, share = data.draw(LISTED)
        deed = data.draw(DEEDS)
        if deed == "put back" and cut.may_break_off(answered):
            cut.put_back(answered)
            continue
        read.append(bounded(answered))
        if deed == "unfiltered":
            cut.cut_no_more()
        else:
            cut.saw(answered, rows=rows, within=int(rows * share))
    read.sort()
    begins = since or EPOCH
    assert [start for start, _ in read] == [begins, *(end for _, end in read[:-1])][: len(read)]
    assert (read[-1][1] if read else max(begins, until)) == max(begins, until)
    assert all(start < end for start, end in read)


@pytest.mark.parametrize("newest_first", [True, False], ids=["newest first", "oldest first"])
def test_where_nothing_is_listed_slices_grow(newest_first: bool) -> None:
    """Years without recordings cost a few requests; no slice is wider than the widest."""
    taken = take_all(slices(Window(None, START), newest_first=newest_first))
    assert len(taken) <= 14
    assert max(end - since for since, end in map(bounded, taken)) <= WIDEST
    assert taken == sorted(taken, key=bounded, reverse=newest_first)


@pytest.mark.parametrize("newest_first", [True, False], ids=["newest first", "oldest first"])
def test_where_much_is_listed_slices_are_a_day(newest_first: bool) -> None:
    """In busy history slices are a day from midnight, as providers filter, except at the window's ends."""
    window = Window(START - 20 * DAY, START)
    taken = sorted(map(bounded, take_all(slices(window, newest_first=newest_first), rows=5000)))
    assert len(taken) == 21
    assert {since.time().isoformat() for since, _ in taken[1:]} == {"00:00:00"}


def test_slices_narrow_when_much_comes_and_widen_when_little_does() -> None:
    """Slices aim at one to two pages."""
    cut = slices(Window(START - 400 * DAY, START))
    widths = []
    for rows in (0, 0, 0, 5000, 150, 10):
        slice_ = cut.next()
        assert slice_ is not None
        since, until = bounded(slice_)
        widths.append((until - since).days)
        cut.saw(slice_, rows=rows, within=rows)
    assert widths[:3] == sorted(widths[:3])
    assert widths[4] == widths[3] // 2 == widths[5]


def test_a_filter_by_the_day_is_asked_for_more_days() -> None:
    """If most listed rows are outside the slice, it is widened, however many rows there are."""
    cut = slices(Window(START - 60 * DAY, START))
    widths = []
    for _ in range(5):
        slice_ = cut.next()
        assert slice_ is not None
        since, until = bounded(slice_)
        days = (until - since) / DAY
        widths.append(days)
        cut.saw(slice_, rows=int(1000 * (days + 2)), within=int(1000 * days))
    assert widths[0] < 1 and max(widths) >= 4


def test_a_rerun_may_begin_with_wider_slices() -> None:
    """A rerun begins with the given width, between a day and the widest."""
    for width, days in ((timedelta(), 1), (7 * DAY, 7), (timedelta(days=9999), WIDEST.days)):
        cut = Slices([Window(None, EPOCH + 3000 * DAY)], page_size=9, newest_first=True, width=width)
        since, until = bounded(cut.next() or Window())
        assert (until - since).days == days


def test_a_list_that_is_not_filtered_is_read_once_more_and_no_more() -> None:
    """After an unfiltered list the rest is one slice, however many rows it has."""
    cut = slices(Window(None, START))
    cut.next()
    cut.cut_no_more()
    assert len(take_all(cut, rows=100_000, within=3)) == 1


def listed(cut: Slices, most: timedelta) -> tuple[int, int]:
    """Return how many slices a provider that answers up to `most` lists, and how many it refuses."""
    counts = {True: 0, False: 0}
    while (slice_ := cut.next()) is not None:
        since, until = bounded(slice_)
        counts[until - since <= most] += 1
        if until - since <= most:
            cut.saw(slice_, rows=0, within=0)
        else:
            assert cut.halve(slice_)
    return counts[True], counts[False]


@pytest.mark.parametrize("newest_first", [True, False], ids=["newest first", "oldest first"])
def test_a_failure_that_has_passed_keeps_no_slice_narrow(newest_first: bool) -> None:
    """A past failure for another reason than width does not keep slices narrow."""
    cut = slices(Window(None, START), newest_first=newest_first)
    cut.no_wider(DAY)
    assert listed(cut, WIDEST)[0] < 100


def test_a_width_that_is_not_answered_is_tried_less_and_less() -> None:
    """Two decades of a provider that lists at most a month cost a handful of failed attempts."""
    cut = slices(Window(None, START))
    answered, refused = listed(cut, 31 * DAY)
    assert (answered < 450, refused < 20) == (True, True)


def test_a_slice_that_was_too_much_comes_back_in_pieces() -> None:
    """A too large slice is divided into about eight parts; a day is not divided further."""
    cut = slices(Window(START - 64 * DAY, START))
    cut.saw(Window(START - 64 * DAY, START), rows=0, within=0)
    slice_ = cut.next()
    assert slice_ == Window(START - 64 * DAY, START) and cut.may_break_off(slice_)
    cut.put_back(slice_)
    assert 8 <= len(cut.left) <= 10
    assert not cut.may_break_off(Window(START - DAY, START))


@pytest.mark.parametrize(
    ("done", "left"),
    [
        ([], [(0, 10)]),
        ([(0, 10)], []),
        ([(-5, 15)], []),
        ([(0, 4)], [(4, 10)]),
        ([(6, 12)], [(0, 6)]),
        ([(2, 3), (5, 6)], [(0, 2), (3, 5), (6, 10)]),
        ([(5, 6), (2, 3)], [(0, 2), (3, 5), (6, 10)]),
        ([(20, 30)], [(0, 10)]),
        ([(-9, -3)], [(0, 10)]),
    ],
)
def test_what_is_done_is_taken_out(done: list[tuple[int, int]], left: list[tuple[int, int]]) -> None:
    """A rerun lists what is left of its window."""

    def days(pairs: list[tuple[int, int]]) -> list[Window]:
        return [Window(START + since * DAY, START + until * DAY) for since, until in pairs]

    assert without(Window(START, START + 10 * DAY), days(done)) == days(left)


def test_a_window_without_an_end_cannot_be_cut() -> None:
    """A window without an end is refused."""
    with pytest.raises(ValueError, match="has an end"):
        slices(Window(START, None))


def test_an_empty_window_has_no_slices() -> None:
    """A window that is empty or ends before it begins has no slices."""
    assert slices(Window(START, START), Window(START, START - timedelta(days=1))).next() is None
