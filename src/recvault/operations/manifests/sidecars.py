"""What a manifest lists of a recording: its sidecar and media as archived.

If the ledger lacks a sidecar's hash, it is the hash of the object in the bucket.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from recvault.archive import KeyTemplate, Sidecar
from recvault.errors import Cold, KeyRefused, TooLarge
from recvault.ledger import EVER, UnlistedRow
from recvault.models import unstamp
from recvault.operations.manifests.text import CUSTODY, Entry, Partition
from recvault.store import ObjectStore

_NONE_OF_OURS = "too large"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRecording:
    """A recording as a manifest lists it."""

    partition: Partition
    entries: tuple[Entry, ...]  # the sidecar first
    archived_at: datetime
    row: UnlistedRow | None  # None: the ledger does not know it
    odd: bool = False  # its sidecar is not as the ledger knows it


@dataclass(frozen=True, slots=True)
class Unlistable:
    """A key that cannot be listed, and why: a key of TROUBLES."""

    key: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarReader:
    """Reads the sidecars of a bucket. Thread-safe."""

    store: ObjectStore
    keys: KeyTemplate
    by_metadata: bool = False  # sidecars cannot be read in this storage class: the hash in the metadata is used

    def known(self, row: UnlistedRow) -> ListedRecording | Unlistable:
        """Return what to list of a recording in the ledger: its files as the ledger knows them, whatever was
        changed."""
        if self.by_metadata:
            stored = self.store.head(row.sidecar_key)
            found, sidecar = stored.sha256 if stored else None, None
        else:
            try:
                found, sidecar = _read(self.store.get(row.sidecar_key))
            except Cold:
                return replace(self, by_metadata=True).known(row)
            except TooLarge:
                found, sidecar = _NONE_OF_OURS, None
            except KeyRefused:
                return Unlistable(row.sidecar_key, "refused")
        if found is None:
            return Unlistable(row.sidecar_key, "missing")
        sha256 = row.sidecar_sha256 or found
        if sha256 == _NONE_OF_OURS:
            return Unlistable(row.sidecar_key, "unreadable")
        partition = Partition.of(row.provider, row.account_id)
        said = _said(sidecar)
        return ListedRecording(
            partition=partition,
            entries=self._entries(row.sidecar_key, sha256, row.media),
            archived_at=said.archived_at if said else unstamp(row.settled_at),
            row=row if self.by_metadata else replace(row, sidecar_sha256=sha256),
            odd=found != sha256
            or (not self.by_metadata and (said is None or (said.partition, said.media) != (partition, row.media))),
        )

    def stranger(self, key: str) -> ListedRecording | Unlistable:
        """Return what to list for a sidecar that the ledger does not know."""
        try:
            sha256, sidecar = _read(None if self.by_metadata else self.store.get(key))
        except (KeyRefused, TooLarge):
            return Unlistable(key, "unreadable")
        said = _said(sidecar)
        if sha256 is None or sidecar is None or said is None:
            return Unlistable(key, "unreadable")
        if not self._is_ours(key, sidecar):
            return Unlistable(key, "foreign")
        return ListedRecording(
            partition=said.partition,
            entries=self._entries(key, sha256, said.media),
            archived_at=said.archived_at,
            row=None,
        )

    def record(self, path: str) -> ListedRecording | Unlistable:
        """Return what to list of one of custody's records: its bytes as they are."""
        key = self.keys.prefix + path
        digest = hashlib.sha256()
        try:
            for chunk in self.store.stream(key):
                digest.update(chunk)
        except Cold:
            stored = self.store.head(key)
            if stored is None or stored.sha256 is None:
                return Unlistable(key, "unreadable")
            return self._listed_record(path, stored.sha256)
        except KeyRefused:
            return Unlistable(key, "refused")
        return self._listed_record(path, digest.hexdigest())

    def _listed_record(self, path: str, sha256: str) -> ListedRecording:
        return ListedRecording(partition=CUSTODY, entries=(Entry(path, sha256),), archived_at=EVER, row=None)

    def _is_ours(self, key: str, sidecar: Sidecar) -> bool:
        """Whether the sidecar and its media are under keys of its recording."""
        try:
            recording = sidecar.recording
        except ValueError:
            return False
        return all(self.keys.is_of(recording, each) for each in (key, *(medium.key for medium in sidecar.media)))

    def _entries(self, key: str, sha256: str, media: Mapping[str, str]) -> tuple[Entry, ...]:
        return tuple(Entry(self.keys.path(each), sum_) for each, sum_ in ((key, sha256), *media.items()))


@dataclass(frozen=True, slots=True)
class _Said:
    partition: Partition
    archived_at: datetime
    media: dict[str, str]


def _read(body: bytes | None) -> tuple[str | None, Sidecar | None]:
    """Return the hash of an object, and its sidecar if it is a v1 sidecar."""
    if body is None:
        return None, None
    try:
        sidecar = Sidecar.read(body)
    except ValueError:
        return hashlib.sha256(body).hexdigest(), None
    return sidecar.sha256, sidecar if sidecar.is_v1 else None


def _said(sidecar: Sidecar | None) -> _Said | None:
    """Return what a sidecar states about itself; None if that is missing."""
    if sidecar is None:
        return None
    try:
        provider, account_id, _ = sidecar.identity
        media = {each.key: each.sha256 for each in sidecar.media}
        return _Said(Partition.of(provider, account_id), sidecar.archived_at, media)
    except ValueError:
        return None
