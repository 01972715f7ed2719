"""Named jobs on APScheduler, in lanes of threads that do not wait for each other.

At any time a job runs at most once: a turn that comes while the last one runs is skipped and reported. No turn is
dropped for being late: what a suspended machine missed runs once. Jobs follow from the configuration, so none is
stored.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from apscheduler.events import EVENT_JOB_MAX_INSTANCES, JobSubmissionEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler

from recvault.log.lines import get_logger
from recvault.shutdown import Stop

log = get_logger("recvault.daemon.schedule")

_BEAT_SECONDS = 2.0
_JITTER = 0.05  # of an interval: spreads sources that were started together
_OWN = "schedule"  # the lane of the beat


class Schedule:
    """Add lanes and jobs, then start. `on_bug` gets a job's name, `on_skip` its lane."""

    def __init__(self, stop: Stop, *, on_bug: Callable[[str], None], on_skip: Callable[[str], None]) -> None:
        # It would log each poll that is skipped because the last one still runs: `on_skip` counts them instead.
        logging.getLogger("apscheduler.scheduler").setLevel(logging.ERROR)
        self._stop = stop
        self._on_bug = on_bug
        self._scheduler = BackgroundScheduler(
            timezone=UTC, job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        )
        self._scheduler.add_listener(self._skipped(on_skip), EVENT_JOB_MAX_INSTANCES)
        self._lanes: dict[str, str] = {}  # by job
        self._running: Counter[str] = Counter()
        self._idle = threading.Condition()
        self.beat_at = time.monotonic()  # when the scheduler last ran a job of its own
        self.lane(_OWN, 1)
        self.every("beat", _OWN, timedelta(seconds=_BEAT_SECONDS), self._beat)

    def lane(self, name: str, threads: int) -> None:
        """Add a lane with its own threads."""
        self._scheduler.add_executor(ThreadPoolExecutor(threads), alias=name)

    def every(self, name: str, lane: str, interval: timedelta, work: Callable[[], None]) -> None:
        """Do the work now, then at every interval. A known name is not changed."""
        if self._scheduler.get_job(name) is None:
            self._lanes[name] = lane
            self._scheduler.add_job(
                self._turn,
                "interval",
                id=name,
                executor=lane,
                args=[name, work],
                seconds=interval.total_seconds(),
                jitter=interval.total_seconds() * _JITTER,
                next_run_time=datetime.now(UTC),
            )

    def drop(self, name: str) -> None:
        """Remove a job."""
        with contextlib.suppress(JobLookupError):
            self._scheduler.remove_job(name)

    def names(self) -> list[str]:
        """Return the names of all jobs."""
        return [job.id for job in self._scheduler.get_jobs()]

    def start(self) -> None:
        """Start the jobs."""
        self._scheduler.start()

    def again(self) -> None:
        """Make every job due now: times planned before the clock was set are wrong."""
        for job in self._scheduler.get_jobs():
            with contextlib.suppress(JobLookupError):
                job.modify(next_run_time=datetime.now(UTC))

    def end(self) -> None:
        """Start nothing more. Running jobs continue: `wait` for them."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def wait(self, seconds: float) -> bool:
        """Wait for running jobs; return whether all have ended."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._running, timeout=max(0.0, seconds))

    def _turn(self, name: str, work: Callable[[], None]) -> None:
        """Run a job once. An exception is logged and counted, and ends only this turn."""
        with self._idle:
            self._running[name] += 1
        try:
            with self._stop.pulse.working():
                work()
        except Exception as error:  # noqa: BLE001 - the daemon's turn: the next one comes whatever this one met
            self._told(name, error)
        finally:
            with self._idle:
                self._running -= Counter([name])
                self._idle.notify_all()

    def _told(self, name: str, error: Exception) -> None:
        if self._stop.asked.is_set():
            log.debug("job.cut_short", job=name, error=type(error).__name__)  # because what it uses is being closed
            return
        log.error("job.failed", job=name, exc_info=error)
        self._on_bug(name)

    def _beat(self) -> None:
        self.beat_at = time.monotonic()

    def _skipped(self, on_skip: Callable[[str], None]) -> Callable[[JobSubmissionEvent], None]:
        return lambda event: on_skip(self._lanes[event.job_id])
