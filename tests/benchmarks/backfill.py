"""Measure `recvault backfill`, beside what people write instead and beside rclone, in one run.

    python tests/benchmarks/backfill.py [--recordings N] [--bytes N] [--workers N] [--processes N] [--rounds N] [--slow]

Every contestant is a command of its own that fetches the same media by GET, PUTs them and PUTs a sidecar for each, and
takes its turn in each round. See README.md beside this file for what the figures mean.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hosts import ACCOUNT, MEDIA, Fast, Slow, host, ids

HERE = Path(__file__).parent
CONFIG = """
[archive]
bucket = "{bucket}"
endpoint_url = "{url}"
addressing_style = "path"
sender = "{sender}"
[ledger]
path = "{root}/{bucket}.db"
[transfer]
workers = {workers}
processes = {processes}
spool_dir = "{root}/spool"
min_free_disk = "0"
[[sources]]
name = "main"
provider = "twilio"
base_url = "{url}"
account_sid = "{account}"
auth_token = {{ env = "BENCH_TOKEN" }}
requests_per_second = 1000000
max_concurrency = 1000
"""
KEYS = {
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench-secret",
    "AWS_EC2_METADATA_DISABLED": "true",
    "BENCH_TOKEN": "0123456789abcdef",
}


@dataclass(frozen=True)
class Cost:
    """What one round of one contestant took."""

    rate: float  # recordings a second, from the first object that arrived to the last
    seconds: float  # of the whole command
    cpu: float  # seconds, of all its processes
    resident_mb: tuple[float, float]  # of its largest process: a tenth of the way on, and at most


# -- the contestants: commands, and what they find prepared ------------------------------------------------------------


def recvault(asked: argparse.Namespace, url: str, bucket: str, root: Path) -> list[list[str]]:
    """A backfill of one day into a new ledger, at a store that verifies SHA-256 and honours conditional writes."""
    from recvault import config
    from recvault.runtime import Runtime
    from recvault.store import StoreFacts

    path = root / f"{bucket}.toml"
    values = {"workers": asked.workers, "processes": asked.processes, "sender": asked.sender}
    path.write_text(CONFIG.format(url=url, bucket=bucket, root=root, account=ACCOUNT, **values))
    with Runtime(config.load(path), clock=lambda: datetime.now(UTC)) as runtime:
        runtime.store.ask_facts = lambda put: StoreFacts(sha256=True, conditional=True)  # type: ignore[method-assign]
        runtime.prepare_store()  # remembered in the ledger: the host at hand takes whatever comes
    window = ["--since", "2026-10-01", "--until", "2026-10-02"]
    command = [sys.executable, "-m", "recvault", "--config", str(path), "-q"]
    return [[*command, "backfill", "--source", "main", *window, "--json"]]


def script(kind: str) -> object:
    def commands(asked: argparse.Namespace, url: str, bucket: str, root: Path) -> list[list[str]]:
        python = asked.asyncio if kind == "asyncio" else sys.executable
        return [[python, str(HERE / "scripts.py"), kind, url, bucket, str(asked.recordings), str(asked.workers)]]

    return commands


def rclone(asked: argparse.Namespace, url: str, bucket: str, root: Path) -> list[list[str]]:
    """From HTTP to S3, then the sidecars, made beforehand, from a folder; all is hashed as it is read.

    By the hasher around its source, which stores no sums here: rclone alone hashes nothing that comes by HTTP.
    """
    return _rclone(asked, url, bucket, root, ":hasher,hashes=sha256,max_age=0,remote='{}':")


def unhashed(asked: argparse.Namespace, url: str, bucket: str, root: Path) -> list[list[str]]:
    """rclone as it is told by most: what it copies it does not look at."""
    return _rclone(asked, url, bucket, root, "{}")


def _rclone(asked: argparse.Namespace, url: str, bucket: str, root: Path, reading: str) -> list[list[str]]:
    folder = root / f"{bucket}-sidecars"
    folder.mkdir()
    names = ids(asked.recordings)
    for each in names:
        (folder / f"{each}.json").write_text(
            json.dumps({"recording_id": each, "sha256": "0" * 64, "bytes": asked.bytes})
        )
    for ending in ("wav", "json"):
        (root / f"{bucket}.{ending}-names").write_text("".join(f"{each}.{ending}\n" for each in names))
    told = "provider=Other,env_auth=true,force_path_style=true,no_check_bucket=true,no_head=true,no_head_object=true"
    sink = f':s3,endpoint="{url}",{told}:{bucket}/recordings'
    common = ["--no-check-dest", "--no-traverse", "--config", "/dev/null", "--log-level", "ERROR", "--retries", "1"]
    common += ["--transfers", str(asked.workers), "--checkers", str(asked.workers)]
    sources = {"wav": reading.format(f':http,url="{url}{MEDIA}/":'), "json": reading.format(folder)}
    return [
        [asked.rclone, "copy", source, sink, "--files-from", str(root / f"{bucket}.{ending}-names"), *common]
        for ending, source in sources.items()
    ]


CONTESTANTS = {
    "recvault": recvault,
    "rclone": rclone,
    "unhashed": unhashed,
    **{name: script(name) for name in ("sequential", "pool", "asyncio")},
}


# -- rounds ------------------------------------------------------------------------------------------------------------


def one_round(name: str, asked: argparse.Namespace, at: Fast | Slow, bucket: str, root: Path) -> Cost:
    """Run a contestant, and see that all of its objects arrived."""
    commands = CONTESTANTS[name](asked, at.url, bucket, root)  # type: ignore[operator]
    before, began, resident = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic(), (0.0, 0.0)
    for command in commands:
        process = subprocess.Popen(command, env={**os.environ, **KEYS}, stdout=subprocess.DEVNULL)
        watch = Watch(process.pid)
        watch.start()
        assert process.wait() == 0, f"{name}: exit code {process.returncode}"
        watch.join()
        resident = max(resident, watch.resident_mb)
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    arrived = at.arrived(bucket)
    assert (arrived.media, arrived.sidecars) == (asked.recordings,) * 2, f"{name}: {arrived}"
    assert arrived.bytes == asked.recordings * (asked.bytes + 44), f"{name}: {arrived}"
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(asked.recordings / arrived.seconds, seconds, cpu, resident)


class Watch(threading.Thread):
    """Looks at the resident memory of a process and its children, the largest of them, until it ends."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid, self._seen = pid, [0.0]

    def run(self) -> None:
        while found := max(_resident_kb(pid) for pid in [self._pid, *_children(self._pid)]):
            self._seen.append(found / 1024)
            time.sleep(0.1)

    @property
    def resident_mb(self) -> tuple[float, float]:
        """A tenth of the way on, and at most."""
        return max(self._seen[: len(self._seen) // 10 + 1]), max(self._seen)


def _children(pid: int) -> list[int]:
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _resident_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)


def contest(asked: argparse.Namespace) -> None:
    names = [name for name in CONTESTANTS if name in asked.who and getattr(asked, name, True)]
    costs: dict[str, list[Cost]] = {name: [] for name in names}
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir=shared) as scratch,
        host(Slow if asked.slow else Fast, Path(scratch), asked.recordings, asked.bytes) as at,
    ):
        for number in range(asked.rounds):
            for turn in range(len(names)):
                name = names[(number + turn) % len(names)]
                costs[name].append(one_round(name, asked, at, f"bucket-{number}-{name}", Path(scratch)))
        told = f"{asked.workers} at once, {asked.processes} processes of recvault, {asked.rounds} rounds"
        print(f"{asked.recordings} recordings of {asked.bytes:,} bytes, {told}\nhost and sink: {at.name}")
    for name in CONTESTANTS.keys() - costs.keys():
        print(f"{name} is left out")
    report(costs, asked)


def report(costs: dict[str, list[Cost]], asked: argparse.Namespace) -> None:
    """Medians over the rounds, and beside them how many times rclone's, or the first contestant's."""
    total = asked.recordings * (asked.bytes + 44) / 1e6
    rows = {
        name: [
            statistics.median(each.rate for each in rounds),
            statistics.median(each.rate for each in rounds) * (asked.bytes + 44) / 1e6,
            statistics.median(each.cpu for each in rounds) * 1000 / asked.recordings,
            statistics.median(each.cpu for each in rounds) * 1000 / total,
            statistics.median(each.seconds for each in rounds),
            max(each.resident_mb[0] for each in rounds),
            max(each.resident_mb[1] for each in rounds),
        ]
        for name, rounds in costs.items()
    }
    base = rows.get("rclone") or next(iter(rows.values()))
    heads = ("recordings/s", "MB/s", "CPU s per 1,000", "CPU s per GB", "whole, s", "MB at a tenth", "MB at most")
    print(f"{'':11}" + "".join(f"{each:>20}" for each in heads))
    for name, row in rows.items():
        cells = [f"{value:.1f} ({value / most:.2f})" for value, most in zip(row, base, strict=True)]
        print(f"{name:11}" + "".join(f"{cell:>20}" for cell in cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=2000)
    parser.add_argument("--bytes", type=int, default=64 * 1024, help="of audio in each")
    parser.add_argument("--workers", type=int, default=16, help="at once; of recvault in each process")
    parser.add_argument("--processes", type=int, default=2, help="of recvault")
    parser.add_argument("--sender", choices=("fast", "boto3"), default="fast", help="of recvault")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slow", action="store_true", help="a host that takes 80 ms for a GET, 40 ms for a PUT")
    parser.add_argument("--who", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--rclone", default=_beside("rclone"), help="where rclone is")
    parser.add_argument("--asyncio", default=None, help="a Python that has aiohttp and aiobotocore")
    contest(parser.parse_args())


def _beside(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))


if __name__ == "__main__":
    main()
