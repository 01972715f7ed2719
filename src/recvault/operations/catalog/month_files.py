"""Rows, call facts and manifest numbers on their way to a merge: in compressed files, one a month."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from recvault.catalog import flatten
from recvault.models import JSON, stamp

_EVERY = "all"


class MonthFiles:
    """Files of JSON lines in a temporary folder. Close before they are read; for one thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, gzip.GzipFile] = {}
        self.months: set[str] = set()

    def row(self, month: str, values: JSON) -> None:
        """Add a recording's row to its month."""
        self._add("rows", month, values)
        self.months.add(month)

    def facts(self, month: str | None, values: JSON) -> None:
        """Add call facts of a recording; None: it is looked for in every month."""
        self._add("facts", month or _EVERY, values)
        if month:
            self.months.add(month)

    def listed(self, values: JSON) -> None:
        """Add the number of the manifest that lists a sidecar."""
        self._add("listed", _EVERY, values)

    def close(self) -> None:
        """End the files."""
        for each in self._open.values():
            each.close()

    def job(self, month: str) -> dict[str, str]:
        """Return the files of a month, by what they hold."""
        names = (("rows", month), ("facts", month), ("facts", _EVERY), ("listed", _EVERY))
        return {kind: str(path) for kind, of in names if (path := self._path(kind, of)).exists()}

    def drop(self, month: str) -> None:
        """Remove a month's files, which are merged."""
        for kind in ("rows", "facts"):
            self._path(kind, month).unlink(missing_ok=True)

    def _path(self, kind: str, month: str) -> Path:
        return self._folder / f"{kind}-{month}.jsonl.gz"

    def _add(self, kind: str, month: str, values: JSON) -> None:
        path = self._path(kind, month)
        if path.name not in self._open:
            self._open[path.name] = gzip.GzipFile(path, "wb", compresslevel=1)
        self._open[path.name].write(flatten.encoded(values))


def removal(identity: tuple[str, str, str], created_at: datetime, serial: int) -> JSON:
    """Return a row that removes a recording from its month, whenever it was archived."""
    names = dict(zip(flatten.IDENTITY, identity, strict=True))
    ever = "9999-12-31T00:00:00.000000Z"
    return {
        **names,
        "created_at": stamp(created_at),
        "archived_at": ever,
        "edition": 1,
        "serial": serial,
        "moved": True,
    }


def rows_of(values: JSON, *, edition: int, serial: int, earlier_month: str | None) -> Iterable[tuple[str, JSON]]:
    """Yield a row for its month; if the edition before it was of another month, also one that removes it there."""
    month = flatten.month_of(values)
    complete = {**values, "edition": edition, "serial": serial}
    yield month, complete
    if earlier_month is not None and earlier_month != month:
        yield earlier_month, {**complete, "moved": True}
