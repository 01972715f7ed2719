"""Measure `recvault verify` on a bucket of a million objects: time, memory, requests; and the speed of `--deep`.

    python tests/benchmarks/verify.py [--objects N] [--workers N] [--deep-objects N] [--deep-bytes N]

The bucket is computed by million.py in another process on this machine; the ledger is filled by SQL. Prints tables and
asserts no time, only that what is missing was found. README.md in this folder explains them.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from installed import add_python, installed, plain

from benchmarks.million import ACCOUNT, BUCKET, Million
from cli.commands import environment
from recvault.ledger import Ledger
from recvault.ledger.rows import shorten
from recvault.models import stamp

MIB = 1024**2
_ROW = """
    INSERT INTO recordings (provider, account_id, recording_id, source, api, created_at, registered_at, watched_since,
        state, attempts, settled_at, sidecar_key, bytes, media)
    VALUES ('twilio', ?, ?, 'voice', '2010-04-01', ?, ?, ?, 'archived', 1, ?, ?, ?, ?)
"""
_CONFIG = """
[archive]
bucket = "{bucket}"
endpoint_url = "{url}"
addressing_style = "path"
{more}

[ledger]
path = "{root}/ledger.db"

[transfer]
workers = {workers}
spool_dir = "{root}/spool"

[[sources]]
name = "voice"
provider = "twilio"
account_sid = "{account}"
auth_token = {{ env = "TOKEN" }}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One command, from its start to its end."""

    code: int
    seconds: float
    cpu: float
    peak: int  # peak resident bytes
    document: dict[str, Any]


@contextmanager
def bucket(truth: Million) -> Iterator[str]:
    """Run the server in another process."""
    command = [sys.executable, str(Path(__file__).with_name("million.py")), json.dumps(asdict(truth))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout and server.stdin
        try:
            yield server.stdout.readline().strip()
        finally:
            server.stdin.close()


def make_ledger(path: Path, truth: Million) -> None:
    """Make a ledger with all recordings as archived rows."""
    Ledger.open(path, datetime.now(UTC)).close()
    sample = truth.receipt(0)
    media, size = shorten(sample), sample.bytes
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous=OFF")
        db.execute("BEGIN")
        db.executemany(_ROW, (_row(truth, number, media, size) for number in range(truth.recordings)))
        db.execute("COMMIT")


def _row(truth: Million, number: int, media: str, size: int) -> tuple[object, ...]:
    at = stamp(datetime(2026, 1, 1, tzinfo=UTC))
    key = truth.key(2 * number)
    created = f"{key.split('date=')[1][:10]}T00:00:00.000000Z"
    return (ACCOUNT, f"RE{number:032x}", created, at, at, at, key, size, media)


def measure(python: str, root: Path, url: str, workers: int, *words: str, more: str = "") -> Measured:
    """Run `recvault verify` in another process."""
    config = _CONFIG.format(bucket=BUCKET, url=url, root=root, workers=workers, account=ACCOUNT, more=more)
    (root / "config.toml").write_text(config)
    command = [python, "-m", "recvault", "--config", str(root / "config.toml"), "verify", "--json", *words]
    began = time.monotonic()
    with (root / "document.json").open("w") as out:
        process = subprocess.Popen(command, stdout=out, env=plain(environment(root, TOKEN="token")))
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return Measured(
        code=process.returncode,
        seconds=time.monotonic() - began,
        cpu=usage.ru_utime + usage.ru_stime,
        peak=usage.ru_maxrss * 1024,
        document=json.loads((root / "document.json").read_text()),
    )


def tell(name: str, truth: Million, found: Measured) -> None:
    """Print one line of the table."""
    counts, requests = found.document["counts"], found.document["requests"]
    lost = sum(map(truth.is_lost, range(truth.recordings)))
    assert counts == {
        "checked": truth.recordings,
        "ok": truth.recordings - lost,
        "missing": lost,
        "different": 0,
        "orphan_media": 0,
        "unknown": 0,
        "uncommitted": 0,
    }, counts
    asked = ", ".join(f"{requests[each]:,} {each}" for each in ("LIST", "GET", "HEAD"))
    read = found.document["read"]["bytes"]
    rate = f" {read / found.seconds / MIB:,.0f} MiB/s" if read else ""
    print(
        f"| {name} | {found.seconds:,.0f} s | {sum(requests.values()) / found.seconds:,.0f} | {found.cpu:,.0f} s "
        f"| {found.peak / MIB:.0f} MiB | {asked} |{rate}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--deep-objects", type=int, default=1_000)
    parser.add_argument("--deep-bytes", type=int, default=8 * MIB)
    parser.add_argument("--boto3", action="store_true", help="Let boto3 send the questions, for comparison.")
    add_python(parser)
    asked = parser.parse_args()
    more = 'sender = "boto3"' if asked.boto3 else ""
    runs = [
        (f"{asked.objects:,} objects", Million(recordings=asked.objects // 2, lacks=100_000), ()),
        (
            f"--deep, {asked.deep_objects // 2:,} media of {asked.deep_bytes / MIB:g} MiB",
            Million(recordings=asked.deep_objects // 2, media_bytes=asked.deep_bytes),
            ("--deep",),
        ),
    ]
    print("| what | time | requests/s | CPU | peak | requests |\n|---|---|---|---|---|---|")
    for name, truth, words in runs:
        if not truth.recordings:
            continue
        with tempfile.TemporaryDirectory() as made, bucket(truth) as url:
            make_ledger(Path(made) / "ledger.db", truth)
            python = installed(asked, Path(made))
            tell(name, truth, measure(python, Path(made), url, asked.workers, *words, more=more))


if __name__ == "__main__":
    main()
