"""The budget of requests that are made beside the archiving of recordings, such as a list of calls."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from recvault.http.limits import MEDIA, Budget, Limits, Noted, Pause
from recvault.log.meter import Waits
from recvault.shutdown import Stop


class Aside:
    """One request at a time, within the account's pace and concurrency; refusals slow down only these requests."""

    def __init__(self, account: Budget, requests_per_second: float) -> None:
        self._account, self._own = account, Limits(requests_per_second, 1)

    @property
    def rest(self) -> Pause:
        """The rest that a provider asked of these requests."""
        return self._own.rest

    @contextmanager
    def turn(
        self, stop: Stop, who: str = MEDIA, patience: float = math.inf, waits: Waits | None = None
    ) -> Iterator[None]:
        """Hold a place here and at the account; never the one that is reserved for a list of recordings."""
        with self._own.turn(stop, who, patience, waits), self._account.turn(stop, MEDIA, patience, waits):
            yield

    def note(self, noted: Noted) -> None:
        """Learn from an answer; the account's budget does not."""
        self._own.note(noted)
