"""Tombstones: which recordings are erased and must not come back.

    erasures/provider=…/account=…/ID.json        put before anything is deleted
    erasures/provider=…/account=…/ID.done.json   put when all is deleted

A tombstone has no phone number and no name of a person. One that was put although something kept its recording (a hold,
a lock) says so under `refused`: until its erasure is done, the recording is archived like any other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from recvault.archive import ERASURES, unescape
from recvault.custody.records import Record, Records, RecordSchema, record_key
from recvault.errors import KeyRefused, TooLarge
from recvault.models import unstamp

_DONE = ".done"
_PATH = re.compile(rf"{ERASURES}provider=([^/]+)/account=([^/]+)/([^/]+)\.json")
Identity = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """One as it was put; `document` is empty if it cannot be read, and then it is in force."""

    path: str
    identity: Identity
    document: Mapping[str, Any]

    @property
    def is_refused(self) -> bool:
        """Whether something kept its recording when it was put."""
        return bool(self.document.get("refused"))


@dataclass(frozen=True, slots=True)
class Tombstones:
    """Which recordings have a tombstone, as one listing of the bucket told."""

    paths: frozenset[str] = frozenset()

    @classmethod
    def listed(cls, records: Records) -> Tombstones:
        """List them. Raises what the store raises."""
        return cls(frozenset(records.paths(ERASURES)))

    def __contains__(self, identity: object) -> bool:
        """Whether the recording of a (provider, account, recording id) has one."""
        return bool(self.paths) and isinstance(identity, tuple) and tombstone_path(*identity) in self.paths

    def __iter__(self) -> Iterator[str]:
        """Yield the paths of the tombstones themselves."""
        return (each for each in sorted(self.paths) if not is_done(each))

    def is_open(self, path: str) -> bool:
        """Whether the erasure of a tombstone is not complete."""
        return done_path(path) not in self.paths

    @property
    def open(self) -> list[str]:
        """The paths of tombstones whose erasure is not complete."""
        return [each for each in self if self.is_open(each)]


def read_tombstone(records: Records, path: str) -> Tombstone | None:
    """Read a tombstone; None if there is none, or if it does not say whose it is. Its path does, unless shortened."""
    document: Mapping[str, Any] = {}
    try:
        record = records.read(path)
        if record is None:
            return None
        if record.schema == RecordSchema.TOMBSTONE:
            document = _sound(record.document)
    except (KeyRefused, TooLarge, ValueError):
        pass  # what its path says is honoured
    identity = identity_of(path) or _said(document)
    return Tombstone(path=path, identity=identity, document=document) if identity else None


def identity_of(path: str) -> Identity | None:
    """Return whose tombstone is at a path; None if the path shortens it."""
    found = _PATH.fullmatch(path)
    names = [unescape(each) for each in found.groups()] if found else []
    if len(names) != 3 or None in names:
        return None
    provider, account_id, recording_id = map(str, names)
    return provider, account_id, recording_id


def tombstone_path(provider: str, account_id: str, recording_id: str) -> str:
    """Return where a recording's tombstone is: never where a record that an erasure is done could be."""
    path = record_key(ERASURES, recording_id, provider=provider, account=account_id)
    return f"{path.removesuffix(f'{_DONE}.json')}%2E{_DONE[1:]}.json" if is_done(path) else path


def done_path(tombstone: str) -> str:
    """Return the path of the record that says that all that this tombstone names is deleted."""
    return f"{tombstone.removesuffix('.json')}{_DONE}.json"


def is_done(path: str) -> bool:
    """Whether a path is that of such a record."""
    return path.endswith(f"{_DONE}.json")


def buried(records: Iterable[Record]) -> Iterator[Mapping[str, Any]]:
    """Yield what the tombstones in force say of each object that they delete: `key`, `sha256` and `bytes`."""
    found = {each.path: each for each in records}
    for path, record in found.items():
        if record.schema == RecordSchema.TOMBSTONE and (not record.document.get("refused") or done_path(path) in found):
            yield from (each for each in record.document.get("erased") or () if isinstance(each, dict))


def _sound(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a tombstone without what it cannot say: it is in force whatever else somebody wrote there."""
    sound = dict(document)
    for name in ("refused", "erased"):
        found = sound.get(name)
        sound[name] = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    sound["erased"] = [each for each in sound["erased"] if isinstance(each.get("key"), str)]
    for name in ("created_at", "sidecar_key"):
        sound[name] = found if isinstance(found := sound.get(name), str) else None
    try:
        unstamp(sound["created_at"] or "")
    except ValueError:
        sound["created_at"] = None
    return sound


def _said(document: Mapping[str, Any]) -> Identity | None:
    said = [document.get(name) for name in ("provider", "account_id", "recording_id")]
    return (str(said[0]), str(said[1]), str(said[2])) if all(isinstance(each, str) for each in said) else None
