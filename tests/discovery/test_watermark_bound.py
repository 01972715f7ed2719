"""Reading a list: whether it was complete by its own counts, and how far the watermark may move."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from lines import a_recording
from recvault.discovery.watermark_bound import Scanned, Tally
from recvault.models import Recording, Rejected, Window
from recvault.providers.base import Page, Reply

NOW = datetime(2026, 10, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SINCE = NOW - DAY
REQUEST = httpx.Request("GET", "https://api.example.com/recordings")


def made(number: int, hours: float = 0.0) -> Recording:
    """A recording created that many hours ago."""
    return a_recording(number, created_at=NOW - hours * HOUR)


@dataclass
class List:
    """A list whose pages are read in sequence."""

    since: datetime | None = SINCE
    until: datetime | None = None
    started: datetime = NOW
    tally: Tally = field(init=False)

    def __post_init__(self) -> None:
        self.tally = Tally(window=Window(self.since, self.until), started=self.started, lookback=HOUR)

    def page(
        self,
        *recordings: Recording,
        total: int | None = None,
        pages: int | None = None,
        date: datetime | str | None = NOW,
        latency: timedelta = timedelta(),
        rejected: tuple[Rejected, ...] = (),
    ) -> Page:
        """Read another page."""
        said = format_datetime(date, usegmt=True) if isinstance(date, datetime) else date
        headers = httpx.Headers({} if said is None else {"Date": said})
        page = Page(recordings=recordings, rejected=rejected, total=total, pages=pages)
        self.tally.saw(page, Reply(REQUEST, 200, headers, b""), latency=latency)
        return page


# -- whole, by its own counts ------------------------------------------------------------------------------------------


def test_a_list_that_shows_what_it_tells_of_is_whole() -> None:
    """A list with as many rows and pages as announced is complete, including unreadable rows."""
    read = List()
    read.page(made(1), made(2), total=4, pages=2)
    read.page(made(3), total=4, pages=2, rejected=(Rejected(body="{}", reason="", recording_id="RE4"),))
    assert (read.tally.lacking, read.tally.moved) == ("", False)


@pytest.mark.parametrize("told", [(3, 3), (3, 4), (4, 3)], ids=str)
def test_a_row_that_did_not_come_is_missed(told: tuple[int, int]) -> None:
    """A missing row is detected by the smallest announced total; rows added meanwhile are for the next scan."""
    read = List()
    read.page(made(1), total=told[0])
    read.page(made(2), total=told[1])
    assert read.tally.lacking == "it announced 3 rows and contained 2"


def test_rows_that_were_added_meanwhile_are_not_missed() -> None:
    """If later pages announce more rows than the first, none is missing."""
    read = List()
    read.page(made(1), total=2)
    read.page(made(2), total=3)
    assert read.tally.lacking == ""


def test_a_page_that_did_not_come_is_missed() -> None:
    """A missing page is detected by the smallest announced number."""
    read = List()
    read.page(made(1), pages=4)
    read.page(made(2), pages=3)
    assert read.tally.lacking == "it announced 3 pages and ended after 2"


def test_a_row_that_is_met_again_on_the_next_page_makes_up_for_none() -> None:
    """A row repeated on the next page does not replace a missing one; two equal rows on one page are two."""
    read = List()
    read.page(made(1), made(2), total=3)
    read.page(made(2), total=3)
    assert read.tally.lacking == "it announced 3 rows and contained 2"
    alike = List()
    alike.page(made(1), made(1), made(2), total=3)
    assert alike.tally.lacking == ""


@pytest.mark.parametrize("end", ["broken_off", "passed"])
def test_what_was_not_read_to_its_end_lacks_nothing(end: str) -> None:
    """A list that was not read to its end is not judged by its counts."""
    read = List()
    read.page(made(1), total=9, pages=9)
    setattr(read.tally, end, True)
    assert (read.tally.lacking, Scanned.of(read.tally).broken_off) == ("", end == "broken_off")


@pytest.mark.parametrize(
    ("totals", "hours", "moved"),
    [
        ((3, 3), (1, 2, 3), False),
        ((3, 4), (1, 2, 3), False),  # newest first: it shifts the others
        ((3, 4), (1, 3, 2), True),  # unordered: it may be on a page that was read
        ((3, 4), (3, 2, 1), True),
        ((3, 2), (1, 2, 3), True),  # a deletion: the next page's first row moved to one that was read
        ((3, 2, 3), (1, 2, 3), True),  # and another was added
        ((3, 4, 3), (1, 2, 3), True),
    ],
    ids=str,
)
def test_rows_that_came_or_went_between_pages_may_have_hidden_one(
    totals: tuple[int, ...], hours: tuple[float, ...], moved: bool
) -> None:
    """If a row may have been skipped between pages, the list is read again."""
    read = List()
    read.page(*(made(number, ago) for number, ago in enumerate(hours)), total=totals[0])
    for number, total in enumerate(totals[1:], len(hours)):
        read.page(made(number, max(hours) + number), total=total)
    assert read.tally.moved is moved


def test_a_row_that_was_pushed_on_by_a_new_one_is_in_order() -> None:
    """Rows that new ones shifted to the next page are in order."""
    read = List()
    read.page(made(1, 1), made(2, 2), made(3, 3), total=4)
    read.page(made(2, 2), made(3, 3), made(4, 4), total=6)
    assert (read.tally.moved, read.tally.in_order) == (False, True)


# -- how far a watermark may go ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("started", "date", "latency", "mark"),
    [
        (NOW, NOW, timedelta(), NOW),
        (NOW + DAY, NOW, timedelta(), NOW),  # our clock is fast
        (NOW, NOW + DAY, timedelta(), NOW),  # theirs is
        (NOW, NOW - DAY, timedelta(), NOW - DAY),
        (NOW - DAY, NOW, timedelta(), NOW - DAY),
        (NOW, NOW, 10 * HOUR, NOW - 10 * HOUR),  # the answer took that long
        (NOW + DAY, NOW, -10 * HOUR, NOW),  # our clock was set back meanwhile
        (NOW, None, timedelta(), NOW - 3 * HOUR),  # no Date: by the newest row
        (NOW, "yesterday", timedelta(), NOW - 3 * HOUR),
        (NOW, datetime(1970, 1, 1, tzinfo=UTC), timedelta(), NOW - 3 * HOUR),  # a clock that was never set
    ],
    ids=str,
)
def test_the_watermark_is_the_scan_s_start_by_the_slower_clock_less_the_lookback(
    started: datetime, date: datetime | str | None, latency: timedelta, mark: datetime
) -> None:
    """No fast clock moves the watermark past what was read."""
    read = List(started=started)
    read.page(made(1, 3), made(2, 4), date=date, latency=latency)
    assert read.tally.watermark == mark - HOUR


def test_the_watermark_goes_by_the_first_page() -> None:
    """The first page's time counts, as later recordings may be on pages that were already read."""
    read = List(started=NOW + 9 * HOUR)
    read.page(made(1, 3), date=NOW)
    read.page(made(2, 4), date=NOW + 5 * HOUR)
    assert read.tally.watermark == NOW - HOUR


def test_an_empty_list_moves_no_watermark() -> None:
    """An empty list moves no watermark, since the provider may interpret the filter differently."""
    read = List()
    read.page()
    assert read.tally.watermark is None


def test_the_watermark_of_several_parts_goes_by_the_first_that_was_read() -> None:
    """For several parts the first one's time counts, and their rows are added up."""
    whole, first, second = List(started=NOW), List(started=NOW), List(started=NOW)
    first.page(made(1, 30), date=NOW - 3 * HOUR)
    second.page(made(2, 20), made(3, 10), date=NOW)
    whole.tally.add(first.tally)
    whole.tally.add(second.tally)
    assert (whole.tally.watermark, whole.tally.listed, whole.tally.within) == (NOW - 4 * HOUR, 3, 2)
    dateless = List()
    for number, hours in ((1, 20), (2, 10), (3, 15)):
        part = List()
        part.page(made(number, hours), date=None)
        dateless.tally.add(part.tally)
    assert dateless.tally.watermark == NOW - 11 * HOUR


# -- what a filter kept out --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("since", "until", "hours", "ignored"),
    [
        (SINCE, None, 24 + 71, False),  # days in their own zone, a rounded bound: allowed
        (SINCE, None, 24 + 73, True),
        (None, None, 99_999, False),
        (None, NOW - 30 * DAY, 30 * 24 - 71, False),
        (None, NOW - 30 * DAY, 30 * 24 - 73, True),
    ],
    ids=str,
)
def test_rows_far_beyond_a_bound_show_that_the_filter_is_ignored(
    since: datetime | None, until: datetime | None, hours: int, ignored: bool
) -> None:
    """Rows more than three days outside a bound show that the filter is ignored."""
    read = List(since, until)
    read.page(made(1, hours))
    assert (read.tally.ignored_the_filter, Scanned.of(read.tally).unfiltered) == (ignored, ignored)


def test_one_row_far_below_shows_that_the_filter_is_ignored_wherever_it_stands() -> None:
    """A single such row is enough, wherever it is in an unordered list."""
    read = List()
    read.page(made(1, 24 + 73), made(2, 1))
    assert read.tally.ignored_the_filter


@pytest.mark.parametrize(
    ("hours", "since", "passed"),
    [
        ((97, 98), SINCE, True),
        ((95, 98), SINCE, False),  # rows near its first may still be due
        ((23, 98), SINCE, False),
        ((98, 97), SINCE, False),  # unordered: anything may follow
        ((97, 98), None, False),
        ((), SINCE, False),
    ],
    ids=str,
)
def test_reading_ends_early_only_where_nothing_due_can_follow(
    hours: tuple[int, ...], since: datetime | None, passed: bool
) -> None:
    """Reading ends early only if a whole page is three days below the bound of a list that was newest first."""
    read = List(since)
    page = read.page(*(made(number, ago) for number, ago in enumerate(hours)))
    assert read.tally.passed_the_bound(page) is passed


def test_an_earlier_page_out_of_order_forbids_an_early_end() -> None:
    """An earlier page out of order prevents an early end."""
    read = List()
    read.page(made(1, 5), made(2, 4))
    assert not read.tally.passed_the_bound(read.page(made(3, 97), made(4, 98)))
