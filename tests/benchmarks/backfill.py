"""Measure `recvault backfill`, beside scripts that people write instead and beside rclone, in one run.

    python tests/benchmarks/backfill.py [--case small medium large wide] [--count N] [--rounds N] [--who NAME …]
    python tests/benchmarks/backfill.py [--count N] [--bytes N] [--workers N] [--processes N] [--rounds N] [--slow]

Every contestant is a command that fetches the same media by GET, PUTs them and PUTs a sidecar for each, and runs once
in each round. README.md in this folder explains the figures.
"""

from __future__ import annotations

import argparse
import json
import os
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
from installed import add_python, below, installed, spent

HERE = Path(__file__).parent
CONFIG = """
[archive]
bucket = "{bucket}"
endpoint_url = "{url}"
addressing_style = "path"
{archive}[ledger]
path = "{root}/{bucket}.db"
[transfer]
workers = {workers}
processes = {processes}
{transfer}spool_dir = "{root}/spool"
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
class Round:
    """The cost of one round of one contestant."""

    rate: float  # recordings a second, from the first arrived object to the last
    seconds: float  # of the whole command
    cpu: float  # seconds, of all its processes
    resident_mb: tuple[float, float]  # of its largest process: after a tenth, and peak


# -- the contestants: commands, and what they find prepared ------------------------------------------------------------


def recvault(asked: argparse.Namespace, url: str, bucket: str, root: Path) -> list[list[str]]:
    """A backfill of one day into a new ledger, at a store that verifies SHA-256 and honours conditional writes."""
    from recvault import config
    from recvault.app.runtime import Runtime
    from recvault.store import StoreFacts

    path = root / f"{bucket}.toml"
    values = {
        "workers": asked.workers,
        "processes": asked.processes,
        "archive": f'sender = "{asked.sender}"\n' if asked.sender else "",
        "transfer": f'transport = "{asked.transport}"\n' if asked.transport else "",
    }
    path.write_text(CONFIG.format(url=url, bucket=bucket, root=root, account=ACCOUNT, **values))
    with Runtime(config.load(path), clock=lambda: datetime.now(UTC)) as runtime:
        runtime.store.ask_facts = lambda put: StoreFacts(sha256=True, conditional=True, tells="sha256")  # type: ignore[method-assign]
        runtime.prepare_store()  # stored in the ledger, as this host accepts everything
    window = ["--since", "2026-10-01", "--until", "2026-10-02"]
    command = [asked.recvault, "-m", "recvault", "--config", str(path), "-q"]
    return [[*command, "backfill", "--source", "main", *window, "--json"]]


def script(kind: str) -> object:
    def commands(asked: argparse.Namespace, url: str, bucket: str, root: Path) -> list[list[str]]:
        python = asked.asyncio if kind == "asyncio" else sys.executable
        return [[python, str(HERE / "scripts.py"), kind, url, bucket, str(asked.recordings), str(asked.workers)]]

    return commands


def rclone(asked: argparse.Namespace, url: str, bucket: str, root: Path) -> list[list[str]]:
    """From HTTP to S3, then prepared sidecars from a folder; everything is hashed as it is read.

    By the hasher around its source, which stores no hashes here: alone, rclone hashes nothing that it reads by HTTP.
    """
    return _rclone(asked, url, bucket, root, ":hasher,hashes=sha256,max_age=0,remote='{}':")


def unhashed(asked: argparse.Namespace, url: str, bucket: str, root: Path) -> list[list[str]]:
    """rclone as commonly used: it does not check what it copies."""
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
    at_once = str(asked.transfers or asked.workers * asked.processes)  # as many as recvault's
    common += ["--transfers", at_once, "--checkers", at_once]
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


CASES: dict[str, dict[str, object]] = {
    "small": {"recordings": 20_000, "bytes": 64 * 1024, "workers": 8, "slow": False},
    "medium": {"recordings": 6000, "bytes": 700 * 1024, "workers": 8, "slow": False},
    "large": {"recordings": 2500, "bytes": 3 * 1024 * 1024, "workers": 8, "slow": False},
    "wide": {"recordings": 40_000, "bytes": 64 * 1024, "workers": 64, "slow": True},
}

# -- rounds ------------------------------------------------------------------------------------------------------------


def one_round(name: str, asked: argparse.Namespace, at: Fast | Slow, bucket: str, root: Path) -> Round:
    """Run a contestant, and check that all of its objects arrived."""
    commands = CONTESTANTS[name](asked, at.url, bucket, root)  # type: ignore[operator]
    seconds, cpu, resident = 0.0, 0.0, (0.0, 0.0)
    for command in commands:
        watch = Watch()
        cost = spent(command, {**os.environ, **KEYS}, watch.begin)
        assert cost.code == 0, f"{name}: exit code {cost.code}"
        watch.join()
        seconds, cpu, resident = seconds + cost.seconds, cpu + cost.cpu, max(resident, watch.resident_mb)
    arrived = at.arrived(bucket)
    assert (arrived.media, arrived.sidecars) == (asked.recordings,) * 2, f"{name}: {arrived}"
    assert arrived.bytes == asked.recordings * (asked.bytes + 44), f"{name}: {arrived}"
    return Round(asked.recordings / arrived.seconds, seconds, cpu, resident)


class Watch(threading.Thread):
    """Samples the resident memory of the largest of a process and its descendants, until it ends."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._pid, self._seen = 0, [0.0]

    def begin(self, pid: int) -> None:
        """Watch this process."""
        self._pid = pid
        self.start()

    def run(self) -> None:
        while found := max(_resident_kb(pid) for pid in below(self._pid)):
            self._seen.append(found / 1024)
            time.sleep(0.1)

    @property
    def resident_mb(self) -> tuple[float, float]:
        """Memory after a tenth of the run, and the peak."""
        return max(self._seen[: len(self._seen) // 10 + 1]), max(self._seen)


def _resident_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)


def contest(asked: argparse.Namespace) -> None:
    names = [name for name in CONTESTANTS if name in asked.who and getattr(asked, name, True)]
    costs: dict[str, list[Round]] = {name: [] for name in names}
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir=shared) as scratch,
        host(Slow if asked.slow else Fast, Path(scratch), asked.recordings, asked.bytes) as at,
    ):
        for number in range(asked.rounds):
            for turn in range(len(names)):
                name = names[(number + turn) % len(names)]
                costs[name].append(one_round(name, asked, at, f"bucket-{number}-{name}", Path(scratch)))
        told = f"{asked.workers} in each of {asked.processes} processes at once, {asked.rounds} rounds"
        print(f"{asked.recordings} recordings of {asked.bytes:,} bytes, {told}\nhost and sink: {at.name}")
    for name in CONTESTANTS.keys() - costs.keys():
        print(f"{name} is left out")
    report(costs, asked)


def report(costs: dict[str, list[Round]], asked: argparse.Namespace) -> None:
    """Print medians over the rounds, and as multiples of rclone's, or the first contestant's."""
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
        cells = [f"{value:.1f} ({value / (most or 1):.2f})" for value, most in zip(row, base, strict=True)]
        print(f"{name:11}" + "".join(f"{cell:>20}" for cell in cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs="+", choices=CASES, default=["small"], help="one after another; small")
    parser.add_argument("--count", "--recordings", dest="recordings", type=int, help="in place of the case's")
    parser.add_argument("--bytes", type=int, help="of audio in each, in place of the case's")
    parser.add_argument("--workers", type=int, help="of recvault in each process, in place of the case's")
    parser.add_argument("--processes", type=int, default=2, help="of recvault")
    parser.add_argument("--transfers", type=int, help="of rclone at once; as many as of recvault")
    parser.add_argument("--sender", choices=("fast", "boto3"), help="of recvault; as it is by itself")
    parser.add_argument("--transport", choices=("curl", "plain"), help="of recvault; as it is by itself")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slow", action="store_true", default=None, help="80 ms for a GET, 40 ms for a PUT")
    parser.add_argument("--who", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--rclone", default=_beside("rclone"), help="where rclone is")
    parser.add_argument("--asyncio", default=None, help="a Python that has aiohttp and aiobotocore")
    add_python(parser)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        asked.recvault = installed(asked, Path(scratch))
        print(f"recvault: installed, by {subprocess.check_output([asked.recvault, '-VV'], text=True).strip()}")
        if asked.rclone and {"rclone", "unhashed"} & set(asked.who):
            print(subprocess.check_output([asked.rclone, "version"], text=True).partition("\n")[0])
        for name in asked.case:
            told = {key: value for key, value in vars(asked).items() if value is not None}
            print(f"\n{name}", flush=True)
            contest(argparse.Namespace(**{**vars(asked), **CASES[name], **told}))


def _beside(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))


if __name__ == "__main__":
    main()
