"""An adoption that is killed between any two writes is continued by the same command, or by a pass."""

from __future__ import annotations

import pytest

import strict_s3
from cli.commands import kill, run, start, until
from operations.adopt.stage import NOW, Stage
from recvault.errors import LedgerLocked
from recvault.ledger import Ledger


def ours(stage: Stage) -> strict_s3.Bucket:
    return strict_s3.running[stage.rig.s3_url].buckets[stage.rig.bucket]


@pytest.mark.parametrize("by", ["adopt", "sync"])
def test_killed_between_the_copy_and_the_sidecar(stage: Stage, by: str) -> None:
    """Media without a sidecar are found and committed: nothing is copied twice, and there is one edition."""
    [one] = stage.add(1)
    stage.lay(one)
    words = ["adopt", "--source", "acme", f"s3://{stage.theirs.name}/export/"]
    plan = ours(stage).faults.plan("hang", "PUT", f"{one.recording_id}.json", seconds=60.0)
    process = start(stage.rig, *words)
    until(lambda: bool(plan.fired))
    kill(process)
    [medium] = [key for key in stage.rig.objects() if one.recording_id in key]
    assert medium.endswith(".wav")
    assert ours(stage).counts["COPY"] == 1
    if by == "adopt":
        assert run(stage.rig, *words).code == 0
    else:
        assert stage.rig.sync_at(NOW).exit_code == 0
    found = [key for key in stage.rig.objects() if one.recording_id in key]
    assert found == [medium.replace(".wav", ".json"), medium]
    assert ours(stage).counts["COPY"] == 1
    assert ("adopted" in stage.rig.sidecars()[one.recording_id]["archive"]) == (by == "adopt")
    assert run(stage.rig, "verify", "--deep").code == 0


def test_ended_between_the_sidecar_and_the_ledger(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that the ledger did not store is found by the next run: nothing is written or compared again."""
    [one] = stage.add(1)
    stage.lay(one)
    with monkeypatch.context() as patched, pytest.raises(LedgerLocked):
        patched.setattr(Ledger, "settle", locked)
        stage.adopt()
    before, served = stage.rig.objects(), stage.served()
    assert one.recording_id in stage.rig.sidecars()
    adopted = stage.adopt()
    assert (adopted.adopted, adopted.already_archived, adopted.exit_code) == (0, 1, 0)
    assert (stage.rig.objects(), stage.served(), stage.row(one)["state"]) == (before, served, "archived")


def locked(*_: object) -> None:
    raise LedgerLocked("the ledger is locked")
