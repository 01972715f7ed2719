"""Signed media URLs from a list, kept for their jobs to save a request each.

Invariant: such a URL is a credential. It is kept only in memory, for less than its lifetime, and used once; a job
without one requests a new one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from recvault.models import Job, Recording
from recvault.providers.base import Provider

_KEPT = timedelta(minutes=5)  # or half of their lifetime, if that is shorter
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class _Addresses:
    minted: datetime
    kept: timedelta
    urls: Mapping[str, str] = field(repr=False)

    def is_fresh(self, now: datetime) -> bool:
        """Whether they may be used; not if the clock was set back."""
        return timedelta() <= now - self.minted < self.kept


class Minted:
    """Signed URLs by recording. Thread-safe."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._urls: dict[tuple[str, str, str], _Addresses] = {}  # oldest first

    def note(self, provider: Provider, recordings: Iterable[Recording]) -> None:
        """Keep the URLs of a listed page while there is room: what is listed first is usually fetched first."""
        now, lifetime = self._clock(), provider.media_url_lifetime
        kept = _KEPT if lifetime is None else min(_KEPT, lifetime / 2)
        with self._lock:
            self._forget(now)
            for recording in recordings:
                if recording.media_urls and len(self._urls) < _MOST:
                    self._urls.pop(recording.identity, None)
                    self._urls[recording.identity] = _Addresses(now, kept, recording.media_urls)

    def lend(self, job: Job) -> Job:
        """Return the job with its recording's URLs, if there are fresh ones; each is lent once."""
        with self._lock:
            found = self._urls.pop(job.recording.identity, None)
        if found is None or not found.is_fresh(self._clock()):
            return job
        return replace(job, recording=replace(job.recording, media_urls=found.urls))

    def _forget(self, now: datetime) -> None:
        """Drop URLs that are too old, up to the first fresh one."""
        while self._urls:
            first = next(iter(self._urls))
            if self._urls[first].is_fresh(now):
                return
            del self._urls[first]
