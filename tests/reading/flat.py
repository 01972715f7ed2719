"""A catalog of sidecars, as recvault writes it, without a daemon or a bucket."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from reading.population import Sidecar, encoded, key_of
from recvault.catalog import columns, flatten, spawned


def catalog(known: Iterable[Sidecar], folder: Path, numbers: flatten.Numbers = flatten.PLAIN) -> dict[str, bytes]:
    """Return the catalog's objects by their key."""
    lines: dict[str, list[bytes]] = defaultdict(list)
    for serial, each in enumerate(known):
        row = flatten.row(encoded(each), key_of(each), numbers=numbers)
        lines[flatten.month_of(row)].append(flatten.encoded({**row, "edition": 1, "serial": serial, "moved": False}))
    written, days = {}, {}
    for month, rows in lines.items():
        given, out, sums = (str(folder / f"{month}.{name}") for name in ("json", "parquet", "days"))
        Path(given).write_bytes(b"".join(rows))
        spawned.run("month", folder, rows=given, out=out, days=sums)
        written[f"catalog/recordings/month={month}/recordings.parquet"] = Path(out).read_bytes()
        days[month] = sums
    spawned.run("days", folder, months=days, out=str(folder / "days.parquet"))
    written["catalog/days.parquet"] = (folder / "days.parquet").read_bytes()
    written["catalog/datapackage.json"] = columns.datapackage()
    return written
