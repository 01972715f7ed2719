"""When an exchange is slow, and how often it is tried: after a wait with jitter, which a stop interrupts."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from recvault.errors import Unavailable
from recvault.shutdown import Stop, persist


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When an exchange is slow, and how often it is tried."""

    min_rate: int = 1024  # bytes a second
    stall_timeout: float = 60.0  # seconds; a body slower than min_rate for this long has stalled
    drain_silence: float = 5.0  # seconds; during a drain, a download that receives nothing for this long is ended
    reply_deadline: float = 180.0  # seconds for a whole API answer
    tries: int = 5  # of one request within one attempt
    backoff_base: float = 0.5  # seconds; doubles
    backoff_most: float = 30.0  # seconds; if a provider wants a longer wait, a later pass retries
    circuit: float = 300.0  # seconds for which refused credentials are not tried again


T = TypeVar("T")
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Tries:
    """The retries of one session. Thread-safe."""

    timing: Timing
    stop: Stop

    def persist(self, once: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the answer of `once`, retried while the provider is unavailable."""
        return persist(lambda: once(*args, **kwargs), self._waited)

    def _waited(self, error: Exception, tries: int) -> bool:
        """Wait before a retry, as long as the provider asked plus full jitter: uniform up to a doubling bound."""
        if not isinstance(error, Unavailable) or tries >= self.timing.tries:
            return False
        asked = error.retry_after or 0.0
        if asked > self.timing.backoff_most:
            return False
        bound = min(self.timing.backoff_most, self.timing.backoff_base * 2 ** (tries - 1))
        self.stop.sleep(asked + random.uniform(0.0, bound))  # noqa: S311 - jitter, not a secret
        return True
