"""Measure `recvault rebuild`, with sidecars in a fast S3 in another process.

python tests/benchmarks/rebuild.py [--sidecars N] [--workers N]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from installed import add_python, installed, plain

from recvault.archive import KeyTemplate, sidecar_bytes
from recvault.models import Check, MediaObject, Phase, Receipt, Recording
from strict_s3 import Kept, StrictS3

START = datetime(2026, 1, 1, tzinfo=UTC)
CONFIG = """
[archive]
bucket = "measured"
endpoint_url = "{url}"
addressing_style = "path"

[ledger]
path = "{root}/ledger.db"

[transfer]
spool_dir = "{root}/spool"
workers = {workers}

[[sources]]
name = "main"
provider = "twilio"
account_sid = "AC{account}"
auth_token = {{ env = "MEASURED_TOKEN" }}
"""
ACCOUNT = "b" * 32


def serve(count: int, pipe: Connection) -> None:
    """Serve a bucket of sidecars, without media, until told to end."""
    keys = KeyTemplate()
    with StrictS3() as server:
        bucket = server.bucket("measured")
        for number in range(count):
            key, kept = placed(keys, number)
            bucket.objects[key] = kept
        bucket.objects = dict(sorted(bucket.objects.items()))
        pipe.send(server.url)
        pipe.recv()


def placed(keys: KeyTemplate, number: int) -> tuple[str, Kept]:
    recording = Recording(
        provider="twilio",
        api="2010-04-01",
        account_id=f"AC{ACCOUNT}",
        recording_id=f"RE{number:032x}",
        created_at=START + timedelta(minutes=number),
        status="completed",
        phase=Phase.COMPLETE,
        formats=("wav",),
        raw={f"field_{each}": f"a value of some length {number}" for each in range(24)},
    )
    medium = MediaObject(
        key=keys(recording, "wav"),
        media_format="wav",
        bytes=960_044,
        sha256=f"{number:064x}",
        content_type="audio/wav",
        codec="pcm_s16le",
        sample_rate=8000,
        channels=1,
        duration_seconds=60.0,
        check=Check(status="ok", method="wav sizes"),
    )
    key = keys(recording, "json")
    receipt = Receipt(
        source="main", recording=recording, sidecar_key=key, media=(medium,), archived_at=recording.created_at
    )
    body = sidecar_bytes(receipt, attempts=1, fetched_from=None, formats_wanted=["wav"])
    headers = {"content-type": "application/json"}
    return key, Kept(bytes=len(body), sha256="", etag='"e"', headers=headers, modified=START, body=body)


def measure(python: str, url: str, root: Path, workers: int) -> tuple[float, float, int]:
    """Return seconds, CPU seconds and peak memory in bytes of one rebuild."""
    config = root / "config.toml"
    config.write_text(CONFIG.format(url=url, root=root, workers=workers, account=ACCOUNT))
    words = [python, "-m", "recvault", "-q", "--config", str(config), "rebuild", "--json"]
    env = {**os.environ, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "MEASURED_TOKEN": "t" * 32}
    began = time.monotonic()
    process = subprocess.Popen(words, env=plain(env), stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0, f"it ended with {status}"
    return time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sidecars", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=16)
    add_python(parser)
    given = parser.parse_args()
    ours, theirs = get_context("spawn").Pipe()
    server = get_context("spawn").Process(target=serve, args=(given.sidecars, theirs))
    server.start()
    with tempfile.TemporaryDirectory() as root:
        python = installed(given, Path(root))
        seconds, cpu, memory = measure(python, ours.recv(), Path(root), given.workers)
        size = (Path(root) / "ledger.db").stat().st_size
    ours.send("end")
    server.join()
    print(f"{given.sidecars:,} sidecars in {seconds:.1f} s: {given.sidecars / seconds:,.0f} a second,")
    print(f"{cpu / given.sidecars * 1e6:.0f} us of CPU each, {memory >> 20} MiB, a ledger of {size >> 20} MiB")


if __name__ == "__main__":
    main()
