"""Measure `recvault catalog`: what it costs to write, and how many requests a question over it takes.

python tests/benchmarks/catalog.py [--sidecars N] [--rows N] [--months N]
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import importlib.util
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import duckdb
from rebuild import ACCOUNT, CONFIG, START, placed

from recvault.archive import KeyTemplate
from recvault.catalog import flatten
from recvault.models import stamp
from strict_s3 import Kept, StrictS3

CALL = {"from": "+15550100001", "to": "+15550100002", "direction": "inbound", "legs": []}
SELDOM, OFTEN = "15557654321", "15557654322"  # on two days of October; in each group of rows
NUMBER = """
    SELECT recording_id, created_at::VARCHAR, media_key
    FROM 's3://measured/catalog/recordings/month=2026-10/recordings.parquet' WHERE list_contains(numbers, '{}')
"""
QUESTIONS = {
    "a number on two days of October": NUMBER.format(SELDOM),
    "a number on many days of October": NUMBER.format(OFTEN),
    "hours a day and source": """
        SELECT day::VARCHAR, source, sum(seconds) / 3600 FROM 's3://measured/catalog/days.parquet' GROUP BY ALL
    """,
    "the same from the recordings": """
        SELECT day::VARCHAR, source, sum(media_seconds) / 3600
        FROM 's3://measured/catalog/recordings/*/recordings.parquet' GROUP BY ALL
    """,
}


# -- writing -----------------------------------------------------------------------------------------------------------


def serve(count: int, pipe: Connection) -> None:
    """Serve a bucket of sidecars; send what was requested since, when asked."""
    keys = KeyTemplate()
    with StrictS3() as server:
        bucket = server.bucket("measured")
        bucket.objects = dict(sorted(placed(keys, number) for number in range(count)))
        pipe.send(server.url)
        while pipe.recv() == "requests":
            pipe.send(dict(bucket.counts))
            bucket.clear_counts()


def ran(url: str, root: Path, *words: str) -> tuple[float, float, int]:
    """Return seconds, CPU seconds of it and its children, and the largest process's peak in MiB."""
    config = root / "config.toml"
    config.write_text(CONFIG.format(url=url, root=root, workers=16, account=ACCOUNT))
    env = {**os.environ, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "MEASURED_TOKEN": "t" * 32}
    began = time.monotonic()
    command = [sys.executable, "-m", "recvault", "-q", "--config", str(config), "catalog", *words]
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0, f"it ended with {status}"
    return time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss >> 10


def written(count: int) -> None:
    """Measure a whole catalog from sidecars, and a run with nothing new."""
    ours, theirs = get_context("spawn").Pipe()
    server = get_context("spawn").Process(target=serve, args=(count, theirs))
    server.start()
    url = ours.recv()
    with tempfile.TemporaryDirectory() as root:
        for words in (("--rebuild",), ()):
            seconds, cpu, peak = ran(url, Path(root), *words)
            ours.send("requests")
            print(f"catalog {' '.join(words)} of {count:,} sidecars: {seconds:.1f} s, {count / seconds:,.0f} a second,")
            print(f"  {cpu / count * 1e6:.0f} us of CPU each, {peak} MiB in the largest process, {ours.recv()}")
    ours.send("end")
    server.join()


# -- reading -----------------------------------------------------------------------------------------------------------


def lines(number: int, month: int, count: int) -> Iterator[bytes]:
    """Yield rows of a month, with numbers and ids of their own."""
    _, kept = placed(KeyTemplate(), 1)
    document = {**json.loads(kept.body or b""), "call": CALL}
    row = flatten.row(json.dumps(document).encode(), "recordings/KEY.json")
    values = {**row, "edition": 1}
    begin, dice = datetime(2026, month, 1, tzinfo=UTC), random.Random(number)
    for each in range(count):
        at = begin + timedelta(seconds=each * 28 * 86_400 // count)
        called = [OFTEN] if month == 10 and each % (count // 5) == 0 else []
        called += [SELDOM] if month == 10 and at.day in (3, 20) and each % 500 == 0 else []
        values |= {
            "recording_id": f"RE{dice.getrandbits(128):032x}",
            "call_id": f"CA{dice.getrandbits(128):032x}",
            "media_sha256": f"{dice.getrandbits(256):064x}",
            "sidecar_sha256": f"{dice.getrandbits(256):064x}",
            "created_at": stamp(at),
            "day": at.date().isoformat(),
            "source": f"source-{each % 5}",
            "numbers": sorted({f"1555{dice.randrange(10**7):07}", f"1555{dice.randrange(10**7):07}", *called}),
            "serial": each,
        }
        yield json.dumps(values).encode() + b"\n"


def merged(task: str, root: Path, **job: Any) -> tuple[float, float, int]:
    """Run a merge as recvault does; return seconds, CPU seconds and its peak in MiB."""
    began = time.monotonic()
    env = {**os.environ, "MALLOC_ARENA_MAX": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "recvault.catalog.merging"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=env
    )
    assert process.stdin
    process.stdin.write(json.dumps({"task": task, "temp": str(root), **job}).encode())
    process.stdin.close()
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0, f"it ended with {status}"
    return time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss >> 10


def months_of(root: Path, rows: int, months: int) -> tuple[dict[str, Path], Path]:
    """Make the files of a catalog; print what each merge took."""
    files, days = {}, {}
    for number in range(months):
        month = 10 - number if number < 10 else 22 - number
        name, new = f"2026-{month:02}", root / "rows.jsonl.gz"
        with gzip.open(new, "wb", 1) as file:
            file.writelines(lines(number, month, rows // months))
        files[name], days[name] = root / f"{name}.parquet", str(root / f"{name}-days.parquet")
        took = merged("month", root, rows=str(new), out=str(files[name]), days=days[name])
        _print_merge(f"{name}: a new file of {rows // months:,} rows", took, files[name])
    with gzip.open(new, "wb", 1) as file:
        file.writelines(lines(99, month, 3000))
    out = root / "again.parquet"
    took = merged("month", root, rows=str(new), earlier=str(files[name]), out=str(out), days=str(root / "x"))
    _print_merge(f"{name}: 3,000 rows into it", took, out)
    merged("days", root, months=days, out=str(root / "days.parquet"))
    return files, root / "days.parquet"


def _print_merge(what: str, took: tuple[float, float, int], file: Path) -> None:
    print(f"{what}: {took[0]:.1f} s, {took[1]:.1f} s of CPU, {took[2]} MiB, a file of {file.stat().st_size >> 20} MiB")


@contextlib.contextmanager
def connected(url: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """A reader that knows nothing yet."""
    found = importlib.util.find_spec("duckdb_extension_httpfs")
    assert found and found.origin, "pip install duckdb-extension-httpfs"
    extension = next(Path(found.origin).parent.rglob("httpfs.duckdb_extension"))
    with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as db:
        db.execute(f"LOAD '{extension}'")
        endpoint = url.removeprefix("http://")
        db.execute(
            f"CREATE SECRET (TYPE s3, KEY_ID 'a', SECRET 'b', ENDPOINT '{endpoint}', "
            "REGION 'us-east-1', USE_SSL false, URL_STYLE 'path')"
        )
        yield db


def asked(rows: int, months: int) -> None:
    """Count the requests of each question."""
    with tempfile.TemporaryDirectory() as root, StrictS3() as server:
        files, days = months_of(Path(root), rows, months)
        bucket = server.bucket("measured")
        keys = {f"catalog/recordings/month={name}/recordings.parquet": path for name, path in files.items()}
        for key, path in {**keys, "catalog/days.parquet": days}.items():
            body = path.read_bytes()
            bucket.objects[key] = Kept(
                bytes=len(body), sha256="", etag=f'"{len(body)}"', headers={}, modified=START, body=body
            )
        for name, question in QUESTIONS.items():
            bucket.log.clear()
            with connected(server.url) as db:
                began = time.monotonic()
                found = len(db.execute(question).fetchall())
            counts = Counter(each.op for each in bucket.log)
            took = time.monotonic() - began
            print(f"{name}, {rows:,} rows: {sum(counts.values())} requests {dict(counts)}, {found} rows, {took:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sidecars", type=int, default=20_000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--months", type=int, default=12)
    given = parser.parse_args()
    if given.sidecars:
        written(given.sidecars)
    asked(given.rows, given.months)


if __name__ == "__main__":
    main()
