"""When a request ends early: once a stop is asked for, of questions; once a drain is over, of what is archived."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from recvault.shutdown import Stop
from recvault.transport import Cut

_GRACE_SECONDS = 0.5  # that a short exchange may last all the same


@dataclass(frozen=True, slots=True)
class Ending:
    """`check` raises Interrupted once nothing more is to be begun; each look is a sign of life."""

    check: Callable[[], None]
    beat: Callable[[], None]
    grace_seconds: float = _GRACE_SECONDS

    def cut(self) -> Cut:
        """What an exchange that begins now calls again and again."""
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
    """Of questions: whoever asks can do so again."""
    return Ending(stop.check, stop.pulse.beat)


def drained(stop: Stop) -> Ending:
    """Of what is archived: it goes on until a drain is over. What is short is not in vain even then."""
    return Ending(stop.check_enforced, stop.pulse.beat)


def drained_at_once(stop: Stop) -> Ending:
    """Of large bodies."""
    return Ending(stop.check_enforced, stop.pulse.beat, 0.0)
