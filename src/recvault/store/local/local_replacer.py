"""Files that are replaced: under a lock of their folder, so that of two writers one is refused."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, BinaryIO

from recvault.store.protocol import Put

if TYPE_CHECKING:
    from recvault.store.local.local_store import LocalStore


class LocalReplacer:
    """See store.Replacer. A file's version is the SHA-256 of its content."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store

    def version(self, key: str) -> str | None:
        """See Replacer."""
        found = self._store.digest(key, lambda: None)
        return found and found[1]

    def fetch(self, key: str, into: BinaryIO) -> str | None:
        """See Replacer."""
        if self._store.head(key) is None:
            return None
        digest = hashlib.sha256()
        for chunk in self._store.stream(key):
            digest.update(chunk)
            into.write(chunk)
        return digest.hexdigest()

    def replace(self, put: Put, version: str | None) -> bool:
        """See Replacer."""
        return self._store.swap(put, lambda: self.version(put.key) == version)
