"""A daemon's worker processes or cluster: started for work, ended after it, and started again after a loss."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cli.commands import until
from daemon.conftest import Told
from daemon.started import archived, ids
from e2e.clusters import Cluster, needs_dask
from recvault import config
from recvault.daemon.service import DaemonService
from recvault.monitoring.metrics import Metrics
from recvault.monitoring.report import Report
from recvault.monitoring.risks import Risk
from recvault.simulator import SimAccount, Simulator, Switches
from recvault.workers import on_demand
from rig import Rig, now
from strict_s3 import Bucket


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster of one worker."""
    with Cluster(tmp_path / "cluster") as made:
        yield made.with_workers(1)


@pytest.fixture(params=["processes", pytest.param("cluster", marks=[needs_dask, pytest.mark.long])])
def way(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The kind of workers."""
    return {"processes": 2} if request.param == "processes" else {"cluster": request.getfixturevalue("own").address}


@pytest.fixture
def account(rig: Rig, simulator: Simulator) -> SimAccount:
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=12, conference_share=0)
    rig.add_source("voice", "twilio", account, poll_every="0.4s")
    return account


def opened(rig: Rig) -> DaemonService:
    service = DaemonService(
        config.load(rig.config_path), clock=now, report=Report(command="run", started_at=now()), metrics=Metrics()
    )
    service.open()
    return service


def ended(service: DaemonService) -> None:
    service.ask_stop()
    service.join()
    service.close()


def test_workers_are_there_while_there_is_work(
    rig: Rig,
    account: SimAccount,
    simulator: Simulator,
    strict_bucket: Bucket,
    told: Told,
    way: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Workers start with the first due recording, end some time after the last, and start again for the next."""
    monkeypatch.setattr(on_demand, "IDLE_SECONDS", 0.2)
    rig.transfer.update(way)
    service = opened(rig)
    try:
        assert told("engine.started") == []
        service.start()
        until(lambda: archived(strict_bucket) == ids(simulator, account), 60)
        until(lambda: len(told("engine.ended")) >= 1 and len(told("engine.ended")) == len(told("engine.started")))
        until(lambda: multiprocessing.active_children() == [])
        before = len(told("engine.started"))
        late = simulator.now - timedelta(minutes=5)
        simulator.populate(account, "voice", count=3, start=late, conference_share=0)
        until(lambda: archived(strict_bucket) == ids(simulator, account), 60)
        assert len(told("engine.started")) > before
    finally:
        ended(service)
    until(lambda: multiprocessing.active_children() == [])


@needs_dask
@pytest.mark.long
def test_a_cluster_that_is_lost_is_joined_again(
    rig: Rig, account: SimAccount, simulator: Simulator, strict_bucket: Bucket, own: Cluster, told: Told
) -> None:
    """The daemon reports a lost cluster and loses nothing; when the scheduler is back it continues."""
    rig.transfer["cluster"] = own.address
    simulator.switches = Switches(latency_seconds=0.3)
    service = opened(rig)
    try:
        service.start()
        until(lambda: simulator.count(lambda each: each.path.endswith(".wav")) > 0, 60)
        own.scheduler.send_signal(signal.SIGKILL)
        until(lambda: [each.risk for each in service.troubles()] == [Risk.STUCK], 60)
        assert "is lost: its scheduler no longer answers" in service.troubles()[0].message
        simulator.switches = Switches()
        own.scheduler.wait()
        own.restart_scheduler()
        own.with_workers(1)
        service._try_store()
        until(lambda: archived(strict_bucket) == ids(simulator, account), 60)
        assert (service.troubles(), service.fatal) == ([], None)
    finally:
        ended(service)
