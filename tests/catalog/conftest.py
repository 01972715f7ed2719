"""Sidecars, and what the catalog's files say of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ledger.rows import recording
from recvault import archive
from recvault.archive import KeyTemplate
from recvault.catalog import flatten, merging
from recvault.models import Check, MediaObject, Receipt

KEYS = KeyTemplate()
ARCHIVED = datetime(2026, 10, 2, tzinfo=UTC)


def sidecar(number: int, archived_at: datetime = ARCHIVED, **fields: Any) -> dict[str, Any]:
    """Return the document of a sidecar as recvault writes it, with other fields."""
    listed = recording(number)
    media = MediaObject(
        key=KEYS(listed, "wav"),
        media_format="wav",
        bytes=1000 + number,
        sha256=f"{number:064x}",
        content_type="audio/wav",
        codec="pcm",
        sample_rate=8000,
        channels=2,
        duration_seconds=number + 0.5,
        check=Check(status="ok", method="wav sizes"),
    )
    receipt = Receipt(
        source="main", recording=listed, sidecar_key=KEYS(listed, "json"), media=(media,), archived_at=archived_at
    )
    body = archive.sidecar_bytes(receipt, attempts=1, fetched_from=None, formats_wanted=("wav",))
    document: dict[str, Any] = json.loads(body)
    return document | fields


def line(document: Any, serial: int = 0, numbers: flatten.Numbers = flatten.PLAIN, **beside: Any) -> bytes:
    """Return a sidecar's row as a merge takes it."""
    row = flatten.row(json.dumps(document).encode(), "recordings/k.json", numbers=numbers)
    return flatten.encoded({**row, "edition": 1, "serial": serial, **beside})


def read(path: Path, columns: str = "*") -> list[dict[str, Any]]:
    """Return the rows of a Parquet file, times as text in UTC."""
    with duckdb.connect() as db:
        db.execute("SET TimeZone='UTC'")
        db.execute(f"CREATE VIEW file AS SELECT {columns} FROM read_parquet('{path}')")
        described = db.execute("DESCRIBE file").fetchall()
        texts = [
            f'"{name}"::VARCHAR' if "TIMESTAMP" in kind or kind == "DATE" else f'"{name}"'
            for name, kind, *_ in described
        ]
        rows = db.execute(f"SELECT {', '.join(texts)} FROM file").fetchall()
    return [dict(zip([name for name, *_ in described], row, strict=True)) for row in rows]


class Merger:
    """Merges into one month's file."""

    def __init__(self, root: Path) -> None:
        self.root, self.number = root, 0
        self.file: Path | None = None

    def merge(self, *lines: bytes, facts: Iterable[dict[str, Any]] = (), listed: Iterable[dict[str, Any]] = ()) -> int:
        self.number += 1
        out = self.root / f"{self.number}.parquet"
        job: dict[str, Any] = {"out": str(out), "days": str(self.days)}
        job["earlier"] = str(self.file) if self.file else None
        for name, rows in (("facts", facts), ("listed", listed)):
            if encoded := b"".join(map(flatten.encoded, rows)):
                job[name] = self._file(name, encoded)
        if lines:
            job["rows"] = self._file("rows", b"".join(lines))
        counts = merging.month(job, self.root)
        self.file = out
        return counts["rows"]

    @property
    def days(self) -> Path:
        return self.root / f"days-{self.number}.parquet"

    def rows(self, columns: str = "*") -> list[dict[str, Any]]:
        assert self.file is not None
        return read(self.file, columns)

    def _file(self, name: str, body: bytes) -> str:
        path = self.root / f"{name}-{self.number}.jsonl"
        path.write_bytes(body)
        return str(path)


@pytest.fixture
def merger(tmp_path: Path) -> Merger:
    return Merger(tmp_path)
