"""Watch a transfer: its progress, its duration, and its time waiting for the bucket."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from recvault.log.meter import STORE, Waits
from recvault.models import Job, Outcome
from recvault.monitoring.observer import Observer
from recvault.shutdown import Pulse
from recvault.store import SMALL_MOST, ObjectStore, Put, Stored

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Watched:
    """Runs jobs with `transfer`, in the same thread, and measures their progress and duration."""

    transfer: Callable[[Job], Outcome]
    pulse: Pulse
    observer: Observer

    def __call__(self, job: Job) -> Outcome:
        begun = time.monotonic()
        with self.pulse.working():
            outcome = self.transfer(job)
        self.observer.transferred(job.source, time.monotonic() - begun)
        return outcome


@dataclass(frozen=True, slots=True)
class WatchedStore:
    """The bucket, with its waiting times measured."""

    store: ObjectStore
    waits: Waits

    def put(self, put: Put) -> bool:
        before = self.waits.turn(STORE)
        try:
            return self.store.put(put)
        finally:
            self.waits.turn(before)

    def head(self, key: str) -> Stored | None:
        with self.waits.on(STORE):
            return self.store.head(key)

    def get(self, key: str, most: int = SMALL_MOST) -> bytes | None:
        with self.waits.on(STORE):
            return self.store.get(key, most)

    def stream(self, key: str) -> Iterator[bytes]:
        return self._awaited(self.store.stream(key))

    def list(self, prefix: str) -> Iterator[Stored]:
        return self._awaited(self.store.list(prefix))

    def _awaited(self, found: Iterator[T]) -> Iterator[T]:
        while True:
            with self.waits.on(STORE):
                each = next(found, None)
            if each is None:
                return
            yield each
