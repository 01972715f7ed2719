"""Measure `recvault run` while nothing happens, on a ledger of a million archived recordings.

    python tests/benchmarks/idle.py [--rows N] [--sources N] [--listed N] [--polls N] [--quiet SECONDS]

The daemon, the simulator with the bucket, and the plain requests for comparison are separate processes; CPU and memory
are the kernel's. Prints a table and asserts no time. README.md in this folder explains it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from installed import add_python, installed, spent

from cli.commands import arguments, environment, until
from daemon.started import Started, archived, free_port
from recvault.ledger import Ledger
from recvault.simulator import SimAccount, Simulator
from rig import Rig
from strict_s3 import StrictS3

MIB = 1024**2
_TICKS = os.sysconf("SC_CLK_TCK")
_SCRAPES = 50
_DAYS = 365  # over which the million recordings are spread
_EARLY = 50  # polls before the first memory sample

# A row as left by a settled receipt. Sources and accounts alternate.
_ROWS = """
    WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :rows),
    made AS (
        SELECT i, 'RE' || lower(hex(randomblob(16))) AS id, json_extract(:accounts, '$[' || (i % :sources) || ']') AS a,
            strftime('%Y-%m-%dT%H:%M:%S', '2025-10-01', '+' || (i * 86400 * :days / :rows) || ' seconds') AS t
        FROM n
    )
    INSERT INTO recordings (provider, account_id, recording_id, source, api, created_at, registered_at, watched_since,
        state, attempts, settled_at, sidecar_key, bytes, media)
    SELECT 'twilio', a, id, 'voice-' || (i % :sources), '2010-04-01', t || '.000000Z', t || '.000000Z', t || '.000000Z',
        'archived', 1, t || '.000000Z', key || '.json', 480044, json_array(json_object('key', key || '.wav',
        'media_format', 'wav', 'bytes', 480044, 'sha256', lower(hex(randomblob(32))), 'content_type', 'audio/x-wav',
        'codec', 'pcm', 'sample_rate', 8000, 'channels', 1, 'duration_seconds', 30.0,
        'check', json_object('status', 'ok', 'method', 'wav sizes', 'reason', NULL)))
    FROM (SELECT *, 'recordings/provider=twilio/account=' || a || '/date=' || substr(t, 1, 10) || '/' || id AS key
          FROM made)
"""
_DAYS_OF_ROWS = """
    INSERT INTO days
    SELECT source, account_id, substr(settled_at, 1, 10) AS day, count(*), sum(bytes), max(settled_at)
    FROM recordings WHERE state = 'archived' GROUP BY source, account_id, day
"""
_BARE = """
import base64, json, resource, sys, httpx
asked = json.load(sys.stdin)
def used():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
with httpx.Client() as client:
    def ask(count):
        for number in range(count):
            url, authorization = asked["lists"][number % len(asked["lists"])]
            client.get(url, headers={"Authorization": authorization}).raise_for_status()
    ask(20)
    before = used()
    ask(asked["count"])
    print(used() - before)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Polled:
    """The cost of polls that found nothing."""

    polls: int
    requests: int
    seconds: float
    cpu: float
    early: int  # resident bytes after the first polls
    late: int
    peak: int


def make_ledger(path: Path, rows: int, accounts: list[SimAccount]) -> None:
    """Fill a new ledger with archived rows by SQL; its own triggers keep its tallies."""
    Ledger.open(path, datetime.now(UTC)).close()
    chosen = {"rows": rows, "sources": len(accounts), "days": _DAYS}
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous=OFF")
        db.execute("PRAGMA cache_size=-400000")
        db.execute("BEGIN")
        db.execute(_ROWS, {**chosen, "accounts": json.dumps([account.account_id for account in accounts])})
        db.execute(_DAYS_OF_ROWS)
        db.execute("COMMIT")
        (counted,) = db.execute("SELECT sum(count) FROM tallies WHERE state = 'archived'").fetchone()
        assert counted == rows


def cpu(pid: int) -> float:
    """Return the CPU seconds of a process, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory(pid: int, name: str) -> int:
    """Return bytes: VmRSS, resident now, or VmHWM, the peak."""
    found = re.search(rf"{name}:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


@dataclass(slots=True)
class Bench:
    """A configuration over a simulator and a bucket, and its daemons, one after another."""

    rig: Rig
    python: str  # interpreter of an installed copy
    daemons: int = 0

    def daemon(self, poll_every: str) -> Started:
        """Start one, and wait until it listens and every source was polled."""
        for source in self.rig.sources:
            source["poll_every"] = poll_every
        self.rig.simulator.clear_requests()
        self.daemons += 1
        started = Started(self.rig, self.daemons, "", ("run", "--json"), {}).ready()
        until(lambda: self.lists() >= len(self.rig.sources), 60)
        return started

    def lists(self) -> int:
        """Count the list requests at the provider."""
        return self.rig.simulator.count(lambda each: each.path.endswith("/Recordings.json"))

    def polled(self, daemon: Started, polls: int) -> Polled:
        """Measure that many polls that find nothing."""
        pid = daemon.process.pid
        first = self.lists()
        began, used, done = time.monotonic(), cpu(pid), len(daemon.events("discover.done"))
        until(lambda: self.lists() - first >= min(_EARLY, polls), 600)
        early = memory(pid, "VmRSS")
        until(lambda: self.lists() - first >= polls, 600)
        seconds, used = time.monotonic() - began, cpu(pid) - used
        return Polled(
            polls=len(daemon.events("discover.done")) - done,
            requests=self.lists() - first,
            seconds=seconds,
            cpu=used,
            early=early,
            late=memory(pid, "VmRSS"),
            peak=memory(pid, "VmHWM"),
        )

    def bare(self, accounts: list[SimAccount], count: int) -> float:
        """Measure the CPU of that many plain GETs of the same pages, in another process."""
        query = next(each.query for each in self.rig.simulator.requests if each.path.endswith("/Recordings.json"))
        lists = [
            (f"{self.rig.simulator.base_url}/2010-04-01/Accounts/{each.account_id}/Recordings.json?{query}", each)
            for each in accounts
        ]
        asked = {"lists": [(url, each.authorization) for url, each in lists], "count": count}
        command = [sys.executable, "-c", _BARE]
        return float(
            subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=True).stdout
        )

    def command(self, *words: str) -> float:
        """Measure the CPU of a command, from its start to its end."""
        cost = spent([self.python, *arguments(self.rig, *words)[1:]], environment(self.rig.root))
        assert cost.code == 0
        return cost.cpu


def used_by(daemon: Started, work: Callable[[], None]) -> float:
    """Measure the CPU that a daemon uses meanwhile."""
    before = cpu(daemon.process.pid)
    work()
    return cpu(daemon.process.pid) - before


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="archived recordings in the ledger")
    parser.add_argument("--sources", type=int, default=10)
    parser.add_argument("--listed", type=int, default=20, help="known recordings on the page that each poll reads")
    parser.add_argument("--polls", type=int, default=500, help="of all sources together")
    parser.add_argument("--quiet", type=float, default=60.0, help="seconds without any poll")
    add_python(parser)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as root, Simulator(seed=7) as simulator, StrictS3(seed=7) as server:
        bucket = server.bucket()
        rig = Rig(Path(root), simulator, server.url, bucket.name, daemon={"metrics_listen": f"127.0.0.1:{free_port()}"})
        accounts = [simulator.add_account("twilio") for _ in range(asked.sources)]
        for number, account in enumerate(accounts):
            simulator.populate(account, "voice", count=asked.listed, start=simulator.now - timedelta(days=2))
            rig.add_source(f"voice-{number}", "twilio", account, lookback="7d")
        began = time.monotonic()
        make_ledger(rig.root / "ledger.db", asked.rows, accounts)
        size = (rig.root / "ledger.db").stat().st_size
        print(f"a ledger of {asked.rows:,} rows, {size / MIB:.0f} MiB, made in {time.monotonic() - began:.0f} s")
        measure(
            Bench(rig, installed(asked, rig.root)),
            accounts,
            asked,
            lambda: len(archived(bucket)) == asked.listed * asked.sources,
        )
    return 0


def measure(bench: Bench, accounts: list[SimAccount], asked: argparse.Namespace, settled: Callable[[], bool]) -> None:
    """Measure a daemon that polls each second, one that does not poll, and commands."""
    polling = bench.daemon("1s")
    until(settled, 120)
    time.sleep(3)  # until everything is written
    polled = bench.polled(polling, asked.polls)
    assert polling.stopped().code == 143

    quiet = bench.daemon("1d")
    time.sleep(3)
    still = used_by(quiet, lambda: time.sleep(asked.quiet)) / asked.quiet
    scrape = used_by(quiet, lambda: [quiet.get("/metrics") for _ in range(_SCRAPES)] and None) / _SCRAPES
    health = used_by(quiet, lambda: [quiet.get("/healthz") for _ in range(_SCRAPES)] and None) / _SCRAPES
    bare = bench.bare(accounts, asked.polls) / asked.polls
    status, start = bench.command("status"), bench.command("--help")
    assert quiet.stopped().code == 143
    tell(polled, still, bare, {"scrape": scrape, "health": health, "status": status, "start": start})


def tell(polled: Polled, still: float, bare: float, asked: dict[str, float]) -> None:
    """Print the table."""
    poll = (polled.cpu - still * polled.seconds) / polled.requests
    rows = [
        ("polls that found nothing", f"{polled.polls} in {polled.seconds:.0f} s"),
        ("list requests a poll", f"{polled.requests / polled.polls:.2f}"),
        ("CPU of a poll, all of it", f"{1000 * poll:.2f} ms"),
        ("CPU of its request alone, plain httpx", f"{1000 * bare:.2f} ms"),
        ("CPU of a poll beyond its request", f"{1000 * (poll - bare):.2f} ms"),
        ("CPU without any poll", f"{1000 * still:.2f} ms a second"),
        (f"resident after the first polls, after {polled.requests}", _mib(polled.early, polled.late)),
        ("resident at its peak", _mib(polled.peak)),
        (
            "CPU of a scrape of /metrics, of /healthz",
            f"{1000 * asked['scrape']:.1f} ms, {1000 * asked['health']:.1f} ms",
        ),
        ("CPU of `recvault status`, of `recvault --help`", f"{asked['status']:.2f} s, {asked['start']:.2f} s"),
    ]
    print("\n".join(f"{name:<48} {value}" for name, value in rows))


def _mib(*sizes: int) -> str:
    return ", ".join(f"{size / MIB:.1f} MiB" for size in sizes)


if __name__ == "__main__":
    sys.exit(main())
