"""What a cluster's calls come to if workers are paused or silent, or if the scheduler is lost. No real cluster."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from typing import Any, cast

import pytest

from recvault.config.settings import TransferSettings
from recvault.errors import EngineLost, WorkerLost
from recvault.shutdown import Stop
from recvault.workers import carrier
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
    vetted()
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


def test_a_shutdown_ends_each_call(cluster: Cluster, link: FakeLink) -> None:
    """Calls that are with a worker, were lost with one, or wait for one end; nothing more is accepted."""
    running, orphan = cluster.submit(print), cluster.submit(print)
    [lost] = link.workers["b"].given
    assert lost.cancel()
    for address in link.seen:
        link.seen[address] = Heartbeat(2.0, is_running=False)
    for worker in cluster._workers.values():
        worker.is_running = False
    waiting = cluster.submit(print)
    assert (len(cluster._orphans), len(cluster._held)) == (1, 1)
    cluster.shutdown()
    assert [type(each.exception(0)) for each in (running, orphan, waiting)] == [EngineLost] * 3
    with pytest.raises(RuntimeError, match="is shut down"):
        cluster.submit(print)


def test_a_silent_worker_that_answers_again_is_used(cluster: Cluster, link: FakeLink) -> None:
    """A worker that was dropped because it gave no sign of life is asked again once it gives one, and not before."""
    started = time.monotonic()
    link.seen["a"] = Heartbeat(2.0)
    for second in (0.0, module._HUNG_SECONDS + 2, module._HUNG_SECONDS + 3):
        link.seen["b"] = Heartbeat(2.0 + second)
        cluster._compare(link.seen, started + second)
        vetted()
    assert list(cluster._workers) == ["b"]
    assert cluster._words() == "the worker a gives no sign of life"
    link.seen["a"] = Heartbeat(40.0)
    cluster._compare(link.seen, started + module._HUNG_SECONDS + 4)
    vetted()
    assert sorted(cluster._workers) == ["a", "b"]


def test_a_paused_worker_does_not_count(cluster: Cluster, link: FakeLink) -> None:
    """The number of workers is that of those that start calls; each change is told once."""
    told: list[int] = []
    cluster.on_width(told.append)
    started = time.monotonic()
    for number, is_running in enumerate((True, False, False, True)):
        link.seen["a"] = Heartbeat(2.0 + number, is_running)
        cluster._compare(link.seen, started)
    assert told == [2, 1, 2]


def test_without_threads_each_call_still_ends(
    cluster: Cluster, link: FakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If no thread can be started, a worker that joins is asked later, and an order is sent all the same."""
    asked: list[Any] = []
    monkeypatch.setattr(link, "ask", lambda *args, **kwargs: asked.append(kwargs["workers"]))
    link.seen["c"] = Heartbeat(1.0)
    with monkeypatch.context() as patched:
        no_more_threads(patched)
        cluster._compare(link.seen, time.monotonic())
        cluster.tell("run", "asked")
    assert (sorted(asked), "c" in cluster._workers) == ([["a"], ["b"]], False)
    cluster._compare(link.seen, time.monotonic())
    vetted()
    assert "c" in cluster._workers


def test_a_worker_answers_while_it_lets_a_planner_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing a planner's clients may take long; the worker's event loop goes on meanwhile."""
    goes_on = threading.Event()
    waited: list[bool] = []
    monkeypatch.setattr(carrier, "let_go", lambda run: waited.append(goes_on.wait(20)))

    async def both() -> None:
        leaving = asyncio.ensure_future(module._let_go("run"))
        await asyncio.sleep(0)  # it begins
        goes_on.set()
        await leaving

    asyncio.run(both())
    assert waited == [True]


def vetted() -> None:
    """Wait until all new workers were asked."""
    for thread in [each for each in threading.enumerate() if each.name == "vet"]:
        thread.join()


def no_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process start no more threads."""

    def refused(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
