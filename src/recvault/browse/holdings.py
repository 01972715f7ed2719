"""What the pages read of an archive: the catalog by DuckDB, objects by the store's reader. The only one who knows both.

The catalog's files of an S3 bucket are copied to a private temporary directory when they are first asked for, by the
store's own connections: no credentials, proxies or extensions of DuckDB's, and a file that is replaced meanwhile cannot
end a query. They are looked at again once a minute.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from recvault.archive.layout import CATALOG
from recvault.browse.copies import Copies
from recvault.errors import StoreUnavailable, UnknownName
from recvault.store import Described, Listed, Reader

RECORDINGS, DAYS = f"{CATALOG}recordings/", f"{CATALOG}days.parquet"
PIECE = 1 << 20
_MONTH = re.compile(r"month=(\d{4}-\d\d)/recordings\.parquet")
_FRESH_SECONDS = 60.0
_COPIES_AT_ONCE = 6
_LARGEST_SMALL = 64 << 20  # bytes of a manifest


class Holdings:
    """An archive to browse. Thread-safe."""

    def __init__(
        self,
        reader: Reader,
        *,
        where: str,
        prefix: str = "",
        catalog: Reader | None = None,
        directory: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`catalog`: the store of the catalog, if it has one of its own. `directory`: where its keys are files."""
        self.where = where
        self.reader, self._catalog = reader, catalog or reader
        self.prefix = prefix
        self._directory, self._clock = directory, clock
        self._copies = None if directory else Copies()
        self._lock = threading.Lock()
        self._listed: tuple[float, dict[str, Listed]] | None = None
        self._copied: dict[str, tuple[Listed, Path]] = {}
        self._db = duckdb.connect(config={"autoinstall_known_extensions": "false", "threads": str(os.cpu_count() or 1)})
        self._db.execute("SET TimeZone = 'UTC'; SET memory_limit = '1GB'")

    def close(self) -> None:
        """Remove the copies."""
        self._db.close()
        if self._copies is not None:
            self._copies.close()

    def months(self) -> list[str]:
        """Return the months of the catalog, as YYYY-MM, the newest first. UnknownName if there is no catalog."""
        found = sorted((match[1] for key in self._files() if (match := _MONTH.search(key))), reverse=True)
        if not found:
            hint = "run `recvault catalog` where the ledger is, then reload this page"
            raise UnknownName(f"{self.where} has no catalog, which browse finds recordings by", hint)
        return found

    def recordings(self, select: str, months: Sequence[str], values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Run a query whose {recordings} are those of the given months."""
        files = self._paths([f"{RECORDINGS}month={month}/recordings.parquet" for month in months])
        return self._rows(select.replace("{recordings}", _table(files)), values) if files else []

    def days(self, select: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Run a query whose {days} are the catalog's."""
        files = self._paths([DAYS])
        return self._rows(select.replace("{days}", _table(files)), values) if files else []

    def small(self, key: str) -> bytes | None:
        """Return a sidecar or a manifest; None if it does not exist."""
        body = self.reader.get(key, _LARGEST_SMALL)
        return None if body is None else body.content

    def describe(self, key: str) -> Described | None:
        """Return an object's size and checksums; None if it does not exist."""
        return self.reader.describe(key)

    def pieces(self, key: str, start: int, end: int) -> Iterator[bytes]:
        """Yield an object's bytes from `start` to before `end`, a piece at a time. UnknownName if some are missing."""
        return _pieces(self.reader, key, start, end)

    def path(self, key: str) -> str:
        """Return a key's path in a copy of the archive."""
        return key.removeprefix(self.prefix)

    def prefetch(self) -> None:
        """Copy the catalog of every month, the newest first, so that the first search finds it there."""
        for month in self.months():
            self._paths([f"{RECORDINGS}month={month}/recordings.parquet"])

    def _rows(self, query: str, values: Sequence[Any]) -> list[dict[str, Any]]:
        try:
            with self._db.cursor() as cursor:
                found = cursor.execute(query, list(values))
                names = [each[0] for each in found.description or ()]
                return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
        except duckdb.Error as error:
            self._listed = None  # it may have been replaced meanwhile
            hint = "reload this page; if that does not help: `recvault catalog --rebuild`"
            raise StoreUnavailable(f"the catalog of {self.where} cannot be read: {error}", hint) from error

    def _files(self) -> dict[str, Listed]:
        """Return what the catalog's prefix holds, by the key without the archive's prefix."""
        with self._lock:
            if self._listed is None or self._clock() - self._listed[0] > _FRESH_SECONDS:
                found = self._catalog.listed(f"{self.prefix}{CATALOG}")
                self._listed = (self._clock(), {self.path(each.key): each for each in found})
            return self._listed[1]

    def _paths(self, names: Sequence[str]) -> list[str]:
        """Return the files to read for these keys; none for those that do not exist."""
        there = [each for name in names if (each := self._files().get(name))]
        if self._directory is not None:
            return [str(self._directory / each.key) for each in there]
        with ThreadPoolExecutor(_COPIES_AT_ONCE) as pool:
            return [str(each) for each in pool.map(self._copy, there)]

    def _copy(self, listed: Listed) -> Path:
        """Copy a file of the catalog, unless it has been copied as it is now."""
        known = self._copied.get(listed.key)
        if known and known[0] == listed:
            return known[1]
        assert self._copies is not None  # noqa: S101 - of a directory, nothing is copied
        number, name = tempfile.mkstemp(suffix=".parquet", dir=self._copies.path)
        with os.fdopen(number, "wb") as file:
            for piece in _pieces(self._catalog, listed.key, 0, listed.bytes):
                file.write(piece)
        self._copied[listed.key] = (listed, Path(name))  # an earlier copy stays until the end: a query may read it
        return Path(name)


def _pieces(reader: Reader, key: str, start: int, end: int) -> Iterator[bytes]:
    while start < end:
        part = reader.part(key, start, min(PIECE, end - start))
        if part is None or not part.content:
            raise UnknownName(f"{key} is not in the bucket, or is shorter than it should be", "run `recvault verify`")
        start += len(part.content)
        yield part.content


def _table(files: Sequence[str]) -> str:
    names = ", ".join("'{}'".format(name.replace("'", "''")) for name in files)
    return f"read_parquet([{names}], hive_partitioning = false, union_by_name = true)"


def month_of(day: date) -> str:
    """Return the month of the catalog that holds a day."""
    return day.isoformat()[:7]  # strftime would write the year 1 as 1
