"""A bucket in memory that keeps the store's contract exactly: for tests, never for recordings."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from recvault.errors import KeyConflict, StoreUnavailable, TooLarge
from recvault.store.protocol import SMALL_MOST, Put, Stored

_CHUNK = 65536


@dataclass(slots=True)
class MemoryStore:
    """An ObjectStore. Refuses bytes that do not match their hash, and never overwrites."""

    objects: dict[str, bytes] = field(default_factory=dict)
    stored: dict[str, Stored] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def put(self, put: Put) -> bool:
        """See ObjectStore.put."""
        put.body.seek(0)
        body = put.body.read()
        if len(body) != put.bytes or hashlib.sha256(body).hexdigest() != put.sha256:
            raise StoreUnavailable(f"{put.key} came with other bytes than its sum says")
        with self._lock:
            found = self.objects.get(put.key)
            if found is not None and found != body:
                raise KeyConflict(f"{put.key} already contains other bytes: nothing was overwritten")
            self.objects[put.key] = body
            self.stored[put.key] = Stored(key=put.key, bytes=len(body), sha256=put.sha256, metadata=dict(put.metadata))
            return found is None

    def head(self, key: str) -> Stored | None:
        """See ObjectStore.head."""
        return self.stored.get(key)

    def get(self, key: str, most: int = SMALL_MOST) -> bytes | None:
        """See ObjectStore.get."""
        body = self.objects.get(key)
        if body is not None and len(body) > most:
            raise TooLarge(f"{key} is too large: {len(body):,} bytes")
        return body

    def stream(self, key: str) -> Iterator[bytes]:
        """See ObjectStore.stream."""
        body = self.objects[key]
        yield from (body[start : start + _CHUNK] for start in range(0, len(body), _CHUNK))

    def list(self, prefix: str) -> Iterator[Stored]:
        """See ObjectStore.list."""
        yield from (self.stored[key] for key in sorted(self.stored) if key.startswith(prefix))
