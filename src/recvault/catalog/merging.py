"""Rows become Parquet: the only module that uses DuckDB. Runs in a short child process; see spawned.

A merge replaces by (provider, account_id, recording_id), so to merge again what is merged already changes nothing. Of
two sidecars of one recording, the one archived later counts; of two of the same time the newer edition, then the one
that was read just now. What is known of a call is kept until something else is known.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import duckdb

from recvault.catalog.columns import DAYS, RECORDINGS, Column

MEMORY = "150MB"  # of DuckDB's own; with Python and its code the child stays below 256 MiB
ROW_GROUP = 20_480
PART = 8192  # rows that are sorted at once
_NARROW = 2048  # rows in a group of a file that is read again here
_SETTINGS = (
    f"SET memory_limit='{MEMORY}'",
    "SET threads=1",
    "SET TimeZone='UTC'",
    "SET autoinstall_known_extensions=false",
    "SET autoload_known_extensions=false",
)
_BESIDE = (Column("edition", "BIGINT", ""), Column("serial", "BIGINT", ""), Column("moved", "BOOLEAN", ""))
_FACTS = tuple(each for each in RECORDINGS if each.name in ("provider", "account_id", "recording_id"))
_FACTS += tuple(each for each in RECORDINGS if each.name in ("from_number", "to_number", "direction", "numbers"))
_FACTS += (Column("told_at", "TIMESTAMPTZ", ""),)
_LISTED = (Column("sidecar_key", "VARCHAR", ""), Column("manifest_number", "BIGINT", ""))
_ID = "provider, account_id, recording_id"
_SAME = " AND ".join(f"{{0}}.{each} = r.{each}" for each in _ID.split(", "))
_SORTED = ", ".join(f"r.{each}" for each in _ID.split(", "))
_NAMES = ", ".join(f'"{each.name}"' for each in RECORDINGS)

_BEST = f"""
    CREATE TEMP TABLE best AS SELECT {_ID}, archived_at, serial FROM given
    QUALIFY row_number() OVER (PARTITION BY {_ID} ORDER BY archived_at DESC NULLS LAST, edition DESC, serial DESC) = 1
"""
_BEATEN = f"""
    DELETE FROM best WHERE serial IN (
        SELECT serial FROM best JOIN (SELECT {_ID}, archived_at FROM earlier) e USING ({_ID})
        WHERE e.archived_at > coalesce(best.archived_at, '-infinity'::TIMESTAMPTZ)
    )
"""
_PRIOR = f"""
    CREATE TEMP TABLE prior AS SELECT {_ID}, from_number, to_number, direction, numbers, sidecar_sha256, manifest_number
    FROM earlier SEMI JOIN best USING ({_ID})
"""
_CALLS = f"""
    CREATE TEMP TABLE calls AS SELECT * FROM facts SEMI JOIN chosen USING ({_ID})
    QUALIFY row_number() OVER (PARTITION BY {_ID} ORDER BY told_at DESC NULLS LAST) = 1
"""
_CHOSEN = f"""
    CREATE TEMP TABLE chosen AS
    SELECT *, (row_number() OVER (ORDER BY created_at, {_ID}) - 1) // {PART} AS part FROM (
        SELECT {_ID}, created_at, NULL::BIGINT AS serial FROM earlier ANTI JOIN best USING ({_ID})
        UNION ALL
        SELECT {_ID}, created_at, serial FROM given SEMI JOIN best USING (serial) WHERE moved IS NOT TRUE
    )
"""
_NUMBERED = """
    CREATE TEMP TABLE numbered AS SELECT sidecar_key, max(manifest_number) AS manifest_number
    FROM listed SEMI JOIN given USING (sidecar_key) GROUP BY sidecar_key
"""
_PARTS = "SELECT part, min(created_at)::VARCHAR, max(created_at)::VARCHAR FROM chosen GROUP BY part ORDER BY part"
_OF_PART = f"""
    SELECT r.* REPLACE (
        coalesce(c.from_number, r.from_number, p.from_number) AS from_number,
        coalesce(c.to_number, r.to_number, p.to_number) AS to_number,
        coalesce(c.direction, r.direction, p.direction) AS direction,
        coalesce(c.numbers, r.numbers, p.numbers) AS numbers,
        coalesce(r.manifest_number, m.manifest_number,
            CASE WHEN p.sidecar_sha256 = r.sidecar_sha256 THEN p.manifest_number END) AS manifest_number
    ) FROM (
        SELECT {_NAMES} FROM earlier
        SEMI JOIN (SELECT {_ID} FROM chosen WHERE part = {{part}} AND serial IS NULL) USING ({_ID})
        WHERE created_at BETWEEN {{first}} AND {{last}}
        UNION ALL
        SELECT {_NAMES} FROM given SEMI JOIN (SELECT serial FROM chosen WHERE part = {{part}}) USING (serial)
        WHERE created_at BETWEEN {{first}} AND {{last}}
    ) r
    LEFT JOIN calls c ON {_SAME.format("c")}
    LEFT JOIN prior p ON {_SAME.format("p")}
    LEFT JOIN numbered m ON m.sidecar_key = r.sidecar_key
    ORDER BY r.created_at, {_SORTED}
"""
_OF_DAYS = """
    SELECT day, provider, account_id, source, count(*) AS recordings,
        sum(coalesce(media_seconds, duration_seconds, 0)) AS seconds,
        try_cast(sum(coalesce(list_sum(list_transform(media, lambda each: each.bytes)), 0)) AS BIGINT) AS bytes,
        count(*) FILTER (list_contains(list_transform(media, lambda each: each.checked), 'suspect')) AS suspect
    FROM read_parquet({file}) GROUP BY ALL ORDER BY ALL
"""
_ALL_DAYS = """
    SELECT {names} FROM earlier WHERE NOT list_contains({months}, strftime(day, '%Y-%m'))
    UNION ALL SELECT {names} FROM fresh ORDER BY day, provider, account_id, source
"""


def month(job: dict[str, Any], temp: Path) -> dict[str, int]:
    """Merge a month's file `earlier` with new `rows`, call `facts` and the manifests' lists; write `out` and `days`."""
    with _connected(temp) as db:
        _parquet(db, "earlier", RECORDINGS, job.get("earlier"))
        _given(db, job.get("rows"), temp)
        _lines(db, "facts", _FACTS, job.get("facts"))
        _lines(db, "listed", _LISTED, job.get("listed"))
        for statement in (_BEST, _BEATEN, _PRIOR, _NUMBERED, _CHOSEN, _CALLS):
            db.execute(statement)
        _parquet(db, "sorted", RECORDINGS, *_parts(db, temp))
        written = _write(db, "SELECT * FROM sorted", job["out"])
        _write(db, _OF_DAYS.format(file=_quoted(job["out"])), job["days"])
    return {"rows": written}


def days(job: dict[str, Any], temp: Path) -> dict[str, int]:
    """Replace these months' days in the file `earlier` by those in the files of `months`; write `out`."""
    names = ", ".join(each.name for each in DAYS)
    with _connected(temp) as db:
        _parquet(db, "earlier", DAYS, job.get("earlier"))
        _parquet(db, "fresh", DAYS, *job["months"].values())
        months = f"[{', '.join(map(_quoted, job['months']))}]::VARCHAR[]"
        return {"rows": _write(db, _ALL_DAYS.format(names=names, months=months), job["out"])}


def _given(db: duckdb.DuckDBPyConnection, rows: str | None, temp: Path) -> None:
    """Make a view of the new rows, as Parquet: they are read several times, and not every column each time."""
    columns = (*RECORDINGS, *_BESIDE)
    if not rows:
        _lines(db, "given", columns, None)
        return
    _lines(db, "lines", columns, rows)
    _write(db, "SELECT * FROM lines", str(temp / "given.parquet"), _NARROW)
    _parquet(db, "given", columns, str(temp / "given.parquet"))


def _parts(db: duckdb.DuckDBPyConnection, temp: Path) -> list[str]:
    """Write the chosen rows in order, some thousands at a time: sorting a whole month takes too much memory."""
    files = []
    for part, first, last in db.execute(_PARTS).fetchall():
        files.append(str(temp / f"part-{part}.parquet"))
        _write(db, _OF_PART.format(part=part, first=_quoted(first), last=_quoted(last)), files[-1], _NARROW)
    return files


def _connected(temp: Path) -> duckdb.DuckDBPyConnection:
    db = duckdb.connect(":memory:")
    for statement in (*_SETTINGS, f"SET temp_directory={_quoted(str(temp))}"):
        db.execute(statement)
    return db


def _parquet(db: duckdb.DuckDBPyConnection, name: str, columns: tuple[Column, ...], *files: str | None) -> None:
    """Make a view of Parquet files: a column that they lack is null, and one that is not known here is left out."""
    known = [each for each in files if each]
    empty = f"SELECT {_nulls(columns)} WHERE false"
    if not known:
        db.execute(f"CREATE TEMP VIEW {name} AS {empty}")
        return
    listed = f"[{', '.join(map(_quoted, known))}]"
    found = f"SELECT * FROM read_parquet({listed}, union_by_name=true)"
    there = {each[0] for each in db.execute(f"DESCRIBE {found}").fetchall()}
    taken = (f'"{each.name}"::{each.type}' if each.name in there else f"NULL::{each.type}" for each in columns)
    named = ", ".join(f'{value} AS "{each.name}"' for value, each in zip(taken, columns, strict=True))
    db.execute(f"CREATE TEMP VIEW {name} AS SELECT {named} FROM ({found})")


def _lines(db: duckdb.DuckDBPyConnection, name: str, columns: tuple[Column, ...], file: str | None) -> None:
    """Make a view of a file of JSON lines."""
    if not file:
        db.execute(f"CREATE TEMP VIEW {name} AS SELECT {_nulls(columns)} WHERE false")
        return
    types = ", ".join(f"{_quoted(each.name)}: {_quoted(each.type)}" for each in columns)
    source = f"read_json({_quoted(file)}, columns={{{types}}}, format='newline_delimited')"
    db.execute(f"CREATE TEMP VIEW {name} AS SELECT * FROM {source}")


def _nulls(columns: tuple[Column, ...]) -> str:
    return ", ".join(f'NULL::{each.type} AS "{each.name}"' for each in columns)


def _write(db: duckdb.DuckDBPyConnection, query: str, out: str, rows: int = ROW_GROUP) -> int:
    options = f"FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {rows}"
    done = db.execute(f"COPY ({query}) TO {_quoted(out)} ({options})").fetchone()
    return int(done[0]) if done else 0


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def main() -> None:
    """Do the job on standard input, and print its result."""
    job = json.load(sys.stdin)
    task = {"month": month, "days": days}[job["task"]]
    try:
        done = task(job, Path(job["temp"]))
    except duckdb.Error as error:
        sys.exit(str(error))
    json.dump(done, sys.stdout)


if __name__ == "__main__":
    main()
