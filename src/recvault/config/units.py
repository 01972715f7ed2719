"""Read durations, sizes, rates and times as people write them. Raises ValueError with a sentence."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from recvault.providers.calendar import clamped

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?", re.ASCII)
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(?:([kmgt])(i?)b|b)?", re.ASCII | re.IGNORECASE)
_DURATION_SHAPE = 'is not a duration, such as "90s", "5m", "26h", "7d" or "1h30m"'
_SIZE_SHAPE = 'is not a size, such as "64KiB", "8MiB", "1GiB", "500MB" or a number of bytes'
_RATE_SHAPE = 'is not a rate, such as "1KiB/s" or a number of bytes a second'
_TIME_SHAPE = 'is not a date or time, such as "2026-10-01" or "2026-10-01T08:00:00Z"'


def parse_duration(text: Any) -> timedelta:
    """Read "90s", "5m", "26h", "7d" and combinations, largest unit first."""
    if isinstance(text, timedelta):
        return text
    match = _DURATION.fullmatch(text) if isinstance(text, str) and text else None
    if match is None:
        raise ValueError(_DURATION_SHAPE)
    days, hours, minutes, seconds = (Decimal(part or 0) for part in match.groups())
    try:
        return timedelta(seconds=float(days * 86400 + hours * 3600 + minutes * 60 + seconds))
    except OverflowError:
        raise ValueError("is too long") from None


def parse_size(text: Any) -> int:
    """Read "8MiB", "500MB" or a plain number as bytes. KiB are 1024, kB are 1000."""
    if isinstance(text, int) and not isinstance(text, bool) and text >= 0:
        return text
    match = _SIZE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(_SIZE_SHAPE)
    power = " kmgt".index((match[2] or " ").lower())
    size = Decimal(match[1]) * (1024 if match[3] else 1000) ** power
    if size != int(size):
        raise ValueError("is not a whole number of bytes")
    return int(size)


def parse_rate(text: Any) -> int:
    """Read "1KiB/s" or a plain number as bytes a second."""
    try:
        if not isinstance(text, str):
            return parse_size(text)
        if text.endswith("/s"):
            return parse_size(text.removesuffix("/s"))
    except ValueError:
        pass
    raise ValueError(_RATE_SHAPE)


def parse_time(text: Any) -> datetime:
    """Read a date or an ISO time as an aware UTC time; without a zone it is UTC."""
    try:
        if isinstance(text, str):
            text = datetime.fromisoformat(text.strip())
        elif isinstance(text, date) and not isinstance(text, datetime):
            text = datetime.combine(text, time(), UTC)
        if isinstance(text, datetime):
            return clamped(text)
    except ValueError:
        pass
    raise ValueError(_TIME_SHAPE)
