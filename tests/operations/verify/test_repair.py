"""A repair makes due what is missing, and the next pass restores only that. Nothing is overwritten."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ledger.rows import POLICIES, failure
from operations.verify.stage import Stage, a_recording, counted, told
from recvault.archive import Sidecar
from recvault.ledger import Expectations
from recvault.models import State, Verdict
from recvault.operations.verify import BucketScope, Result, Sample, Verify
from recvault.shutdown import Stop
from recvault.simulator import SimAccount, SimRecording, Simulator
from recvault.store.s3.reader import S3Reader
from rig import Rig, now, sha256
from strict_s3 import Bucket, StrictS3

PROVIDERS = ("twilio", "twilio-legacy", "twilio-video", "telnyx", "signalwire")
LISTS = {"twilio": "voice", "twilio-legacy": "voice", "twilio-video": "video"}


def verify(rig: Rig, **options: Any) -> Result:
    """Verify a rig's bucket like the command."""
    with rig.runtime() as runtime, Expectations(runtime.settings.ledger.path) as expectations:
        stop = Stop()
        return Verify(
            reader=S3Reader(runtime.store, stop),
            ledger=runtime.ledger,
            expectations=expectations,
            scope=BucketScope(keys=runtime.keys),
            sample=Sample(100.0),
            workers=4,
            stop=stop,
            clock=now,
            **options,
        ).run()


@pytest.fixture
def world(tmp_path: Path, simulator: Simulator, strict_s3: StrictS3, strict_bucket: Bucket) -> Rig:
    """A rig over the strict server, whose objects can be lost and changed without requests."""
    return Rig(root=tmp_path, simulator=simulator, s3_url=strict_s3.url, bucket=strict_bucket.name)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_pass_puts_back_what_is_missing(world: Rig, strict_bucket: Bucket, provider: str) -> None:
    """After a repair and a pass, missing sidecars and media are restored byte for byte."""
    simulator = world.simulator
    account = simulator.add_account(LISTS.get(provider, provider).replace("voice", "twilio").replace("video", "twilio"))
    simulator.populate(account, LISTS.get(provider, provider), count=4)
    formats = {} if provider == "twilio-video" else {"formats": ["wav", "mp3"]}
    world.add_source("main", provider, account, **formats)
    assert world.sync().exit_code == 0
    before = dict(strict_bucket.objects)
    sidecars = sorted(key for key in before if key.endswith(".json") and key.startswith("recordings/"))
    media = sorted(key for key in before if key.startswith("recordings/") and key not in sidecars)
    stem = sidecars[2].removesuffix("json")
    lost = {sidecars[0], media[-1], sidecars[2], *(key for key in media if key.startswith(stem))}
    for key in lost:
        del strict_bucket.objects[key]
    assert verify(world).made_due == 0
    repaired = verify(world, repair=True)
    assert {key for _, key, _ in told(repaired)} == lost
    assert all(each.made_due for each in repaired.differences)
    strict_bucket.clear_counts()
    assert world.sync().exit_code == 0
    assert set(strict_bucket.writes) == lost
    after = strict_bucket.objects
    assert {key: after[key].sha256 for key in media} == {key: before[key].sha256 for key in media}
    assert (set(after), verify(world).outcome) == (set(before), "ok")


def _one(world: Rig, **options: Any) -> tuple[SimAccount, SimRecording]:
    account = world.simulator.add_account("twilio")
    [recording] = world.simulator.populate(account, "voice", count=1, conference_share=0)
    world.add_source("voice", "twilio", account, **options)
    assert world.sync().exit_code == 0
    return account, recording


def _key(bucket: Bucket, ext: str) -> str:
    [key] = [key for key in bucket.objects if key.startswith("recordings/") and key.endswith(ext)]
    return key


def test_what_its_provider_has_no_more_stays_told(world: Rig, strict_bucket: Bucket) -> None:
    """Media lost in the bucket and at the provider are gone, and reported by every verification."""
    _, recording = _one(world)
    lost = _key(strict_bucket, ".wav")
    del strict_bucket.objects[lost]
    world.simulator.delete(recording)
    assert verify(world, repair=True).made_due == 1
    strict_bucket.clear_counts()
    for hours in (0, 12, 24):  # what is not there once is looked for again
        world.sync(lambda later=hours: now() + timedelta(hours=later))  # type: ignore[misc]
    assert dict(strict_bucket.writes) == {}
    again = verify(world, repair=True)
    assert (told(again), again.made_due, again.exit_code) == ([("missing", lost, "media.missing")], 0, 3)
    assert "its provider no longer had it" in again.differences[0].hint


def test_a_sidecar_that_only_the_ledger_can_restore_says_so(world: Rig, strict_bucket: Bucket) -> None:
    """A sidecar restored from the ledger names its unknown fields, and is reported by verify."""
    _, recording = _one(world)
    lost = _key(strict_bucket, ".json")
    before = json.loads(strict_bucket.body(lost))
    assert "restored_from" not in before["archive"]
    del strict_bucket.objects[lost]
    world.simulator.delete(recording)
    assert verify(world, repair=True).made_due == 1
    for hours in (0, 12, 24):  # what is not there once is looked for again
        world.sync(lambda later=hours: now() + timedelta(hours=later))  # type: ignore[misc]
    document = json.loads(strict_bucket.body(lost))
    unknown = document["archive"]["unknown"]
    assert (document["archive"]["restored_from"], Sidecar(document, sha256="").fault) == ("ledger", None)
    assert {"call_id", "status", "duration_seconds", "encryption", "raw", "call"} <= set(unknown)
    assert not any(document.get(name) for name in unknown)
    known = before.keys() - set(unknown) - {"archive", "media"}
    assert {name: document[name] for name in known} == {name: before[name] for name in known}
    [medium], [as_before] = document["media"], before["media"]
    assert medium["requested"] == as_before["requested"] == {"media_format": "wav", "channels": None, "refused": None}
    assert (medium["key"], medium["sha256"]) == (as_before["key"], as_before["sha256"])
    again = verify(world)
    assert (again.restored, told(again), again.document()["restored"]) == (1, [], 1)


def test_other_bytes_than_those_that_were_lost_stand_beside_their_sidecar(world: Rig, strict_bucket: Bucket) -> None:
    """If the provider serves other bytes now, they are a second edition, and the lost key stays empty."""
    _one(world)
    lost = _key(strict_bucket, ".wav")
    sidecar = _key(strict_bucket, ".json")
    body = strict_bucket.body(sidecar)
    served = strict_bucket.body(lost)
    other = body.replace(strict_bucket.objects[lost].sha256.encode(), b"ab" * 32)
    assert other != body
    strict_bucket.place(sidecar, other, sha256=sha256(other))  # as if archived with other bytes
    del strict_bucket.objects[lost]
    with closing(sqlite3.connect(world.root / "ledger.db")) as plain, plain:
        plain.execute(
            "UPDATE recordings SET sidecar_sha256=?, media=replace(media, ?, ?)",
            [
                sha256(other),
                sha256(served),
                "ab" * 32,
            ],
        )
    assert verify(world, repair=True).made_due == 1
    strict_bucket.clear_counts()
    assert world.sync().exit_code == 0
    beside, second = lost.replace(".wav", "~2.wav"), sidecar.replace(".json", "~2.json")
    assert set(strict_bucket.writes) == {beside, second}
    assert (strict_bucket.body(beside), strict_bucket.body(sidecar)) == (served, other)
    earlier = json.loads(strict_bucket.body(second))["archive"]["earlier"]
    assert earlier == {"sidecar_key": sidecar, "sidecar_sha256": sha256(other), "media_lost": True}
    again = verify(world)
    assert (told(again), again.checked, again.exit_code) == ([], 2, 0)


def test_a_sidecar_that_is_not_the_archived_one_is_not_taken_for_it(world: Rig, strict_bucket: Bucket) -> None:
    """If a medium is lost and its sidecar was rewritten, the restored medium gets its own sidecar."""
    _one(world)
    lost, sidecar = _key(strict_bucket, ".wav"), _key(strict_bucket, ".json")
    archived = sha256(strict_bucket.body(sidecar))
    other = strict_bucket.body(sidecar).replace(b'"call_id":"', b'"call_id":"X')
    strict_bucket.place(sidecar, other, sha256=sha256(other))
    del strict_bucket.objects[lost]
    with world.runtime() as runtime:
        [row] = runtime.ledger.ask.find(verify(world).differences[0].recording_id or "")
        assert runtime.ledger.reopen([row["id"]], now()) == 1
    assert world.sync().exit_code == 0
    second = sidecar.replace(".json", "~2.json")
    assert strict_bucket.body(sidecar) == other
    document = json.loads(strict_bucket.body(second))
    assert [each["key"] for each in document["media"]] == [lost]
    assert document["archive"]["earlier"]["sidecar_sha256"] == archived
    again = verify(world)
    assert (told(again), again.exit_code) == ([("different", sidecar, "sidecar.changed")], 3)


def test_only_the_formats_that_are_missing_are_fetched(world: Rig, strict_bucket: Bucket) -> None:
    """A lost medium in a format that is no longer wanted is restored; others are not fetched."""
    _one(world, formats=["wav", "mp3"])
    lost = _key(strict_bucket, ".mp3")
    del strict_bucket.objects[lost]
    world.sources[0]["formats"] = ["wav"]
    assert verify(world, repair=True).made_due == 1
    strict_bucket.clear_counts()
    assert world.sync().exit_code == 0
    assert (dict(strict_bucket.writes), verify(world).outcome) == ({lost: 1}, "ok")


# -- the ledger's side -------------------------------------------------------------------------------------------------


def test_a_repair_touches_what_is_missing_alone(stage: Stage) -> None:
    """Recordings without missing objects, or with other differences, stay unchanged."""
    stage.archive(*map(a_recording, ("RE1", "RE2", "RE3")), formats=("wav", "mp3"))
    stage.lose(stage.key("RE1"), stage.key("RE2", "wav"))
    stage.put(stage.key("RE2", "mp3"), b"other")
    result = stage.verify(repair=True)
    assert (result.made_due, counted(result)) == (1, {"checked": 3, "ok": 1, "missing": 1, "different": 1})
    states = [stage.row(name)["state"] for name in ("RE1", "RE2", "RE3")]
    assert states == [State.PENDING, State.ARCHIVED, State.ARCHIVED]
    [beside] = [each for each in result.differences if each.key == stage.key("RE2", "wav")]
    assert (beside.made_due, beside.hint) == (False, "first resolve the other difference of this recording")


def test_a_reopened_recording_keeps_what_it_was_archived_as(stage: Stage) -> None:
    """A reopened recording keeps attempts, key and hashes, without faults; reopening twice counts once."""
    stage.archive(a_recording("RE1"))
    before = stage.row("RE1")
    stage.lose(stage.key("RE1"))
    assert stage.verify(repair=True).made_due == 1
    row = stage.row("RE1")
    assert [row[name] for name in ("sidecar_key", "media", "attempts")] == [
        before[name] for name in ("sidecar_key", "media", "attempts")
    ]
    assert (row["state"], row["faults"], row["reason"]) == ("pending", 0, "verify.missing")
    again = stage.verify(repair=True)
    assert (again.made_due, told(again)) == (0, [("missing", stage.key("RE1"), "sidecar.missing")])
    assert "already due" in again.differences[0].hint
    assert stage.ledger.ask.standing("main", "AC1").pending == 1
    [job] = stage.ledger.claim("main", stage.now, 10)
    assert (job.recording.identity, job.attempt, job.maybe_archived) == (a_recording("RE1").identity, 2, True)


def test_only_what_is_archived_is_reopened(stage: Stage) -> None:
    """Rows in other states stay unchanged."""
    stage.register(a_recording("RE1"))
    before = stage.row("RE1")
    assert stage.ledger.reopen([before["id"], 999], stage.now) == 0
    assert stage.row("RE1") == before


def test_what_was_given_up_since_its_repair(stage: Stage) -> None:
    """A recording that could not be restored is reported so, with the command to retry."""
    stage.archive(a_recording("RE1"))
    stage.lose(stage.key("RE1", "wav"))
    stage.verify(repair=True)
    stage.ledger.claim("main", stage.now, 10)
    stage.ledger.settle([failure(a_recording("RE1"), Verdict.FATAL)], stage.now, POLICIES)
    result = stage.verify(repair=True)
    assert (told(result), result.made_due) == ([("missing", stage.key("RE1", "wav"), "media.missing")], 0)
    assert "recvault retry main:RE1" in result.differences[0].hint
