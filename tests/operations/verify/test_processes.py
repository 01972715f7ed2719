"""Verification by several processes has the same result as by one, whatever happens to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cli.commands import environment, until, workers_of
from operations.verify.stage import Stage, a_recording, counted
from recvault.app.runtime import Runtime
from recvault.cli import verify as command
from recvault.errors import StoreRefused
from recvault.operations.verify import Checker, Sample
from recvault.operations.verify.verify import _Answers
from recvault.simulator import Simulator
from recvault.store.s3.reader import S3Reader
from recvault.workers import bucket_readers as crew_module
from recvault.workers.bucket_readers import Crew, answered
from recvault.workers.cores import on_one_core
from rig import Rig

BY_PROCESSES = """
import sys
from recvault.cli import main, verify
from recvault.workers import bucket_readers as crew
verify._MANY, found = 1, crew.cores()
crew.cores = lambda: (found * 2 or [0, 0])[:2]
main(sys.argv[1:])
"""
CHECKER = partial(Checker, sample=Sample())


@pytest.fixture
def runtime(stage: Stage, simulator: Simulator) -> Iterator[Runtime]:
    """The stage's configuration, with 200 recordings."""
    stage.archive(*(a_recording(f"RE{number:03}") for number in range(200)))
    rig = Rig(root=stage.root, simulator=simulator, s3_url=stage.bucket.url, bucket=stage.bucket.name)
    rig.add_source("main", "twilio", simulator.add_account("twilio"))
    with rig.runtime() as made:
        yield made


def crew_of(stage: Stage, runtime: Runtime) -> Crew:
    """Two processes, on one core if there is no other."""
    cores = sorted(os.sched_getaffinity(0))
    return Crew(runtime, S3Reader(runtime.store, stage.stop), CHECKER, [cores[0], cores[-1]])


def test_the_result_is_that_of_one_process(stage: Stage, runtime: Runtime) -> None:
    """Differences, counts, order and exit code are the same, and each request is made once."""
    stage.lose(stage.key("RE007"), stage.key("RE150", "wav"))
    stage.put(stage.key("RE033"), b"{}")
    stage.put("recordings/stranger.txt", b"?")
    alone = stage.verify()
    with crew_of(stage, runtime) as crew:
        together = stage.verify(elsewhere=crew)
        assert all(member.requests for member in crew._members)  # both worked
    assert counted(alone) == {"checked": 200, "ok": 197, "missing": 2, "different": 1, "unknown": 1}
    assert alone.document() == together.document()
    assert (alone.exit_code, together.exit_code) == (3, 3)


def test_a_process_that_dies_leaves_no_recording_unchecked(stage: Stage, runtime: Runtime) -> None:
    """The batch of a process that dies is checked again."""
    stage.lose(*(stage.key(f"RE{number:03}", "wav") for number in range(0, 200, 10)))
    with crew_of(stage, runtime) as crew:
        for member in crew._members:
            os.kill(member.process.pid or 0, signal.SIGSTOP)  # so that it does not answer first
        give, given = crew_module._Member.give, threading.Event()

        def giving(member: Any, items: Sequence[Any]) -> Any:
            future = give(member, items)
            member.end()
            given.set()
            return future

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(crew_module._Member, "give", giving)
            result = stage.verify(elsewhere=crew)
    assert (given.is_set(), counted(result)) == (True, {"checked": 200, "ok": 180, "missing": 20})


def test_where_no_process_can_be_started_one_does_it_all(
    stage: Stage, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If no process can be started, one does everything."""

    def start(*_: object) -> None:
        raise BlockingIOError("no more processes")

    stage.lose(stage.key("RE100"))
    monkeypatch.setattr(crew_module.fork_server, "start", start)
    with crew_of(stage, runtime) as crew:
        result = stage.verify(elsewhere=crew)
    assert (crew._members, counted(result)) == ([], {"checked": 200, "ok": 199, "missing": 1})


def test_a_stop_waits_for_no_process_that_hangs(stage: Stage, runtime: Runtime) -> None:
    """A stop does not wait for a hanging process, and all processes end."""
    with crew_of(stage, runtime) as crew:
        for member in crew._members:
            os.kill(member.process.pid or 0, signal.SIGSTOP)
        give = crew_module._Member.give

        def giving(member: Any, items: Sequence[Any]) -> Any:
            stage.stop.asked.set()
            return give(member, items)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(crew_module._Member, "give", giving)
            result = stage.verify(elsewhere=crew)
    assert (result.interrupted, result.outcome, result.checked) == (True, "interrupted", 0)
    assert [member.process.is_alive() for member in crew._members] == [False, False]


def test_a_refusal_is_the_same_error(stage: Stage, runtime: Runtime) -> None:
    """A missing permission exits 77."""
    stage.bucket.denied = {"GET"}
    with crew_of(stage, runtime) as crew, pytest.raises(StoreRefused) as caught:
        stage.verify(elsewhere=crew)
    assert caught.value.exit_code == 77


def test_nothing_is_asked_behind_an_error_before_it_is_told() -> None:
    """The rest of a batch after an error is requested only when its turn comes."""

    def ask(number: int) -> float:
        return 1 / number

    answers = answered(ask, [1, 2, 0, 4])
    assert (answers[:2], [type(each) for each in answers[2:]]) == ([1.0, 0.5], [ZeroDivisionError])


def test_an_answer_about_another_recording_is_a_bug(stage: Stage, runtime: Runtime) -> None:
    """An answer about another recording is a bug, never used."""
    with stage.prepared().expectations as expectations:
        one, other, *_ = expectations.between("", "\U0010ffff")
    check = Checker(S3Reader(runtime.store, stage.stop), Sample())
    answers = _Answers([one], lambda rows: [replace(check(one), row=other)])
    with pytest.raises(AssertionError, match="the answer for"):
        answers(one)


def test_processes_end_with_their_parent(stage: Stage, runtime: Runtime) -> None:
    """If the parent is killed, its processes end."""
    stage.bucket.faults.share("slow", 1.0, "HEAD", seconds=0.2)
    config = str(stage.root / "config.toml")
    words = [sys.executable, "-c", BY_PROCESSES, "--config", config, "verify"]
    process = subprocess.Popen(words, env=environment(stage.root))
    until(lambda: stage.bucket.counts["HEAD"] > 0)
    members = workers_of(process.pid)
    process.kill()
    process.wait()
    stage.bucket.faults.off()
    assert len(members) == 2
    until(lambda: not any(Path(f"/proc/{each}").exists() for each in members))


def test_one_core_for_these_threads_alone() -> None:
    """Only these threads are bound to one core; others, and the caller afterwards, are not."""
    before, begun, over = os.sched_getaffinity(0), threading.Event(), threading.Event()
    found: dict[str, set[int]] = {}

    def beside() -> None:
        begun.set()
        over.wait(10)
        found["beside"] = os.sched_getaffinity(0)

    other = threading.Thread(target=beside)
    other.start()
    begun.wait(10)
    with on_one_core():
        inside = threading.Thread(target=lambda: found.update(inside=os.sched_getaffinity(0)))
        inside.start()
        inside.join()
    over.set()
    other.join()
    assert found == {"inside": {max(before)}, "beside": before}
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize(
    ("least", "percent", "placed"), [(200, 0, (True, 0)), (201, 0, (False, 1)), (200, 100, (False, 0))]
)
def test_few_recordings_stay_in_one_process(
    stage: Stage, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, least: int, percent: float, placed: Any
) -> None:
    """Few recordings are checked in one process; media are read by threads on all cores."""
    before = os.sched_getaffinity(0)
    monkeypatch.setattr(command, "_MANY", least)
    monkeypatch.setattr(crew_module, "cores", lambda: [min(os.sched_getaffinity(0))])
    verification = stage.prepared()
    with verification.expectations, command._placed(runtime, verification, Sample(percent)):
        found = os.sched_getaffinity(0)
        assert (verification.elsewhere is not None, len(found)) == (placed[0], placed[1] or len(before))
