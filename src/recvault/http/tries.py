"""Which failures of a provider may pass: it is asked again after a jittered wait, which a stop cuts short."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from recvault.errors import Unavailable
from recvault.http.timing import Timing
from recvault.shutdown import Stop, persist

T = TypeVar("T")
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Tries:
    """One session's. Thread-safe."""

    timing: Timing
    stop: Stop

    def persist(self, once: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `once` answers, tried again while the provider is unavailable."""
        return persist(lambda: once(*args, **kwargs), self._waited)

    def _waited(self, error: Exception, tries: int) -> bool:
        """With full jitter: uniform up to a doubling bound, and never less than the provider asked for."""
        if not isinstance(error, Unavailable) or tries >= self.timing.tries:
            return False
        asked = error.retry_after or 0.0
        if asked > self.timing.backoff_most:
            return False
        bound = min(self.timing.backoff_most, self.timing.backoff_base * 2 ** (tries - 1))
        self.stop.sleep(asked + random.uniform(0.0, bound))  # noqa: S311 - jitter, not a secret
        return True
