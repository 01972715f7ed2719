"""A store.Reader for a directory."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from recvault.shutdown import Stop
from recvault.store.local.folder import FileErrors, opened
from recvault.store.local.key_order import KeyRange, files
from recvault.store.protocol import SMALL_MOST, Body, Described, Listed, ObjectPart

if TYPE_CHECKING:
    from recvault.store.local.local_store import LocalStore


class LocalReader:
    """See store.Reader."""

    def __init__(self, store: LocalStore, stop: Stop) -> None:
        self._store, self._stop = store, stop
        self._lock = threading.Lock()
        self.requests: Counter[str] = Counter()

    def listed(self, prefix: str, after: str = "", until: str | None = None) -> Iterator[Listed]:
        """See Reader.listed."""
        self._count("LIST")
        with FileErrors(f"{self._store.where}/{prefix}"), opened(self._store.root) as top:
            for key, found in files(top, KeyRange(prefix, after, until)):
                self._stop.check()
                yield Listed(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))

    def describe(self, key: str) -> Described | None:
        """See Reader.describe. A file system keeps no checksums of its own."""
        self._count("HEAD")
        found = self._store.head(key)
        return None if found is None else Described(bytes=found.bytes, noted=found.sha256)

    def get(self, key: str, most: int = SMALL_MOST) -> Body | None:
        """See Reader.get."""
        self._count("GET")
        return self._store.body(key, most)

    def digest(self, key: str) -> tuple[int, str] | None:
        """See Reader.digest."""
        self._count("GET")
        return self._store.digest(key, self._stop.check)

    def part(self, key: str, start: int, size: int) -> ObjectPart | None:
        """See Reader.part."""
        self._count("GET")
        return self._store.part(key, start, size)

    def url(self, key: str, seconds: int) -> str:
        """See Reader.url. A file's own URL does not expire."""
        return (self._store.root.absolute() / key).as_uri()

    def _count(self, operation: str) -> None:
        with self._lock:
            self.requests[operation] += 1
