"""`adopt` takes over what is proven, names what is not, and asks the provider for samples only."""

from __future__ import annotations

import json
from typing import Any

import pytest

import strict_s3
from cli.commands import run
from operations.adopt.stage import NOW, SECONDS, Stage, staged
from recvault.archive import Sidecar
from recvault.custody import Records
from recvault.custody.records import RecordSchema
from recvault.custody.tombstones import tombstone_path
from recvault.operations.adopt.proving import SAMPLE
from recvault.simulator import Switches
from recvault.simulator.media import Noise, wav
from rig import Rig, sha256
from strict_s3 import Bucket

PAGE = b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>'


def flipped(body: bytes, place: int) -> bytes:
    return body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]


def laid(stage: Stage) -> dict[str, str]:
    """Lay 60 objects; return why each of the six false ones is not adopted, by key."""
    good, bad = stage.add(54), stage.add(6)
    for each in good:
        stage.lay(each)
    bodies = [stage.media(each) for each in bad]
    size = len(bodies[0])
    return {
        stage.lay(bad[0], stage.media(good[0])): "adopt.differs",
        stage.lay(bad[1], bodies[1][:-30_000]): "media.suspect",
        stage.lay(bad[2], PAGE): "media.document",
        stage.lay(bad[3], flipped(bodies[3], 60)): "adopt.differs",
        stage.lay(bad[4], flipped(bodies[4], size // 2)): "adopt.differs",
        stage.lay(bad[5], flipped(bodies[5], size - 1)): "adopt.differs",
    }


def named(stage_document: dict[str, Any]) -> dict[str, str]:
    return {each["key"]: each["reason"] for each in stage_document["named"]}


def test_what_is_proven_is_adopted_and_the_rest_is_named(stage: Stage) -> None:
    """Of 60 objects 54 are adopted by copies in the store, six are named; a pass fetches only those six; all verify."""
    false = laid(stage)
    before = dict(stage.theirs.objects)
    ran = run(stage.rig, "adopt", "--source", "acme", f"s3://{stage.theirs.name}/export/", "--json")
    assert ran.code == 3
    document = ran.document
    assert named(document) == false
    assert (document["objects"], document["adopted"], document["named_total"]) == (60, 54, 6)
    assert document["outcome"] == "partial"
    archive = stage.rig.sidecars()
    good = {each.recording_id: each for each in stage.recordings[:54]}
    assert archive.keys() == good.keys()
    for name, each in archive.items():
        [medium] = each["media"]
        body = stage.media(good[name])
        assert (medium["sha256"], medium["bytes"]) == (sha256(body), len(body))
        assert stage.rig.objects()[medium["key"]] == body
    assert dict(stage.theirs.objects) == before
    assert stage.theirs.counts.keys() <= {"LIST", "GET"}  # only read

    served = stage.served()
    report = stage.rig.sync_at(NOW)
    [row] = report.accounts.values()
    assert (row.archived, row.already_archived) == (6, 0)
    assert stage.served() - served == 6
    assert run(stage.rig, "verify", "--deep").code == 0


def test_the_provider_is_asked_for_samples_only(stage: Stage) -> None:
    """Three samples a recording are requested from the provider, and no media are sent to the store."""
    stage.add(4)
    for each in stage.recordings:
        stage.lay(each)
    ours = strict_s3.running[stage.rig.s3_url].buckets[stage.rig.bucket]
    adopted = stage.adopt()
    assert (adopted.adopted, adopted.exit_code) == (4, 0)
    assert adopted.provider_bytes == 4 * 3 * SAMPLE
    assert stage.served() == 4 * 3
    assert adopted.bytes == sum(len(stage.media(each)) for each in stage.recordings)
    written = [each.op for each in ours.log if each.op in strict_s3.WRITES and each.key.endswith(".wav")]
    assert written == ["COPY"] * 4


def test_the_sidecar_says_where_the_media_were_and_how_they_were_proven(stage: Stage) -> None:
    """`archive.adopted` names the object, the time and the compared ranges, and the sidecar is a valid v1."""
    [one] = stage.add(1)
    key = stage.lay(one)
    stage.adopt()
    [(sidecar_key, document)] = [
        (each, json.loads(body))
        for each, body in stage.rig.objects().items()
        if "recordings/" in each and "json" in each
    ]
    origin, size = f"s3://{stage.theirs.name}/{key}", len(stage.media(one))
    assert document["archive"]["adopted"] == {
        "from": origin,
        "at": "2026-10-05T12:00:00Z",
        "proof": [
            {
                "from": origin,
                "matched_by": "id",
                "method": "samples",
                "bytes": size,
                "compared": [[0, SAMPLE], [(size - SAMPLE) // 2, SAMPLE], [size - SAMPLE, SAMPLE]],
            }
        ],
    }
    assert document["archive"]["fetched_from"] is None
    assert document["raw"]["sid"] == one.recording_id
    assert Sidecar.read(stage.rig.objects()[sidecar_key]).fault is None


def test_a_dry_run_proves_and_writes_nothing(stage: Stage) -> None:
    """A dry run names what would not be adopted, and changes neither bucket nor ledger."""
    false = laid(stage)
    adopted = stage.adopt(dry_run=True)
    assert named(adopted.document()) == false
    assert (adopted.adopted, adopted.exit_code) == (54, 3)
    assert stage.rig.objects() == {}
    with stage.rig.runtime(lambda: NOW) as runtime:
        assert runtime.ledger.ask.find(stage.recordings[0].recording_id) == []


def test_a_second_run_skips_what_is_archived(stage: Stage) -> None:
    """What is archived is neither read nor compared again; a limit leaves the rest for the next run."""
    stage.add(5)
    for each in stage.recordings:
        stage.lay(each)
    assert stage.adopt(limit=2).adopted == 2
    served, read = stage.served(), stage.theirs.counts["GET"]
    adopted = stage.adopt()
    assert (adopted.adopted, adopted.already_archived, adopted.copies, adopted.exit_code) == (3, 2, 0, 0)
    assert (stage.served() - served, stage.theirs.counts["GET"] - read) == (9, 3)


def test_what_is_not_adopted_waits_as_before(stage: Stage) -> None:
    """A recording whose object is false stays in the ledger as it was: due at the same time, no attempt counted."""
    [one] = stage.add(1)
    stage.lay(one, PAGE)
    stage.register()
    before = stage.row(one)
    assert stage.adopt().exit_code == 3
    assert stage.row(one) == before


def test_what_another_process_works_on_is_named(stage: Stage) -> None:
    """A recording that is being transferred is left to the process that has it."""
    [one] = stage.add(1)
    key = stage.lay(one)
    stage.register()
    with stage.rig.runtime(lambda: NOW) as other:
        assert len(other.ledger.claim("acme", NOW, 1)) == 1
        assert named(stage.adopt().document()) == {key: "adopt.busy"}
    assert stage.rig.sidecars() == {}


def test_objects_without_an_id_are_matched_by_their_length_and_samples(stage: Stage) -> None:
    """Without an id, the recording of this length, size and beginning is proven; a second run finds its bytes."""
    right = {f"export/{number} a call.wav": each for number, each in enumerate(stage.add(4))}
    for key, recording in right.items():
        stage.theirs.place(key, stage.media(recording))
    [other] = stage.add(1, duration_seconds=20.0)
    false = "export/tampered.wav"
    stage.theirs.place(false, flipped(stage.media(other), len(stage.media(other)) - 1))
    stage.theirs.place("export/index.json", b"{}")
    stage.theirs.place("export/RE" + 32 * "0" + ".wav", PAGE)
    adopted = stage.adopt()
    unknown = {"export/RE" + 32 * "0" + ".wav": "media.document"}
    assert named(adopted.document()) == unknown | {false: "adopt.differs"}
    assert (adopted.adopted, adopted.others, adopted.exit_code) == (4, 1, 3)
    sidecars = stage.rig.sidecars()
    for key, recording in right.items():
        found = sidecars[recording.recording_id]["archive"]["adopted"]
        assert (found["from"], found["proof"][0]["matched_by"]) == (
            f"s3://{stage.theirs.name}/{key}",
            "length and samples",
        )
    assert adopted.provider_bytes <= (4 * (4 + 3) + 2) * SAMPLE + len(stage.media(other))
    again = stage.adopt()
    assert (again.adopted, again.already_archived, again.named_total) == (0, 4, 2)


def test_an_object_like_no_recording_is_named(stage: Stage) -> None:
    """An object that is as long as a recording but begins otherwise, or as long as none, is named."""
    [one] = stage.add(1)
    for key, seconds in (("export/as long.wav", SECONDS), ("export/longer.wav", 30.0)):
        stage.theirs.place(key, wav(Noise(1, key), seconds, 1).read())
    adopted = stage.adopt()
    assert named(adopted.document()) == dict.fromkeys(["export/as long.wav", "export/longer.wav"], "adopt.unmatched")
    assert (adopted.provider_bytes, stage.row(one)["state"]) == (SAMPLE, "pending")


def test_a_service_that_ignores_ranges_is_compared_whole(stage: Stage) -> None:
    """All bytes are compared if the service sends all: one that differs anywhere is found."""
    stage.rig.simulator.switches = Switches(voice_media_range=False)
    good, bad = stage.add(2)
    stage.lay(good)
    key = stage.lay(bad, flipped(stage.media(bad), SAMPLE + 100))
    adopted = stage.adopt()
    assert named(adopted.document()) == {key: "adopt.differs"}
    [sidecar] = stage.rig.sidecars().values()
    size = len(stage.media(good))
    [proof] = sidecar["archive"]["adopted"]["proof"]
    assert (proof["method"], proof["compared"]) == ("whole", [[0, size]])
    assert stage.served() == 2


def test_both_formats_are_adopted_or_none(rig: Rig, theirs: Bucket) -> None:
    """A source with two formats adopts a recording that has both; one alone is named, and another format, too."""
    stage = staged(rig, theirs, formats=["wav", "mp3"])
    both, lone = stage.add(2)
    stage.lay(both)
    stage.lay(both, media_format="mp3")
    key = stage.lay(lone)
    adopted = stage.adopt()
    assert named(adopted.document()) == {key: "adopt.format"}
    assert adopted.adopted == 1
    [sidecar] = rig.sidecars().values()
    assert [each["media_format"] for each in sidecar["media"]] == ["wav", "mp3"]
    rig.sources[0]["formats"] = ["mp3"]
    assert named(stage.adopt().document()) == {key: "adopt.format"}


def test_a_mono_mix_of_two_channels_is_named(stage: Stage) -> None:
    """A script's mono copy of a recording with two channels is less than the provider serves: it is not adopted."""
    full, mixed = stage.add(2, channels=2)
    stage.lay(full)
    key = stage.lay(mixed, stage.rig.simulator.media(mixed, "wav", 1).read())
    adopted = stage.adopt()
    assert named(adopted.document()) == {key: "media.suspect"}
    [sidecar] = stage.rig.sidecars().values()
    assert (sidecar["recording_id"], sidecar["media"][0]["channels"]) == (full.recording_id, 2)


def test_a_recording_that_the_provider_lost_is_named(stage: Stage) -> None:
    """Without the provider's media nothing proves an object: it is named, with what the provider says."""
    [one] = stage.add(1)
    key = stage.lay(one)
    stage.register()
    stage.rig.simulator.delete(one)
    adopted = stage.adopt()
    assert list(named(adopted.document())) == [key]
    assert stage.rig.sidecars() == {}


def test_an_archive_in_a_directory_gets_the_bytes(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive that is a directory adopts from a bucket, too: the bytes are written there."""
    [one] = stage.add(1)
    stage.lay(one)
    monkeypatch.setenv("AWS_ENDPOINT_URL", stage.rig.s3_url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    stage.rig.s3_url, stage.rig.bucket = "", f"file://{stage.rig.root}/archive"
    (stage.rig.root / "archive").mkdir()
    with stage.rig.runtime(lambda: NOW) as runtime:
        runtime.prepare_store(make=True)
    assert stage.adopt().exit_code == 0
    assert stage.media(one) in stage.rig.objects().values()
    assert stage.rig.sidecars()[one.recording_id]["archive"]["adopted"]["from"].startswith("s3://")


def test_what_is_erased_does_not_come_back(stage: Stage) -> None:
    """A recording with a tombstone is named: nothing of it is read, compared or copied."""
    erased, other = stage.add(2)
    key = stage.lay(erased)
    stage.lay(other)
    with stage.rig.runtime(lambda: NOW) as runtime:
        runtime.prepare_store()
        path = tombstone_path("twilio", erased.account_id, erased.recording_id)
        Records(store=runtime.store).put(path, RecordSchema.TOMBSTONE, {"recording_id": erased.recording_id})
    adopted = stage.adopt()
    assert named(adopted.document()) == {key: "adopt.erased"}
    assert (stage.row(erased)["state"], stage.row(other)["state"]) == ("pending", "archived")
    assert stage.theirs.counts["GET"] == 1


@pytest.mark.parametrize("place", ["https://{bucket}.s3.amazonaws.com/{key}", "s3://{bucket}/{key}"])
def test_an_external_recording_is_adopted_if_its_row_names_the_object(stage: Stage, place: str) -> None:
    """Media in the customer's own bucket are adopted from the object that the row names, and from no other."""
    right, wrong = (f"export/RE{each * 32}.wav" for each in "ab")
    where = place.format(bucket=stage.theirs.name, key=right)
    [one] = stage.add(1, recording_id=f"RE{'a' * 32}", external_location=where)
    [other] = stage.add(1, recording_id=f"RE{'b' * 32}", external_location="https://elsewhere.example/two.wav")
    stage.theirs.place(right, stage.media(one))
    stage.theirs.place(wrong, stage.media(other))
    report = stage.rig.sync_at(NOW)
    assert [row.external for row in report.accounts.values()] == [2]
    served = stage.served()
    assert list(named(stage.adopt().document())) == [wrong]
    [sidecar] = stage.rig.sidecars().values()
    [proof] = sidecar["archive"]["adopted"]["proof"]
    assert (proof["from"], proof["method"]) == (f"s3://{stage.theirs.name}/{right}", "named by the provider")
    assert (stage.row(one)["state"], stage.row(other)["state"]) == ("archived", "external")
    assert stage.served() - served == 1  # for the other: the provider has no media of it


def test_an_object_of_another_size_is_named(stage: Stage) -> None:
    """Sound media of about the recording's length, but longer than the provider's, are not the recording."""
    [one] = stage.add(1)
    key = stage.lay(one, wav(Noise(1, "other"), SECONDS + 1, 1).read())
    assert named(stage.adopt().document()) == {key: "adopt.size"}


def test_a_second_copy_is_counted(stage: Stage) -> None:
    """Of two true objects of one recording the first is adopted, the next counted; a false one before is named."""
    [one] = stage.add(1)
    stage.lay(one)
    stage.theirs.place(f"export/0/{one.recording_id}.wav", PAGE)
    stage.theirs.place(f"export/z/{one.recording_id}.wav", stage.media(one))
    adopted = stage.adopt()
    assert named(adopted.document()) == {f"export/0/{one.recording_id}.wav": "media.document"}
    assert (adopted.objects, adopted.adopted, adopted.copies) == (3, 1, 1)


def test_a_place_that_is_no_bucket_is_wrong_usage(stage: Stage) -> None:
    """Anything but s3://bucket/prefix is wrong usage; a bucket that is not there is told as such."""
    assert run(stage.rig, "adopt", "--source", "acme", "export/").code == 2
    assert run(stage.rig, "adopt", "--source", "acme", "s3://").code == 2
    assert run(stage.rig, "adopt", "--source", "acme", "s3://nowhere-at-all/x").code == 78
