"""How late a provider lists recordings, and how far back: what polls missed, and what it no longer lists."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from recvault.models import stamp, unstamp
from recvault.timefmt import setting

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Late:
    """Recordings that appeared in a list after polls had passed their date; `lateness` is the largest upper bound.

    A recording appeared at the latest when it was found, so the time from its date until then bounds its lateness.
    """

    recordings: int
    lateness: timedelta
    found_at: datetime

    @classmethod
    def of(cls, missed: Sequence[timedelta], now: datetime) -> Self:
        """Summarise the latenesses of recordings found by a listing now."""
        return cls(len(missed), max(missed, default=timedelta()), now)

    def __add__(self, other: Late) -> Late:
        lateness, found_at = max(self.lateness, other.lateness), max(self.found_at, other.found_at)
        return Late(self.recordings + other.recordings, lateness, found_at)

    @property
    def needed(self) -> timedelta:
        """The lookback, in full hours, with which polls would have found them all."""
        return math.ceil(self.lateness / _HOUR) * _HOUR

    def words(self, lookback: timedelta) -> str:
        """Describe it for the operator, with what to do."""
        recordings = "1 recording was" if self.recordings == 1 else f"{self.recordings:,} recordings were"
        said, needed = f"{recordings} missed by polls", setting(self.needed.total_seconds())
        if lookback >= self.needed:
            return f"{said}: lookback {setting(lookback.total_seconds())} (the current setting) would have caught them"
        return f"{said}: lookback {setting(lookback.total_seconds())} is too short; at least {needed} is needed"

    def to_json(self) -> str:
        """Write it as the ledger stores it."""
        seconds = self.lateness.total_seconds()
        return json.dumps({"recordings": self.recordings, "seconds": seconds, "found_at": stamp(self.found_at)})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote."""
        known = json.loads(text)
        return cls(known["recordings"], timedelta(seconds=known["seconds"]), unstamp(known["found_at"]))


def late_fact(source: str, account_id: str) -> str:
    """Return the name under which the ledger stores what polls missed."""
    return f"missed:{json.dumps([source, account_id])}"


def offered_fact(source: str, account_id: str) -> str:
    """Return the name under which the ledger stores the oldest date that a list offers."""
    return f"offered:{json.dumps([source, account_id])}"


def offered_words(oldest: datetime) -> str:
    """Describe for the operator that the provider refuses older bounds."""
    return f"the provider lists nothing before {oldest:%Y-%m-%d %H:%M} UTC: older recordings cannot be archived"
