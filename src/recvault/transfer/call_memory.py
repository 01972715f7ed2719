"""The facts of calls that are known but in no sidecar yet: in memory alone, as they hold phone numbers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping

from recvault.models import JSON, Recording

Identity = tuple[str, str, str]

_MOST = 100_000  # recordings, some tens of MiB; what is beyond is asked for later
_KEPT_SECONDS = 86_400.0  # for a recording that is not archived meanwhile


class CallMemory:
    """Facts by recording. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._facts: dict[Identity, JSON] = {}
        self._noted_at: dict[Identity, float] = {}  # oldest first

    @property
    def has_room(self) -> bool:
        """Whether more can be kept."""
        with self._lock:
            self._drop_old()
            return len(self._facts) < _MOST

    def note(self, facts: Mapping[Identity, JSON]) -> None:
        """Keep these, while there is room."""
        now = time.monotonic()
        with self._lock:
            for identity, call in facts.items():
                if len(self._facts) < _MOST or identity in self._facts:
                    self._facts[identity] = call
                    self._noted_at[identity] = now

    def __call__(self, recording: Recording) -> JSON | None:
        """Return the facts of a recording's call; None if they are not known."""
        return self._facts.get(recording.identity)

    def held(self, identities: Iterable[Identity]) -> dict[Identity, JSON]:
        """Return what is known of these recordings."""
        with self._lock:
            return {each: self._facts[each] for each in identities if each in self._facts}

    def forget(self, identities: Iterable[Identity]) -> None:
        """Drop what is in the bucket."""
        with self._lock:
            for each in identities:
                self._facts.pop(each, None)
                self._noted_at.pop(each, None)

    def _drop_old(self) -> None:
        while self._noted_at:
            first = next(iter(self._noted_at))
            if time.monotonic() - self._noted_at[first] < _KEPT_SECONDS:
                return
            del self._noted_at[first], self._facts[first]
