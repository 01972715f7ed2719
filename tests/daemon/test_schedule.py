"""When jobs run: at once, at their interval, never twice at a time, never skipped for good."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from cli.commands import until
from daemon.conftest import Told
from recvault.daemon import schedule as schedule_module
from recvault.daemon.schedule import Schedule
from recvault.shutdown import Stop

NEVER = timedelta(hours=9)
OFTEN = timedelta(seconds=0.05)


class Log:
    """Counts what ran, and what the schedule reported."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.bugs: list[str] = []
        self.skips: list[str] = []
        self.stop = Stop()

    def work(self, name: str) -> Callable[[], None]:
        return lambda: self.done.update([name])


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def schedule(log: Log) -> Iterator[Schedule]:
    """A schedule with two lanes, not started yet."""
    schedule = Schedule(log.stop, on_bug=log.bugs.append, on_skip=log.skips.append)
    schedule.lane("a", 2)
    schedule.lane("b", 1)
    yield schedule
    log.stop.asked.set()
    schedule.end()
    assert schedule.wait(10)


def test_the_first_turn_is_at_once(schedule: Schedule, log: Log) -> None:
    """A job runs at once, whether it is added before or after the start."""
    schedule.every("before", "a", NEVER, log.work("before"))
    schedule.start()
    schedule.every("after", "b", NEVER, log.work("after"))
    until(lambda: log.done == {"before": 1, "after": 1})


def test_a_name_that_is_known_stays_as_it_is(schedule: Schedule, log: Log) -> None:
    """Adding a known job neither runs nor changes it, as each poll adds its accounts again."""
    schedule.every("job", "a", NEVER, log.work("first"))
    schedule.start()
    until(lambda: log.done["first"] == 1)
    for _ in range(3):
        schedule.every("job", "a", NEVER, log.work("second"))
    schedule.every("last", "a", NEVER, log.work("last"))
    until(lambda: log.done["last"] == 1)
    assert log.done == {"first": 1, "last": 1}


def test_an_exception_ends_its_turn_alone(schedule: Schedule, log: Log, told: Told) -> None:
    """A job's exception is logged with its traceback and counted, and its next turn comes."""

    def fail() -> None:
        log.done.update(["fails"])
        raise ZeroDivisionError("a bug")

    schedule.every("fails", "a", OFTEN, fail)
    schedule.start()
    until(lambda: log.done["fails"] >= 3 and len(log.bugs) >= 3)
    assert set(log.bugs) == {"fails"}
    first = told("job.failed")[0]
    assert (first["level"], first["job"]) == ("error", "fails")
    assert "ZeroDivisionError: a bug" in first["exception"]


def test_what_a_stop_breaks_is_no_bug(schedule: Schedule, log: Log, told: Told) -> None:
    """A job that fails because the daemon is closing is not counted."""
    began, goes_on = threading.Event(), threading.Event()

    def cut() -> None:
        began.set()
        goes_on.wait(10)
        raise RuntimeError("closed")

    schedule.every("cut", "a", NEVER, cut)
    schedule.start()
    assert began.wait(10)
    log.stop.asked.set()
    schedule.end()
    assert not schedule.wait(0)
    goes_on.set()
    assert schedule.wait(10)
    assert (log.bugs, told("job.failed")) == ([], [])


def test_lanes_do_not_wait_for_each_other(schedule: Schedule, log: Log) -> None:
    """A busy lane delays neither another lane nor the beat."""
    goes_on = threading.Event()
    for name in ("slow-1", "slow-2", "waits"):
        schedule.every(name, "a", NEVER, lambda name=name: (log.done.update([name]), goes_on.wait(20)))  # type: ignore[misc]
    schedule.every("quick", "b", OFTEN, log.work("quick"))
    schedule.start()
    began = schedule.beat_at
    until(lambda: log.done["quick"] >= 5 and schedule.beat_at > began)
    assert sum(log.done[name] for name in ("slow-1", "slow-2", "waits")) == 2
    goes_on.set()
    until(lambda: log.done["waits"] == 1)


def test_a_slow_job_runs_once_at_a_time(schedule: Schedule, log: Log) -> None:
    """Turns during a running job are reported as skipped, and one run makes up for all."""
    goes_on, running = threading.Event(), threading.Semaphore(1)

    def slow() -> None:
        assert running.acquire(blocking=False), "twice at once"
        log.done.update(["slow"])
        goes_on.wait(20)
        running.release()

    schedule.every("slow", "a", OFTEN, slow)
    schedule.start()
    until(lambda: len(log.skips) >= 3)
    assert (log.done["slow"], set(log.skips)) == (1, {"a"})  # the lane: a source
    goes_on.set()
    until(lambda: log.done["slow"] >= 3)
    assert log.bugs == []


def test_nothing_is_dropped_for_being_late(schedule: Schedule, log: Log) -> None:
    """A turn that is hours late, e.g. after a sleep, runs, once for all missed ones."""
    schedule.every("late", "a", timedelta(minutes=1), log.work("late"))
    schedule._scheduler.get_job("late").modify(next_run_time=datetime.now(UTC) - timedelta(hours=5))
    schedule.start()
    until(lambda: log.done["late"] == 1)
    schedule.every("last", "a", NEVER, log.work("last"))
    until(lambda: log.done["last"] == 1)
    assert log.done["late"] == 1


def test_again_makes_all_due(schedule: Schedule, log: Log) -> None:
    """After the clock was set back, all jobs are made due now."""
    schedule.every("one", "a", NEVER, log.work("one"))
    schedule.every("two", "b", NEVER, log.work("two"))
    schedule.start()
    until(lambda: log.done == {"one": 1, "two": 1})
    schedule.again()
    until(lambda: log.done == {"one": 2, "two": 2})


def test_what_is_dropped_is_not_done_again(schedule: Schedule, log: Log) -> None:
    """A dropped job does not run again; dropping it twice is harmless."""
    schedule.every("dropped", "a", OFTEN, log.work("dropped"))
    schedule.every("kept", "b", OFTEN, log.work("kept"))
    schedule.start()
    until(lambda: log.done["dropped"] >= 1)
    schedule.drop("dropped")
    schedule.drop("dropped")
    assert "dropped" not in schedule.names() and "kept" in schedule.names()
    until(lambda: log.done["kept"] >= 2)
    seen, kept = log.done["dropped"], log.done["kept"]
    until(lambda: log.done["kept"] >= kept + 4)
    assert log.done["dropped"] - seen <= 1  # one may have been running


def test_the_beat_goes_on(schedule: Schedule) -> None:
    """The beat comes by itself, often enough for any watchdog."""
    schedule._scheduler.get_job("beat").reschedule("interval", seconds=0.05)
    schedule.start()
    beats = {schedule.beat_at}
    until(lambda: beats.add(schedule.beat_at) or len(beats) >= 3)  # type: ignore[func-returns-value]
    assert schedule_module._BEAT_SECONDS <= 5


def test_a_job_at_work_is_watched(schedule: Schedule, log: Log) -> None:
    """While a job runs, its thread must show signs of life."""
    goes_on, began = threading.Event(), threading.Event()
    schedule.every("job", "a", NEVER, lambda: (began.set(), goes_on.wait(20)))  # type: ignore[arg-type, return-value]
    schedule.start()
    assert began.wait(10)
    until(lambda: log.stop.pulse.quiet_seconds() > 0.05)
    goes_on.set()
    assert schedule.wait(10)
    until(lambda: log.stop.pulse.quiet_seconds() < 0.05)


def test_what_was_started_together_drifts_apart(schedule: Schedule, log: Log) -> None:
    """Intervals vary slightly, so that ten sources do not poll in the same instant forever."""
    schedule.every("job", "a", timedelta(minutes=5), log.work("job"))
    trigger = schedule._scheduler.get_job("job").trigger
    now = datetime.now(UTC)
    waits = {(trigger.get_next_fire_time(now, now) - now).total_seconds() for _ in range(20)}
    assert len(waits) > 1
    assert 270 <= min(waits) <= max(waits) <= 330
