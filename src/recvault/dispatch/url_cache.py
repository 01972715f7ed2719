"""Signed media addresses that a list has just minted, kept for the jobs that they are of: a question less for each.

Invariant: such an address is a credential. It is held in memory alone, for less than it is good for, and used once; a
job that has none asks its provider for a new one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from recvault.models import Job, Recording

_FRESH = timedelta(minutes=5)  # Telnyx: good for ten from the listing on (its knowledge base)
_MOST = 10_000


class Minted:
    """Thread-safe."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._urls: dict[tuple[str, str, str], tuple[datetime, Mapping[str, str]]] = {}  # the oldest first

    def note(self, recordings: Iterable[Recording]) -> None:
        """Keep the addresses of what was just listed, while there is room: what is listed first is fetched first."""
        now = self._clock()
        with self._lock:
            self._forget(now)
            for recording in recordings:
                if recording.media_urls and len(self._urls) < _MOST:
                    self._urls.pop(recording.identity, None)
                    self._urls[recording.identity] = (now, recording.media_urls)

    def lend(self, job: Job) -> Job:
        """The job with its recording's addresses, if there are fresh ones."""
        with self._lock:
            minted, urls = self._urls.pop(job.recording.identity, (None, {}))
        if minted is None or not _is_fresh(minted, self._clock()):
            return job
        return replace(job, recording=replace(job.recording, media_urls=urls))

    def _forget(self, now: datetime) -> None:
        """Make room of what is too old to be lent."""
        while self._urls:
            first = next(iter(self._urls))
            if _is_fresh(self._urls[first][0], now):
                return
            del self._urls[first]


def _is_fresh(minted: datetime, now: datetime) -> bool:
    """Not where the clock went back, either."""
    return timedelta() <= now - minted < _FRESH
