"""What custody does with an archive's objects: list versions, ask what keeps them, hold them, delete them for good.

Archiving uses none of it. Only the commands `erase` and `hold` do, with credentials that may.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVersion:
    """A version of an object, or a delete marker over it. `version` is None where the store has no versions."""

    key: str
    version: str | None
    bytes: int = 0
    is_marker: bool = False
    is_latest: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """What keeps the store from deleting a version."""

    why: str
    until: datetime | None = None  # None: until somebody ends it


class Remover(Protocol):
    """Raises what ObjectStore raises; KeyRefused if the store refuses one version."""

    def versions(self, prefix: str) -> Iterator[StoredVersion]:
        """Yield all versions and markers below a prefix, in key order."""

    def lock(self, version: StoredVersion, now: datetime) -> Lock | None:
        """Return what keeps a version from being deleted now; None if nothing is told to."""

    def hold(self, version: StoredVersion, *, on: bool) -> bool:
        """Set or end the store's legal hold of a version; False where the bucket has no Object Lock."""

    def delete(self, version: StoredVersion) -> None:
        """Delete a version for good. One that is not there is no error."""
