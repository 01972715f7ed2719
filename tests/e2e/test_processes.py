"""The same pass, carried out by threads, by several processes of this machine, or by a cluster's workers."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cli.commands import children, finish, fork_server, kill, run, start, until, workers_of
from e2e.clusters import needs_dask
from recvault import config
from recvault.app.runtime import Runtime
from recvault.simulator import SimAccount, Simulator, Switches
from recvault.workers import process_pool
from recvault.workers.executors import executor
from recvault.workers.process_pool import Processes
from rig import Rig
from strict_s3 import StrictS3


@pytest.fixture
def rig(tmp_path: Path, simulator: Simulator, strict_s3: StrictS3) -> Rig:
    """A recvault over the strict S3 server."""
    bucket = strict_s3.bucket()
    return Rig(root=tmp_path, simulator=simulator, s3_url=strict_s3.url, bucket=bucket.name)


PROCESSES = {"processes": 2}
WAYS = ["threads", "processes", pytest.param("cluster", marks=[needs_dask, pytest.mark.long])]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Who carries: what is promised of one holds for the others."""
    if request.param == "cluster":
        return {"cluster": request.getfixturevalue("cluster").address}
    return PROCESSES if request.param == "processes" else {}


def opened(rig: Rig, simulator: Simulator, count: int = 40, way: dict[str, Any] = PROCESSES) -> SimAccount:
    """A source of so many recordings, for two worker processes or what else carries."""
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=count, conference_share=0)
    rig.add_source("voice", "twilio", account)
    rig.transfer = {"workers": 3, **way}
    return account


def assert_truth(rig: Rig, account: SimAccount) -> None:
    """Check that every recording is in the bucket byte for byte."""
    objects, sidecars = rig.objects(), rig.sidecars()
    for recording in rig.simulator.truth(account):
        [medium] = sidecars[recording.recording_id]["media"]
        assert objects[medium["key"]] == rig.simulator.media(recording, "wav").read()


def test_all_is_archived_once(rig: Rig, simulator: Simulator, way: dict[str, Any]) -> None:
    """Each recording once, byte for byte, and every request that a worker sent is in the report."""
    account = opened(rig, simulator, way=way)
    ran = run(rig, "sync", "--json")
    assert ran.code == 0, ran.stderr
    [row] = ran.document["sources"]
    assert (row["archived"], row["requests"]) == (40, len(simulator.requests))
    assert_truth(rig, account)
    assert run(rig, "sync", "--json").document["sources"][0]["archived"] == 0


def test_workers_share_what_a_provider_may_be_asked(rig: Rig, simulator: Simulator, way: dict[str, Any]) -> None:
    """One budget is held for all of them: each request of theirs was granted by it, and all of it came back."""
    opened(rig, simulator, way=way)
    rig.sources[0].update(max_concurrency=8, requests_per_second=100)
    settings = config.load(rig.config_path)
    with Runtime(settings, clock=lambda: datetime.now(UTC), executor=executor) as runtime:
        assert runtime.sync("sync", ["voice"]).exit_code == 0
        [limits] = runtime.lender.made
        [facts] = runtime.line_facts()
        waits, apart = runtime.spending().waits, [each.cpu for each in runtime.beside.values()]
    moments = sorted(each.time.timestamp() for each in simulator.requests)
    assert facts.answers["200"] == len(moments)
    assert (facts.concurrency, facts.max_concurrency) == (limits.standing.concurrency, 8)
    assert limits._budget.running.total() == 0
    assert {"provider", "store", "turn"} <= waits.keys()
    assert len(apart) == (2 if way else 0) and min(apart, default=1) > 0  # each tells of its own CPU


def test_a_stop_reaches_every_worker(rig: Rig, simulator: Simulator, way: dict[str, Any]) -> None:
    """SIGTERM: what runs may end, the rest is due again, processes are gone, and the next pass makes it up."""
    account = opened(rig, simulator, 200, way)
    simulator.switches = Switches(latency_seconds=0.05)
    process = start(rig, "sync", "--json")
    until(lambda: len(simulator.requests) > 20, 40)
    children = workers_of(process.pid)
    assert len(children) == way.get("processes", 0)
    process.send_signal(signal.SIGTERM)
    ran = finish(process)
    assert (ran.code, ran.document["outcome"]) == (143, "interrupted")
    asked = len(simulator.requests)
    assert asked < 150 and "worker.lost" not in ran.stderr
    assert [child for child in children if Path(f"/proc/{child}").exists()] == []
    simulator.switches = Switches()
    assert run(rig, "sync", "--json").code == 0
    assert_truth(rig, account)


def test_a_worker_that_is_killed_costs_nothing(rig: Rig, simulator: Simulator) -> None:
    """A killed worker is replaced, its jobs are done in the same pass, and no recording is blamed."""
    account = opened(rig, simulator, 60)
    simulator.switches = Switches(latency_seconds=0.05)
    process = start(rig, "sync", "--json")
    until(lambda: len(simulator.requests) > 10)
    os.kill(workers_of(process.pid)[0], signal.SIGKILL)
    ran = finish(process)
    assert (ran.code, ran.document["outcome"]) == (0, "ok"), ran.stderr
    assert "transfer.bug" not in ran.stderr
    assert "worker.lost" in ran.stderr
    assert "worker.unstarted" not in ran.stderr  # jobs that it had not begun go to another at once
    assert_truth(rig, account)


@pytest.mark.parametrize("stopped", [False, True], ids=["in a pass", "in a drain"])
def test_a_worker_that_hangs_is_ended(
    rig: Rig, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    """A hanging worker is replaced within the pass, and does not delay the end of a drain."""
    monkeypatch.setattr(process_pool, "_HUNG_SECONDS", 300.0 if stopped else 5.0)
    account = opened(rig, simulator, 30)
    rig.transfer["processes"] = 1
    rig.daemon["drain_timeout"] = "1s"
    simulator.switches = Switches(latency_seconds=0.05)
    made: list[Processes] = []

    def executor(runtime: Runtime) -> Processes:
        made.append(Processes(runtime))
        return made[0]

    with Runtime(config.load(rig.config_path), clock=lambda: datetime.now(UTC), executor=executor) as runtime:
        with ThreadPoolExecutor(1) as apart:
            report = apart.submit(runtime.sync, "sync", ["voice"])
            until(lambda: len(simulator.requests) > 5)
            os.kill(made[0]._children[0].process.pid or 0, signal.SIGSTOP)
            if stopped:
                runtime.stop.asked.set()
            assert report.result(60).exit_code == 0
        assert runtime.ledger.ask.failures() == []
    if not stopped:
        assert_truth(rig, account)


def test_a_parent_that_is_killed_leaves_nothing(rig: Rig, simulator: Simulator) -> None:
    """After kill -9 of the parent, workers and fork server end, no file is left, and the next pass works."""
    account = opened(rig, simulator, 100)
    simulator.switches = Switches(latency_seconds=0.05)
    short = Path(tempfile.mkdtemp(prefix="rv", dir="/tmp"))  # short enough for the fork server's socket
    process = start(rig, "sync", "--json", TMPDIR=str(short))
    until(lambda: len(simulator.requests) > 20)
    below = [*children(process.pid), *workers_of(process.pid)]
    assert len(workers_of(process.pid)) == 2
    kill(process)
    until(lambda: not any(Path(f"/proc/{child}").exists() for child in below))
    assert list(short.iterdir()) == []
    short.rmdir()
    simulator.switches = Switches()
    assert run(rig, "sync", "--json").code == 0
    assert_truth(rig, account)


def test_workers_outlive_what_forked_them(rig: Rig, simulator: Simulator) -> None:
    """If the fork server is killed, workers continue, and a killed one is replaced by a new server's."""
    account = opened(rig, simulator, 60)
    simulator.switches = Switches(latency_seconds=0.05)
    process = start(rig, "sync", "--json")
    until(lambda: len(simulator.requests) > 10)
    server, workers = fork_server(process.pid), workers_of(process.pid)
    os.kill(server, signal.SIGKILL)
    os.kill(workers[0], signal.SIGKILL)
    until(lambda: fork_server(process.pid) not in (server, 0))
    ran = finish(process)
    assert (ran.code, ran.document["outcome"]) == (0, "ok"), ran.stderr
    assert_truth(rig, account)
    until(lambda: not any(Path(f"/proc/{child}").exists() for child in workers))


def test_a_worker_can_be_ended_without_what_forked_it(rig: Rig, simulator: Simulator) -> None:
    """A hanging worker can be killed without its fork server, although nobody reports its end."""
    opened(rig, simulator)
    rig.transfer["processes"] = 1
    with Runtime(config.load(rig.config_path), clock=lambda: datetime.now(UTC)) as runtime:
        runtime.prepare_store()
        with Processes(runtime) as made:
            [child] = made._children
            pid = child.process.pid or 0
            os.kill(int(status(pid)["PPid"]), signal.SIGKILL)
            until(lambda: child.process.exitcode is not None)  # what it recognises as its end
            os.kill(pid, signal.SIGSTOP)
            child.kill()
            until(lambda: not Path(f"/proc/{pid}").exists() or status(pid)["State"].startswith("Z"))


def test_what_forks_workers_heeds_no_signal_of_a_terminal_or_a_service(rig: Rig, simulator: Simulator) -> None:
    """The fork server ignores signals of a terminal or service, as it must report its workers' ends."""
    opened(rig, simulator)
    simulator.switches = Switches(latency_seconds=0.05)
    process = start(rig, "sync", "--json")
    until(lambda: len(simulator.requests) > 10)
    ignored = int(status(fork_server(process.pid))["SigIgn"], 16)
    assert finish(process).code == 0
    assert [ignored >> number - 1 & 1 for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == [1, 1, 1]


def status(pid: int) -> dict[str, str]:
    """Return the kernel's status of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_workers_hold_nothing_of_their_parent(rig: Rig, simulator: Simulator) -> None:
    """Fork server and workers are executed anew, with one thread and without open files of the ledger."""
    opened(rig, simulator, 60)
    simulator.switches = Switches(latency_seconds=0.05)
    process = start(rig, "sync", "--json")
    until(lambda: len(simulator.requests) > 10)
    server = fork_server(process.pid)
    others = [*children(process.pid), *workers_of(process.pid)]
    held = {path for child in others for path in files(child) if "ledger.db" in path}
    threads = len(list(Path(f"/proc/{server}/task").iterdir()))
    assert any("ledger.db" in path for path in files(process.pid))
    assert (held, threads) == (set(), 1)
    assert finish(process).code == 0


def files(pid: int) -> list[str]:
    """Return the open files of a process."""
    return [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()]


def test_without_a_fork_server_each_worker_starts_by_itself(rig: Rig, simulator: Simulator, tmp_path: Path) -> None:
    """If the temporary path is too long for the fork server's socket, workers start by themselves."""
    account = opened(rig, simulator)
    long = tmp_path / ("long" * 25)
    long.mkdir()
    ran = run(rig, "sync", "--json", TMPDIR=str(long))
    assert (ran.code, ran.document["outcome"]) == (0, "ok"), ran.stderr
    assert "worker.no_fork_server" in ran.stderr
    assert_truth(rig, account)


def test_a_slow_source_holds_back_no_other(rig: Rig, simulator: Simulator, way: dict[str, Any]) -> None:
    """Jobs wait in workers, too: there as well each source has a place that no other can take."""
    slow = opened(rig, simulator, 60, way)
    quick = simulator.add_account("twilio")
    simulator.populate(quick, "voice", count=8, conference_share=0)
    rig.add_source("quick", "twilio", quick)
    rig.transfer["workers"] = 2
    simulator.switches = Switches(slow_seconds=8.0)
    simulator.faults.plan("slow", slow.account_id, times=1000, kind="media")
    late = simulator.faults.plan("http_503", quick.account_id, kind="list")  # by then the other has all places
    process = start(rig, "sync", "--json")
    done = [0, 0]
    while done[1] < 8 and process.poll() is None:
        time.sleep(0.05)
        done = [archived(rig, account) for account in (slow, quick)]
    kill(process)
    assert late.spent
    assert done == [0, 8]


def archived(rig: Rig, account: SimAccount) -> int:
    """Return how many of an account's recordings are in the bucket."""
    return sum(f"account={account.account_id}/" in key and key.endswith(".json") for key in rig.objects())
