"""Tombstones: which recordings are erased and must not come back.

    erasures/provider=…/account=…/ID.json        put before anything is deleted
    erasures/provider=…/account=…/ID.done.json   put when all is deleted

A tombstone has no phone number and no name of a person. Its path alone says whose it is: a listing is enough to honour
it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from recvault.archive import ERASURES
from recvault.custody.records import Record, Records, RecordSchema, record_key

_DONE = ".done"


@dataclass(frozen=True, slots=True)
class Tombstones:
    """Which recordings have a tombstone, as one listing of the bucket told."""

    paths: frozenset[str] = frozenset()

    @classmethod
    def listed(cls, records: Records) -> Tombstones:
        """List them. Raises what the store raises."""
        return cls(frozenset(records.paths(ERASURES)))

    def __contains__(self, identity: object) -> bool:
        """Whether the recording of a (provider, account, recording id) is erased, or to be erased."""
        return bool(self.paths) and isinstance(identity, tuple) and tombstone_path(*identity) in self.paths

    @property
    def open(self) -> list[str]:
        """The paths of tombstones whose erasure is not complete."""
        return sorted(each for each in self.paths if not is_done(each) and done_path(each) not in self.paths)


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


def buried(record: Record) -> Iterator[Mapping[str, Any]]:
    """Yield what a tombstone says of each object that it deletes: `key`, `sha256` and `bytes`."""
    if record.schema == RecordSchema.TOMBSTONE:
        yield from (each for each in record.document.get("erased") or () if isinstance(each, dict))
