"""Put the catalog's files, each in place of the version that was read: if another writer was first, merge again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from recvault.archive import CATALOG
from recvault.catalog import spawned
from recvault.catalog.columns import datapackage
from recvault.errors import StoreUnavailable
from recvault.operations.catalog.catalog_summary import CatalogSummary, FileWritten
from recvault.shutdown import Stop
from recvault.store import Put, Replacer

PARQUET = "application/vnd.apache.parquet"
_RACES = 20
_CHUNK = 1 << 20

Version = tuple[str | None, Path | None]
"""A version, and a file with its content; None: there was none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swapping:
    """Writes the files of one catalog, with a temporary folder of its own."""

    replacer: Replacer
    prefix: str
    folder: Path
    summary: CatalogSummary
    stop: Stop

    def key(self, month: str) -> str:
        """Return the key of a month's file."""
        return f"{self.prefix}{CATALOG}recordings/month={month}/recordings.parquet"

    def month(self, month: str, job: Mapping[str, str], *, instead_of: str | None = None, anew: bool = False) -> Path:
        """Merge into a month's file; return the days of it.

        `anew`: begin with an empty file, to be put in place of the version `instead_of`; if there is another by then,
        somebody has written meanwhile, and what they wrote is merged.
        """
        out, days = self.folder / "out.parquet", self.folder / f"days-{month}.parquet"
        for number in range(_RACES):
            self.stop.check()
            version, earlier = instead_of, None
            if not anew or number:
                version, earlier = self._fetched(self.key(month))
            counts = self._run("month", **job, earlier=earlier and str(earlier), out=str(out), days=str(days))
            if self._put(self.key(month), out, version, counts["rows"]):
                return days
        raise _contended(self.key(month))

    def days(self, months: Mapping[str, Path], before: Version, *, anew: bool = False) -> None:
        """Replace the days of these months; `anew`: and drop those of all others.

        `before` was read before the months. So another writer's days in its place show that they may hold more of a
        month than we do: then the months are read again.
        """
        out = self.folder / "days.parquet"
        for number in range(_RACES):
            version, earlier = before
            files = {month: str(path) for month, path in months.items()}
            kept = None if anew and not number else earlier and str(earlier)  # of others: written meanwhile
            counts = self._run("days", months=files, earlier=kept, out=str(out))
            if self._put(self._days_key, out, version, counts["rows"]):
                return
            before = self.earlier_days()
            months = {month: self._days_of(month) for month in months}
        raise _contended(self._days_key)

    def earlier_days(self) -> Version:
        """Read the days' file, before the months are."""
        return self._fetched(self._days_key, "earlier-days.parquet")

    @property
    def _days_key(self) -> str:
        return f"{self.prefix}{CATALOG}days.parquet"

    def describe(self) -> None:
        """Put the Data Package, if there is none or another version's."""
        key, body = f"{self.prefix}{CATALOG}datapackage.json", datapackage()
        there = BytesIO()
        version = self.replacer.fetch(key, there)
        if version is None or there.getvalue() != body:
            self.replacer.replace(_put_of(key, BytesIO(body), "application/json"), version)  # or another writer's stays

    def versions(self, months: Iterable[str]) -> dict[str, str | None]:
        """Return which version each month's file has now."""
        return {month: self.replacer.version(self.key(month)) for month in months}

    def _days_of(self, month: str) -> Path:
        """Return the days of a month's file as it is now."""
        _, earlier = self._fetched(self.key(month))
        days = self.folder / f"days-{month}.parquet"
        self._run("month", earlier=earlier and str(earlier), out=str(self.folder / "out.parquet"), days=str(days))
        return days

    def _run(self, task: str, **job: object) -> Mapping[str, int]:
        return spawned.run(task, self.folder, **job)

    def _fetched(self, key: str, name: str = "earlier.parquet") -> Version:
        path = self.folder / name
        with path.open("wb") as file:
            version = self.replacer.fetch(key, file)
        return version, path if version else None

    def _put(self, key: str, path: Path, version: str | None, rows: int) -> bool:
        with path.open("rb") as body:
            put = _put_of(key, body, PARQUET)
            if not self.replacer.replace(put, version):
                return False
        self.summary.wrote(FileWritten(key=key, rows=rows, bytes=put.bytes))
        return True


def _put_of(key: str, body: BinaryIO, content_type: str) -> Put:
    digest, size = hashlib.sha256(), 0
    read: Callable[[], bytes] = lambda: body.read(_CHUNK)  # noqa: E731 - a name for its type
    for chunk in iter(read, b""):
        digest.update(chunk)
        size += len(chunk)
    sha256 = digest.hexdigest()
    return Put(key=key, body=body, bytes=size, sha256=sha256, content_type=content_type, metadata={"sha256": sha256})


def _contended(key: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"{key} was replaced by other writers {_RACES} times while it was merged",
        "run `recvault catalog` on one machine at a time",
    )
