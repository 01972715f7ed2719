"""The calendar of recordings: no moment outside it is reckoned with, so that no sum of two leaves what can be written.

Telephony providers have no recording before the first of these years or after the last: a bound beyond them means the
same as the end of the calendar.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)


def clamped(moment: datetime) -> datetime:
    """As UTC, a naive one taken for UTC; what lies outside the calendar becomes its nearer end."""
    try:
        aware = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:  # its zone pushes it past year 1 or 9999
        return EARLIEST if moment.year < EARLIEST.year else LATEST
    return min(max(aware, EARLIEST), LATEST)


def moment_before(moment: datetime, span: timedelta) -> datetime:
    """So long before; at the earliest where the calendar begins."""
    return EARLIEST if span >= moment - EARLIEST else moment - span
