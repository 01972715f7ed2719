"""The range of times that recordings can have. All arithmetic stays in it, so no sum overflows `datetime`.

No telephony provider has a recording outside it: a bound beyond either end means the same as that end.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)


def clamped(moment: datetime) -> datetime:
    """Convert to UTC (a naive time is taken as UTC) and limit it to the calendar."""
    try:
        aware = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:  # in UTC it is outside the years 1 to 9999
        return EARLIEST if moment.year < EARLIEST.year else LATEST
    return min(max(aware, EARLIEST), LATEST)


def moment_before(moment: datetime, span: timedelta) -> datetime:
    """Return the time that long before, at the earliest the calendar's beginning."""
    return EARLIEST if span >= moment - EARLIEST else moment - span
