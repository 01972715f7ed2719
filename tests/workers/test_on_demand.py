"""A daemon's executor on demand: started by work, ended after it, and started again after a failure."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, cast

import pytest

from cli.commands import until
from lines import a_recording
from recvault.errors import ConfigError, EngineLost, Interrupted, WorkerLost
from recvault.models import DRAINED, Failure, Job
from recvault.workers.on_demand import OnDemand

JOB = Job(source="voice", recording=a_recording(), attempt=1, maybe_archived=False)


class Engines:
    """Makes executors, and records them."""

    def __init__(self) -> None:
        self.made: list[Engine] = []
        self.may_start = threading.Event()
        self.may_start.set()

    def __call__(self) -> Executor:
        self.may_start.wait(20)
        self.made.append(Engine())
        return self.made[-1]


class Engine(ThreadPoolExecutor):
    """An executor of two threads."""

    def __init__(self) -> None:
        super().__init__(2)
        self.is_shut = False

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait, cancel_futures=cancel_futures)
        self.is_shut = True


def answer(job: Job) -> str:
    return "done"


def test_nothing_is_started_before_there_is_work() -> None:
    """It starts once with the first job, however many jobs come, and each job ends."""
    engines = Engines()
    with OnDemand(engines, 2, idle_seconds=3600) as executor:
        assert (engines.made, executor.is_started) == ([], False)
        futures = [executor.submit(answer, JOB) for _ in range(20)]
        assert [each.result(20) for each in futures] == ["done"] * 20
        assert len(engines.made) == 1
    assert engines.made[0].is_shut


def test_after_an_idle_while_it_is_let_go() -> None:
    """After an idle time it ends, and the next job starts another one."""
    engines = Engines()
    with OnDemand(engines, 2, idle_seconds=0.0) as executor:
        assert executor.submit(answer, JOB).result(20) == "done"
        until(lambda: not executor.is_started and engines.made[0].is_shut)
        assert executor.submit(answer, JOB).result(20) == "done"
        assert len(engines.made) == 2


def test_it_is_not_let_go_under_work() -> None:
    """The idle time starts with the end of the last job."""
    engines, goes_on = Engines(), threading.Event()
    with OnDemand(engines, 2, idle_seconds=0.0) as executor:
        running = executor.submit(lambda job: goes_on.wait(20), JOB)
        assert executor.submit(answer, JOB).result(20) == "done"
        executor._let_go()  # its time is over just as work comes
        assert (executor.is_started, engines.made[0].is_shut) == (True, False)
        goes_on.set()
        assert running.result(20)


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (EngineLost("gone"), EngineLost),
        (ConfigError("all are refused"), EngineLost),
        (RuntimeError("Cluster failed to start: can't start new thread"), EngineLost),
        (ZeroDivisionError(), EngineLost),
    ],
    ids=["lost", "refused", "a library's own", "bug"],
)
def test_what_cannot_be_started_is_told_by_each_job(error: Exception, found: type[Exception]) -> None:
    """If it cannot start, whatever it raises, all jobs are given back uncounted, and the next one tries again."""
    tries: list[Exception] = []

    def make() -> Executor:
        tries.append(error)
        raise error

    with OnDemand(make, 2) as executor:
        for _ in range(2):
            assert type(executor.submit(answer, JOB).exception(20)) is found
    assert len(tries) == 2


def test_a_stop_while_it_starts_gives_jobs_back() -> None:
    """A stop during its start gives jobs back as drained, due again now."""

    def make() -> Executor:
        raise Interrupted("stop requested")

    with OnDemand(make, 2) as executor:
        assert cast("Failure", executor.submit(answer, JOB).result(20)).reason == DRAINED


def test_a_lost_engine_is_replaced() -> None:
    """The job of a lost engine fails with that error; the next job gets a new engine."""
    engines = Engines()

    def lost(job: Job) -> None:
        raise EngineLost("the scheduler is gone")

    with OnDemand(engines, 2, idle_seconds=3600) as executor:
        assert isinstance(executor.submit(lost, JOB).exception(20), EngineLost)
        assert executor.submit(answer, JOB).result(20) == "done"
        assert len(engines.made) == 2
        until(lambda: engines.made[0].is_shut)


def test_an_engine_that_takes_no_job_is_replaced() -> None:
    """A job that an engine refuses is given back uncounted; the next job gets a new engine."""
    engines = Engines()
    with OnDemand(engines, 2, idle_seconds=3600) as executor:
        assert executor.submit(answer, JOB).result(20) == "done"
        engines.made[0].shutdown()
        assert isinstance(executor.submit(answer, JOB).exception(20), EngineLost)
        assert executor.submit(answer, JOB).result(20) == "done"
        assert len(engines.made) == 2


def test_a_process_that_may_start_no_thread_gives_jobs_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """If no thread can be started for it, the job is given back uncounted, and the next one tries again."""
    engines = Engines()
    with OnDemand(engines, 2, idle_seconds=3600) as executor:
        with monkeypatch.context() as patched:
            no_more_threads(patched)
            assert isinstance(executor.submit(answer, JOB).exception(20), EngineLost)
        assert executor.submit(answer, JOB).result(20) == "done"


def test_a_drain_does_not_wait_for_its_start() -> None:
    """Waiting jobs can be cancelled during its start; it is ended as soon as it has started."""
    engines = Engines()
    engines.may_start.clear()
    executor = OnDemand(engines, 2)
    future: Future[Any] = executor.submit(answer, JOB)
    assert future.cancel()
    executor.shutdown()
    engines.may_start.set()
    until(lambda: bool(engines.made) and engines.made[0].is_shut)


def test_who_comes_and_goes_is_passed_on() -> None:
    """Changes in the number of workers reach the dispatcher."""
    told: list[int] = []

    class Wide(Engine):
        def on_width(self, register: Callable[[int], None]) -> None:
            register(7)

    with OnDemand(Wide, 1, 96) as executor:
        executor.on_width(told.append)
        assert executor.submit(answer, JOB).result(20) == "done"
    assert (told, executor.processes, executor.least) == ([7], 1, 96)


def test_a_job_that_was_cancelled_behind_it_ends_too() -> None:
    """If what carries jobs is shut down with one of them waiting, that one ends as not begun."""
    engines, blocked = Engines(), threading.Event()
    with OnDemand(engines, 2, idle_seconds=3600) as executor:
        futures = [executor.submit(lambda job: blocked.wait(20), JOB) for _ in range(3)]
        until(lambda: bool(engines.made) and engines.made[0]._work_queue.qsize() == 1)
        engines.made[0].shutdown(wait=False, cancel_futures=True)
        with pytest.raises(WorkerLost, match="are shutting down"):
            futures[2].result(20)
        blocked.set()
        assert [each.result(20) for each in futures[:2]] == [True, True]


def no_more_threads(monkeypatch: pytest.MonkeyPatch, kind: type[threading.Thread] = threading.Thread) -> None:
    """Let this process start no more threads of this kind."""

    def refused(*_: Any, **__: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(kind, "start", refused)


@pytest.mark.parametrize("is_taken", [True, False], ids=["lost with a job", "takes no job"])
def test_a_job_ends_although_nothing_can_end_its_engine(monkeypatch: pytest.MonkeyPatch, is_taken: bool) -> None:
    """If no thread can be started to shut down a lost engine, its job ends all the same; it is shut down later."""
    inner: Future[Any] = Future()
    ended: list[str] = []

    class Lost(Executor):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            if not is_taken:
                raise RuntimeError("cannot schedule new futures after shutdown")
            return inner

        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            ended.append("shut")

    with OnDemand(Lost, 2, idle_seconds=3600) as executor:
        executor._inner = Lost()
        with monkeypatch.context() as patched:
            no_more_threads(patched)
            future = executor.submit(answer, JOB)
            if is_taken:
                inner.set_exception(EngineLost("the scheduler is gone"))
            assert isinstance(future.exception(0), EngineLost)
        assert (ended, executor.is_started) == ([], False)
    assert ended == ["shut"]


def test_without_a_timer_it_is_let_go_after_a_later_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the idle timer cannot be started, nothing fails, and the next job that ends starts it."""
    engines, told = Engines(), threading.Event()
    with OnDemand(engines, 2, idle_seconds=0.0) as executor:
        with monkeypatch.context() as patched:
            no_more_threads(patched, threading.Timer)
            future = executor.submit(answer, JOB)
            future.add_done_callback(lambda _: told.set())  # after the executor's own
            assert (future.result(20), told.wait(20), executor.is_started) == ("done", True, True)
            with executor._lock:
                executor._rest(0.0)
        assert executor.submit(answer, JOB).result(20) == "done"
        until(lambda: not executor.is_started and engines.made[0].is_shut)
