"""The facts of calls that are known but in no sidecar yet: in memory alone, as they hold phone numbers."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from recvault.models import JSON, Recording

Identity = tuple[str, str, str]

_MOST = 100_000  # recordings, some tens of MiB; what is beyond is asked for again later


class CallMemory:
    """Facts by recording. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._facts: dict[Identity, JSON] = {}

    def note(self, facts: Mapping[Identity, JSON]) -> None:
        """Keep these, while there is room."""
        with self._lock:
            for identity, call in facts.items():
                if len(self._facts) < _MOST or identity in self._facts:
                    self._facts[identity] = call

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
