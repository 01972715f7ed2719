"""How lengths of time and moments read in a sentence."""

from __future__ import annotations

from datetime import UTC, datetime


def span(seconds: float | None) -> str:
    """A length of time in two units at most: `26 min`, `3 min 5 s`, `1 d 2 h`."""
    if seconds is None:
        return "-"
    left, parts = max(0, round(seconds)), []
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def setting(seconds: float) -> str:
    """A length of time as the configuration has it, to the second: `26h`, `1h30m`, `90s` is `1m30s`."""
    left, parts = max(0, round(seconds)), []
    for length, unit in ((3600, "h"), (60, "m"), (1, "s")):
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def when(moment: datetime) -> str:
    """A moment to the minute, in UTC: `2026-10-01 08:00 UTC`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
