"""Batches over any executor: what is sent, what comes back, and what happens to jobs whose batch does not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cli.commands import until
from lines import a_recording
from recvault import config
from recvault.app.runtime import Runtime
from recvault.errors import EngineLost, WorkerLost
from recvault.http import Noted, Used
from recvault.models import DRAINED, Failure, Job, Outcome, Verdict
from recvault.shutdown import Stop
from recvault.simulator import Simulator
from recvault.workers import batches
from recvault.workers.batches import MOST, Batched
from recvault.workers.carrier import Batch, Carried
from recvault.workers.spec import Spec
from recvault.workers.turns import Carry
from rig import Rig, now

WORKERS = 3


def job(number: int) -> Job:
    return Job(source="voice", recording=a_recording(number), attempt=1, maybe_archived=False)


def failed(job: Job) -> Outcome:
    """Return an outcome that the test recognises."""
    return Failure(
        source=job.source, recording=job.recording, verdict=Verdict.RETRY, reason="by.a.test", message="", counted=True
    )


class Engine(Executor):
    """An engine whose batches end when and how the test decides."""

    def __init__(self) -> None:
        self.batches: list[tuple[Batch, Future[Carried]]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Carried] = Future()
        self.batches.append((args[1], future))
        return future

    @property
    def jobs(self) -> int:
        """Number of jobs sent so far."""
        return sum(len(batch.jobs) for batch, _ in self.batches)


def carried(batch: Batch, **more: Any) -> Carried:
    """Return a carrier's normal result of a batch."""
    done: list[Any] = []
    run = Carry(failed, Stop(), done.append)
    for begin in batch.jobs:
        run(begin)
    return Carried(carrier="a:1", **{"done": tuple(done), **more})


@pytest.fixture
def runtime(tmp_path: Path, simulator: Simulator) -> Iterator[Runtime]:
    """A planner of one source, whose bucket is never used."""
    rig = Rig(root=tmp_path, simulator=simulator, s3_url="http://127.0.0.1:9", bucket="unasked")
    rig.add_source("voice", "twilio", simulator.add_account("twilio"), max_concurrency=200)
    rig.transfer = {"workers": WORKERS}
    with Runtime(config.load(rig.config_path), clock=now) as made:
        made.lender.of("voice")._budget.found._limit = 200.0  # as learned after some hundred answers
        yield made


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def batched(runtime: Runtime, engine: Engine) -> Iterator[Batched]:
    made = Batched(runtime, Spec.of(runtime.settings, runtime.store.facts), engine)
    yield made
    made.shutdown()


def given(batched: Batched, count: int) -> list[Future[Outcome]]:
    return [batched.submit(failed, job(number)) for number in range(count)]


def running(runtime: Runtime) -> int:
    [limits] = runtime.lender.made
    return limits._budget.running.total()


def test_jobs_travel_in_batches_and_their_outcomes_come_back(
    runtime: Runtime, batched: Batched, engine: Engine
) -> None:
    """Batches have at most MOST jobs, each with its send time, and all places are freed at the end."""
    futures = given(batched, 70)
    until(lambda: engine.jobs == 70)
    assert max(len(batch.jobs) for batch, _ in engine.batches) <= MOST
    assert all(len(batch.moments) == len(batch.jobs) for batch, _ in engine.batches)
    assert running(runtime) == 70
    for batch, future in engine.batches:
        future.set_result(carried(batch))
    assert [each.result(10).recording.recording_id for each in futures] == [f"RE{number}" for number in range(70)]
    assert running(runtime) == 0


def test_of_a_lost_batch_only_what_may_have_begun_is_suspected(
    runtime: Runtime, batched: Batched, engine: Engine
) -> None:
    """As many jobs as may have started are reported as lost; the others are sent again."""
    futures = given(batched, 10)
    until(lambda: engine.jobs == 10)
    sent = engine.batches[:]
    engine.batches.clear()
    suspects = {begin.number for batch, _ in sent for begin in batch.jobs[: WORKERS + 1]}
    for _, lost in sent:
        lost.set_exception(WorkerLost("at tls://a:1 is gone"))
    until(lambda: engine.jobs == 10 - len(suspects))
    for again, future in engine.batches:
        future.set_result(carried(again))
    errors = [each.exception(10) for each in futures]
    assert {number for number, error in enumerate(errors) if isinstance(error, WorkerLost)} == suspects
    assert (0 < len(suspects) < 10, running(runtime)) == (True, 0)


def test_a_lost_engine_gives_everything_back(runtime: Runtime, batched: Batched, engine: Engine) -> None:
    """A lost engine gives back jobs that are sent, waiting, or submitted later."""
    [limits] = [runtime.lender.of("voice")]
    futures = given(batched, 5)
    until(lambda: engine.jobs == 5)
    limits.note(Noted(429, rest=100.0))
    futures += given(batched, 5)
    for _, future in engine.batches:
        future.set_exception(EngineLost("the scheduler is gone"))
    errors = [each.exception(10) for each in [*futures, *given(batched, 2)]]
    assert [type(error) for error in errors] == [EngineLost] * 12
    until(lambda: running(runtime) == 0)


def test_a_refusal_that_a_carrier_saw_rests_the_account_for_all(
    runtime: Runtime, batched: Batched, engine: Engine
) -> None:
    """A carrier's refusal pauses the account for all; unstarted jobs wait, and extra requests are charged."""
    futures = given(batched, 3)
    until(lambda: engine.jobs == 3)
    [(batch, future)] = engine.batches[-1:]
    for earlier, other in engine.batches[:-1]:
        other.set_result(carried(earlier))
    last = batch.jobs[-1].number
    limits = runtime.lender.of("voice")
    before = limits._budget.next_at
    refused = Used(requests=100_003, noted=(Noted(429, rest=50.0, at=1.0),))
    unbegun = (last,)
    answer = carried(batch, unbegun=unbegun, used={batch.budget: refused})
    done = tuple(each for each in answer.done if each.number not in unbegun)
    future.set_result(Carried(carrier="a:1", done=done, unbegun=unbegun, used=answer.used))
    assert [each.result(10).reason for each in futures[:2]] == ["by.a.test"] * 2
    until(lambda: limits.rest.until > 0)
    assert limits._budget.next_at - before > 0.99  # 100,000 requests at 100,000 a second
    assert (engine.jobs, futures[2].done()) == (3, False)
    runtime.stop.asked.set()
    assert futures[2].result(10).reason == DRAINED


def test_a_job_that_is_given_up_before_its_batch_leaves_holds_no_place(
    runtime: Runtime, batched: Batched, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was granted a request, waits for others of its batch, and the engine is lost."""
    futures = given(batched, 1)
    until(lambda: engine.jobs == 1)
    monkeypatch.setattr(batches, "GATHER_SECONDS", 3600.0)
    futures += given(batched, 8)
    until(lambda: sum(len(each.jobs) for each in batched._open.values()) == 8)
    engine.batches[0][1].set_exception(EngineLost("the scheduler is gone"))
    assert [type(each.exception(10)) for each in futures] == [EngineLost] * 9
    monkeypatch.setattr(batches, "GATHER_SECONDS", 0.0)
    until(lambda: running(runtime) == 0)
    assert engine.jobs == 1


def test_a_refusal_with_other_batches_away_leaves_no_place_taken(
    runtime: Runtime, batched: Batched, engine: Engine
) -> None:
    """Others keep their places while they may still be sending; all are free once the lost engine is shut down."""
    futures = given(batched, 70)
    until(lambda: engine.jobs == 70)
    (first, refused), (second, late), *never = engine.batches
    refused.set_result(Carried(carrier="a:1", refused="it has another secret"))
    assert [type(each.exception(10)) for each in futures] == [EngineLost] * 70
    until(lambda: running(runtime) == 70 - len(first.jobs))
    batched.shutdown()
    assert (bool(never), running(runtime)) == (True, 0)
    late.set_result(carried(second))
    assert running(runtime) == 0


def test_a_shutdown_leaves_no_place_taken(
    runtime: Runtime, batched: Batched, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs whose batch is away, or is being collected, are drained, and free their places once."""
    futures = given(batched, 40)
    until(lambda: engine.jobs == 40)
    monkeypatch.setattr(batches, "GATHER_SECONDS", 3600.0)
    futures += given(batched, 3)
    until(lambda: sum(len(each.jobs) for each in batched._open.values()) == 3)
    batched.shutdown()
    assert [getattr(each.result(10), "reason", "") for each in futures] == [DRAINED] * 43
    assert running(runtime) == 0


def test_what_comes_back_to_a_lost_engine_is_not_sent_again(runtime: Runtime, batched: Batched, engine: Engine) -> None:
    """A batch that comes back unbegun after the engine was lost frees its places, and ends nothing twice."""
    futures = given(batched, 70)
    until(lambda: engine.jobs == 70)
    engine.batches[0][1].set_exception(EngineLost("the scheduler is gone"))
    assert [type(each.exception(10)) for each in futures] == [EngineLost] * 70
    for _, future in engine.batches[1:]:
        future.set_exception(WorkerLost("was given up", begun=False))
    until(lambda: running(runtime) == 0)
    assert (batched._thread.is_alive(), engine.jobs) == (True, 70)


def test_an_engine_s_own_error_is_no_recording_s(runtime: Runtime, batched: Batched, engine: Engine) -> None:
    """What an engine raises of its own counts against no recording: all are given back."""
    futures = given(batched, 3)
    until(lambda: engine.jobs == 3)
    for _, future in engine.batches:
        future.set_exception(RuntimeError("cannot schedule new futures"))
    assert [type(each.exception(10)) for each in futures] == [EngineLost] * 3
    until(lambda: running(runtime) == 0)


def test_nothing_is_accepted_after_a_shutdown(runtime: Runtime, batched: Batched) -> None:
    """A job that would never end is refused, as by other executors."""
    batched.shutdown()
    for alone in (False, True):
        late = replace(job(1), alone=alone)
        with pytest.raises(RuntimeError, match="shutting down"):
            batched.submit(failed, late)
    assert running(runtime) == 0


def test_a_job_that_a_shutdown_ended_takes_no_place(
    runtime: Runtime, batched: Batched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that is ended just before its permit is requested is drained, and no permit is taken for it."""
    ask = batched._ask

    def late(waiting: Any) -> None:
        batched.shutdown()
        ask(waiting)

    monkeypatch.setattr(batched, "_ask", late)
    [future] = given(batched, 1)
    assert (getattr(future.result(10), "reason", ""), running(runtime)) == (DRAINED, 0)


def test_a_thread_that_makes_no_progress_loses_its_job(batched: Batched, engine: Engine) -> None:
    """The job of a hanging thread is reported as lost, to run alone; its carrier continues."""
    [future] = given(batched, 1)
    until(lambda: engine.jobs == 1)
    engine.batches[0][1].set_result(Carried(carrier="a:1"))
    assert isinstance(future.exception(10), WorkerLost)


def test_a_carrier_that_refuses_is_told(batched: Batched, engine: Engine) -> None:
    """If a carrier refuses a batch, all jobs are given back with the reason."""
    [future] = given(batched, 1)
    until(lambda: engine.jobs == 1)
    engine.batches[0][1].set_result(Carried(carrier="a:1", refused="it runs recvault 0.0.1"))
    error = future.exception(10)
    assert isinstance(error, EngineLost) and "a:1 refuses the work: it runs recvault 0.0.1" in error.message


def test_a_drain_cancels_what_has_not_travelled(runtime: Runtime, batched: Batched, engine: Engine) -> None:
    """A drain cancels a job that waits for its permit, and frees its place."""
    runtime.lender.of("voice").note(Noted(429, rest=100.0))
    [future] = given(batched, 1)
    assert future.cancel()
    batched.shutdown()
    assert (engine.jobs, running(runtime)) == (0, 0)


def test_what_cannot_travel_is_that_job_s_end(batched: Batched) -> None:
    """A job that cannot be pickled fails alone."""
    deep: Any = {}
    for _ in range(5000):
        deep = {"deeper": deep}
    spoilt = Job(source="voice", recording=a_recording(1, raw=deep), attempt=1, maybe_archived=False)
    assert isinstance(batched.submit(failed, spoilt).exception(10), RecursionError)


def test_any_executor_carries(rig: Rig, simulator: Simulator) -> None:
    """Any executor works, e.g. the standard library's: every recording, and each request in the report."""
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=20, conference_share=0)
    rig.add_source("voice", "twilio", account)

    def executor(runtime: Runtime) -> Executor:
        return Batched(runtime, Spec.of(runtime.settings, runtime.store.facts), ThreadPoolExecutor(4))

    with Runtime(config.load(rig.config_path), clock=now, executor=executor) as runtime:
        report = runtime.sync("sync", ["voice"])
    [row] = report.accounts.values()
    assert (report.exit_code, row.archived, row.requests) == (0, 20, len(simulator.requests))
    assert len(rig.sidecars()) == 20
    assert not any(thread.name == "batches" for thread in threading.enumerate())
