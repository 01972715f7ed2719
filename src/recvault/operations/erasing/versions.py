"""All versions of a recording's objects, what keeps them, and their deletion."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from recvault.archive import SIDECAR_SUFFIX, KeyTemplate, escape
from recvault.errors import KeyRefused
from recvault.models import JSON, stamp
from recvault.operations.erasing.targets import Target
from recvault.store import Remover, StoredVersion


@dataclass(frozen=True, slots=True)
class VersionFinder:
    """Finds and deletes them."""

    remover: Remover
    keys: KeyTemplate

    def of(self, target: Target) -> list[StoredVersion]:
        """Return all versions and markers of a recording's objects, of any edition, the sidecars last."""
        begun = self._beginning(target)
        beside = {key for key in target.objects if not key.startswith(begun)}
        found = {
            (each.key, each.version): each
            for prefix in (begun, *sorted(beside))
            for each in self.remover.versions(prefix)
            if each.key in target.objects or self._is_of(target, each.key)
        }
        return sorted(found.values(), key=lambda each: (each.key.endswith(SIDECAR_SUFFIX), each.key))

    def exactly(self, key: str) -> list[StoredVersion]:
        """Return all versions and markers of one key."""
        return [each for each in self.remover.versions(key) if each.key == key]

    def locked(self, versions: Iterable[StoredVersion], now: datetime) -> list[JSON]:
        """Return what the store keeps, why, and until when."""
        found = []
        for each in versions:
            if (lock := self.remover.lock(each, now)) is not None:
                found.append({"key": each.key, "why": lock.why, "until": lock.until and stamp(lock.until)})
        return found

    def delete(self, versions: Iterable[StoredVersion]) -> list[JSON]:
        """Delete each; return what the store refused."""
        refused: list[JSON] = []
        for each in versions:
            try:
                self.remover.delete(each)
            except KeyRefused as error:
                refused.append({"key": each.key, "why": str(error), "until": None})
        return refused

    def _beginning(self, target: Target) -> str:
        known = {**self._names(target)}
        if target.created_at is not None:
            known["date"] = f"{target.created_at:%Y-%m-%d}"
        begun, _ = self.keys.beginning(**known)
        return begun.removesuffix(".")

    def _is_of(self, target: Target, key: str) -> bool:
        parts = self.keys.read(key)
        names = self._names(target)
        return parts is not None and all(getattr(parts, name) == value for name, value in names.items())

    @staticmethod
    def _names(target: Target) -> dict[str, str]:
        return dict(zip(("provider", "account", "recording_id"), map(escape, target.identity), strict=True))
