"""A recording with two editions: in the ledger, commands, verify, rebuild and manifests."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cli.commands import run
from e2e.test_lifecycle import HOUR, T0, add, done, only, opened
from recvault.archive import escape
from recvault.models import State
from recvault.operations.manifests import Manifests
from recvault.simulator import SimRecording, Simulator, faults
from rig import Rig
from strict_s3 import Bucket, StrictS3

DAY = timedelta(days=1)
LATER = T0 + 4 * HOUR


@pytest.fixture
def store(strict_s3: StrictS3) -> Bucket:
    """An empty bucket that refuses what S3 refuses."""
    return strict_s3.bucket()


@pytest.fixture
def rig(tmp_path: Path, simulator: Simulator, strict_s3: StrictS3, store: Bucket) -> Rig:
    """A recvault whose clock, like the providers', is frozen at T0."""
    simulator.set_now(T0)
    return Rig(root=tmp_path, simulator=simulator, s3_url=strict_s3.url, bucket=store.name)


@pytest.fixture
def suspect(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> SimRecording:
    """A recording archived as suspect after hours of truncation, which its provider now serves completely."""
    monkeypatch.setattr(faults, "_draws", lambda *seed: (0.5, 0.5))  # the same place each time
    account = opened(rig)
    recording = add(rig, account)
    rig.simulator.faults.plan("truncate_silent", recording.recording_id, times=99, kind="media")
    done(rig.sync_at(T0), not_ready=1)
    done(rig.sync_at(LATER), archived=1)
    rig.simulator.faults.clear_plans()
    return recording


def keys_of(rig: Rig, recording: SimRecording) -> list[str]:
    return [key.rpartition("/")[2] for key in sorted(rig.objects()) if recording.recording_id in key]


def row_of(rig: Rig, recording: SimRecording) -> dict[str, Any]:
    with rig.runtime() as runtime:
        [row] = runtime.ledger.ask.find(recording.recording_id)
        return row


def looked_again(rig: Rig, recording: SimRecording) -> None:
    assert run(rig, "retry", "--suspect", "--json").document["made_due"] == 1
    done(rig.sync_at(LATER + HOUR), archived=1)
    name = recording.recording_id
    assert keys_of(rig, recording) == [f"{name}.json", f"{name}.wav", f"{name}~2.json", f"{name}~2.wav"]


def test_a_suspect_is_fetched_again_by_its_id(rig: Rig, suspect: SimRecording) -> None:
    """`retry ID` archives the complete one beside the flagged one, clears the flag, and `show` lists both."""
    assert row_of(rig, suspect)["reason"] == "media.suspect"
    before = rig.objects()
    assert run(rig, "retry", suspect.recording_id, "--json").document["made_due"] == 1
    assert row_of(rig, suspect)["state"] == State.ARCHIVED
    done(rig.sync_at(LATER + HOUR), archived=1)
    assert before.items() <= rig.objects().items()
    row = row_of(rig, suspect)
    assert (row["reason"], row["next_attempt_at"]) == (None, None)
    [shown] = run(rig, "show", suspect.recording_id, "--json").document["recordings"]
    assert [each["sidecar_key"] for each in shown["earlier_editions"]] == [row["sidecar_key"].replace("~2", "")]
    assert run(rig, "retry", "--suspect", "--json").document["made_due"] == 0


def test_a_look_that_fails_takes_nothing_back(rig: Rig, suspect: SimRecording) -> None:
    """If another look fails, the recording stays archived, without a failure."""
    assert run(rig, "retry", "--suspect").code == 0
    rig.simulator.faults.plan("http_503", suspect.recording_id, times=99)
    rig.sync_at(LATER + HOUR)
    row = row_of(rig, suspect)
    assert (row["state"], row["reason"], row["failing_since"]) == ("archived", "media.suspect", None)
    assert row["next_attempt_at"] is not None
    rig.simulator.faults.clear_plans()
    rig.simulator.delete(suspect)
    for hours in range(2, 60, 7):
        assert rig.sync_at(LATER + hours * HOUR).exit_code == 0
    row = row_of(rig, suspect)
    assert (row["state"], row["reason"], row["next_attempt_at"]) == ("archived", "media.suspect", None)
    assert len(keys_of(rig, suspect)) == 2


def test_verify_knows_both_editions(rig: Rig, suspect: SimRecording, store: Bucket) -> None:
    """Both editions verify as ok; damage to the first is reported as not restorable from the provider."""
    looked_again(rig, suspect)
    found = run(rig, "verify", "--deep", "--json")
    assert (found.code, found.document["counts"]["checked"], found.document["differences"]) == (0, 2, [])
    [lost] = [key for key in store.objects if key.endswith(f"{suspect.recording_id}.wav")]
    del store.objects[lost]
    found = run(rig, "verify", "--repair", "--json")
    [difference] = found.document["differences"]
    assert (found.code, difference["reason"], difference["made_due"]) == (3, "media.missing", False)
    assert "stored beside it" in difference["hint"]


def test_a_rebuilt_ledger_knows_both_editions(rig: Rig, suspect: SimRecording) -> None:
    """A rebuilt ledger has one recording with the later edition, and expects the earlier one."""
    looked_again(rig, suspect)
    before = row_of(rig, suspect)
    for file in rig.root.glob("ledger.db*"):
        if file.is_file():
            file.unlink()
    rebuilt = run(rig, "rebuild", "--json").document
    assert [rebuilt[name] for name in ("sidecars", "archived", "later_editions", "second_sidecars")] == [2, 1, 1, 0]
    after = row_of(rig, suspect)
    assert [after[name] == before[name] for name in ("sidecar_key", "sidecar_sha256", "media")] == [True] * 3
    found = run(rig, "verify", "--json")
    assert (found.code, found.document["counts"]["checked"]) == (0, 2)


def test_manifests_list_both_editions(rig: Rig, suspect: SimRecording) -> None:
    """Each edition is listed once, whether the first was listed before the second or not."""
    looked_again(rig, suspect)
    with rig.runtime(lambda: T0 + 3 * DAY) as runtime:
        Manifests.of(runtime, threads=1).write()
        Manifests.of(runtime, threads=1).write()
    listed = [body.decode() for key, body in rig.objects().items() if "/manifest-sha256.txt" in key]
    lines = [line for text in listed for line in text.splitlines() if suspect.recording_id in line]
    assert sorted(line.rpartition("/")[2] for line in lines) == keys_of(rig, suspect)


def test_a_strangers_object_is_told_and_never_counted(rig: Rig, store: Bucket) -> None:
    """A foreign object under a future key exits 3, and the provider's recording is stored as a further edition."""
    account = opened(rig)
    recording = add(rig, account)
    day = recording.created_at.date()
    key = f"recordings/provider=twilio/account={escape(recording.account_id)}/date={day}/{recording.recording_id}.wav"
    body = b"RIFF of a stranger"
    metadata = {"recording-id": recording.recording_id, "provider": "twilio", "schema": "recvault/sidecar/v1"}
    store.place(key, body, sha256=hashlib.sha256(body).hexdigest(), **metadata)
    report = rig.sync_at(T0)
    assert (report.exit_code, only(report).archived) == (3, 1)
    [sidecar] = [json.loads(text) for name, text in rig.objects().items() if name.endswith(".json") and "=twi" in name]
    assert [each["key"] for each in sidecar["media"]] == [key.replace(".wav", "~2.wav")]
    assert rig.objects()[key.replace(".wav", "~2.wav")] == rig.simulator.media(recording, "wav").read()
    assert row_of(rig, recording)["reason"] == "store.key_taken"
    assert rig.sync_at(T0 + HOUR).exit_code == 0
