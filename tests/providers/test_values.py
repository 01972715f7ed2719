"""Dates, numbers and text in all the forms that providers send."""

from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recvault.providers import values

ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
FIRST, LAST = datetime(1970, 1, 3), datetime(9998, 1, 1)  # noqa: DTZ001 - hypothesis adds the zone
MOMENTS = st.datetimes(FIRST, LAST, timezones=ZONES)
JUNK = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()) | st.binary()


@given(MOMENTS)
def test_iso_dates_keep_their_instant(when: datetime) -> None:
    """An ISO date with any offset and fraction is read in UTC to the microsecond."""
    assert when == values.moment(when.isoformat())
    assert values.moment(when.isoformat()).tzinfo is UTC


@given(MOMENTS)
def test_rfc_2822_dates_keep_their_instant(when: datetime) -> None:
    """An RFC 2822 date is read with its offset."""
    assert when.replace(microsecond=0) == values.moment(format_datetime(when))


@given(MOMENTS, st.sampled_from(["t", "tember", "."[:0]]))
def test_long_month_names_are_read(when: datetime, rest: str) -> None:
    """A long month name is read by its first three letters."""
    month = when.strftime("%b")
    written = format_datetime(when).replace(f" {month} ", f" {month}{rest} ")
    assert when.replace(microsecond=0) == values.moment(written)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("Tue, 25 Sept 2018 23:00:00 +0000", datetime(2018, 9, 25, 23, tzinfo=UTC)),
        ("Tue, 01 Apr 2008 01:07:15 -0400", datetime(2008, 4, 1, 5, 7, 15, tzinfo=UTC)),
        ("Mon, 14 Feb 2022 22:23:00 +0100", datetime(2022, 2, 14, 21, 23, tzinfo=UTC)),
        ("Mon, 14 Feb 2022 22:23:00 GMT", datetime(2022, 2, 14, 22, 23, tzinfo=UTC)),
        ("Mon, 14 Feb 2022 22:23:00 -0000", datetime(2022, 2, 14, 22, 23, tzinfo=UTC)),
        ("Mon, 14 Feb 2022 22:23:00", datetime(2022, 2, 14, 22, 23, tzinfo=UTC)),
        ("2018-02-02T22:25:27.521Z", datetime(2018, 2, 2, 22, 25, 27, 521000, UTC)),
        ("2022-02-04T11:36:13.612978Z", datetime(2022, 2, 4, 11, 36, 13, 612978, UTC)),
        ("2015-07-30T20:00:00Z", datetime(2015, 7, 30, 20, tzinfo=UTC)),
        ("2015-07-30T20:00:00", datetime(2015, 7, 30, 20, tzinfo=UTC)),
        (" 2015-07-30T20:00:00+02:00\n", datetime(2015, 7, 30, 18, tzinfo=UTC)),
    ],
)
def test_dates_as_seen_in_replies(written: str, expected: datetime) -> None:
    """Every form of a date in known replies is read."""
    assert expected == values.moment(written)


@pytest.mark.parametrize(
    "junk", [None, "", "soon", 0, 1475000000, True, [], "0001-01-01T00:00:00Z", "Tue, 99 Xxx 2018"]
)
def test_what_is_no_date_is_a_value_error(junk: object) -> None:
    """An invalid date, or one that stands for null, is a ValueError if required, else None."""
    with pytest.raises(ValueError, match="not a date"):
        values.moment(junk)
    assert values.moment_or_none(junk) is None


@given(JUNK)
def test_no_value_raises_anything_but_value_error(junk: object) -> None:
    """Any value of a field gives a result, None or a ValueError."""
    for read in (values.moment_or_none, values.number, values.whole, values.mapping):
        read(junk)
    try:
        values.text(junk)
        values.moment(junk)
    except ValueError:
        pass


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("4", 4.0),
        (4, 4.0),
        ("-0.0025", -0.0025),
        (0.0, 0.0),
        ("-1", -1.0),
        ("", None),
        (None, None),
        ("free", None),
        ("NaN", None),
        (float("inf"), None),
        ("-Infinity", None),
        (10**400, None),
        (True, None),
        ([4], None),
    ],
)
def test_numbers_are_read_leniently(sent: object, expected: float | None) -> None:
    """Numbers are read from text and numbers; infinite ones are None."""
    assert expected == values.number(sent)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [("2", 2), (2, 2), (2.0, 2), ("2.0", 2), (2.5, None), ("dual", None), (2**63 + 1, 2**63 + 1), (None, None)],
)
def test_whole_numbers_keep_every_digit(sent: object, expected: int | None) -> None:
    """Large integers keep every digit."""
    assert expected == values.whole(sent)


@pytest.mark.parametrize("absent", [None, "", {}, [], True])
def test_an_id_must_be_there(absent: object) -> None:
    """A row without an id is refused."""
    with pytest.raises(ValueError, match="no sid"):
        values.identifier({"sid": absent}, "sid")


@pytest.mark.parametrize("null", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59-14:00"])
def test_a_null_in_disguise_is_no_date(null: str) -> None:
    """The first and last times of a language's calendar stand for null."""
    with pytest.raises(ValueError, match="not a date"):
        values.moment(null)


def test_bounds_at_the_end_of_the_calendar_are_written() -> None:
    """Bounds at the end of the calendar are formatted without overflow."""
    last = datetime.max.replace(tzinfo=UTC)
    written = (values.second_after(last), values.day_after(last), values.day(last, 1))
    assert written == ("9999-12-31T23:59:59Z", "9999-12-31", "9999-12-31")


@given(MOMENTS)
def test_bounds_widen_and_never_narrow(when: datetime) -> None:
    """A formatted lower bound is never later, an upper bound never earlier, than requested."""
    assert values.moment(values.second(when)) <= when <= values.moment(values.second_after(when))
    assert values.moment(values.day(when)) <= when <= values.moment(values.day_after(when))
    assert values.moment(values.day(when, -1)) < when < values.moment(values.day(when, 1))


def test_midnight_is_its_own_day_after() -> None:
    """An upper bound at midnight UTC needs no further day, in any time zone."""
    assert values.day_after(datetime(2014, 10, 13, 2, tzinfo=timezone(timedelta(hours=2)))) == "2014-10-13"


def test_naive_bounds_are_refused() -> None:
    """A bound without time zone is refused, as filters are in UTC."""
    with pytest.raises(ValueError, match="a time needs a time zone"):
        values.second(datetime(2026, 10, 1))  # noqa: DTZ001 - the naive time is the point
