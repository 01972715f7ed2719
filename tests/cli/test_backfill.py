"""`recvault backfill` killed, interrupted, beside a daemon, on a terminal, and as a dry run."""

from __future__ import annotations

import json
import signal
import threading
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from structlog.testing import capture_logs

from cli.commands import finish, kill, on_terminal, run, run_each, start, until
from ledger.rows import recording as a_recording
from recvault.cli.advance import advance
from recvault.discovery.time_slices import bounded
from recvault.http import REFUSED
from recvault.ledger import BACKFILL, Feed
from recvault.log.meter import PROVIDER, STORE, LineFacts, Spending
from recvault.models import Failure, Job, State, Verdict, Window
from recvault.monitoring.progress import CONCURRENCY, CPU, LIMITED, PACE, SLOWER, STORE_DOWN, Progress, Reading
from recvault.monitoring.report import Report
from recvault.simulator import SimAccount, Simulator
from rig import Rig, without_late_calls
from strict_s3 import Bucket

DAY = timedelta(days=1)


@pytest.fixture
def rig(tmp_path: Path, simulator: Simulator, strict_bucket: Bucket) -> Rig:
    """A recvault without sources, over the strict S3 server."""
    rig = Rig(root=tmp_path, simulator=simulator, s3_url=strict_bucket.url, bucket=strict_bucket.name)
    rig.daemon = {"metrics_listen": "", "drain_timeout": "20s"}
    return rig


def years(rig: Rig, count: int = 60, latency: float = 0.0) -> SimAccount:
    """Make a source with that many recordings over as many weeks, behind a slow provider."""
    account = rig.simulator.add_account("twilio")
    begin = rig.simulator.now - (count * 7 + 2) * DAY
    rig.simulator.populate(account, "voice", count, begin, 7 * DAY, durations=(1.0, 1.0), conference_share=0)
    rig.add_source("voice", "twilio", account)
    slow(rig, latency)
    return account


def slow(rig: Rig, latency: float) -> None:
    rig.simulator.switches = replace(rig.simulator.switches, latency_seconds=latency)


def lists(rig: Rig) -> int:
    return rig.simulator.count(lambda each: each.path.endswith("/Recordings.json"))


def downloads(rig: Rig) -> Counter[str]:
    return Counter(each.path for each in rig.simulator.requests if each.path.endswith(".wav"))


def assert_bucket_is_truth(rig: Rig, account: SimAccount) -> None:
    truth, sidecars, objects = rig.simulator.truth(account), rig.sidecars(), rig.objects()
    assert set(sidecars) == {recording.recording_id for recording in truth}
    assert len(without_late_calls(objects)) == 2 * len(truth) + 1  # plus the schema
    for recording in truth:
        (medium,) = sidecars[recording.recording_id]["media"]
        assert objects[medium["key"]] == rig.simulator.media(recording, "wav").read()


def windows(rig: Rig) -> list[Window]:
    """Return the windows requested from the list so far."""
    asked = (parse_qs(each.query) for each in rig.simulator.requests if each.path.endswith("/Recordings.json"))
    ends = ((each.get("DateCreated>"), each.get("DateCreated<")) for each in asked)
    return [Window(*(datetime.fromisoformat(end[0]) if end else None for end in both)) for both in ends]


def slices_read(rig: Rig, account: SimAccount) -> list[Window]:
    with rig.runtime() as runtime:
        return runtime.ledger.slices(Feed("voice", "twilio", account.account_id, BACKFILL))


def test_kill_9_in_the_middle_and_a_rerun_reads_only_the_rest(rig: Rig) -> None:
    """After a kill the rerun does not list completed windows again, and each recording is archived once."""
    account = years(rig)
    told = run(rig, "backfill", "--source", "voice", "--dry-run", "--json").document
    assert (told["total"]["recordings"], rig.objects(), (rig.root / "ledger.db").exists()) == (60, {}, False)

    slow(rig, 0.1)
    rig.simulator.clear_requests()
    process = start(rig, "backfill", "--source", "voice", "--json")
    until(lambda: lists(rig) >= 10 and len(rig.sidecars()) >= 4)
    kill(process)
    archived, done = set(rig.sidecars()), slices_read(rig, account)
    assert done and 0 < len(archived) < 60

    slow(rig, 0)
    rig.simulator.clear_requests()
    again = run(rig, "backfill", "--source", "voice", "--json")
    assert (again.code, again.document["outcome"]) == (0, "ok")
    asked = [bounded(Window(each.since, each.until or rig.simulator.now)) for each in windows(rig)]
    second = timedelta(seconds=1)  # the provider's filter is rounded outward to it
    both = [(a, b) for a in asked for b in map(bounded, done) if a[0] + second < b[1] and b[0] < a[1] - second]
    assert (len(asked) > 0, both) == (True, [])
    assert again.document["sources"][0]["archived"] == 60 - len(archived)
    assert_bucket_is_truth(rig, account)
    assert again.document["sources"][0]["watermark"] is not None
    assert slices_read(rig, account) == []


def test_an_interrupt_drains_and_tells_how_to_go_on(rig: Rig) -> None:
    """On SIGINT running transfers finish, the exit code is 130, and the command to continue is printed."""
    account = years(rig, latency=0.1)
    words = ("backfill", "--source", "voice", "--oldest-first", "--workers", "4")
    process = start(rig, *words)
    until(lambda: sum(downloads(rig).values()) >= 4)
    process.send_signal(signal.SIGINT)
    ended = finish(process)
    assert ended.code == 130
    told = ended.stderr.splitlines()[-1]
    assert told.startswith("interrupted: to continue, run the same command: recvault --config ")
    assert told.endswith(" ".join(words))
    assert 4 <= len(rig.sidecars()) < 60
    slow(rig, 0)
    assert run(rig, *words).code == 0
    assert set(downloads(rig).values()) == {1}
    assert_bucket_is_truth(rig, account)


def test_beside_a_running_daemon_nothing_is_transferred_twice(rig: Rig) -> None:
    """Beside a daemon that reads the same history, each recording is downloaded once."""
    account = years(rig, latency=0.03)
    daemon = start(rig, "run", "--json")
    try:
        until(lambda: sum(downloads(rig).values()) >= 2)
        ran = run(rig, "backfill", "--source", "voice", "--json")
        assert (ran.code, ran.document["outcome"]) == (0, "ok"), ran.stderr
        until(lambda: len(rig.sidecars()) == 60)
    finally:
        daemon.send_signal(signal.SIGTERM)
        ended = finish(daemon)
    assert ended.code == 143
    assert set(downloads(rig).values()) == {1}
    assert_bucket_is_truth(rig, account)


WRONG = {
    "--source other": (2, "there is no source named other"),
    "--source voice --room RM1": (78, "not by room"),
    "--source voice --dry-run --room RM1": (78, "not by room"),
    "--source voice --since yesterday": (2, "is not a date"),
    "--source voice --since 2026-02-01 --until 2026-01-01": (2, "before --until"),
    "--source voice --since 2999-01-01": (2, "in the future"),
    "--source voice --since 2026-01-01 --call CA1": (2, "cannot be combined with --call"),
    "--source voice --recording=": (2, "an ID must not be empty"),
}


def test_what_cannot_be_done_is_told_before_anything_begins(rig: Rig) -> None:
    """Impossible requests end with their exit code and message, before any request, ledger or object."""
    years(rig, count=1)
    for words, ran in zip(WRONG, run_each(rig, *(["backfill", *words.split()] for words in WRONG)), strict=True):
        code, said = WRONG[words]
        assert (ran.code, said in ran.stderr, ran.stdout) == (code, True, ""), (words, ran)
    assert (rig.simulator.requests, (rig.root / "ledger.db").exists(), rig.objects()) == ([], False, {})


def test_a_terminal_shows_how_far_it_is_and_the_dry_run_as_a_table(rig: Rig) -> None:
    """A terminal shows live progress and then the report; the dry run prints a table by month."""
    years(rig, count=20, latency=0.12)
    code, shown = on_terminal(rig, "backfill", "--source", "voice", "--workers", "1")
    assert code == 0
    for word in ("archived", "KiB", "h of audio", "/s", "listing", " left", "limited by the provider"):
        assert word in shown, word
    slow(rig, 0)
    code, shown = on_terminal(rig, "backfill", "--source", "voice", "--dry-run")
    assert code == 0
    for word in ("month", "wav", "0 recordings to archive", "20 archived already"):
        assert word in shown, word


# -- progress --------------------------------------------------------------------------------------------------------


def report(**counts: int) -> Report:
    made = Report(command="backfill", started_at=None)  # type: ignore[arg-type]
    row = made.account("voice", "twilio", "AC1")
    for name, count in counts.items():
        setattr(row, name, count)
    return made


class Seconds:
    """A clock set by the test."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def line(held_by: str | None = None, requests: int = 0) -> LineFacts:
    return LineFacts(
        source="voice", answers={"200": requests}, concurrency=4 if held_by else 8, max_concurrency=8, held_by=held_by
    )


def two_readings(progress: Progress, clock: Seconds) -> Reading:
    progress.changed(report())
    progress.read()
    clock.now += 10
    progress.changed(report(archived=30, already_archived=10, bytes=1000, listed=90))
    return progress.read()


def test_a_reading_tells_the_rate_and_when_it_will_end() -> None:
    """After listing, the time left is the remainder divided by the last minute's rate."""
    clock = Seconds()
    progress = Progress(clock=clock)
    reading = two_readings(progress, clock)
    assert (reading.listing, reading.eta_seconds, reading.listed) == (True, None, 90)
    assert (reading.recordings, reading.per_second, reading.bytes_per_second) == (40, 4.0, 100.0)
    assert replace(reading, listing=False, left=20).eta_seconds == 5.0
    assert replace(reading, listing=False, left=20, per_second=0.0).eta_seconds is None
    assert replace(reading, listing=False, left=0, per_second=0.0).eta_seconds == 0.0


def test_a_reading_counts_what_failed() -> None:
    """Failing and dead recordings are counted, not those that are not ready or gone."""
    progress, each = Progress(clock=Seconds()), a_recording()
    job = Job(source="voice", recording=each, attempt=1, maybe_archived=False)
    for verdict, state in (
        (Verdict.RETRY, State.FAILING),
        (Verdict.FATAL, State.DEAD),
        (Verdict.NOT_READY, State.NOT_READY),
        (Verdict.GONE, State.GONE),
    ):
        progress.settled(job, Failure(source="voice", recording=each, verdict=verdict, reason="x", message="x"), state)
    assert progress.read().failures == 2


HELD: dict[str | None, dict[str, Any]] = {
    STORE_DOWN: {"trouble": "no bucket"},
    LIMITED: {"held_by": REFUSED},
    SLOWER: {"held_by": SLOWER, "requests": 20},
    PACE: {"requests": 195},
    None: {"requests": 20},
}


@pytest.mark.parametrize("reason", HELD, ids=str)
def test_a_reading_tells_what_holds_it_back(reason: str | None) -> None:
    """The limit is the bucket, a 429, the configured pace or a slower provider, or none."""
    clock, facts = Seconds(), HELD[reason]
    lines = iter([line(), line(), *[line(facts.get("held_by"), facts.get("requests", 0))] * 3])
    progress = Progress(clock=clock, line=lambda: next(lines), requests_per_second=20)
    progress.begin([], lambda: 0, lambda: facts.get("trouble"))
    assert two_readings(progress, clock).held_back_by == reason


def test_cores_that_are_busy_are_named() -> None:
    """If all processes together use all cores' time, the limit is this machine's CPU."""
    clock = Seconds()
    progress = Progress(clock=clock, requests_per_second=20, cores=2, spending=lambda: Spending(clock.now * 1.9))
    assert two_readings(progress, clock).held_back_by == CPU


WAITED: dict[str | None, dict[str, float]] = {
    STORE: {"store": 8.0, "provider": 4.0},
    PROVIDER: {"store": 2.0, "provider": 40.0, "turn": 1.0},
    CONCURRENCY: {"provider": 20.0, "turn": 70.0},
    None: {"store": 0.05},
}


@pytest.mark.parametrize("reason", WAITED, ids=str)
def test_what_threads_wait_for_most_is_named(reason: str | None) -> None:
    """The limit is what all processes' threads wait for most: bucket, provider or request budget."""
    clock = Seconds()

    def spending() -> Spending:
        return Spending(0.0, {what: seconds * clock.now / 10 for what, seconds in WAITED[reason].items()})

    progress = Progress(clock=clock, requests_per_second=20, spending=spending)
    assert two_readings(progress, clock).held_back_by == reason


def test_off_a_terminal_progress_is_a_line_of_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal progress is logged at each interval, with plain numbers, until the end."""
    progress, twice, told = Progress(), threading.Event(), []

    def read() -> Reading:
        told.append(reading := Progress.read(progress))
        if len(told) >= 3:
            twice.set()
        return reading

    class Watched(Progress):
        def read(self) -> Reading:
            return read()

    progress.changed(report(archived=3, bytes=70))
    with capture_logs() as logs, advance(Watched(), "voice", shown=False, every_seconds=0.01):
        assert twice.wait(20)
    events = [each for each in logs if each["event"] == "backfill.progress"]
    assert len(events) >= 2
    assert (events[0]["source"], events[0]["recordings"], events[0]["bytes"]) == ("voice", 3, 70)
    assert {"audio_hours", "per_second", "left", "eta_seconds", "failures", "held_back_by", "listing"} <= set(events[0])
    json.dumps(events[0])
    assert not [each for each in threading.enumerate() if each.name == "progress"]
