"""If the bucket, the ledger or the clock fails, the daemon reports it, continues, and recovers."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import replace
from datetime import timedelta

import pytest

from cli.commands import until
from daemon.conftest import Start
from daemon.started import archived, assert_truth, ids, lists
from recvault.ledger import running_daemon
from recvault.simulator import SimAccount, Simulator
from rig import Rig
from strict_s3 import Bucket, StrictS3

SOON = "import recvault.daemon.service as service; service._REST_SECONDS = 1.0"
IMPATIENT = "import recvault.ledger.connection as connection; connection.BUSY_SECONDS = 0.3"

CLOCK = """
import pathlib
from datetime import timedelta
from recvault.cli import run
read = run.now
run.now = lambda: read() + timedelta(hours=2 if pathlib.Path("jump").exists() else 0)
"""


@pytest.fixture
def account(rig: Rig, simulator: Simulator) -> SimAccount:
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=4, conference_share=0)
    rig.add_source("voice", "twilio", account, poll_every="0.4s")
    return account


def add(simulator: Simulator, account: SimAccount, count: int) -> None:
    """Add that many recordings, listed from now on."""
    now = simulator.now
    for _ in range(count):
        simulator.add(account, "voice", created_at=now - timedelta(minutes=5), visible_at=now, channels=1)


def published(rig: Rig) -> list[str]:
    """Return what the running daemon tells others of its errors, by kind."""
    daemon = running_daemon(rig.root / "ledger.db")
    return [each.kind for each in daemon.troubles] if daemon else []


@pytest.mark.parametrize("how", ["refuses", "vanishes"])
def test_the_bucket_fails(
    rig: Rig,
    simulator: Simulator,
    account: SimAccount,
    strict_s3: StrictS3,
    strict_bucket: Bucket,
    start: Start,
    how: str,
) -> None:
    """While the bucket fails, transfers pause, lists continue and /healthz names it; then all are archived."""
    daemon = start(prelude=SOON).ready()
    until(lambda: archived(strict_bucket) == ids(simulator, account))
    assert daemon.healthz()[0] == 200

    if how == "refuses":
        strict_bucket.denied |= {"PUT"}
    else:
        del strict_s3.buckets[strict_bucket.name]
    add(simulator, account, 12)
    failed = daemon.tells("store.failed")
    assert failed["level"] == "error" and strict_bucket.name in failed["error"]
    code, document = daemon.healthz()
    assert (code, document["status"]) == (503, "failing")
    (trouble,) = document["troubles"]
    assert [each["risk"] for each in document["reasons"]] == ["bucket"]
    assert (daemon.metric("recvault_safe"), daemon.metric("recvault_risk", reason="bucket")) == (0, 1)
    assert trouble.startswith("bucket: ") and ("AccessDenied" if how == "refuses" else "NoSuchBucket") in trouble
    until(lambda: published(rig) == ["bucket"])  # for `recvault status`, in seconds
    seen, objects = lists(simulator, account.account_id), len(strict_bucket.objects)
    until(lambda: lists(simulator, account.account_id) >= seen + 3)
    waiting = sum(daemon.metric("recvault_recordings", state=state) for state in ("pending", "failing"))
    assert (waiting, len(strict_bucket.objects)) == (12, objects)

    strict_bucket.denied.clear()
    strict_s3.buckets[strict_bucket.name] = strict_bucket
    daemon.tells("store.recovered")
    until(lambda: archived(strict_bucket) == ids(simulator, account))
    until(lambda: daemon.healthz()[0] == 200)
    ran = daemon.stopped()
    assert (ran.code, ran.document["failures"], ran.document["sources"][0]["error"]) == (143, [], None)
    assert_truth(rig, strict_bucket, (simulator, account, "wav"))


def test_the_ledger_is_locked_for_a_while(
    rig: Rig, simulator: Simulator, account: SimAccount, strict_bucket: Bucket, start: Start
) -> None:
    """A ledger locked by another process is reported in /healthz, and afterwards nothing is lost or doubled."""
    simulator.populate(account, "voice", count=40, conference_share=0)
    rig.transfer = {"workers": 4}
    rig.sources[0]["poll_every"] = "1h"
    simulator.switches = replace(simulator.switches, latency_seconds=0.1)
    daemon = start(prelude=IMPATIENT).ready()
    until(lambda: len(archived(strict_bucket)) >= 4)
    with contextlib.closing(sqlite3.connect(rig.root / "ledger.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        failed = daemon.tells("ledger.failed")
        assert "locked by another process" in failed["error"]
        code, document = daemon.healthz()
        assert code == 503 and "locked by another process" in document["troubles"][0]
        assert daemon.metric("recvault_scrape_error") == 0
        assert len(archived(strict_bucket)) < 44
        other.execute("ROLLBACK")
    daemon.tells("ledger.recovered")
    until(lambda: archived(strict_bucket) == ids(simulator, account))
    until(lambda: daemon.healthz()[0] == 200)
    ran = daemon.stopped()
    assert (ran.code, ran.document["failures"], ran.document["sources"][0]["archived"]) == (143, [], 44)
    assert_truth(rig, strict_bucket, (simulator, account, "wav"))


def test_a_poll_under_a_locked_ledger_is_no_bug(
    rig: Rig, simulator: Simulator, account: SimAccount, strict_bucket: Bucket, start: Start
) -> None:
    """A scan that cannot be stored is reported as an error, not a bug, and the next one makes up for it."""
    daemon = start(prelude=IMPATIENT).ready()
    until(lambda: archived(strict_bucket) == ids(simulator, account))
    with contextlib.closing(sqlite3.connect(rig.root / "ledger.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        add(simulator, account, 2)
        until(lambda: len(daemon.events("discover.failed")) >= 2 or bool(daemon.events("job.failed")))
        assert daemon.healthz()[0] == 503 and daemon.events("ledger.failed") != []
        other.execute("ROLLBACK")
    until(lambda: archived(strict_bucket) == ids(simulator, account))
    assert daemon.events("job.failed") == []
    assert daemon.stopped().code == 143
    assert_truth(rig, strict_bucket, (simulator, account, "wav"))


@pytest.mark.parametrize("where", ["a poll", "a turn of transfers"])
def test_the_ledger_is_damaged_while_it_runs(
    rig: Rig, simulator: Simulator, account: SimAccount, strict_bucket: Bucket, start: Start, where: str
) -> None:
    """If the ledger is damaged, the daemon ends with what to do and exit code 78."""
    rig.sources[0]["poll_every"] = "0.4s" if where == "a poll" else "1h"
    daemon = start().ready()
    until(lambda: daemon.metric("recvault_recordings", state="archived") == 4)  # and not only in the bucket
    with contextlib.closing(sqlite3.connect(rig.root / "ledger.db")) as other, other:
        if where == "a poll":
            other.execute("UPDATE feeds SET watermark = 'long ago'")
        else:
            other.execute("UPDATE recordings SET state = 'pending', next_attempt_at = registered_at")
            other.execute("INSERT OR REPLACE INTO listed SELECT id, '{}' FROM recordings")
    assert "recvault rebuild" in daemon.tells("ledger.damaged")["error"]
    ran = daemon.ended()
    assert (ran.code, daemon.events("job.failed")) == (78, [])
    assert "is damaged" in ran.stderr and "recvault rebuild" in ran.stderr


def test_the_clock_jumps(
    rig: Rig, simulator: Simulator, account: SimAccount, strict_bucket: Bucket, start: Start
) -> None:
    """After a sleep or a clock change the daemon logs the jump, and runs everything that was planned."""
    rig.sources[0]["poll_every"] = "1h"
    daemon = start(prelude=CLOCK).ready()
    until(lambda: archived(strict_bucket) == ids(simulator, account))
    assert (lists(simulator, account.account_id), daemon.events("clock.jumped")) == (1, [])
    (rig.root / "jump").touch()
    assert abs(daemon.tells("clock.jumped")["seconds"] - 7200) <= 1
    until(lambda: lists(simulator, account.account_id) >= 2)
    assert daemon.stopped().code == 143
    assert len(daemon.events("clock.jumped")) == 1
