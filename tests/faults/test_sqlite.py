"""If the ledger's disk is full or read-only, it is locked, or the power fails, it is reported, and nothing is lost."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

import forked
from cli.commands import PATIENCE, Ran, arguments, environment, finish, run, start, until
from faults.sqlite_lab import Copy, Disk, copied_at_an_instant, held, is_sound
from recvault.errors import LedgerDamaged
from recvault.ledger import Ledger
from recvault.models import unstamp
from recvault.simulator import SimAccount, Simulator
from rig import Rig, without_late_calls
from strict_s3 import Bucket, StrictS3

COUNT = 240  # three pages of Twilio Video's hundred
COPIES = 16
CUTS = 2  # of each copy's WAL
_IMPATIENT = """
import sys
from recvault.ledger import connection
connection.BUSY_SECONDS = 0.3
from recvault.cli import main
main(sys.argv[1:])
"""


@pytest.fixture
def rig(tmp_path: Path, simulator: Simulator, strict_s3: StrictS3, strict_bucket: Bucket) -> Rig:
    """A source with a few pages of recordings; the ledger has its own directory."""
    return a_rig(tmp_path, simulator, strict_s3, strict_bucket)


def a_rig(root: Path, simulator: Simulator, server: StrictS3, bucket: Bucket) -> Rig:
    rig = Rig(root=root, simulator=simulator, s3_url=server.url, bucket=bucket.name)
    rig.ledger = {"path": str(root / "state" / "ledger.db")}
    rig.transfer = {"workers": 4}
    account = simulator.add_account("twilio")
    simulator.populate(account, "video", count=COUNT, durations=(0.1, 0.2))
    rig.add_source("video", "twilio-video", account)
    return rig


def the_account(rig: Rig) -> SimAccount:
    [account] = rig.simulator._world.accounts.values()
    return account


def ledger_of(rig: Rig) -> Path:
    return Path(str(rig.ledger["path"]))


def slow(simulator: Simulator, seconds: float) -> None:
    simulator.switches = replace(simulator.switches, latency_seconds=seconds)


def archived(bucket: Bucket) -> int:
    return sum(key.endswith(".json") and "provider=" in key for key in bucket.objects)


def assert_refused(ran: Ran, code: int, *words: str) -> None:
    """Check the exit code and a message with a hint, without a traceback."""
    said = ran.stdout + ran.stderr
    assert ran.code == code, said
    assert all(word in said for word in words), said
    assert "Traceback" not in said


def assert_all_is_well(rig: Rig, bucket: Bucket) -> None:
    """Check that a pass archives the rest, every recording once, and no object was written twice."""
    report = rig.sync()
    assert (report.exit_code, archived(bucket)) == (0, COUNT), report.document()
    assert len(without_late_calls(rig.objects())) == 2 * COUNT + 1  # plus the schema
    assert {writes for key, writes in bucket.writes.items() if "provider=" in key} == {1}
    assert is_sound(ledger_of(rig))


# -- a full disk -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", ["16k", "96k", "320k"])
def test_a_disk_too_small_is_told(rig: Rig, strict_bucket: Bucket, size: str) -> None:
    """A disk that is full when the ledger is created or written exits 75; with space all is archived."""
    with Disk.mounted(ledger_of(rig).parent, size) as disk:
        assert_refused(run(rig, "sync", "--json"), 75, "disk is full", "free space")
        disk.remount("size=64m")
        assert_all_is_well(rig, strict_bucket)


def test_a_disk_that_fills_up_under_a_pass_is_told(rig: Rig, strict_bucket: Bucket) -> None:
    """What was archived but not stored in the ledger is found in the bucket by the next pass, not fetched again."""
    with Disk.mounted(ledger_of(rig).parent, "8m") as disk:
        slow(rig.simulator, 0.02)
        process = start(rig, "sync", "--json")
        until(lambda: archived(strict_bucket) >= 20)
        disk.fill()
        assert_refused(finish(process), 75, "disk is full", "free space")
        assert archived(strict_bucket) < COUNT
        disk.free()
        slow(rig.simulator, 0)
        assert_all_is_well(rig, strict_bucket)


# -- read-only ---------------------------------------------------------------------------------------------------------


def test_a_disk_that_is_read_only_is_told(rig: Rig, strict_bucket: Bucket) -> None:
    """A read-only directory or ledger is reported with the required owner and mount."""
    with Disk.mounted(ledger_of(rig).parent, "64m") as disk:
        disk.remount("ro")
        assert_refused(run(rig, "sync", "--json"), 1, "cannot be used", "not mounted read-only")
        disk.remount("rw")
        assert_all_is_well(rig, strict_bucket)
        disk.remount("ro")
        assert_refused(run(rig, "sync", "--json"), 1, "cannot be used", "not mounted read-only")
        disk.remount("rw")
        assert_all_is_well(rig, strict_bucket)


# -- locked ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["from the start", "in mid-pass"])
def test_a_ledger_that_another_process_holds_is_told(rig: Rig, strict_bucket: Bucket, when: str) -> None:
    """A transaction that outlasts the timeout exits 75 with a hint; work done meanwhile is not repeated."""
    ledger_of(rig).parent.mkdir()
    Ledger.open(ledger_of(rig), datetime.now(UTC)).close()
    slow(rig.simulator, 0.02)
    with contextlib.ExitStack() as holding:
        if when == "from the start":
            holding.enter_context(held(ledger_of(rig)))
        process = impatient(rig, "sync", "--json")
        if when == "in mid-pass":
            until(lambda: archived(strict_bucket) >= 20)
            holding.enter_context(held(ledger_of(rig)))
        assert_refused(finish(process), 75, "is locked by another process", "wait for it, or stop it")
    assert archived(strict_bucket) < COUNT
    slow(rig.simulator, 0)
    assert_all_is_well(rig, strict_bucket)


def impatient(rig: Rig, *words: str) -> subprocess.Popen[str]:
    """A command that waits only briefly for a lock."""
    command = [sys.executable, "-c", _IMPATIENT, "--config", str(rig.config_path), *words]
    pipe = subprocess.PIPE
    return forked.popen(command, environment(rig.root), stdout=pipe, stderr=pipe, text=True, cwd=rig.root)


# -- power loss --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outage:
    """What a pass killed by kill -9 left, and its ledger's files at random instants."""

    rig: Rig
    bucket: Bucket
    copies: list[Copy]


@pytest.fixture(scope="module")
def outage(strict_s3: StrictS3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outage]:
    """A pass that begins without a ledger, is copied repeatedly, and killed."""
    root, bucket = tmp_path_factory.mktemp("outage"), strict_s3.bucket()
    with Simulator(seed=7) as simulator:
        rig = a_rig(root, simulator, strict_s3, bucket)
        yield Outage(rig, bucket, copies_of_a_pass(rig, bucket))


def copies_of_a_pass(rig: Rig, bucket: Bucket) -> list[Copy]:
    draw, ledger, made = random.Random(7), ledger_of(rig), []
    ledger.parent.mkdir()
    slow(rig.simulator, 0.02)
    command, nowhere = arguments(rig, "sync"), subprocess.DEVNULL
    with subprocess.Popen(command, stdout=nowhere, stderr=nowhere, env=environment(rig.root), text=True) as process:
        try:
            until(ledger.exists, PATIENCE)
            for number in range(COPIES):
                done = COUNT * (number - COPIES // 4) // COPIES  # the first ones are from its start and listing
                until(lambda done=done: archived(bucket) >= done, PATIENCE)  # type: ignore[misc]
                time.sleep(draw.uniform(0, 0.05))
                made.append(copied_at_an_instant(process, ledger, rig.root / f"copy{number}", bucket.objects))
        finally:
            process.kill()
    slow(rig.simulator, 0)
    return made


def test_the_files_of_any_instant_open_and_hold(outage: Outage, tmp_path: Path) -> None:
    """What a power cut leaves at any instant has every commit, and the invariants hold."""
    draw, seen = random.Random(3), set()
    for number, copy in enumerate(outage.copies):
        whole = check(outage.rig, copy.again(tmp_path / f"whole{number}"))
        for cut, torn in enumerate(torn_behind_the_last_commit(copy, draw, tmp_path / f"torn{number}-")):
            assert check(outage.rig, torn) == whole, f"copy {number}, cut {cut}"
        seen.add(whole)
    assert len(seen) > COPIES // 3, "the copies are of too few instants to prove anything"


def torn_behind_the_last_commit(copy: Copy, draw: random.Random, into: Path) -> Iterator[Copy]:
    """Tear a copy: synced data stays, a partial transaction after it is cut or garbage."""
    end = copy.last_commit()
    for cut in range(CUTS if end else 0):
        torn = copy.again(into.with_name(f"{into.name}{cut}"))
        torn.wal.write_bytes(copy.wal.read_bytes()[:end] + draw.randbytes(draw.choice((0, 10, 24, 4120, 9000))))
        yield torn


def test_a_disk_that_forgets_what_it_had_synced_is_not_believed(outage: Outage, tmp_path: Path) -> None:
    """With a WAL cut anywhere, all commits are there, or recvault says what is missing and names rebuild."""
    draw, refused = random.Random(5), 0
    for number, copy in enumerate(outage.copies):
        for cut in range(CUTS if copy.last_commit() else 0):
            torn = copy.again(tmp_path / f"short{number}-{cut}")
            torn.wal.write_bytes(copy.wal.read_bytes()[: draw.randrange(copy.last_commit())])
            try:
                check(outage.rig, torn)
            except LedgerDamaged as damage:
                assert "rebuild" in damage.hint
                refused += 1
    assert refused > COPIES // 2


def check(rig: Rig, copy: Copy) -> tuple[object, ...]:
    """Open it like the next pass; return its message, after checking that it is true."""
    ledger = Ledger.open(copy.ledger, datetime.now(UTC))
    ledger.close()
    assert is_sound(copy.ledger)
    with contextlib.closing(sqlite3.connect(copy.ledger)) as db:
        rows = db.execute("SELECT recording_id, state, lease, next_attempt_at, sidecar_key FROM recordings").fetchall()
        marks = db.execute("SELECT watermark FROM feeds WHERE watermark IS NOT NULL").fetchall()
    registered = {name for name, *_ in rows}
    for (mark,) in marks:
        below = {r.recording_id for r in rig.simulator.truth(the_account(rig)) if r.created_at < unstamp(mark)}
        assert below <= registered
    for name, state, lease, due, sidecar in rows:
        assert lease is None, f"{name} is held by the dead"
        assert (due is None) == (state == "archived"), f"{name} is {state}"
        assert state != "archived" or sidecar in copy.keys, f"{name} is archived nowhere"
    states = [state for _, state, *_ in rows]
    return (len(rows), states.count("archived"), len(marks))


@pytest.mark.parametrize("instant", [0.1, 0.9], ids=["early", "late"])
def test_a_pass_goes_on_from_what_a_power_cut_left(outage: Outage, instant: float, tmp_path: Path) -> None:
    """With an earlier ledger and a later bucket, the rest is archived, and nothing is written twice."""
    left = outage.copies[int(instant * COPIES)].again(tmp_path / "left")
    assert_all_is_well(replace(outage.rig, ledger={"path": str(left.ledger)}), outage.bucket)
