"""What a cluster's calls come to if workers are paused or silent, or if the scheduler is lost. No real cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from typing import Any, cast

import pytest

from recvault.config.settings import TransferSettings
from recvault.errors import EngineLost, WorkerLost
from recvault.shutdown import Stop
from recvault.workers import cluster as module
from recvault.workers.cluster import Cluster
from recvault.workers.link import Heartbeat, Link
from recvault.workers.spec import Spec

SPEC = Spec(version="", run="run", config="", prints={}, packed=b"")


class Worker(Executor):
    """A worker that keeps what it is given."""

    def __init__(self) -> None:
        self.given: list[Future[Any]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.given.append(Future())
        return self.given[-1]


class FakeLink:
    """A link whose scheduler says what the test says."""

    name, is_own = "tls://scheduler:1", False

    def __init__(self, *addresses: str) -> None:
        self.seen = {address: Heartbeat(1.0) for address in addresses}
        self.workers: dict[str, Worker] = {}

    def heartbeats(self, seconds: float) -> dict[str, Heartbeat]:
        return dict(self.seen)

    def executor(self, address: str) -> Worker:
        return self.workers.setdefault(address, Worker())

    def ask(self, *_: Any, **__: Any) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        pass


@pytest.fixture
def link(monkeypatch: pytest.MonkeyPatch) -> FakeLink:
    """A link to two workers, that looks only when a test does."""
    made = FakeLink("a", "b")
    monkeypatch.setattr(module, "Link", lambda transfer: made)
    monkeypatch.setattr(module, "vetted", lambda *_: None)
    monkeypatch.setattr(module, "_LOOK_SECONDS", 3600.0)
    return made


@pytest.fixture
def cluster(link: FakeLink, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A cluster with both workers, whose own thread looks at nothing."""
    monkeypatch.setattr(Cluster, "_watch", lambda self: None)
    monkeypatch.setattr(Cluster, "_await_workers", lambda self: None)
    made = Cluster(TransferSettings(), SPEC, Stop())
    for address in link.seen:
        made._vet(address, 1.0)
    yield made
    made.shutdown()


def test_a_paused_worker_is_given_nothing(cluster: Cluster, link: FakeLink) -> None:
    """Calls go to a worker that runs; if none does they wait, until one goes on."""
    started = time.monotonic()
    link.seen["a"] = Heartbeat(2.0, is_running=False)
    cluster._compare(link.seen, started)
    for _ in range(3):
        cluster.submit(print)
    assert (len(link.workers["a"].given), len(link.workers["b"].given)) == (0, 3)
    link.seen["b"] = Heartbeat(2.0, is_running=False)
    cluster._compare(link.seen, started)
    cluster.submit(print)
    assert (len(link.workers["a"].given), len(link.workers["b"].given)) == (0, 3)
    link.seen["a"] = Heartbeat(3.0)
    cluster._compare(link.seen, started)
    assert (len(link.workers["a"].given), len(link.workers["b"].given)) == (1, 3)


def test_a_worker_that_stays_paused_is_dropped_until_it_runs(cluster: Cluster, link: FakeLink) -> None:
    """Its calls are lost although its heartbeats go on, and count against no recording; it may come back."""
    futures = [cluster.submit(print), cluster.submit(print)]
    started = time.monotonic()
    for second in range(int(module._HUNG_SECONDS)):
        link.seen = {"a": Heartbeat(2.0 + second, is_running=False), "b": Heartbeat(2.0 + second)}
        cluster._compare(link.seen, started + second)
    assert [future.done() for future in futures] == [False, False]
    cluster._compare(link.seen, started + module._HUNG_SECONDS + 2)
    [lost] = [future for future in futures if future.done()]
    found = lost.exception()
    assert isinstance(found, WorkerLost) and not found.alone
    assert "at a was paused for" in str(found)
    assert list(cluster._workers) == ["b"]
    assert "the worker a is paused" in cluster._words()
    link.seen["a"] = Heartbeat(60.0)
    cluster._compare(link.seen, started + module._HUNG_SECONDS + 3)
    for thread in [each for each in threading.enumerate() if each.name == "vet"]:
        thread.join()
    assert sorted(cluster._workers) == ["a", "b"]


def test_a_short_pause_costs_nothing(cluster: Cluster, link: FakeLink) -> None:
    """A worker that goes on after a pause has its whole time again."""
    future = cluster.submit(print)
    started = time.monotonic()
    for second, is_running in ((1.0, False), (19.0, False), (19.5, True), (38.0, True)):
        link.seen = {address: Heartbeat(1.0, is_running) for address in link.seen}
        cluster._compare(link.seen, started + second)
    assert (sorted(cluster._workers), future.done()) == (["a", "b"], False)


def test_a_call_that_is_cancelled_as_the_scheduler_is_lost_ends(cluster: Cluster, link: FakeLink) -> None:
    """Dask cancels a call while the watch gives up: it ends, whichever comes first."""
    future = cluster.submit(print)
    [worker] = [each for each in cluster._workers.values() if each.under]
    [theirs] = worker.under.values()
    lost: list[threading.Thread] = []

    class Cancelled:
        """Asked whether it is cancelled, just as the watch gives up."""

        def cancelled(self) -> bool:
            lost.append(threading.Thread(target=cluster._give_up, args=["no answer"]))
            lost[0].start()
            lost[0].join(0.2)  # it may have to wait for this call
            return True

    cluster._end(worker, future, cast("Future[Any]", Cancelled()))
    lost[0].join()
    assert isinstance(future.exception(timeout=0), EngineLost)
    assert not theirs.done()


def test_the_link_says_whether_a_worker_runs() -> None:
    """Dask's status is read; a version that has none counts as running."""
    rows = {"a": {"last_seen": 1.0, "status": "running"}, "b": {"last_seen": 2.0, "status": "paused"}}

    class Client:
        status, scheduler = "running", type("Scheduler", (), {"identity": None})

        def sync(self, *_: Any, **__: Any) -> Any:
            return {"workers": {**rows, "c": {"last_seen": 3.0}}}

    made = object.__new__(Link)
    made._client = cast("Any", Client())
    assert made.heartbeats(1.0) == {"a": Heartbeat(1.0), "b": Heartbeat(2.0, is_running=False), "c": Heartbeat(3.0)}
