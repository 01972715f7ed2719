"""Ask a provider again while it is unavailable: after a jittered wait, which a stop cuts short."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import tenacity

from recvault.errors import Unavailable
from recvault.http.timing import Timing
from recvault.shutdown import Stop

T = TypeVar("T")
P = ParamSpec("P")


class Tries:
    """One session's. Thread-safe: what tenacity counts is each thread's own."""

    def __init__(self, timing: Timing, stop: Stop) -> None:
        self._timing = timing
        self._retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(self._worth_another_try),
            stop=tenacity.stop_after_attempt(timing.tries),
            wait=self._wait,
            sleep=stop.sleep,
            reraise=True,
        )

    def persist(self, once: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `once` answers. tenacity is asked where it fails: what goes well at once is not worth its price."""
        try:
            return once(*args, **kwargs)
        except Unavailable as error:
            failed = [error]

        def again() -> T:
            if failed:
                raise failed.pop()
            return once(*args, **kwargs)

        result: T = self._retrying(again)
        return result

    def _worth_another_try(self, error: BaseException) -> bool:
        return isinstance(error, Unavailable) and (error.retry_after or 0.0) <= self._timing.backoff_most

    def _wait(self, state: tenacity.RetryCallState) -> float:
        """Full jitter: uniform up to a doubling bound, and never less than the provider asked for."""
        error = state.outcome.exception() if state.outcome else None
        asked = getattr(error, "retry_after", None) or 0.0
        bound = min(self._timing.backoff_most, self._timing.backoff_base * 2 ** (state.attempt_number - 1))
        return float(asked) + random.uniform(0.0, bound)  # noqa: S311 - jitter, not a secret
