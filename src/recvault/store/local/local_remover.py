"""A directory's objects, as custody deletes them: a directory has no versions and no locks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from recvault.store.removal import Lock, StoredVersion

if TYPE_CHECKING:
    from recvault.store.local.local_store import LocalStore


class LocalRemover:
    """See store.Remover."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store

    def versions(self, prefix: str) -> Iterator[StoredVersion]:
        """See Remover."""
        for each in list(self._store.list(prefix)):  # complete before anything is deleted
            yield StoredVersion(key=each.key, version=None, bytes=each.bytes)

    def lock(self, version: StoredVersion, now: datetime) -> Lock | None:
        """See Remover."""
        return None

    def hold(self, version: StoredVersion, *, on: bool) -> bool:
        """See Remover."""
        return False

    def delete(self, version: StoredVersion) -> None:
        """See Remover."""
        self._store.delete(version.key)
