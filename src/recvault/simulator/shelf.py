"""The sorted recordings of one account and API: a page of a hundred thousand costs a bisection."""

from __future__ import annotations

import hashlib
import threading
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from recvault.simulator.recording import SimRecording
from recvault.simulator.switches import Order

Key = tuple[Any, str]  # the sort key, and the recording's id
Shown = Callable[[SimRecording, datetime], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What a list requests. Bounds are of created_at: `since` inclusive, `until` exclusive."""

    since: datetime | None = None
    until: datetime | None = None
    where: Callable[[SimRecording], bool] | None = None
    within: str | None = None  # only recordings of this call, conference or room
    order: Order = "newest"


@dataclass(frozen=True, slots=True)
class Slice:
    """One page of a list."""

    recordings: tuple[SimRecording, ...]
    start: int
    total: int

    @property
    def more(self) -> bool:
        return self.start + len(self.recordings) < self.total


@dataclass(frozen=True, slots=True)
class _View:
    """The keys that a list shows, valid from `since` until a recording appears or vanishes."""

    keys: list[Key]
    since: datetime
    until: datetime | None

    def holds(self, now: datetime) -> bool:
        return self.since <= now and (self.until is None or now < self.until)


class Shelf:
    """A sorted collection. Thread-safe."""

    def __init__(self, retention: timedelta) -> None:
        self.retention = retention  # how long a deleted recording's row can still be requested
        self._lock = threading.RLock()
        self._recordings: dict[str, SimRecording] = {}
        self._groups: defaultdict[str, list[str]] = defaultdict(list)
        self._views: dict[str, _View] = {}

    def __iter__(self) -> Iterator[SimRecording]:
        with self._lock:
            return iter(list(self._recordings.values()))

    def __len__(self) -> int:
        return len(self._recordings)

    def add(self, recordings: Iterable[SimRecording]) -> None:
        with self._lock:
            for recording in recordings:
                if recording.recording_id in self._recordings:
                    raise ValueError(f"{recording.recording_id} is there already")
                self._recordings[recording.recording_id] = recording
                for group in (recording.call_id, recording.conference_id, recording.room_id):
                    if group:
                        self._groups[group].append(recording.recording_id)
            self._views.clear()

    def get(self, recording_id: str) -> SimRecording | None:
        return self._recordings.get(recording_id)

    def delete(self, recording_id: str, now: datetime) -> None:
        with self._lock:
            self._recordings[recording_id] = replace(self._recordings[recording_id], deleted_at=now)
            self._views.clear()

    def page(
        self, name: str, shown: Shown, now: datetime, query: Query, *, size: int, start: int = 0, after: str = ""
    ) -> Slice:
        """Return the page from position `start`, or the one after the recording `after`."""
        with self._lock:
            keys = self._select(name, shown, now, query)
            backward = query.order == "newest"
            if after:
                key = self._key(self._recordings[after], query.order)
                start = len(keys) - bisect_left(keys, key) if backward else bisect_right(keys, key)
            if backward:
                stop = max(0, len(keys) - start)
                chosen = keys[max(0, stop - size) : stop][::-1]
            else:
                chosen = keys[start : start + size]
            return Slice(tuple(self._recordings[identity] for _, identity in chosen), start, len(keys))

    def _select(self, name: str, shown: Shown, now: datetime, query: Query) -> list[Key]:
        """Return the keys that match the query, ascending."""
        if query.within is not None:
            grouped = (self._recordings[identity] for identity in self._groups.get(query.within, ()))
            keys = sorted((r.created_at, r.recording_id) for r in grouped if shown(r, now))
        else:
            keys = self._view(name, shown, now).keys
        low = 0 if query.since is None else bisect_left(keys, (query.since,))
        high = len(keys) if query.until is None else bisect_left(keys, (query.until,))
        if low or high < len(keys):
            keys = keys[low : max(low, high)]
        if query.where is not None:
            keys = [key for key in keys if query.where(self._recordings[key[1]])]
        return sorted(_shuffled(key) for key in keys) if query.order == "random" else keys

    def _view(self, name: str, shown: Shown, now: datetime) -> _View:
        view = self._views.get(name)
        if view is None or not view.holds(now):
            view = self._views[name] = self._build(shown, now)
        return view

    def _build(self, shown: Shown, now: datetime) -> _View:
        changes = [c for r in self._recordings.values() for c in r.changes(self.retention) if c > now]
        keys = sorted((r.created_at, r.recording_id) for r in self._recordings.values() if shown(r, now))
        return _View(keys, now, min(changes, default=None))

    @staticmethod
    def _key(recording: SimRecording, order: Order) -> Key:
        key = (recording.created_at, recording.recording_id)
        return _shuffled(key) if order == "random" else key


def _shuffled(key: Key) -> Key:
    return hashlib.blake2b(key[1].encode(), digest_size=8).digest(), key[1]
