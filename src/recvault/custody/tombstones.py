"""Tombstones: which recordings are erased and must not come back.

    erasures/provider=…/account=…/ID.json        put before anything is deleted
    erasures/provider=…/account=…/ID.done.json   put when all is deleted

A tombstone has no phone number and no name of a person. Its path alone says whose it is, so a listing is enough to
honour it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from recvault.archive import ERASURES
from recvault.custody.records import Record, RecordSchema, record_key

DONE = ".done"
_PATH = re.compile(rf"{ERASURES}provider=(?P<provider>[^/]+)/account=(?P<account>[^/]+)/(?P<name>[^/]+)\.json")


def tombstone_path(provider: str, account_id: str, recording_id: str) -> str:
    """Return where a recording's tombstone is."""
    return record_key(ERASURES, recording_id, provider=provider, account=account_id)


def done_path(tombstone: str) -> str:
    """Return the path of the record that says that all that this tombstone names is deleted."""
    return f"{tombstone.removesuffix('.json')}{DONE}.json"


def buried(record: Record) -> Iterator[Mapping[str, Any]]:
    """Yield what a tombstone says of each object that it deleted: `key`, `sha256` and `bytes`."""
    if record.schema == RecordSchema.TOMBSTONE:
        yield from (each for each in record.document.get("erased") or () if isinstance(each, dict))
