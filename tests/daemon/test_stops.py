"""How a daemon ends, restarts and shares its ledger: signals, kills and other processes cost nothing."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import time
from dataclasses import replace
from datetime import timedelta

import pytest

from cli.commands import finish, kill, until
from cli.commands import start as start_command
from daemon.conftest import Start
from daemon.started import archived, asked, assert_truth, ids
from recvault.simulator import SimAccount, Simulator
from rig import Rig
from strict_s3 import Bucket

SIGNALS = {130: signal.SIGINT, 143: signal.SIGTERM}
BRIEF = "import recvault.daemon.service as service; service._GRACE_SECONDS = 0.3"
SOON = """
import recvault.daemon.service as service
from datetime import timedelta
service._LEASES_EVERY = timedelta(seconds=0.5)
"""
_AT_WORK = "SELECT count(DISTINCT lease) FROM recordings WHERE lease IS NOT NULL"  # processes
IN_PARTS = """
from recvault.store.s3.s3_store import S3Store
S3Store.__init__.__kwdefaults__.update(single_put_most=1 << 20, part_least=1 << 20)
"""


def fill(rig: Rig, simulator: Simulator, count: int) -> SimAccount:
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=count, conference_share=0)
    rig.add_source("voice", "twilio", account, poll_every="0.4s")
    rig.transfer = {"workers": 4, "stall_timeout": "30s"}
    return account


def turn(simulator: Simulator, **switches: float) -> None:
    simulator.switches = replace(simulator.switches, **switches)


def assert_the_rest(rig: Rig, count: int) -> None:
    """Check that nothing is leased: a following sync archives the rest at once."""
    rest = rig.sync()
    assert (rest.exit_code, [row.archived for row in rest.accounts.values()]) == (0, [count])


@pytest.mark.parametrize("code", SIGNALS)
def test_a_signal_lets_transfers_end(
    rig: Rig, simulator: Simulator, strict_bucket: Bucket, start: Start, code: int
) -> None:
    """After a signal no transfer begins, running ones finish, and the report is complete."""
    account = fill(rig, simulator, 24)
    turn(simulator, latency_seconds=0.2)
    daemon = start()
    until(lambda: len(asked(simulator)) >= 4)
    ran = daemon.stopped(SIGNALS[code])
    assert ran.code == code
    report = ran.document
    assert (report["command"], report["outcome"], report["failures"]) == ("run", "interrupted", [])
    (row,) = report["sources"]
    assert row["archived"] == len(archived(strict_bucket)) == sum(asked(simulator).values())
    assert 4 <= row["archived"] < 24 and row["listed"] >= 24 and row["registered"] == 24
    assert daemon.events("daemon.stopped")[0]["archived"] == row["archived"]

    turn(simulator, latency_seconds=0)
    assert_the_rest(rig, 24 - row["archived"])
    assert set(asked(simulator).values()) == {1}
    assert_truth(rig, strict_bucket, (simulator, account, "wav"))


@pytest.mark.parametrize("fault", ["slow", "stall"])
def test_past_its_drain_a_transfer_is_cut(
    rig: Rig, simulator: Simulator, strict_bucket: Bucket, start: Start, fault: str
) -> None:
    """Transfers that exceed drain_timeout are cut, whether their body drips or is silent."""
    account = fill(rig, simulator, 6)
    rig.daemon["drain_timeout"] = "1s"
    turn(simulator, slow_seconds=20, stall_seconds=30)
    simulator.faults.plan(fault, times=50, kind="media")
    daemon = start(prelude=BRIEF).ready()
    until(lambda: daemon.metric("recvault_recordings", state="pending") == 6 and len(asked(simulator)) >= 2)
    began = time.monotonic()
    ran = daemon.stopped()
    took = time.monotonic() - began
    assert ran.code == 143
    assert 1.0 <= took < 12.0, took  # the bodies would take 20 and 30 s
    assert (ran.document["outcome"], ran.document["sources"][0]["archived"]) == ("interrupted", 0)
    assert archived(strict_bucket) == set()

    simulator.faults.clear_plans()
    assert_the_rest(rig, 6)
    assert_truth(rig, strict_bucket, (simulator, account, "wav"))


def test_a_second_signal_exits_at_once(rig: Rig, simulator: Simulator, strict_bucket: Bucket, start: Start) -> None:
    """A second signal ends at once, and nothing is lost."""
    account = fill(rig, simulator, 6)
    turn(simulator, slow_seconds=20)
    simulator.faults.plan("slow", times=50, kind="media")
    daemon = start().ready()
    until(lambda: len(asked(simulator)) >= 2)
    daemon.send(signal.SIGTERM)
    daemon.tells("daemon.stopping")
    began = time.monotonic()
    ran = daemon.stopped(signal.SIGINT)
    assert (ran.code, ran.stdout) == (130, "")
    assert time.monotonic() - began < 10  # the drain would take twenty seconds

    simulator.faults.clear_plans()
    assert_the_rest(rig, 6)
    assert_truth(rig, strict_bucket, (simulator, account, "wav"))


def test_an_upload_is_cut_and_given_up(rig: Rig, simulator: Simulator, strict_bucket: Bucket, start: Start) -> None:
    """A large upload is cut in mid-stream, and its parts are removed from the bucket."""
    account = simulator.add_account("twilio")
    simulator.add(account, "voice", duration_seconds=240.0, created_at=simulator.now - timedelta(hours=1))
    rig.add_source("voice", "twilio", account)
    rig.daemon["drain_timeout"] = "1s"
    strict_bucket.strictness = replace(strict_bucket.strictness, part_least=1)
    strict_bucket.faults.plan("slow", "PART", times=50, seconds=1.5)
    daemon = start(prelude=IN_PARTS)
    until(lambda: strict_bucket.counts["PART"] >= 1)
    assert len(strict_bucket.uploads) == 1
    ran = daemon.stopped()
    assert (ran.code, archived(strict_bucket)) == (143, set())
    assert strict_bucket.counts["ABORT"] == 1 and not strict_bucket.uploads
    assert strict_bucket.counts["COMPLETE"] == 0

    strict_bucket.faults.off()
    assert_the_rest(rig, 1)
    assert_truth(rig, strict_bucket, (simulator, account, "wav"))


def test_one_daemon_a_ledger(rig: Rig, simulator: Simulator, start: Start) -> None:
    """A second daemon exits 75 and names the first; after the first ends, another can start."""
    fill(rig, simulator, 1)
    first = start().ready()
    rig.daemon["metrics_listen"] = ""
    second = start().ended()
    assert (second.code, second.stdout) == (75, "")
    assert f"process {first.process.pid}" in second.stderr
    assert first.stopped().code == 143
    assert start().ready().stopped().code == 143


def test_after_kill_9_the_next_start_needs_no_hand(
    rig: Rig, simulator: Simulator, strict_bucket: Bucket, start: Start
) -> None:
    """After two kills during transfers the next daemon archives all, and writes nothing twice."""
    account = fill(rig, simulator, 40)
    turn(simulator, latency_seconds=0.05)
    for most in (8, 20):
        daemon = start()
        until(lambda most=most: len(archived(strict_bucket)) >= most)  # type: ignore[misc]
        daemon.killed()
        assert len(archived(strict_bucket)) < 40
    daemon = start().ready()
    until(lambda: archived(strict_bucket) == ids(simulator, account))
    ran = daemon.stopped()
    assert (ran.code, ran.document["failures"]) == (143, [])
    assert_the_rest(rig, 0)
    assert_truth(rig, strict_bucket, (simulator, account, "wav"))


def test_a_sync_beside_it_transfers_nothing_twice(
    rig: Rig, simulator: Simulator, strict_bucket: Bucket, start: Start
) -> None:
    """A sync and a daemon on one ledger download and write each recording once."""
    account = fill(rig, simulator, 60)
    turn(simulator, latency_seconds=2.0)  # so that a sync that starts slowly finds something to do
    daemon = start().ready()
    sync = start_command(rig, "sync", "--json")
    until(lambda: len([*(rig.root / "ledger.db.owners").iterdir()]) == 2)
    turn(simulator, latency_seconds=0.25)
    beside = finish(sync)
    assert beside.code == 0, beside.stderr
    until(lambda: archived(strict_bucket) == ids(simulator, account))
    ran = daemon.stopped()
    shares = [each.document["sources"][0]["archived"] for each in (beside, ran)]
    assert sum(shares) == 60 and min(shares) > 0
    assert len(asked(simulator)) == 60 and set(asked(simulator).values()) == {1}
    assert_truth(rig, strict_bucket, (simulator, account, "wav"))


def test_a_sync_that_is_killed_beside_it(rig: Rig, simulator: Simulator, strict_bucket: Bucket, start: Start) -> None:
    """The work of a killed sync is taken over by the running daemon, without a restart."""
    account = fill(rig, simulator, 40)
    turn(simulator, latency_seconds=0.5)
    daemon = start(prelude=SOON).ready()
    until(lambda: len(asked(simulator)) >= 1)
    beside = start_command(rig, "sync", "--json")
    with contextlib.closing(sqlite3.connect(rig.root / "ledger.db")) as ledger:
        until(lambda: ledger.execute(_AT_WORK).fetchone() == (2,))
    kill(beside)
    turn(simulator, latency_seconds=0)
    until(lambda: archived(strict_bucket) == ids(simulator, account))
    ran = daemon.stopped()
    assert (ran.code, ran.document["failures"]) == (143, [])
    assert_truth(rig, strict_bucket, (simulator, account, "wav"))
