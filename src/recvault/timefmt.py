"""How durations and times are written in a sentence."""

from __future__ import annotations

from datetime import UTC, datetime


def span(seconds: float | None) -> str:
    """Write a duration in at most two units: `26 min`, `3 min 5 s`, `1 d 2 h`; "-" for None."""
    if seconds is None:
        return "-"
    left, parts = max(0, round(seconds)), []
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def setting(seconds: float) -> str:
    """Write a duration as in the configuration, to the second: `26h`, `1h30m`; 90 s is `1m30s`."""
    left, parts = max(0, round(seconds)), []
    for length, unit in ((3600, "h"), (60, "m"), (1, "s")):
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def when(moment: datetime) -> str:
    """Write a time to the minute, in UTC: `2026-10-01 08:00 UTC`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
