"""Write-once records below `erasures/`, `holds/`, `prunes/` and `events/`: a JSON document, or JSON lines.

Paths are keys without the archive's prefix. A record says its `schema`; one in JSON lines says it in each line.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from io import BytesIO
from typing import Any

from recvault.archive import RECORDS, escape
from recvault.store import ObjectStore, Put, Stored

JSON_TYPE, LINES_TYPE = "application/json", "application/x-ndjson"
LARGEST = 64 << 20  # bytes of a record in JSON lines; a document is a small object
_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class RecordSchema(StrEnum):
    """What a record is of."""

    TOMBSTONE = "recvault/tombstone/v1"
    ERASED = "recvault/erased/v1"
    HOLD = "recvault/hold/v1"
    RELEASE = "recvault/hold-release/v1"
    PRUNES = "recvault/prunes/v1"
    EVENTS = "recvault/events/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record that was read: one document, or one for each line."""

    path: str
    sha256: str
    documents: tuple[Mapping[str, Any], ...] = field(repr=False)

    @property
    def document(self) -> Mapping[str, Any]:
        """Return the first document: the only one of a record that is not in lines."""
        return self.documents[0]

    @property
    def schema(self) -> str:
        return str(self.document.get("schema", ""))


def is_record(path: str) -> bool:
    """Whether a path is one of custody's records."""
    return path.startswith(RECORDS)


def record_key(beginning: str, *names: str, ext: str = "json", **partitions: str) -> str:
    """Return a record's path: `NAME=VALUE` folders, then the names, all escaped as in a recording's key."""
    folders = [f"{name}={escape(value)}" for name, value in partitions.items()]
    return f"{beginning}{'/'.join((*folders, *map(escape, names)))}.{ext}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """The records of an archive. Raises what the store raises."""

    store: ObjectStore
    prefix: str = ""

    def put(self, path: str, schema: RecordSchema, document: Mapping[str, Any]) -> bool:
        """Write a document; False if the same is there. Raises KeyConflict if another is."""
        return self._put(path, schema, _encoded({"schema": schema, **document}), JSON_TYPE)

    def put_lines(self, path: str, schema: RecordSchema, documents: Iterable[Mapping[str, Any]]) -> bool:
        """Write a line a document; False if the same is there. Raises KeyConflict if others are."""
        return self._put(path, schema, b"".join(_encoded({"schema": schema, **each}) for each in documents), LINES_TYPE)

    def read(self, path: str) -> Record | None:
        """Read a record; None if there is none. Raises ValueError with a sentence for what is not one."""
        lines = path.endswith(".jsonl")
        body = self.store.get(self.prefix + path, LARGEST) if lines else self.store.get(self.prefix + path)
        return None if body is None else read_record(path, body)

    def list(self, beginning: str) -> Iterator[Stored]:
        """Yield the objects below a reserved beginning, or a part of one, in key order."""
        if not is_record(beginning):
            raise ValueError(f"{beginning} is not below {', '.join(RECORDS)}")
        yield from self.store.list(self.prefix + beginning)

    def paths(self, beginning: str) -> Iterator[str]:
        """Yield the paths below a reserved beginning, or a part of one, in key order."""
        return (each.key.removeprefix(self.prefix) for each in self.list(beginning))

    def _put(self, path: str, schema: RecordSchema, body: bytes, content_type: str) -> bool:
        if not is_record(path):
            raise ValueError(f"{path} is not below {', '.join(RECORDS)}")
        sha256 = hashlib.sha256(body).hexdigest()
        return self.store.put(
            Put(
                key=self.prefix + path,
                body=BytesIO(body),
                bytes=len(body),
                sha256=sha256,
                content_type=content_type,
                metadata={"sha256": sha256, "schema": str(schema)},
            )
        )


def read_record(path: str, body: bytes) -> Record:
    """Read a record's bytes. Raises ValueError with a sentence for what is not one."""
    try:
        found = [json.loads(each) for each in (body.splitlines() if path.endswith(".jsonl") else [body])]
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not found or not all(isinstance(each, dict) and isinstance(each.get("schema"), str) for each in found):
        raise ValueError(f"{path} is not one of recvault's records")
    return Record(path=path, sha256=hashlib.sha256(body).hexdigest(), documents=tuple(found))


def _encoded(document: Mapping[str, Any]) -> bytes:
    return _COMPACT.encode(document).encode("utf-8", "backslashreplace") + b"\n"
