"""When requests are cut short: questions when a stop is requested, archiving when the drain is over."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from recvault.shutdown import Stop
from recvault.transport import Cut

_GRACE_SECONDS = 0.5  # a short exchange may still take this long


@dataclass(frozen=True, slots=True)
class Ending:
    """`check` raises Interrupted once nothing new may start; each call also counts as a sign of life."""

    check: Callable[[], None]
    beat: Callable[[], None]
    grace_seconds: float = _GRACE_SECONDS

    def cut(self) -> Cut:
        """Return the function that an exchange starting now must call repeatedly."""
        if not self.grace_seconds:
            return self.check
        since = time.monotonic()

        def look() -> None:
            if time.monotonic() - since > self.grace_seconds:
                self.check()
            else:
                self.beat()

        return look


def asked(stop: Stop) -> Ending:
    """For questions: the caller can ask again."""
    return Ending(stop.check, stop.pulse.beat)


def drained(stop: Stop) -> Ending:
    """For archiving: continues until the drain is over. A short exchange may complete even then."""
    return Ending(stop.check_enforced, stop.pulse.beat)


def drained_at_once(stop: Stop) -> Ending:
    """For large bodies."""
    return Ending(stop.check_enforced, stop.pulse.beat, 0.0)
