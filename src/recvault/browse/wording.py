"""What the pages say: numbers, times, sizes, and the sentence of proof."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from recvault.browse.finding import moment
from recvault.store import Described

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")
_DIGITS = 16  # of a hash that is shown; all of it stands under it


def length(seconds: float | None) -> str:
    """Return 4:32, or 1:04:32."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def size(count: int | None) -> str:
    """Return 1.2 MiB."""
    if count is None:
        return "-"
    value, unit = float(count), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:,.1f} {_UNITS[unit]}" if unit else f"{count:,} byte{'' if count == 1 else 's'}"


def number(text: str | None) -> str:
    """Return a phone number in groups, as it is read out; anything else unchanged."""
    if text and text.startswith("+1") and text[1:].isdigit() and len(text) == 12:
        return f"+1 {text[2:5]} {text[5:8]} {text[8:]}".replace(" ", "\N{NO-BREAK SPACE}")
    return text or ""


def parties(row: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return who called whom; None if neither is known."""
    caller, called = number(row["from_number"]), number(row["to_number"])
    return (caller or "unknown", called or "unknown") if caller or called else None


def proof(row: Mapping[str, Any], described: Described | None, sidecar_sha256: str | None) -> tuple[bool, str]:
    """Return whether all that was asked of the bucket agrees with the catalog, and the sentence that says so."""
    wanted, when = row["media_sha256"], f"Archived {_minute(row['archived_us'])}"
    if described is None or sidecar_sha256 is None:
        lost = "its sidecar" if sidecar_sha256 is None else f"{row['media_key']}"
        return False, f"{when}, but {lost} is not in the bucket now: run `recvault verify`."
    if sidecar_sha256 != row["sidecar_sha256"] or described.bytes != row["media_bytes"]:
        other = "the sidecar is not" if sidecar_sha256 != row["sidecar_sha256"] else "the size is not"
        return False, f"{when}, but {other} what the catalog lists: run `recvault verify`."
    told = described.kept or described.noted
    if told is not None and told != wanted:
        return False, f"{when}, but the bucket's SHA-256 is not the one recorded in the sidecar: run `recvault verify`."
    short = f"SHA-256 {wanted[:_DIGITS]}…"
    agrees = f"{short} equals the one recorded in the sidecar" if told else f"{short} is recorded in the sidecar"
    listed = row["manifest_number"]
    manifest = "not listed in a manifest yet" if listed is None else f"listed in manifest {listed}"
    return True, f"{when}; {agrees}; {manifest}."


def _minute(microseconds: int | None) -> str:
    return "at an unknown time" if microseconds is None else f"{moment(microseconds):%Y-%m-%d %H:%M} UTC"


def clock(microseconds: int) -> str:
    """Return a time of day."""
    return f"{moment(microseconds):%H:%M:%S}"


def full(when: datetime) -> str:
    """Return Thursday 1 October 2026, 09:12:04 UTC."""
    return f"{when:%A} {when.day} {when:%B %Y, %H:%M:%S} UTC"
