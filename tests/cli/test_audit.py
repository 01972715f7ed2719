"""The commands that change what is kept leave a record of who ran them, and why, before they act."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from cli.commands import run
from recvault.simulator import Simulator
from rig import Rig
from strict_s3 import Bucket

NUMBER = "+15550001234"


def events(rig: Rig) -> list[dict[str, Any]]:
    """Return the audit trail, oldest first."""
    objects = sorted((key, body) for key, body in rig.objects().items() if key.startswith("events/"))
    return [json.loads(line) for _, body in objects for line in body.splitlines()]


def test_holds_and_erasures_are_told_with_their_reference(rig: Rig, simulator: Simulator) -> None:
    """Each run has a record with its reference and without the number; a dry run and wrong usage have none."""
    account = simulator.add_account("twilio")
    [made] = simulator.populate(account, "voice", count=1, conference_share=0)
    rig.add_source("voice", "twilio", account)
    rig.sync()
    one = ("--recording", made.recording_id)
    assert run(rig, "hold", "add", "case", *one, "--reference", "court 7").code == 0
    assert run(rig, "erase", *one, "--reference", "request 8", "--dry-run").code == 3
    assert run(rig, "erase", *one).code == 2
    assert run(rig, "erase", *one, "--reference", "request 8").code == 3
    assert run(rig, "hold", "release", "case", "--reference", "court 9").code == 0
    assert run(rig, "erase", "--due").code == 0
    assert run(rig, "erase", "--number", NUMBER, "--reference", "request 10").code == 0
    told = events(rig)
    assert [(each["act"], each["reference"]) for each in told] == [
        ("hold add", "court 7"),
        ("erase", "request 8"),
        ("hold release", "court 9"),
        ("erase", None),
        ("erase", "request 10"),
    ]
    assert [each.get("hold") for each in told if each["act"].startswith("hold")] == ["case", "case"]
    assert NUMBER.lstrip("+") not in json.dumps(told)


def test_an_adoption_is_told(rig: Rig, simulator: Simulator) -> None:
    """`adopt` names the source and where the objects were; a dry run leaves no record."""
    account = simulator.add_account("twilio")
    simulator.add(account, "voice", created_at=simulator.now - timedelta(days=1))
    rig.add_source("voice", "twilio", account)
    rig.s3.create_bucket(Bucket="theirs")
    assert run(rig, "adopt", "--source", "voice", "s3://theirs/calls", "--dry-run").code == 0
    assert events(rig) == []
    assert run(rig, "adopt", "--source", "voice", "s3://theirs/calls").code == 0
    assert [(each["act"], each["source"], each["from"]) for each in events(rig)] == [
        ("adopt", "voice", "s3://theirs/calls")
    ]


def test_without_its_record_nothing_is_erased(rig: Rig, simulator: Simulator, strict_bucket: Bucket) -> None:
    """If the bucket takes no record, the command ends before it acts."""
    account = simulator.add_account("twilio")
    [made] = simulator.populate(account, "voice", count=1, conference_share=0)
    rig.add_source("voice", "twilio", account)
    rig.sync()
    before = rig.objects()
    strict_bucket.denied = {"PUT"}
    ran = run(rig, "erase", "--recording", made.recording_id, "--reference", "request 8")
    assert (ran.code, rig.objects()) == (77, before)
