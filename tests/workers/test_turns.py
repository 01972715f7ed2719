"""A worker process's result for a job, whatever happens."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from lines import a_recording
from recvault.errors import WorkerBug
from recvault.models import DRAINED, Failure, Job, Outcome, Verdict
from recvault.shutdown import Stop
from recvault.workers.turns import Begin, Carry, Done

JOB = Job(source="main", recording=a_recording(1), attempt=1, maybe_archived=False)
FAILED = Failure(source="main", recording=JOB.recording, verdict=Verdict.RETRY, reason="media.magic", message="")


class Unreadable(Exception):
    """Pickles, but cannot be unpickled."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.args


def carried(transfer: Callable[[Job], Outcome], stop: Stop | None = None) -> Outcome | BaseException:
    """Return what the parent receives."""
    told: list[Done] = []
    Carry(transfer, stop or Stop(), told.append)(Begin(1, "main", pickle.dumps(JOB)))
    [done] = told
    return done.outcome(JOB)


def raising(error: BaseException) -> Callable[[Job], Outcome]:
    def transfer(job: Job) -> Outcome:
        raise error

    return transfer


def test_an_outcome_travels_without_what_its_parent_has() -> None:
    """The job's own recording is restored by the parent; a refreshed one is sent."""
    fresh = replace(a_recording(1), status="absent")
    assert carried(lambda job: replace(FAILED, recording=job.recording)) == FAILED
    assert cast("Failure", carried(lambda job: replace(FAILED, recording=fresh))).recording == fresh


@pytest.mark.parametrize("error", [ZeroDivisionError(), Unreadable("a", "b"), SystemExit(3), MemoryError()], ids=repr)
def test_whatever_is_raised_is_that_job_s_end(error: BaseException) -> None:
    """Any exception ends only its job, as text if its class cannot be sent."""
    found = carried(raising(error))
    assert isinstance(found, WorkerBug)
    assert found.kind == type(error).__name__
    assert "Traceback" in str(found)


def test_an_outcome_that_cannot_travel_is_that_job_s_end() -> None:
    """An outcome that cannot be pickled or unpickled ends only its job."""
    deep: Any = {}
    for _ in range(5000):
        deep = {"deeper": deep}
    found = carried(lambda job: replace(FAILED, recording=replace(job.recording, raw=deep)))
    assert isinstance(found, WorkerBug) and found.kind == "RecursionError"
    assert isinstance(Done(1, pickle.dumps(Unreadable("a", "b"))).outcome(JOB), WorkerBug)


def test_a_stop_gives_back_what_had_not_begun() -> None:
    """A stop gives back a job that waits for a thread."""
    stop = Stop()
    stop.asked.set()
    assert cast("Failure", carried(raising(ZeroDivisionError()), stop)).reason == DRAINED
