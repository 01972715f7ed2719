"""Fetch the catalog's files of a time range from the bucket, and sum them."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from recvault.archive.layout import CATALOG
from recvault.errors import ConfigError
from recvault.reporting.sums import Sums, summed
from recvault.store import ObjectStore

_MONTH = re.compile(r"recordings/month=(\d{4}-\d{2})/recordings\.parquet")
_DAYS = "days.parquet"


def gathered(store: ObjectStore, prefix: str, since: datetime, until: datetime, listed_by: datetime) -> Sums:
    """Sum a range of an archive. Raises ConfigError if it has no catalog."""
    root = prefix + CATALOG
    found = {each.key.removeprefix(root): each.key for each in store.list(root)}
    months = sorted(name for name in found if _MONTH.fullmatch(name))
    if not months:
        raise ConfigError(
            "the archive has no catalog, which the report is made from", "write it with `recvault catalog`"
        )
    first, last = f"{since:%Y-%m}", f"{until - timedelta(microseconds=1):%Y-%m}"
    wanted = [name for name in months if (month := _MONTH.fullmatch(name)) and first <= month[1] <= last]
    with tempfile.TemporaryDirectory(prefix="recvault-report-") as folder:
        files = [_fetched(store.stream(found[name]), Path(folder) / f"{n}.parquet") for n, name in enumerate(wanted)]
        days = _fetched(store.stream(found[_DAYS]), Path(folder) / _DAYS) if _DAYS in found else None
        return summed(files, days, since, until, listed_by)


def _fetched(pieces: Iterator[bytes], path: Path) -> Path:
    with path.open("wb") as file:
        file.writelines(pieces)
    return path
