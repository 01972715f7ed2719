"""Hours on a compressed timeline, with the daemon killed at random again and again: bucket equals truth.

RECVAULT_TEST_KILLS sets the number of kills; at twenty the timeline is six hours in two and a half minutes:

    RECVAULT_TEST_KILLS=20 pytest -n 0 -s tests/daemon/test_timeline.py
"""

from __future__ import annotations

import functools
import json
import os
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import jsonschema
import pytest

from cli.commands import until
from daemon.conftest import Start
from daemon.started import Started
from daemon.timeline import Row, Scale, Timeline, polled_since, rows_of
from recvault import archive
from recvault.simulator import Simulator
from rig import SOURCES, Rig, now, sha256, without_late_calls
from strict_s3 import Bucket

pytestmark = pytest.mark.long

KILLS = int(os.environ.get("RECVAULT_TEST_KILLS", "3"))
FULL = KILLS >= 20
SCALE = Scale(kills=KILLS, hours=6 if FULL else 4, seconds=150 if FULL else max(9, 3 * KILLS), each=300 if FULL else 36)
SHARE = 0.1  # of all requests get a fault
WORKERS = 8
PATIENCE = 60.0  # seconds for what must happen by itself
_TICK = 0.05
_SOON_GONE = """
from datetime import timedelta
from recvault.ledger import attempts, steps
steps.CONFIRM_AFTER = attempts.CONFIRM_AFTER = timedelta(seconds=2)
"""  # what is not found is looked for again hours later: the ledger's clock is ours, and the timeline's hours are short
_MEDIA = re.compile(r"/([^/.]+)\.wav$|^/recordings/[^/]+/[^/]+/([^/]+)/")  # at the API; behind a signed URL
_BUGS = ("Traceback", "job.failed", "transfer.bug", "ledger.failed", "store.failed")


@dataclass(slots=True, kw_only=True)
class Course:
    """A daemon that is killed at random times of a timeline, and restarted at once."""

    timeline: Timeline
    start: Start
    daemons: list[Started] = field(default_factory=list)
    struck: list[int] = field(default_factory=list)  # leases left by each kill
    unready: int = 0  # kills during a start

    def run(self) -> None:
        """Run through the hours."""
        scale, draw = self.timeline.scale, random.Random(20)
        due = sorted(draw.uniform(0.05, 0.9) for _ in range(scale.kills))
        self.daemons.append(self.start().ready())
        for moment in self.timeline.moments(_TICK):
            self.timeline.simulator.set_now(moment)
            rows = self._look()
            if moment >= self.timeline.half and not self._met_half:
                until(lambda: bool(self._look()) and self._met_half, PATIENCE)  # the clock waits for the daemon
            left = due[len(self.struck) :]
            if left and moment >= self.timeline.begin + left[0] * scale.span:
                self._kill(rows)
        assert len(self.struck) == scale.kills, "every kill must have happened"

    def end(self) -> None:
        """Freeze the clock, let the daemon finish everything, and stop it."""
        stands = now()
        until(lambda: self._settled() and polled_since(self._ledger, stands, len(SOURCES)), PATIENCE)
        assert self.daemons[-1].stopped().code == 143
        told = "".join(daemon.err.read_text() for daemon in self.daemons)
        assert [word for word in _BUGS if word in told] == []

    @property
    def _ledger(self) -> Any:
        return self.daemons[-1].rig.root / "ledger.db"

    @property
    def _met_half(self) -> bool:
        """Whether all hour-long recordings are registered below the watermark, and some were deleted meanwhile."""
        timeline = self.timeline
        return timeline.of("long") <= timeline.passed and timeline.of("before") <= timeline.vanished.keys()

    def _look(self) -> dict[str, Row]:
        daemon = self.daemons[-1]
        assert daemon.process.poll() is None, f"the daemon ended by itself: {daemon.err.read_text()[-2000:]}"
        return self.timeline.look(self._ledger) if daemon.events("daemon.ready") else {}

    def _kill(self, rows: dict[str, Row]) -> None:
        """Kill the daemon; every other time only while transfers run."""
        if len(self.struck) % 2 == 0:
            until(lambda: any(row.leased for row in self._look().values()) or self._settled(), PATIENCE)
        self.unready += not self.daemons[-1].events("daemon.ready")
        self.daemons[-1].killed()
        self.struck.append(sum(row.leased for row in rows_of(self._ledger).values()))
        self.daemons.append(self.start())

    def _settled(self) -> bool:
        rows = self._look()
        vanished = self.timeline.of("after") <= self.timeline.vanished.keys()
        return bool(rows) and vanished and not any(row.open for row in rows.values())


@pytest.fixture
def course(rig: Rig, simulator: Simulator, start: Start) -> Iterator[Course]:
    """A timeline that ends about now, and a daemon without help."""
    timeline = Timeline(scale=SCALE, simulator=simulator, begin=now() - SCALE.span)
    simulator.set_now(timeline.begin)
    simulator.switches = replace(simulator.switches, latency_seconds=0.02)  # so that kills meet running transfers
    rig.transfer = {"workers": WORKERS, "max_attempts": 40, "stall_timeout": "10s"}
    yield Course(timeline=timeline, start=functools.partial(start, prelude=_SOON_GONE))
    simulator.faults.off()


def test_hours_with_kills_end_in_the_truth(
    rig: Rig, simulator: Simulator, strict_bucket: Bucket, course: Course
) -> None:
    """However often a daemon is killed, its bucket ends as the truth: everything once, nothing else."""
    timeline = course.timeline
    accounts = timeline.configure(rig)
    simulator.faults.all_on(SHARE)
    began = time.monotonic()
    course.run()
    course.end()
    print(f"\n{told(course, time.monotonic() - began)}")

    rows = rows_of(rig.root / "ledger.db")
    assert_settled(rows, timeline, {r.recording_id for account in accounts for r in simulator.truth(account)})
    assert_bucket(rig, strict_bucket, timeline, {name for name, row in rows.items() if row.state == "archived"})
    assert_no_more_downloads_than_kills_explain(simulator)
    assert sum(simulator.faults.fired.values()) > 0 and sum(course.struck) > 0
    assert [path.name for path in (rig.root / "ledger.db.owners").iterdir()] == []


def assert_settled(rows: dict[str, Row], timeline: Timeline, truth: set[str]) -> None:
    """Check that each recording has its right state, and nothing is due or leased."""
    states = {name: row.state for name, row in rows.items()}
    assert Counter(states.values()).keys() == {"archived", "gone"}
    assert [name for name, row in rows.items() if row.leased or row.open] == []
    deleted = {name for name, state in timeline.vanished.items() if state == "not_ready"}
    kept = timeline.vanished.keys() - deleted
    assert deleted == timeline.of("before") and kept == timeline.of("after")
    assert {name: states.get(name) for name in truth | kept} == dict.fromkeys(truth | kept, "archived")
    assert {name: states.get(name) for name in deleted} == dict.fromkeys(deleted, "gone")
    # Others that are gone failed, or were deleted at any time, perhaps before they were listed.
    rest = {name for name, recording in timeline.recordings.items() if recording.status_final != "completed"}
    assert {name: states.get(name) for name in rest} == dict.fromkeys(rest, "gone")
    assert timeline.recordings.keys() - rows.keys() <= timeline.of("whenever")


def assert_bucket(rig: Rig, bucket: Bucket, timeline: Timeline, archived: set[str]) -> None:
    """Check that what the ledger calls archived is in the bucket once, byte for byte, and nothing else."""
    validator = jsonschema.Draft202012Validator(json.loads(archive.schema_bytes()))
    objects = {key: bucket.body(key) for key in bucket.objects}
    sidecars = {key: json.loads(objects[key]) for key in objects if key.endswith(".json") and key != archive.SCHEMA_KEY}
    assert Counter(each["recording_id"] for each in sidecars.values()) == Counter(archived)
    named = {}
    for key, sidecar in sidecars.items():
        validator.validate(sidecar)
        [medium] = sidecar["media"]
        assert medium["key"].rpartition(".")[0] == key.rpartition(".")[0]
        recording = timeline.recordings[sidecar["recording_id"]]
        # By the legacy list, which has no channels, a conference has the default number.
        channels = recording.default_channels if sidecar["api"] == "2008-08-01" else recording.channels
        served = rig.simulator.media(recording, medium["media_format"], channels)
        assert (medium["sha256"], medium["bytes"]) == (served.sha256, served.length)
        assert sha256(objects[medium["key"]]) == served.sha256
        named[medium["key"]] = recording
    assert without_late_calls(objects).keys() == named.keys() | sidecars.keys() | {archive.SCHEMA_KEY}
    assert {key: times for key, times in bucket.writes.items() if times > 1 and key.startswith("recordings/")} == {}
    assert bucket.uploads == {}


def assert_no_more_downloads_than_kills_explain(simulator: Simulator) -> None:
    """Check that nothing was downloaded completely twice, except what ran at a kill."""
    whole: Counter[str] = Counter()
    for each in simulator.requests:
        if each.status == 200 and each.fault in (None, "slow") and (found := _MEDIA.search(each.path)):
            whole[found[1] or found[2]] += 1
    assert whole.total() - len(whole) <= WORKERS * KILLS
    assert max(whole.values()) <= 1 + KILLS


def told(course: Course, seconds: float) -> str:
    """Describe what happened, for manual runs."""
    timeline, faults = course.timeline, course.timeline.simulator.faults.fired
    return (
        f"{len(course.struck)} kills, {sum(map(bool, course.struck))} of them with leases out ({sum(course.struck)} in "
        f"all), {course.unready} while it started; {len(timeline.recordings)} recordings in "
        f"{timeline.scale.span / timedelta(hours=1):g} hours, {len(timeline.passed)} passed by a watermark unfinished, "
        f"{len(timeline.vanished)} deleted on sight; {faults.total()} faults of {len(faults)} kinds; {seconds:.0f} s"
    )
