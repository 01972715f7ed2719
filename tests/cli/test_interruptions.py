"""Signals, kills and concurrent commands: a sync may end at any instant, and nothing is lost or doubled."""

from __future__ import annotations

import signal
import time
from collections import Counter
from dataclasses import replace

import pytest

from cli.commands import finish, kill, start, until
from recvault.simulator import SimAccount, Simulator
from rig import Rig, without_late_calls

SIGNALS = {130: signal.SIGINT, 143: signal.SIGTERM}


def fill(rig: Rig, simulator: Simulator, count: int, latency: float) -> SimAccount:
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=count, conference_share=0)
    rig.add_source("voice", "twilio", account)
    rig.transfer = {"workers": 4, "stall_timeout": "30s"}
    slow(simulator, latency)
    return account


def slow(simulator: Simulator, latency: float) -> None:
    simulator.switches = replace(simulator.switches, latency_seconds=latency)


def downloads(simulator: Simulator) -> Counter[str]:
    """Count the downloads of each recording's media."""
    return Counter(each.path for each in simulator.requests if each.path.endswith(".wav"))


def assert_bucket_is_truth(rig: Rig, simulator: Simulator, account: SimAccount) -> None:
    """Check that the bucket has every recording once, byte for byte, and no other objects."""
    truth = simulator.truth(account)
    objects, sidecars = rig.objects(), rig.sidecars()
    assert set(sidecars) == {recording.recording_id for recording in truth}
    named = {medium["key"] for sidecar in sidecars.values() for medium in sidecar["media"]}
    assert {key for key in objects if key.endswith(".wav")} == named
    assert len(named) == len(truth)
    assert len(without_late_calls(objects)) == 2 * len(truth) + 1  # plus the schema
    for recording in truth:
        (medium,) = sidecars[recording.recording_id]["media"]
        assert objects[medium["key"]] == simulator.media(recording, "wav").read()


@pytest.mark.parametrize("code", SIGNALS)
def test_one_signal_drains_cleanly(rig: Rig, simulator: Simulator, code: int) -> None:
    """At the first signal running transfers finish, the report says interrupted, and the next sync continues."""
    account = fill(rig, simulator, 24, latency=0.2)
    process = start(rig, "sync", "--json")
    until(lambda: len(downloads(simulator)) >= 4)
    process.send_signal(SIGNALS[code])
    interrupted = finish(process)
    assert interrupted.code == code
    assert interrupted.document["outcome"] == "interrupted"
    archived = interrupted.document["sources"][0]["archived"]
    assert archived == len(rig.sidecars()) == sum(downloads(simulator).values())
    assert 4 <= archived < 24
    assert interrupted.document["failures"] == []

    slow(simulator, 0)
    rest = rig.sync()
    assert (rest.exit_code, [row.archived for row in rest.accounts.values()]) == (0, [24 - archived])
    assert set(downloads(simulator).values()) == {1}
    assert_bucket_is_truth(rig, simulator, account)


def test_a_second_signal_exits_at_once(rig: Rig, simulator: Simulator) -> None:
    """A second signal ends without the drain; the next sync archives the rest, each once."""
    account = fill(rig, simulator, 20, latency=0.05)
    process = start(rig, "sync", "--json")
    until(lambda: len(downloads(simulator)) >= 4)
    slow(simulator, 20)
    time.sleep(0.4)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.4)
    assert process.poll() is None, "it should be draining"
    process.send_signal(signal.SIGINT)
    asked = time.monotonic()
    killed = finish(process)
    assert (killed.code, killed.stdout) == (130, "")
    assert time.monotonic() - asked < 10  # the drain would take twenty seconds

    slow(simulator, 0)
    assert rig.sync().exit_code == 0
    assert_bucket_is_truth(rig, simulator, account)


def test_kill_9_again_and_again_loses_and_doubles_nothing(rig: Rig, simulator: Simulator) -> None:
    """After three kills in the middle of a sync, a complete one brings the bucket to the truth."""
    account = fill(rig, simulator, 70, latency=0.04)
    for number in range(1, 4):
        process = start(rig, "sync", "--json")
        until(lambda most=15 * number: sum(downloads(simulator).values()) >= most)  # type: ignore[misc]
        kill(process)
        assert len(rig.sidecars()) < 70
    slow(simulator, 0)
    last = rig.sync()
    assert (last.exit_code, last.outcome) == (0, "ok")
    assert_bucket_is_truth(rig, simulator, account)
    with rig.runtime() as runtime:
        (feed,) = runtime.feeds()
    assert (feed.standing.archived, feed.standing.pending) == (70, 0)


def test_two_syncs_side_by_side_transfer_nothing_twice(rig: Rig, simulator: Simulator) -> None:
    """Two syncs on one ledger both succeed, and each recording is downloaded once."""
    account = fill(rig, simulator, 60, latency=0.05)
    both = [start(rig, "sync", "--json") for _ in range(2)]
    ran = [finish(process) for process in both]
    assert [each.code for each in ran] == [0, 0], [each.stderr for each in ran]
    archived = [each.document["sources"][0]["archived"] for each in ran]
    assert sum(archived) == 60 and min(archived) > 0
    assert set(downloads(simulator).values()) == {1}
    assert_bucket_is_truth(rig, simulator, account)


def test_a_watch_ends_with_130(rig: Rig, simulator: Simulator) -> None:
    """`status --watch` runs until it is interrupted, then ends at once without a traceback."""
    account = simulator.add_account("twilio")
    rig.add_source("voice", "twilio", account)
    process = start(rig, "status", "--watch")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("source\t")
    process.send_signal(signal.SIGINT)
    ran = finish(process)
    assert (ran.code, "Traceback" in ran.stderr) == (130, False)
