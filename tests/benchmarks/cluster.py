"""Measure a backfill over a cluster's workers, compared with processes, and the limit of one planner.

    python tests/benchmarks/cluster.py beside [--count 4000] [--bytes 65536] [--workers 8] [--rounds 3]
    python tests/benchmarks/cluster.py ceiling [--carriers 1 2 4 8 10 16] [--seconds 0.16] [--count 20000]

`beside` measures two worker processes, then a scheduler and two Dask workers on this machine, with the hosts of
backfill.py; CPU is that of all of them. `ceiling` has carriers that only wait so long for each recording, as on other
machines: it measures the planner and its ledger, one process that claims, grants, packs, unpacks and settles. The limit
is where twice as many carriers give less than twice as much.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import backfill
from hosts import ACCOUNT, Fast, Slow, host
from installed import add_python, installed, spent

from e2e.clusters import Cluster
from recvault import config
from recvault.app.runtime import Runtime
from recvault.ledger import Feed
from recvault.models import Check, Job, MediaObject, Phase, Receipt, Recording
from recvault.monitoring.observer import Observer
from recvault.monitoring.report import Report
from recvault.workers.batches import Batched
from recvault.workers.carrier import Batch, Carried
from recvault.workers.spec import Spec
from recvault.workers.turns import Carry

_TICKS = os.sysconf("SC_CLK_TCK")
_WORKERS = 16  # threads per carrier: the default


# -- beside processes --------------------------------------------------------------------------------------------------


def beside(asked: argparse.Namespace) -> None:
    """Print the medians."""
    with tempfile.TemporaryDirectory(prefix="bench-") as made:
        asked.recvault = installed(asked, Path(made))
        with (
            tempfile.TemporaryDirectory(prefix="bench-", dir=_shared()) as scratch,
            host(Slow if asked.slow else Fast, Path(scratch), asked.recordings, asked.bytes) as at,
            Cluster(Path(scratch) / "cluster").with_workers(2, **backfill.KEYS) as cluster,
        ):
            print(f"{asked.recordings} recordings of {asked.bytes:,} bytes, 2 x {asked.workers} at once; {at.name}")
            print("\trecordings/s\tCPU s per 1,000\twhole, s")
            found: dict[str, list[tuple[float, float, float]]] = {"processes": [], "cluster": []}
            for number in range(asked.rounds):
                for way in found if number % 2 else reversed(found):
                    found[way].append(_round(way, asked, at, cluster, f"bucket-{number}-{way}", Path(scratch)))
            for way, rounds in found.items():
                rate, cpu, whole = (statistics.median(column) for column in zip(*rounds, strict=True))
                print(f"{way}\t{rate:.0f}\t{cpu * 1000 / asked.recordings:.2f}\t{whole:.1f}")


def _round(
    way: str, asked: argparse.Namespace, at: Fast | Slow, cluster: Cluster, bucket: str, root: Path
) -> tuple[float, float, float]:
    asked.processes, asked.sender, asked.transport = 2 if way == "processes" else 1, None, None
    [command] = backfill.recvault(asked, at.url, bucket, root)
    others = [cluster.scheduler.pid, *(worker.pid for worker in cluster.workers)]
    before = sum(map(_cpu, others))
    more = ["--cluster", cluster.address] if way == "cluster" else []
    cost = spent([*command, *more], {**os.environ, **backfill.KEYS})
    assert cost.code == 0, f"{way}: exit code {cost.code}"
    arrived = at.arrived(bucket)
    assert arrived.sidecars == asked.recordings, f"{way}: {arrived}"
    cpu = cost.cpu + (sum(map(_cpu, others)) - before if more else 0.0)
    return asked.recordings / arrived.seconds, cpu, cost.seconds


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _shared() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


# -- the planner's ceiling ---------------------------------------------------------------------------------------------


class Machines(Executor):
    """Carriers that only wait. Each has so many threads, and returns a batch when its last job's time is over."""

    def __init__(self, carriers: int, seconds: float) -> None:
        self.processes = carriers
        self._seconds = seconds
        self._free = [[0.0] * _WORKERS for _ in range(carriers)]
        self._under = [0] * carriers
        self._due: list[tuple[float, int, int, Batch, Future[Carried]]] = []
        self._numbers = 0
        self._changed = threading.Condition()
        self._carry = Carry(_archived, _NoStop(), self._put)  # type: ignore[arg-type]
        self._done: list[Any] = []
        threading.Thread(target=self._run, daemon=True).start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        batch: Batch = args[1]
        future: Future[Carried] = Future()
        with self._changed:
            carrier = min(range(self.processes), key=self._under.__getitem__)
            self._under[carrier] += len(batch.jobs)
            now, free = time.monotonic(), self._free[carrier]
            for _ in batch.jobs:
                ends = max(now, heapq.heappop(free)) + self._seconds
                heapq.heappush(free, ends)
            self._numbers += 1
            heapq.heappush(self._due, (ends, self._numbers, carrier, batch, future))
            self._changed.notify()
        return future

    def _put(self, done: Any) -> None:
        self._done.append(done)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._due or self._due[0][0] > time.monotonic():
                    self._changed.wait(self._due[0][0] - time.monotonic() if self._due else None)
                _, _, carrier, batch, future = heapq.heappop(self._due)
                self._under[carrier] -= len(batch.jobs)
            self._done = []
            for begin in batch.jobs:
                self._carry(begin)
            future.set_result(Carried(carrier=f"machine-{carrier}", done=tuple(self._done)))


class _NoStop:
    """A stop that is never requested."""

    def check(self) -> None: ...

    @property
    def pulse(self) -> _NoStop:
        return self

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        yield


def _archived(job: Job) -> Receipt:
    """Return a carrier's outcome of a usual recording."""
    medium = MediaObject(
        key=f"recordings/{job.recording.recording_id}.wav",
        media_format="wav",
        bytes=65580,
        sha256="0" * 64,
        content_type="audio/x-wav",
        codec="pcm",
        sample_rate=8000,
        channels=1,
        duration_seconds=4.0,
        check=Check(status="ok", method="wav sizes"),
    )
    return Receipt(
        source=job.source,
        recording=job.recording,
        sidecar_key=f"recordings/{job.recording.recording_id}.json",
        media=(medium,),
        archived_at=datetime.now(UTC),
        sidecar_sha256="0" * 64,
    )


def ceiling(asked: argparse.Namespace) -> None:
    """Print a table."""
    print("carriers\tthey could\trecordings/s\tof it\tplanner's CPU a recording, ms")
    for carriers in asked.carriers:
        count = min(asked.recordings, round(carriers * _WORKERS / asked.seconds * asked.lasting))
        rate, cpu = _planned(carriers, asked.seconds, count)
        could = carriers * _WORKERS / asked.seconds
        print(f"{carriers}\t{could:.0f}\t{rate:.0f}\t{rate / could:.0%}\t{cpu * 1000 / count:.2f}", flush=True)


def _planned(carriers: int, seconds: float, count: int) -> tuple[float, float]:
    with tempfile.TemporaryDirectory(prefix="bench-") as root:
        path = Path(root) / "config.toml"
        url = "http://127.0.0.1:9"
        values = {"workers": _WORKERS, "processes": 1, "archive": "", "transfer": ""}
        path.write_text(backfill.CONFIG.format(url=url, bucket="unasked", root=root, account=ACCOUNT, **values))
        os.environ.update(backfill.KEYS)
        with Runtime(config.load(path), clock=lambda: datetime.now(UTC)) as runtime:
            _register(runtime, count)
            machines = Machines(carriers, seconds)
            with Batched(runtime, Spec.of(runtime.settings, runtime.store.facts), machines) as executor:
                budget = runtime.lender.of("main")._budget
                budget.found._limit = budget.most = 100_000  # as found: this measures no provider
                report = Report(command="backfill", started_at=runtime.clock())
                work = runtime.work([runtime.listed("main")], executor, report, Observer())
                begun, cpu = time.monotonic(), time.process_time()
                work.dispatch.run([])
                took, cpu = time.monotonic() - begun, time.process_time() - cpu
            [row] = report.accounts.values()
            assert row.archived == count, row
    return count / took, cpu


def _register(runtime: Runtime, count: int) -> None:
    source = runtime.listed("main")
    feed = Feed("main", "twilio", source.account_id)
    now = runtime.clock()
    rows = [
        Recording(
            provider="twilio",
            api="2010-04-01",
            account_id=source.account_id,
            recording_id=f"RE{number:032x}",
            created_at=now - timedelta(seconds=number),
            status="completed",
            phase=Phase.COMPLETE,
            formats=("wav",),
            duration_seconds=4.0,
            raw={"sid": f"RE{number:032x}", "price": "-0.0025", "call_sid": f"CA{number:032x}"},
        )
        for number in range(count)
    ]
    for first in range(0, count, 1000):
        runtime.ledger.register(feed, rows[first : first + 1000], [], now, timedelta(minutes=2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ways = parser.add_subparsers(required=True)
    side = ways.add_parser("beside")
    side.add_argument("--count", "--recordings", dest="recordings", type=int, default=4000)
    side.add_argument("--bytes", type=int, default=64 * 1024)
    side.add_argument("--workers", type=int, default=8)
    side.add_argument("--rounds", type=int, default=3)
    side.add_argument("--slow", action="store_true", help="80 ms for a GET, 40 ms for a PUT; needs no nginx")
    add_python(side)
    side.set_defaults(run=beside)
    high = ways.add_parser("ceiling")
    high.add_argument("--carriers", type=int, nargs="+", default=[1, 2, 4, 8, 10, 16])
    high.add_argument("--seconds", type=float, default=0.16, help="that a recording takes")
    high.add_argument("--lasting", type=float, default=10.0, help="seconds of each row, if nothing bends")
    high.add_argument("--count", "--recordings", dest="recordings", type=int, default=20_000, help="of a row, at most")
    high.set_defaults(run=ceiling)
    asked = parser.parse_args()
    asked.run(asked)


if __name__ == "__main__":
    main()
