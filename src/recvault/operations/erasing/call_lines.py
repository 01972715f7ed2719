"""Take recordings out of the objects with call facts: each such object is written again without them, then deleted.

The new object's key follows from the old one's time and its own bytes, so a repetition after a kill puts the same one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from io import BytesIO

from recvault.app.runtime import Runtime
from recvault.archive.late_calls import CALLS_SCHEMA, CALLS_TYPE, calls_root, read_lines
from recvault.operations.erasing.targets import Identity, call_objects
from recvault.store import Put

_SUM = re.compile(r"-[0-9a-f]{16}(?=\.jsonl$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallObject:
    """An object that has lines of recordings to erase."""

    key: str
    whose: frozenset[Identity]
    body: bytes = field(repr=False)
    kept: bytes = field(repr=False)  # its other lines


def call_objects_of(runtime: Runtime, identities: Collection[Identity]) -> Iterator[CallObject]:
    """Yield the objects under `calls/` with a line of any of these recordings."""
    for provider, account_id in sorted({each[:2] for each in identities}):
        for key, body in call_objects(runtime, runtime.keys.prefix + calls_root(provider, account_id)):
            lines = list(read_lines(body or b""))
            whose = frozenset(identity for identity, _ in lines if identity is not None and identity in identities)
            if whose:
                kept = b"".join(line for identity, line in lines if identity not in identities)
                yield CallObject(key=key, whose=whose, body=body or b"", kept=kept)


def put_kept(runtime: Runtime, found: CallObject) -> str | None:
    """Put the lines that stay; return the new key, None if none stay."""
    if not found.kept:
        return None
    sha256 = hashlib.sha256(found.kept).hexdigest()
    key = _SUM.sub(f"-{sha256[:16]}", found.key)
    if key == found.key:  # named by another version
        key = f"{found.key.removesuffix('.jsonl')}-{sha256[:16]}.jsonl"
    runtime.store.put(
        Put(
            key=key,
            body=BytesIO(found.kept),
            bytes=len(found.kept),
            sha256=sha256,
            content_type=CALLS_TYPE,
            metadata={"sha256": sha256, "schema": CALLS_SCHEMA},
        )
    )
    return key
