"""Read values from providers: the same fact may be text, a number, null, or missing.

A row whose date of creation cannot be read is rejected. Descriptive values (price, duration, channels) are not worth
losing a recording: if unreadable they are None, and `raw` keeps what was sent.
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
_TEXT_OR_NUMBER = (str, int, float)  # a tuple: a union would be made anew by each call
LONGEST = 64  # characters of a date: parsed dates are cached, and a row may hold megabytes
LONG_MONTH = re.compile(r"(\d\s+[A-Za-z]{3})[A-Za-z]+")  # "25 Sept 2018" in SignalWire's docs; email.utils refuses it


def moment(value: Any) -> datetime:
    """Read an ISO 8601 or RFC 2822 time as aware UTC; without an offset it is UTC. ValueError for anything else."""
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
    # These stand for null: "0001-01-01T00:00:00Z" is Go's zero time, "9999-12-31T23:59:59Z" .NET's greatest.
    if read < EARLIEST or read.year == NEVER:
        raise ValueError(f"not a date of a recording: {value[:40]!r}")
    return read


def _parse(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return parsedate_to_datetime(LONG_MONTH.sub(r"\1", text))


def created(row: Mapping[str, Any], key: str, *others: str) -> datetime:
    """Read when a row was created: by the first of these keys that has a value, as some services may omit it."""
    names = [key, *others]
    return moment(next((row[name] for name in names if row.get(name) not in (None, "")), None))


def moment_or_none(value: Any) -> datetime | None:
    """Read a descriptive time; None if it cannot be read."""
    try:
        return moment(value)
    except ValueError:
        return None


def identifier(row: Mapping[str, Any], key: str) -> str:
    """Read a required id. Raises ValueError if there is none."""
    found = text(row.get(key))
    if found is None:
        raise ValueError(f"no {key}")
    return found


def text(value: Any) -> str | None:
    """Read text, or a number as text; None if missing, null, empty or of another type. ValueError if not Unicode."""
    if value.__class__ is not str and (isinstance(value, bool) or not isinstance(value, _TEXT_OR_NUMBER)):
        return None
    found = str(value)
    found.encode()  # a lone surrogate is not text: UnicodeEncodeError is a ValueError
    return found or None


def number(value: Any) -> float | None:
    """Read 4, "4" or "-0.0025"; None if it is missing, null, empty, not finite or not a number."""
    if isinstance(value, bool) or not isinstance(value, _TEXT_OR_NUMBER):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def length(value: Any) -> float | None:
    """Read a duration; None if it is not a `number`, or negative: "-1" means not known yet."""
    found = number(value)
    return found if found is not None and found >= 0 else None


def whole(value: Any) -> int | None:
    """Read an integer with all its digits; None if it is not a `number` or has a fraction."""
    found = number(value)
    if found is None or not found.is_integer():
        return None
    try:
        return int(value)
    except ValueError:  # "2.0"
        return int(found)


def mapping(value: Any) -> dict[str, Any] | None:
    """Read an object; None if it is missing, null, empty or of another type."""
    return value if isinstance(value, dict) and value else None


def utc(when: datetime) -> datetime:
    """Convert an aware time to UTC. Raises ValueError for a naive one, as filters are days and seconds of UTC."""
    if when.tzinfo is None:
        raise ValueError("a time needs a time zone")
    return when.astimezone(UTC)


def day(when: datetime, shift: int = 0) -> str:
    """Format the UTC day of a time, moved by `shift` days: YYYY-MM-DD."""
    return _moved(utc(when).date(), shift).isoformat()


def day_after(when: datetime) -> str:
    """Format the first UTC day that begins at the time or later: a bare date means the start of its day."""
    return day(when, 0 if utc(when).timetz().replace(tzinfo=None) == datetime.min.time() else 1)


def second(when: datetime) -> str:
    """Format the time in UTC, rounded down to a full second: YYYY-MM-DDTHH:MM:SSZ."""
    return utc(when).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def second_after(when: datetime) -> str:
    """Format the time like `second`, rounded up to a full second."""
    try:
        return second(when if when.microsecond == 0 else when + timedelta(seconds=1))
    except OverflowError:  # the last second of year 9999: no recording is later
        return second(when)


def _moved(start: date, shift: int) -> date:
    try:
        return start + timedelta(days=shift)
    except OverflowError:  # the first or last day that `date` can hold: no recording is beyond it
        return start
