"""Rows of an archive's catalog, by DuckDB over local copies of the months that are asked for.

A copy is one GET of one object, so a catalog that is swapped meanwhile is read as it was or as it is, never mixed.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recvault.archive import CATALOG, KeyTemplate
from recvault.catalog.columns import RECORDINGS
from recvault.models import JSON, stamp
from recvault.reading.selection import Selection
from recvault.store import Bucket

if TYPE_CHECKING:
    import duckdb

_MONTH = re.compile(r"month=([0-9]{4}-[0-9]{2})/recordings\.parquet")
_BATCH = 2_048  # rows
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class CatalogRows:
    """The catalog of one archive, in the archive's store or another one. Needs the library duckdb."""

    def __init__(self, store: Bucket, keys: KeyTemplate) -> None:
        self._store, self._reader = store, store.reader()
        self._root = keys.prefix + CATALOG
        self._months: dict[str, str] | None = None
        self._copies: dict[str, Path] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.as_of: datetime | None = None  # when its newest file was written

    def close(self) -> None:
        """Remove the copies."""
        if self._folder is not None:
            self._folder.cleanup()
        self._folder, self._copies = None, {}

    def rows(self, selection: Selection) -> Iterator[JSON] | None:
        """Return the selected rows, by creation; None if there is no catalog, or if it cannot tell them."""
        if not self._listed():
            return None
        files = self._files(selection)
        if selection.number is not None and not all(map(_is_plain, files)):
            return None
        return (row for file in files for row in _rows(file, selection))

    def table(self, name: str, selection: Selection) -> duckdb.DuckDBPyRelation:
        """Return a relation over `recordings` or `days`. Raises LookupError if there is nothing to make it of."""
        if name not in ("recordings", "days"):
            raise LookupError(f"there is no table {name}: use recordings or days")
        files = self._files(selection) if name == "recordings" else self._days()
        if not files:
            raise LookupError(f"the archive has no catalog of {name}, or none of these months")
        relation = _parquet(*files)
        times = "created_at" if name == "recordings" else "day"
        conditions = [f"{times} >= {_time(selection.since)}"] if selection.since else []
        conditions += [f"{times} < {_time(selection.until)}"] if selection.until else []
        return relation.filter(" AND ".join(conditions)) if conditions else relation

    def _listed(self) -> dict[str, str]:
        """Return the key of each month's file, listed once."""
        if self._months is None:
            months, root = dict[str, str](), f"{self._root}recordings/"
            for listed in self._reader.listed(root):
                if found := _MONTH.fullmatch(listed.key.removeprefix(root)):
                    months[found[1]] = listed.key
                    self.as_of = max(self.as_of or listed.modified, listed.modified)
            self._months = months
        return self._months

    def _files(self, selection: Selection) -> list[Path]:
        first, last = (selection.first_day or "")[:7], (selection.last_day or "9999-12")[:7]
        return [self._copy(key) for month, key in sorted(self._listed().items()) if first <= month <= last]

    def _days(self) -> list[Path]:
        key = f"{self._root}days.parquet"
        return [self._copy(key)] if self._reader.describe(key) is not None else []

    def _copy(self, key: str) -> Path:
        """Copy an object once, while this archive is open."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="recvault-catalog-")
        if key not in self._copies:
            place = Path(self._folder.name) / f"{len(self._copies)}.parquet"
            with place.open("wb") as file:
                for piece in self._store.stream(key):
                    file.write(piece)
            self._copies[key] = place
        return self._copies[key]


def _parquet(*files: Path) -> duckdb.DuckDBPyRelation:
    import duckdb

    return duckdb.connect().read_parquet([str(each) for each in files], union_by_name=True)


def _is_plain(file: Path) -> bool:
    """Whether its numbers are as dialled: where they are hashed or left out, so is the provider's row."""
    found = _parquet(file).aggregate("count(*) - count(raw)").fetchone()
    return found is not None and found[0] == 0


def _rows(file: Path, selection: Selection) -> Iterator[JSON]:
    relation = _parquet(file)
    there = set(relation.columns)
    shown = ", ".join(_shown(each.name, each.type) if each.name in there else "NULL" for each in RECORDINGS)
    chosen = relation.filter(_condition(selection)).project(shown)
    while batch := chosen.fetchmany(_BATCH):
        yield from map(_row, batch)


def _shown(name: str, kind: str) -> str:
    """Return what is fetched of a column: of times, integers, which need no library for time zones."""
    return f'epoch_us("{name}")' if kind == "TIMESTAMPTZ" else f'"{name}"'


def _row(values: tuple[Any, ...]) -> JSON:
    row = {each.name: value for each, value in zip(RECORDINGS, values, strict=True)}
    for each in RECORDINGS:
        value = row[each.name]
        if value is not None and each.type == "TIMESTAMPTZ":
            row[each.name] = stamp(_EPOCH + timedelta(microseconds=value))
        elif value is not None and each.type == "DATE":
            row[each.name] = value.isoformat()
    return row


def _condition(selection: Selection) -> str:
    conditions = ["true"]
    if selection.since is not None:
        conditions.append(f"created_at >= {_time(selection.since)}")
    if selection.until is not None:
        conditions.append(f"created_at < {_time(selection.until)}")
    if selection.source is not None:
        conditions.append(f"source = {_quoted(selection.source)}")
    if selection.recording_id is not None:
        conditions.append(f"recording_id = {_quoted(selection.recording_id)}")
    if selection.call_id is not None:
        conditions.append(f"call_id = {_quoted(selection.call_id)}")
    if selection.number is not None:
        conditions.append(f"list_contains(numbers, {_quoted(selection.number)})")
    return " AND ".join(conditions)


def _time(moment: datetime) -> str:
    return f"TIMESTAMPTZ {_quoted(moment.isoformat())}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
