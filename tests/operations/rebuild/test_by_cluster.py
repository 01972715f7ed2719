"""A ledger that is rebuilt by a cluster's workers is that of one process, whatever happens to them."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import forked
from cli.commands import environment, finish, run, until
from e2e.clusters import Cluster, needs_dask
from lines import a_recording
from operations.rebuild.test_rebuild import change, lose, path_of, place, rebuilt, rows, sidecar
from recvault.archive import DEFAULT_TEMPLATE
from recvault.cli.rebuild import _made
from recvault.errors import EngineLost, StoreRefused, WorkerLost
from recvault.operations import rebuild as rebuild_module
from recvault.operations.rebuild import Rebuilt
from recvault.simulator import Simulator
from recvault.workers import carrier
from recvault.workers.cluster_readers import ClusterReaders
from recvault.workers.spec import Spec
from rig import Rig
from strict_s3 import Bucket

IN_SMALL_BATCHES = """
import sys, recvault.operations.rebuild as rebuild
rebuild._TRAVEL_TOGETHER = 1
from recvault.cli import main
main(sys.argv[1:])
"""


@pytest.fixture
def placed(rig: Rig, simulator: Simulator, strict_bucket: Bucket) -> Rig:
    """Twenty sidecars and no ledger; one is broken, one is too large, one names another recording."""
    rig.s3_url, rig.bucket = strict_bucket.url, strict_bucket.name
    rig.add_source("voice", "twilio", simulator.add_account("twilio"))
    place(strict_bucket, DEFAULT_TEMPLATE)
    strict_bucket.place(sidecar(strict_bucket, 3), b"broken")
    strict_bucket.place(sidecar(strict_bucket, 5), b" " * (1 << 22))
    change(strict_bucket, sidecar(strict_bucket, 7), recording_id=a_recording(1).recording_id)
    return rig


@pytest.fixture(autouse=True)
def batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several batches for a few sidecars."""
    monkeypatch.setattr(rebuild_module, "_TRAVEL_TOGETHER", 3)


class Losing(Executor):
    """An engine that loses all calls after the first `begun`."""

    def __init__(self, error: Exception, begun: int = 0) -> None:
        self.error, self.begun = error, begun

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.begun -= 1
        if self.begun >= 0:
            future.set_result(fn(*args))
        else:
            future.set_exception(self.error)
        return future


def by(rig: Rig, inner: Executor) -> Rebuilt:
    """Rebuild with what this executor reads."""
    with rig.runtime() as runtime:
        work = _made(runtime, lambda _: None)
        spec = Spec.of(runtime.settings, runtime.store.facts)
        try:
            readers = ClusterReaders(spec, inner, work.reader, work.work)
            return replace(work, elsewhere=readers).run(set_aside=False)
        finally:
            carrier.let_go(spec.run)


def told(made: Rebuilt) -> dict[str, Any]:
    return {key: value for key, value in made.document().items() if key not in ("started_at", "finished_at", "resumed")}


@pytest.fixture
def alone(placed: Rig) -> tuple[dict[str, Any], list[Any]]:
    """The result of one process, and its rows; its ledger is removed."""
    found = told(rebuilt(placed)), rows(path_of(placed))
    assert (found[0]["sidecars"], found[0]["unreadable"], len(found[1])) == (20, 3, 17)
    lose(placed)
    return found


def test_the_ledger_is_that_of_one_process(placed: Rig, alone: tuple[Any, Any]) -> None:
    """Rows, counts and problems are the same and in the same order, with several workers."""
    with ThreadPoolExecutor(4) as pool:
        made = by(placed, pool)
    assert (told(made), rows(path_of(placed))) == alone


def test_what_a_worker_lost_is_read_here(placed: Rig, alone: tuple[Any, Any]) -> None:
    """A lost worker costs no sidecar."""
    made = by(placed, Losing(WorkerLost("is gone"), begun=2))
    assert (told(made), rows(path_of(placed))) == alone


def test_after_a_lost_cluster_the_same_command_continues(placed: Rig, alone: tuple[Any, Any]) -> None:
    """It ends with exit code 75 and no ledger; what was read is not read again."""
    placed.transfer = {"workers": 1}
    with pytest.raises(EngineLost) as caught:
        by(placed, Losing(EngineLost("is lost"), begun=2))
    assert (caught.value.exit_code, path_of(placed).exists()) == (75, False)
    made = by(placed, Losing(EngineLost("is lost"), begun=5))  # of seven batches
    assert (made.resumed, told(made), rows(path_of(placed))) == (True, *alone)


def test_a_refusal_is_the_same_error(placed: Rig, strict_bucket: Bucket) -> None:
    """A missing permission that a worker meets exits 77."""
    strict_bucket.denied = {"GET"}
    with ThreadPoolExecutor(2) as pool, pytest.raises(StoreRefused) as caught:
        by(placed, pool)
    assert (caught.value.exit_code, path_of(placed).exists()) == (77, False)


@needs_dask
@pytest.mark.long
def test_the_command_by_workers_of_its_own(placed: Rig, alone: tuple[Any, Any]) -> None:
    """`rebuild --cluster local:2` makes the same ledger."""
    ran = run(placed, "rebuild", "--json", "--cluster", "local:2")
    assert (ran.code, ran.document["outcome"], ran.document["archived"]) == (3, "partial", 17), ran.stderr
    assert rows(path_of(placed)) == alone[1]


@needs_dask
@pytest.mark.long
@pytest.mark.parametrize("killed", ["worker", "scheduler"])
def test_the_command_survives_its_cluster(
    placed: Rig, strict_bucket: Bucket, alone: tuple[Any, Any], tmp_path: Path, killed: str
) -> None:
    """A killed worker costs nothing; after a killed scheduler it exits with 75, and continues with another one."""
    placed.transfer = {"workers": 2}
    strict_bucket.clear_counts()
    with Cluster(tmp_path / "cluster") as own:
        own.with_workers(2)
        slow = strict_bucket.faults.plan("slow", "GET", times=1000, seconds=1.0)
        words = ["--config", str(placed.config_path), "rebuild", "--json", "--cluster", own.address]
        command, pipe = [sys.executable, "-c", IN_SMALL_BATCHES, *words], subprocess.PIPE
        process = forked.popen(command, environment(placed.root), stdout=pipe, stderr=pipe, text=True)
        until(lambda: slow.fired >= 3, 60)
        (own.workers[0] if killed == "worker" else own.scheduler).send_signal(signal.SIGKILL)
        ran = finish(process)
        strict_bucket.faults.off()
        if killed == "scheduler":
            assert (ran.code, path_of(placed).exists()) == (75, False), ran.stderr
            assert "is lost: its scheduler no longer answers" in ran.stderr and "Traceback" not in ran.stderr
            own.scheduler.wait()
            own.restart_scheduler()
            own.with_workers(1)
            ran = run(placed, "rebuild", "--json", "--cluster", own.address)
    assert (ran.code, ran.document["archived"], ran.document["unreadable"]) == (3, 17, 3), ran.stderr
    assert rows(path_of(placed)) == alone[1]
