"""Measure the peak memory of a `recvault sync`, for any size of recordings: under 150 MiB.

    python tests/benchmarks/memory.py

A 2 GiB recording, then 24 of 200 MiB with 16 workers, then 64 that just fit into the spool's memory: each in its own
process, against a simulator and a strict S3 server in this one. The peak is the kernel's (VmHWM). Exits 1 above it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from recvault.simulator import SimAccount, Simulator
from rig import Rig
from strict_s3 import Bucket, StrictS3

MIB = 1024**2
MOST = 150 * MIB
_BYTES_PER_SECOND = 16_000  # WAV, 16 bit, 8 kHz, mono
_KEPT = 1 * MIB  # larger bodies are hashed and discarded
_LOOK = 0.02  # seconds between samples of the peak
_KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test-secret-key", "AWS_EC2_METADATA_DISABLED": "true"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One `recvault sync` process: its peak, its time, its output."""

    peak: int
    seconds: float
    exit_code: int
    report: dict[str, Any]
    log: str


@dataclass(frozen=True, slots=True)
class Bench:
    """A simulator with one account, a bucket that keeps no large body, and a configuration."""

    rig: Rig
    account: SimAccount
    bucket: Bucket

    def add(self, size: int, count: int) -> None:
        """Add that many recordings of this size."""
        begun = self.rig.simulator.now - timedelta(days=30)
        for number in range(count):
            self.rig.simulator.add(
                self.account,
                "voice",
                created_at=begun + timedelta(hours=number),
                duration_seconds=size / _BYTES_PER_SECOND,
                channels=1,
            )

    def sync(self) -> Measured:
        """Run `recvault sync` as a process, and measure its peak."""
        command = [str(Path(sys.executable).with_name("recvault")), "--config", str(self.rig.config_path), "sync"]
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as log:
            begun = time.monotonic()
            process = subprocess.Popen([*command, "--json"], stdout=out, stderr=log, env={**os.environ, **_KEYS})
            peak = 0
            while process.poll() is None:
                peak = max(peak, _peak_of(process.pid))
                time.sleep(_LOOK)
            seconds = time.monotonic() - begun
            out.seek(0)
            log.seek(0)
            said = out.read()
            report = json.loads(said) if said else {}
            text = log.read().decode()
        return Measured(peak=peak, seconds=seconds, exit_code=process.returncode, report=report, log=text)

    def wrong(self) -> list[str]:
        """Return the recordings that are not in the bucket with the provider's bytes."""
        found = {Path(key).stem: kept for key, kept in self.bucket.objects.items() if key.endswith(".wav")}
        truth = {each.recording_id: each for each in self.rig.simulator.truth(self.account)}
        assert truth
        return [
            name
            for name, recording in truth.items()
            if name not in found or found[name].sha256 != self.rig.simulator.media(recording, "wav", 1).sha256
        ]


def _peak_of(pid: int) -> int:
    """Return the peak memory of a process by the kernel; a forked child's includes its parent's."""
    try:
        found = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


@contextlib.contextmanager
def bench(root: Path, *, workers: int) -> Iterator[Bench]:
    """Provide everything that a sync needs, during the context."""
    with Simulator(seed=7) as simulator, StrictS3(seed=7) as server:
        bucket = server.bucket(keep_most=_KEPT)
        account = simulator.add_account("twilio")
        rig = Rig(root, simulator, server.url, bucket.name, transfer={"workers": workers, "stall_timeout": "30s"})
        rig.add_source("voice", "twilio", account, max_concurrency=workers)
        yield Bench(rig, account, bucket)


def main() -> int:
    """Measure each case, and report whether all stay within bounds."""
    fits = True
    for title, size, count, workers in (
        ("one recording of 2 GiB", 2048 * MIB, 1, 16),
        ("24 recordings of 200 MiB, 16 workers", 200 * MIB, 24, 16),
        ("64 recordings of 7.9 MiB, 16 workers", 79 * MIB // 10, 64, 16),
    ):
        with tempfile.TemporaryDirectory() as root, bench(Path(root), workers=workers) as prepared:
            prepared.add(size, count)
            measured = prepared.sync()
            right = measured.exit_code == 0 and not prepared.wrong()
        fits &= right and measured.peak < MOST
        rate = size * count / measured.seconds / MIB
        print(
            f"{title}: peak {measured.peak / MIB:.1f} MiB, {measured.seconds:.1f} s, {rate:.0f} MiB/s, "
            f"{'every byte right' if right else measured.log[-2000:]}",
            flush=True,
        )
    print(f"{'within' if fits else 'beyond'} {MOST // MIB} MiB")
    return 0 if fits else 1


if __name__ == "__main__":
    sys.exit(main())
