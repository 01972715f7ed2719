"""Verification by a cluster's workers has the same result as by one process, whatever happens to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from cli.commands import run
from e2e.clusters import Cluster, needs_dask
from operations.verify.stage import Stage, a_recording, counted
from recvault.app.runtime import Runtime
from recvault.errors import EngineLost, StoreRefused, WorkerLost
from recvault.operations.verify import Checker, Sample
from recvault.simulator import Simulator
from recvault.store.s3.reader import S3Reader
from recvault.workers import carrier
from recvault.workers.cluster_readers import ClusterReaders
from recvault.workers.spec import Spec
from rig import Rig
from strict_s3 import Bucket


@pytest.fixture
def runtime(stage: Stage, simulator: Simulator) -> Iterator[Runtime]:
    """The stage's configuration, with 100 recordings, three of which are not as they were archived."""
    stage.archive(*(a_recording(f"RE{number:03}") for number in range(100)))
    stage.lose(stage.key("RE007"), stage.key("RE050", "wav"))
    stage.put(stage.key("RE033"), b"{}")
    rig = Rig(root=stage.root, simulator=simulator, s3_url=stage.bucket.url, bucket=stage.bucket.name)
    rig.add_source("main", "twilio", simulator.add_account("twilio"))
    with rig.runtime() as made:
        yield made


class Losing(Executor):
    """An engine that loses all that it is given."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_exception(self.error)
        return future


def readers(stage: Stage, runtime: Runtime, inner: Executor, sample: Sample) -> ClusterReaders:
    spec = Spec.of(runtime.settings, runtime.store.facts)
    return ClusterReaders(spec, inner, S3Reader(runtime.store, stage.stop), partial(Checker, sample=sample))


@pytest.mark.parametrize("percent", [0.0, 100.0], ids=["sizes", "every byte"])
def test_the_result_is_that_of_one_process(stage: Stage, runtime: Runtime, percent: float) -> None:
    """Differences, counts, order and requests are the same."""
    sample = Sample(percent)
    alone = stage.verify(sample=sample)
    with ThreadPoolExecutor(4) as pool:
        asked = readers(stage, runtime, pool, sample)
        together = stage.verify(sample=sample, elsewhere=asked)
    carrier.let_go(asked._spec.run)
    assert counted(alone) == {"checked": 100, "ok": 97, "missing": 2, "different": 1}
    assert alone.document() == together.document()
    assert asked.requests.total() > 0


def test_what_a_worker_lost_is_checked_here(stage: Stage, runtime: Runtime) -> None:
    """No recording is left unchecked."""
    result = stage.verify(elsewhere=readers(stage, runtime, Losing(WorkerLost("is gone")), Sample()))
    assert counted(result) == {"checked": 100, "ok": 97, "missing": 2, "different": 1}


def test_a_lost_cluster_ends_it(stage: Stage, runtime: Runtime) -> None:
    """Exit code 75: a verification that only one machine can finish would take days."""
    with pytest.raises(EngineLost) as told:
        stage.verify(elsewhere=readers(stage, runtime, Losing(EngineLost("is lost")), Sample()))
    assert told.value.exit_code == 75


def test_a_worker_that_is_not_equal_ends_it(stage: Stage, runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may read another bucket, or none: nothing of its answers counts."""
    with ThreadPoolExecutor(1) as pool:
        asked = readers(stage, runtime, pool, Sample())
        monkeypatch.setattr(carrier, "__version__", "0.0.1")
        with pytest.raises(EngineLost, match=r"refuses the work: it runs recvault 0\.0\.1"):
            stage.verify(elsewhere=asked)


def test_a_refusal_is_the_same_error(stage: Stage, runtime: Runtime) -> None:
    """A missing permission exits 77."""
    stage.bucket.denied = {"GET"}
    with ThreadPoolExecutor(2) as pool, pytest.raises(StoreRefused) as caught:
        stage.verify(elsewhere=readers(stage, runtime, pool, Sample()))
    assert caught.value.exit_code == 77


@needs_dask
@pytest.mark.long
def test_the_command_by_a_cluster(
    rig: Rig, simulator: Simulator, strict_bucket: Bucket, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """`verify --deep --cluster` reads every byte by the workers, and finds what is wrong."""
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=12)
    rig.add_source("voice", "twilio", account)
    assert rig.sync().exit_code == 0
    key = min(key for key in strict_bucket.objects if key.endswith(".wav"))
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        cluster.with_workers(1)
        well = run(rig, "verify", "--deep", "--json", "--cluster", cluster.address)
        del strict_bucket.objects[key]
        lost = run(rig, "verify", "--deep", "--json", "--cluster", cluster.address)
    assert (well.code, lost.code) == (0, 3), (well.stderr, lost.stderr)
    assert [well.document["counts"][each] for each in ("checked", "ok")] == [12, 12]
    assert [each["key"] for each in lost.document["differences"]] == [key]
