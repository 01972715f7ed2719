"""Is an account silent when it normally has recordings? Judged by its own weekdays and hours of the last weeks, in UTC.

An hour is usual if in nearly all of these weeks it had a recording. So nights, Sundays and an account that has few
recordings are not reported; nothing is reported before there are three weeks with recordings.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta

from recvault.timefmt import span, when

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_WEEKS_BACK = 10  # that are looked at; those without any recording, as in holidays, are left out
_MOST_WEEKS, _LEAST_WEEKS = 6, 3
_EXCEPTIONS = 5  # one of so many weeks may lack an hour that is usual: a public holiday
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LISTED_LATE = timedelta(minutes=30)  # an hour is judged so long after its end, as recordings are listed late


def silence(hours: Collection[datetime], until: datetime) -> timedelta:
    """Return how long an account has been silent in time in which it normally has recordings.

    `hours` are those with recordings, `until` is how far the list was read. What counts is each usual hour after the
    last recording, or each usual day, whichever is more: an account with few recordings has usual days only.
    """
    if not hours:
        return timedelta()
    return max(length * _missed(hours, until, length) for length in (_HOUR, _DAY))


def quiet_words(hours: Collection[datetime], until: datetime, quiet_after: timedelta) -> str | None:
    """Return the message if that is as long as `quiet_after`."""
    silent = silence(hours, until)
    if not hours or silent < quiet_after:
        return None
    return (
        f"no new recording for {span(silent.total_seconds())} of time in which there usually are some, the last one is "
        f"of the hour from {when(max(hours))}: are calls still recorded?"
    )


def _missed(hours: Iterable[datetime], until: datetime, length: timedelta) -> int:
    """Count the usual hours, or days, that passed completely since the last one with a recording."""
    had = {(hour - _EPOCH) // length for hour in hours}
    last, period = max(had), timedelta(days=7) // length
    usual = _usual(had, last, period)
    weeks, rest = divmod(max(0, (until - LISTED_LATE - _EPOCH) // length - last - 1), period)
    return weeks * sum(usual) + sum(usual[:rest])


def _usual(had: set[int], last: int, period: int) -> list[bool]:
    """Return for each hour, or day, of the week after `last` whether it is usual."""
    weeks = [
        start
        for start in (last - period * back for back in range(1, _WEEKS_BACK + 1))
        if any(start + each in had for each in range(1, period + 1))
    ][:_MOST_WEEKS]
    needed = len(weeks) - len(weeks) // _EXCEPTIONS
    if len(weeks) < _LEAST_WEEKS:
        return [False] * period
    return [sum(start + each in had for start in weeks) >= needed for each in range(1, period + 1)]
