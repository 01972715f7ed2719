"""Dates in the formats that the services write and read."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def rfc2822(moment: datetime, offset_hours: int = 0, *, sept: bool = False) -> str:
    """Format as `Fri, 14 Oct 2016 21:56:34 +0000`, in the given zone."""
    if offset_hours:
        moment = moment.astimezone(timezone(timedelta(hours=offset_hours)))
    month = "Sept" if sept and moment.month == 9 else _MONTHS[moment.month - 1]
    sign = "-" if offset_hours < 0 else "+"
    return (
        f"{_DAYS[moment.weekday()]}, {moment.day:02} {month} {moment.year} "
        f"{moment.hour:02}:{moment.minute:02}:{moment.second:02} {sign}{abs(offset_hours):02}00"
    )


def http_date(moment: datetime) -> str:
    """Format as `Fri, 14 Oct 2016 21:56:34 GMT`, for the Date and Retry-After headers."""
    return rfc2822(moment)[:-5] + "GMT"


def iso(moment: datetime, digits: int = 0) -> str:
    """Format as `2016-10-14T21:56:34.123Z`, with this many digits of a second."""
    fraction = f".{moment.microsecond:06}"[: digits + 1] if digits else ""
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + fraction + "Z"


def is_date(text: str) -> bool:
    return bool(_DATE.fullmatch(text))


def midnight(moment: datetime) -> datetime:
    """Return the start of that GMT day."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def read(text: str) -> datetime:
    """Read an ISO date (00:00 GMT), an ISO date-time or an RFC 2822 date. Raises ValueError for anything else."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = parsedate_to_datetime(text)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def read_zoned(text: str) -> datetime:
    """Read an ISO date-time, which must have a zone."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"no time zone in {text!r}")
    return moment.astimezone(UTC)
