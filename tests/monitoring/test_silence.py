"""Silence of an account, judged by its own weekdays and hours."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from recvault.monitoring.silence import LISTED_LATE, quiet_words, silence

HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)
MONDAY = datetime(2026, 11, 2, tzinfo=UTC)
OFFICE = [day * DAY + hour * HOUR for day in range(5) for hour in range(8, 17)]  # Monday to Friday, 8 to 17


def weeks(count: int, hours: Iterable[timedelta] = OFFICE, before: datetime = MONDAY) -> set[datetime]:
    """Return the hours with recordings of the weeks before a Monday."""
    return {before - WEEK * back + each for back in range(1, count + 1) for each in hours}


def at(day: int, hour: int) -> datetime:
    """Return when an hour of the week that began on that Monday can be judged."""
    return MONDAY + day * DAY + hour * HOUR + LISTED_LATE


def test_only_usual_hours_count() -> None:
    """From Friday evening to Monday 8 nothing is missed; then each office hour is, to the hour."""
    for until, missed in ((at(-1, 23), 0), (at(0, 8), 0), (at(0, 9) - LISTED_LATE, 0), (at(0, 9), 1), (at(0, 11), 3)):
        assert silence(weeks(6), until) == missed * HOUR
    assert silence(weeks(6), at(1, 1)) == 24 * HOUR  # Monday as a whole, which is more than its nine hours
    assert silence(weeks(6), at(1, 18)) == 24 * HOUR
    assert silence(weeks(6), at(6, 23)) == 120 * HOUR
    assert silence(weeks(6), at(8, 0)) == 144 * HOUR  # a week later it goes on


def test_a_recording_ends_it() -> None:
    """What was missed before the last recording does not count."""
    had = weeks(6) | {MONDAY + DAY + 10 * HOUR}
    assert [silence(had, at(1, hour)) / HOUR for hour in (11, 12, 13, 20)] == [0, 1, 2, 6]


@pytest.mark.parametrize(("history", "missed"), [(0, 0), (1, 0), (2, 0), (3, 2), (6, 2), (10, 2)])
def test_nothing_is_told_before_there_are_three_weeks(history: int, missed: int) -> None:
    """With less history no hour is usual."""
    assert silence(weeks(history), at(0, 10)) == missed * HOUR


@pytest.mark.parametrize(("exceptions", "missed"), [(1, 2), (2, 0)])
def test_an_hour_is_usual_with_one_exception_of_five_or_six_weeks(exceptions: int, missed: int) -> None:
    """One public holiday leaves the day usual; an hour that is often empty is none."""
    had = weeks(6) - {MONDAY - WEEK * (back + 2) + hour * HOUR for back in range(exceptions) for hour in range(24)}
    assert silence(had, at(0, 10)) == missed * HOUR
    assert silence(weeks(4) - {MONDAY - 2 * WEEK + 8 * HOUR}, at(0, 9)) == timedelta(0)


def test_weeks_without_any_recording_are_left_out() -> None:
    """After three weeks of holidays the weeks before them are the history."""
    assert silence(weeks(6, before=MONDAY - 3 * WEEK) | {MONDAY + 8 * HOUR}, at(0, 11)) == 2 * HOUR


def test_an_account_with_few_recordings_is_judged_by_days() -> None:
    """One recording each weekday at another hour: no hour is usual, a day is, and a Sunday is not."""
    few = {
        MONDAY - WEEK * back + day * DAY + (7 * back + 5 * day) % 24 * HOUR for back in range(1, 7) for day in range(5)
    }
    assert silence(few, at(0, 23)) == timedelta(0)
    assert silence(few, at(1, 0)) == 24 * HOUR
    had = few | {MONDAY + day * DAY + 9 * HOUR for day in range(5)}
    assert silence(had, at(7, 23)) == timedelta(0)


def test_it_is_told_from_quiet_after_on() -> None:
    """The words say how much was missed, and since when; none for an account without recordings."""
    assert quiet_words(weeks(6), at(0, 10) - timedelta(seconds=1), 2 * HOUR) is None
    assert quiet_words(set(), at(0, 10), HOUR) is None
    assert quiet_words(weeks(6), at(0, 10), 2 * HOUR) == (
        "no new recording for 2 h of time in which there usually are some, the last one is of the hour from "
        "2026-10-30 16:00 UTC: are calls still recorded?"
    )
