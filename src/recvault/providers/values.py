"""Read values from providers: the same fact may be text, a number, null, or missing.

A date that a recording cannot do without must be read, or the row is rejected. What is merely told about a recording
(price, duration, channels) is not worth losing it for: unreadable is None here, and `raw` keeps what was said.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from recvault.providers.calendar import EARLIEST

NEVER = 9999  # a year
LONGEST = 64  # characters of a date: what is read is remembered, and a row may hold megabytes
LONG_MONTH = re.compile(r"(\d\s+[A-Za-z]{3})[A-Za-z]+")  # "25 Sept 2018" in SignalWire's docs; email.utils refuses it


def moment(value: Any) -> datetime:
    """Read an ISO 8601 or RFC 2822 time as aware UTC; without an offset it is UTC. Anything else is a ValueError."""
    if not isinstance(value, str) or len(value) > LONGEST:
        raise ValueError(f"not a date: {str(value)[:40]!r}")
    return _moment(value)


@functools.lru_cache(maxsize=4096)  # each poll reads the rows of the last lookback again
def _moment(value: str) -> datetime:
    try:
        read = _parse(value.strip())
        read = read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise ValueError(f"not a date: {value[:40]!r}") from error
    # A null in disguise: "0001-01-01T00:00:00Z" is Go's zero time, "9999-12-31T23:59:59Z" the end of .NET's.
    if read < EARLIEST or read.year == NEVER:
        raise ValueError(f"not a date of a recording: {value[:40]!r}")
    return read


def _parse(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return parsedate_to_datetime(LONG_MONTH.sub(r"\1", text))


def created(row: Mapping[str, Any], key: str, *others: str) -> datetime:
    """Read when a row was created: where it does not say, as some services may not, the next best of its times."""
    names = [key, *others]
    return moment(next((row[name] for name in names if row.get(name) not in (None, "")), None))


def moment_or_none(value: Any) -> datetime | None:
    """Read a time that is merely told about a recording."""
    try:
        return moment(value)
    except ValueError:
        return None


def identifier(row: Mapping[str, Any], key: str) -> str:
    """Read the id that a row cannot do without; ValueError where there is none."""
    found = text(row.get(key))
    if found is None:
        raise ValueError(f"no {key}")
    return found


def text(value: Any) -> str | None:
    """Read text, or a number as text; None where it is absent, null, empty, or another thing."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    found = str(value)
    found.encode()  # a lone surrogate is no text: UnicodeEncodeError is a ValueError
    return found or None


def number(value: Any) -> float | None:
    """Read 4, "4" or "-0.0025"; None where it is absent, null, empty, not finite, or no number."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def length(value: Any) -> float | None:
    """Read a duration; None if `number` is None or negative: "-1" means not known yet."""
    found = number(value)
    return found if found is not None and found >= 0 else None


def whole(value: Any) -> int | None:
    """Read an integer, digit for digit; None if `number` is None or has a fraction."""
    found = number(value)
    if found is None or not found.is_integer():
        return None
    try:
        return int(value)
    except ValueError:  # "2.0"
        return int(found)


def mapping(value: Any) -> dict[str, Any] | None:
    """Read an object; None where it is absent, null, empty, or another thing."""
    return value if isinstance(value, dict) and value else None


def utc(when: datetime) -> datetime:
    """Turn an aware time to UTC; a naive one is a ValueError, as filters are days and seconds of UTC."""
    if when.tzinfo is None:
        raise ValueError("a time needs a time zone")
    return when.astimezone(UTC)


def day(when: datetime, shift: int = 0) -> str:
    """Write the UTC day of a time, moved by `shift` days: YYYY-MM-DD."""
    return _moved(utc(when).date(), shift).isoformat()


def day_after(when: datetime) -> str:
    """Write the first UTC day that begins at the time or later: a bare date means the start of its day."""
    return day(when, 0 if utc(when).timetz().replace(tzinfo=None) == datetime.min.time() else 1)


def second(when: datetime) -> str:
    """Write the second in which a time lies, in UTC: YYYY-MM-DDTHH:MM:SSZ."""
    return utc(when).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def second_after(when: datetime) -> str:
    """Format the time, rounded up to a full second."""
    try:
        return second(when if when.microsecond == 0 else when + timedelta(seconds=1))
    except OverflowError:  # the last second of the calendar: there is no recording beyond it
        return second(when)


def _moved(start: date, shift: int) -> date:
    try:
        return start + timedelta(days=shift)
    except OverflowError:  # the first or the last day of the calendar: there is no recording beyond it
        return start
