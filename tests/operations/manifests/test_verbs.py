"""`recvault manifest`, `recvault verify --manifests` and the daemon's job, on buckets over HTTP."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import strict_s3 as strict
from cli.commands import bare, on_terminal, run, run_each
from daemon.conftest import start, told  # noqa: F401 - fixtures
from daemon.started import free_port
from operations.manifests.shelf import copied, sha256sum
from recvault.app.runtime import Runtime
from recvault.daemon.manifest_job import ManifestJob
from recvault.monitoring.metrics import Metrics
from recvault.operations.manifests import SETTLING, Manifests
from recvault.simulator import SimAccount, Simulator
from rig import START, Rig
from strict_s3 import Bucket, StrictS3

Opened = Callable[..., Rig]


def archived(rig: Rig, simulator: Simulator, count: int = 3, account: SimAccount | None = None) -> Rig:
    """The rig after a pass on a past day."""
    simulator.set_now(START)
    account = account or simulator.add_account("twilio")
    simulator.populate(account, "voice", count=count, conference_share=0)
    rig.add_source("voice", "twilio", account)
    assert rig.sync_at(START + timedelta(hours=2)).exit_code == 0
    return rig


@pytest.fixture
def strict_rig(tmp_path: Path, simulator: Simulator, strict_s3: StrictS3) -> Opened:
    """Make a rig over a strict bucket with this strictness."""

    def make(strictness: strict.Strictness = strict.AWS) -> Rig:
        bucket = strict_s3.bucket(strictness=strictness)
        return Rig(root=tmp_path, simulator=simulator, s3_url=bucket.url, bucket=bucket.name)

    return make


def manifests(rig: Rig) -> dict[str, bytes]:
    return {key: body for key, body in rig.objects().items() if "manifest-sha256" in key}


def test_from_a_bucket_to_a_copy_that_checks(strict_rig: Opened, simulator: Simulator, tmp_path: Path) -> None:
    """Written manifests check on a copy with sha256sum and recvault, until it is changed."""
    rig = archived(strict_rig(), simulator)
    ran = run(rig, "manifest", "--json")
    document = ran.document
    assert (ran.code, document["outcome"], document["troubles"]) == (0, "ok", [])
    [written], [head] = document["written"], document["heads"]
    assert (written["number"], written["recordings"], written["files"]) == (1, 3, 6)
    assert head["sha256"] == written["sha256"] == hashlib.sha256(manifests(rig)[written["key"]]).hexdigest()
    assert [line["event"] for line in ran.log if line["event"].startswith("manifest")] == ["manifest.written"]

    root = copied(rig.objects(), tmp_path / "copy")
    assert sha256sum(root).returncode == 0
    medium = next(root.rglob("*.wav"))
    [accepted] = run_each(rig, ["verify", "--manifests", str(root), "--head", head["sha256"].upper(), "--json"])
    assert (accepted.code, accepted.document["counts"]["ok"], accepted.document["differences"]) == (0, 6, [])
    medium.write_bytes(medium.read_bytes() + b"\0")
    refused = bare(tmp_path, "verify", "--manifests", str(root))  # without a configuration
    assert (refused.code, refused.stdout.splitlines()[1].split("\t")[:2]) == (
        3,
        ["different", medium.relative_to(root).as_posix()],
    )


def test_wrong_usage_is_told(rig: Rig, tmp_path: Path) -> None:
    """A missing copy, a head without copy, options of the bucket and half a hash are refused."""
    rig.add_source("voice", "twilio", rig.simulator.add_account("twilio"))
    words = (
        f"--manifests {tmp_path}/nowhere",
        f"--head {'0' * 64}",
        f"--manifests {tmp_path} --deep",
        f"--manifests {tmp_path} --head abc",
    )
    asked = run_each(rig, *(["verify", *each.split()] for each in words))
    assert [(each.code, each.stdout) for each in asked] == [(2, "")] * 4


def test_people_see_the_heads(strict_rig: Opened, simulator: Simulator) -> None:
    """A terminal shows complete heads in a table, to be copied."""
    rig = archived(strict_rig(), simulator, count=1)
    code, shown = on_terminal(rig, "manifest", columns=200)
    [body] = manifests(rig).values()
    assert (code, hashlib.sha256(body).hexdigest() in shown, "written now: 1 manifest, of 1 recording\r" in shown) == (
        0,
        True,
        True,
    )


def test_what_is_missing_is_told_with_its_exit_code(
    strict_rig: Opened, simulator: Simulator, strict_s3: StrictS3
) -> None:
    """If a sidecar is missing, the others are listed, and the exit code is 3."""
    rig = archived(strict_rig(), simulator)
    objects = strict_s3.buckets[rig.bucket].objects
    gone = next(key for key in objects if key.startswith("recordings/") and key.endswith(".json"))
    del objects[gone]
    ran = run(rig, "manifest", "--json")
    assert (ran.code, [each["key"] for each in ran.document["errors"]]) == (3, [gone])
    assert ran.document["errors"] == ran.document["troubles"]
    assert all(each["message"] == each["words"] for each in ran.document["errors"])
    assert [each["recordings"] for each in ran.document["written"]] == [2]


def test_a_rebuilt_ledger_goes_on_with_the_chain(strict_rig: Opened, simulator: Simulator, tmp_path: Path) -> None:
    """A rebuilt ledger lists nothing twice, and continues with the next number."""
    account = simulator.add_account("twilio")
    rig = archived(strict_rig(), simulator, account=account)
    with rig.runtime() as runtime:
        runtime.prepare_store()
        Manifests.of(runtime, threads=2).write()
    for file in rig.root.glob("ledger.db*"):
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    assert run(rig, "rebuild").code == 0
    simulator.add(account, "voice", created_at=START + timedelta(hours=5))
    rig.sync_at(START + timedelta(hours=9))
    with rig.runtime() as runtime:
        runtime.prepare_store()
        summary = Manifests.of(runtime, threads=2).write()
    assert ([each.chain.number for each in summary.written], summary.troubles) == ([2], [])
    assert [each.recordings for each in summary.written] == [1]
    assert sha256sum(copied(rig.objects(), tmp_path / "copy")).returncode == 0


@pytest.mark.parametrize("strictness", [strict.AWS, strict.CEPH_VERSIONED, strict.CARELESS], ids=["aws", "ceph", "old"])
@pytest.mark.parametrize("fault", ["reset_after", "reset_before", "error"])
def test_a_put_whose_answer_is_lost_makes_one_manifest(
    strict_rig: Opened, simulator: Simulator, strict_s3: StrictS3, strictness: strict.Strictness, fault: str
) -> None:
    """A put without an answer makes one manifest, whatever the store enforces."""
    rig = archived(strict_rig(strictness), simulator)
    bucket = strict_s3.buckets[rig.bucket]
    plan = bucket.faults.plan(fault, "PUT", "manifest-sha256.txt")
    with rig.runtime() as runtime:
        runtime.prepare_store()
        assert [each.chain.number for each in Manifests.of(runtime, threads=2).write().written] == [1]
    assert (plan in bucket.faults.unfired, len(manifests(rig))) == (False, 1)
    if strictness.conditional:
        assert [bucket.writes[key] for key in manifests(rig)] == [1]


def test_manifests_are_locked_as_recordings_are(rig: Rig, simulator: Simulator, strict_bucket: Bucket) -> None:
    """Under Object Lock manifests are locked like recordings."""
    rig.archive = {"object_lock": {"mode": "COMPLIANCE", "days": 30}}
    archived(rig, simulator, count=1)
    with rig.runtime() as runtime:
        runtime.prepare_store()
        Manifests.of(runtime, threads=2).write()
    [key] = manifests(rig)
    assert strict_bucket.objects[key].headers["x-amz-object-lock-mode"] == "COMPLIANCE"


# -- the daemon --------------------------------------------------------------------------------------------------------


class Turns:
    """Runs the daemon's job at given times."""

    def __init__(self, rig: Rig, now: datetime) -> None:
        self.now = now
        self.metrics = Metrics()
        self.runtime: Runtime = rig.runtime(lambda: self.now)
        self.evidence = ManifestJob(self.runtime, self.metrics)

    def look(self, later: timedelta) -> None:
        self.now += later
        self.evidence.look()

    def metric(self, name: str) -> float:
        lines = self.metrics.text().decode().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(name + " "))


@pytest.fixture
def turns() -> Iterator[Callable[[Rig, datetime], Turns]]:
    """Make turns whose runtime is closed at the end."""
    made: list[Turns] = []

    def make(rig: Rig, now: datetime) -> Turns:
        made.append(Turns(rig, now))
        return made[-1]

    yield make
    for each in made:
        each.runtime.__exit__(None, None, None)


def test_an_empty_ledger_asks_the_bucket_nothing(
    rig: Rig, simulator: Simulator, strict_rig: Opened, strict_s3: StrictS3, turns: Callable[..., Turns]
) -> None:
    """With an empty ledger the bucket is not used."""
    rig = strict_rig()
    rig.add_source("voice", "twilio", simulator.add_account("twilio"))
    made = turns(rig, START)
    for _ in range(3):
        made.look(timedelta(days=1))
    assert strict_s3.buckets[rig.bucket].counts == {}
    assert made.metric("recvault_manifests_complete_timestamp_seconds") == made.now.timestamp()


def test_once_a_day_a_quarter_of_an_hour_after_midnight(
    strict_rig: Opened, simulator: Simulator, strict_s3: StrictS3, turns: Callable[..., Turns]
) -> None:
    """It runs once a day at 00:15 UTC, not right after a start, and uses the bucket no other time."""
    rig = archived(strict_rig(), simulator)
    made = turns(rig, datetime(2026, 10, 1, 23, 50, tzinfo=UTC))
    bucket = strict_s3.buckets[rig.bucket]
    bucket.clear_counts()
    for minutes in (10, 10, 4):
        made.look(timedelta(minutes=minutes))
    assert dict(bucket.counts) == {}
    made.look(timedelta(minutes=1))
    assert len(manifests(rig)) == 1
    bucket.clear_counts()
    for _ in range(100):
        made.look(timedelta(minutes=10))
    assert dict(bucket.counts) == {}


def test_a_bucket_that_is_away_is_tried_again(
    strict_rig: Opened,
    simulator: Simulator,
    strict_s3: StrictS3,
    turns: Callable[..., Turns],
    told: Any,  # noqa: F811
) -> None:
    """If the bucket is down, the manifest is written later; the metric keeps the last complete time over restarts."""
    rig = archived(strict_rig(), simulator)
    made = turns(rig, START)
    bucket = strict_s3.buckets[rig.bucket]
    bucket.denied.add("LIST")
    made.look(timedelta(days=1))
    assert (len(told("manifest.failed")), manifests_of(bucket)) == (1, [])
    assert made.metric("recvault_manifests_complete_timestamp_seconds") == made.runtime.ledger.born_at.timestamp()
    bucket.denied.clear()
    made.look(timedelta(minutes=10))
    assert (len(told("manifest.failed")), len(manifests_of(bucket))) == (1, 1)
    again = turns(rig, made.now)
    assert again.metric("recvault_manifests_complete_timestamp_seconds") == made.now.timestamp()


def manifests_of(bucket: Bucket) -> list[str]:
    return [key for key in bucket.objects if "manifest-sha256" in key]


def test_troubles_are_counted(
    strict_rig: Opened, simulator: Simulator, strict_s3: StrictS3, turns: Callable[..., Turns]
) -> None:
    """Problems are counted for an alert."""
    rig = archived(strict_rig(), simulator)
    objects = strict_s3.buckets[rig.bucket].objects
    del objects[next(key for key in objects if key.startswith("recordings/") and key.endswith(".json"))]
    made = turns(rig, START)
    made.look(timedelta(days=1))
    assert made.metric("recvault_manifest_troubles_total") == 1


def test_a_daemon_writes_what_is_due(rig: Rig, simulator: Simulator, start: Any) -> None:  # noqa: F811
    """A daemon writes the manifest of a day that ended while it was down."""
    archived(rig, simulator)
    rig.daemon = {"metrics_listen": f"127.0.0.1:{free_port()}"}
    daemon = start(
        prelude="import datetime\nfrom recvault.daemon import manifest_job as job\njob.SETTLING = datetime.timedelta()"
    )
    line = daemon.tells("manifest.written")
    [(key, body)] = manifests(rig).items()
    assert (line["key"], line["sha256"], line["recordings"]) == (key, hashlib.sha256(body).hexdigest(), 3)
    assert daemon.stopped().code == 143
    assert timedelta(minutes=10) < SETTLING
