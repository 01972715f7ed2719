"""A cluster: what happens to a pass if workers join, leave, hang or differ, and if the scheduler ends."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli.commands import finish, kill, run, start, until
from e2e.certificates import authority
from e2e.clusters import Cluster, needs_dask
from recvault import config
from recvault.app.runtime import Runtime
from recvault.simulator import SimAccount, Simulator, Switches
from recvault.workers.executors import executor
from rig import Rig
from strict_s3 import StrictS3

pytestmark = [needs_dask, pytest.mark.long]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster without workers that a test may break."""
    with Cluster(tmp_path / "cluster") as made:
        yield made


@pytest.fixture
def rig(tmp_path: Path, simulator: Simulator, strict_s3: StrictS3) -> Rig:
    """A complete recvault with a bucket that refuses what S3 refuses."""
    bucket = strict_s3.bucket()
    return Rig(root=tmp_path, simulator=simulator, s3_url=strict_s3.url, bucket=bucket.name)


def opened(rig: Rig, simulator: Simulator, count: int = 40) -> SimAccount:
    """Add a source of so many recordings, with its token in the environment."""
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=count, conference_share=0)
    rig.add_source("voice", "twilio", account, auth_token={"env": "TOKEN"})
    rig.transfer = {"workers": 3}
    return account


def assert_truth(rig: Rig, account: SimAccount) -> None:
    """Check that every recording is in the bucket, byte for byte."""
    objects, sidecars = rig.objects(), rig.sidecars()
    for recording in rig.simulator.truth(account):
        [medium] = sidecars[recording.recording_id]["media"]
        assert objects[medium["key"]] == rig.simulator.media(recording, "wav").read()


def token(account: SimAccount) -> str:
    return account.credentials["auth_token"]


def test_a_killed_worker_costs_nothing_and_one_that_joins_is_used(rig: Rig, simulator: Simulator, own: Cluster) -> None:
    """After a kill the joining worker does the rest: exit code 0, each recording once, and none is blamed."""
    account = opened(rig, simulator, 80)
    given = {"TOKEN": token(account)}
    own.with_workers(1, **given)
    simulator.switches = Switches(latency_seconds=0.05)
    process = start(rig, "sync", "--json", "--cluster", own.address, **given)
    until(lambda: len(simulator.requests) > 10, 40)
    own.workers[0].send_signal(signal.SIGKILL)
    own.add_worker(**given)
    ran = finish(process)
    assert (ran.code, ran.document["outcome"]) == (0, "ok"), ran.stderr
    [row] = ran.document["sources"]
    assert row["archived"] + row["already_archived"] == 80
    assert "worker.lost" in ran.stderr and "transfer.bug" not in ran.stderr
    assert_truth(rig, account)


def test_a_scheduler_that_is_killed_ends_the_command(rig: Rig, simulator: Simulator, own: Cluster) -> None:
    """The command ends within seconds with exit code 75; with a new scheduler the same command continues."""
    account = opened(rig, simulator, 200)
    given = {"TOKEN": token(account)}
    own.with_workers(1, **given)
    simulator.switches = Switches(latency_seconds=0.05)
    process = start(rig, "sync", "--json", "--cluster", own.address, **given)
    until(lambda: len(simulator.requests) > 20, 40)
    own.scheduler.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    ran = finish(process)
    assert (ran.code, time.monotonic() - killed < 10) == (75, True), ran.stderr
    assert "is lost: its scheduler no longer answers" in ran.stderr and "Traceback" not in ran.stderr
    assert "worker.lost" not in ran.stderr  # no recording is suspected
    simulator.switches = Switches()
    own.scheduler.wait()
    own.restart_scheduler()
    own.with_workers(1, **given)
    ran = run(rig, "sync", "--json", "--cluster", own.address, **given)
    assert ran.code == 0, ran.stderr
    assert_truth(rig, account)


def test_a_terminal_s_interrupt_is_the_command_s_alone(rig: Rig, simulator: Simulator) -> None:
    """Ctrl-C reaches all processes of a command: workers of its own finish what runs, and none is lost."""
    account = opened(rig, simulator, 200)
    simulator.switches = Switches(latency_seconds=0.05)
    process = start(rig, "sync", "--json", "--cluster", "local:1", TOKEN=token(account))
    until(lambda: len(simulator.requests) > 10, 60)
    started = [path.read_text().split() for path in Path(f"/proc/{process.pid}/task").glob("*/children")]
    for pid in [process.pid, *(int(each) for found in started for each in found)]:
        os.kill(pid, signal.SIGINT)
    ran = finish(process)
    assert (ran.code, ran.document["outcome"]) == (130, "interrupted"), ran.stderr
    assert "worker_lost" not in ran.stderr and "worker.lost" not in ran.stderr


def test_a_worker_with_another_secret_is_refused(rig: Rig, simulator: Simulator, own: Cluster) -> None:
    """Such a worker gets nothing, whenever it joins; without another one nothing starts: exit code 78."""
    account = opened(rig, simulator)
    own.with_workers(1, TOKEN="another token than the planner's")
    ran = run(rig, "sync", "--json", "--cluster", own.address, TOKEN=token(account))
    assert ran.code == 78, ran.stderr
    assert "has another secret for sources.voice.auth_token" in ran.stderr
    asked = run(rig, "check", "--json", "--cluster", own.address, TOKEN=token(account))
    [told] = [each for each in asked.document["checks"] if "worker" in each["name"]]
    assert (asked.code, told["ok"], told["exit_code"]) == (78, False, 78)
    assert "has another secret for sources.voice.auth_token" in told["detail"]
    assert len(simulator.requests) == 1  # the check's own list: no worker sent a request
    own.add_worker(TOKEN=token(account))
    until(lambda: "Registered to" in own.log(own.workers[1]), 60)
    ran = run(rig, "sync", "--json", "--cluster", own.address, TOKEN=token(account))
    assert ran.code == 0, ran.stderr
    assert "cluster.worker_refused" in ran.stderr
    assert_truth(rig, account)
    for each in own.workers:
        assert token(account) not in own.log(each)


def test_a_worker_of_another_version_is_refused(rig: Rig, simulator: Simulator, own: Cluster, tmp_path: Path) -> None:
    """With only a worker of another version nothing starts: exit code 78."""
    account = opened(rig, simulator)
    older = tmp_path / "older.py"
    older.write_text("import recvault\nrecvault.__version__ = '0.0.1'\n")
    own.with_workers(1, "--preload", str(older), TOKEN=token(account))
    ran = run(rig, "sync", "--json", "--cluster", own.address, TOKEN=token(account))
    assert ran.code == 78, ran.stderr
    assert "it runs recvault 0.0.1" in ran.stderr


def test_certificates_show_who_may_take_part(rig: Rig, simulator: Simulator, tmp_path: Path) -> None:
    """With mutual TLS the scheduler refuses a client without a certificate of its authority."""
    account = opened(rig, simulator)
    given = {"TOKEN": token(account)}
    ours, theirs = authority(tmp_path / "ours"), authority(tmp_path / "theirs")
    with Cluster(tmp_path / "cluster", tls=ours.options) as cluster:
        cluster.with_workers(1, **given)
        rig.transfer["cluster_tls"] = {**theirs.setting, "ca": str(ours.ca)}
        ran = run(rig, "sync", "--json", "--cluster", cluster.address, **given)
        assert (ran.code, len(simulator.requests)) == (75, 0), ran.stderr
        rig.transfer["cluster_tls"] = ours.setting
        ran = run(rig, "sync", "--json", "--cluster", cluster.address, **given)
        assert ran.code == 0, ran.stderr
    assert_truth(rig, account)


@pytest.mark.parametrize("stopped", [False, True], ids=["in a pass", "in a drain"])
def test_a_hung_worker_is_cut(
    rig: Rig, simulator: Simulator, own: Cluster, monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    """A silent worker loses its jobs to another one, and the end of a drain does not wait for it."""
    from recvault.workers import cluster

    monkeypatch.setattr(cluster, "_HUNG_SECONDS", 300.0 if stopped else 6.0)
    account = opened(rig, simulator, 30)
    monkeypatch.setenv("TOKEN", token(account))
    rig.transfer["cluster"] = own.with_workers(1, TOKEN=token(account)).address
    rig.daemon["drain_timeout"] = "1s"
    simulator.switches = Switches(latency_seconds=0.05)
    with Runtime(config.load(rig.config_path), clock=lambda: datetime.now(UTC), executor=executor) as runtime:
        with ThreadPoolExecutor(1) as apart:
            report = apart.submit(runtime.sync, "sync", ["voice"])
            until(lambda: len(simulator.requests) > 5, 40)
            os.kill(own.workers[0].pid, signal.SIGSTOP)
            if stopped:
                runtime.stop.asked.set()
            else:
                own.add_worker(TOKEN=token(account))
            assert report.result(60).exit_code == 0
        assert runtime.ledger.ask.failures() == []
    if not stopped:
        assert_truth(rig, account)


def test_a_planner_that_is_killed_leaves_nothing_behind(rig: Rig, simulator: Simulator, cluster: Cluster) -> None:
    """After kill -9 of the planner its workers serve the next command, which recovers as after any crash."""
    account = opened(rig, simulator, 100)
    rig.sources[0]["auth_token"] = {"file": str(rig._secret("voice", "auth_token", token(account)))}
    simulator.switches = Switches(latency_seconds=0.05)
    process = start(rig, "sync", "--json", "--cluster", cluster.address)
    until(lambda: len(simulator.requests) > 20, 40)
    kill(process)
    simulator.switches = Switches()
    ran = run(rig, "sync", "--json", "--cluster", cluster.address)
    assert ran.code == 0, ran.stderr
    assert_truth(rig, account)
