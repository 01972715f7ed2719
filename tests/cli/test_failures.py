"""`failures` and `retry` by reason and source, and accepted losses."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

import recvault
from cli.commands import run
from recvault.cli.hints import REASONS, hint
from recvault.simulator import SimRecording, Simulator
from recvault.transfer.verdicts import VERDICTS
from rig import Rig


@pytest.fixture
def troubled(rig: Rig, simulator: Simulator) -> list[SimRecording]:
    """Two sources: of the first two recordings are dead for one reason, of the second one."""
    rig.transfer = {"max_attempts": 1, "retry_base": "1s", "retry_max": "1s"}
    voice, telnyx = simulator.add_account("twilio"), simulator.add_account("telnyx")
    when = simulator.now - timedelta(days=2)
    made = [
        *(simulator.add(voice, "voice", created_at=when + timedelta(minutes=number)) for number in range(3)),
        *(simulator.add(telnyx, "telnyx", created_at=when + timedelta(minutes=number)) for number in range(2)),
    ]
    for recording in (*made[1:3], made[4]):
        simulator.faults.plan("error_body_200", match=recording.recording_id, times=99, kind="media")
    rig.add_source("voice", "twilio", voice)
    rig.add_source("telnyx", "telnyx", telnyx)
    assert rig.sync().exit_code == 3
    return made


def test_failures_are_grouped_by_reason_and_chosen(rig: Rig, troubled: list[SimRecording]) -> None:
    """Reasons come first, with counts and hints; recordings follow, filtered by source and reason, and limited."""
    document = run(rig, "failures", "--json").document
    counted = [(row["source"], row["state"], row["count"]) for row in document["reasons"]]
    assert counted == [("voice", "dead", 2), ("telnyx", "dead", 1)]
    assert (len(document["failures"]), document["failures_total"]) == (3, 3)
    of_one = run(rig, "failures", "--source", "telnyx", "--json").document
    assert [row["recording_id"] for row in of_one["failures"]] == [troubled[4].recording_id]
    assert run(rig, "failures", "--reason", "media.magic", "--json").document["failures"] == []
    shown = run(rig, "failures", "--limit", "1")
    assert "1 of 3 recordings are listed: --limit N lists more" in shown.stderr
    configured = f"recvault --config {rig.config_path} "
    for row in document["reasons"]:
        assert hint(row, lambda command: command.replace("recvault ", configured)) in shown.stdout
    assert run(rig, "failures", "--source", "nobody").code == 2


def test_a_reason_that_does_not_exist_is_a_mistake(rig: Rig, troubled: list[SimRecording]) -> None:
    """`failures` and `retry` refuse an unknown reason, and name the nearest one and those in the ledger."""
    for words in (["failures", "--reason", "media.documents"], ["retry", "--reason", "media.documents"]):
        ran = run(rig, *words, "--json")
        assert (ran.code, ran.stdout) == (2, "")
        assert ran.stderr.startswith("recvault: there is no reason media.documents\n  did you mean media.document? ")
        assert "in the ledger: media.document; all: " in ran.stderr
        assert "provider.denied" in ran.stderr
    rig.ledger = {"path": str(rig.root / "none.db")}
    assert "no recording is dead or failing" in run(rig, "failures", "--reason", "nope").stderr


def test_every_reason_is_known() -> None:
    """The reasons that a command knows are exactly those that the code gives."""
    source = Path(recvault.__file__).parent
    files = [*source.glob("transfer/*.py"), *source.glob("media/*.py"), source / "http" / "media.py"]
    files += [source / "models.py", source / "errors.py"]
    kinds = "config|credentials|media|provider|recording|spool|store|worker"
    text = "".join(each.read_text() for each in files)
    given = set(re.findall(rf'"((?:{kinds})\.[a-z_]+)"', text)) | {"drained", "unexpected"}
    assert sorted(given) == sorted(REASONS)


def test_retry_takes_what_failed_for_a_reason_or_at_a_source(rig: Rig, troubled: list[SimRecording]) -> None:
    """`retry` by reason or source affects only those, and the hinted commands work as printed."""
    reason = run(rig, "failures", "--json").document["reasons"][0]["reason"]
    assert run(rig, "retry", "--source", "telnyx", "--json").document["made_due"] == 1
    assert run(rig, "retry", "--reason", reason, "--source", "voice", "--json").document["made_due"] == 2
    assert run(rig, "retry", "--reason", "media.magic", "--json").document["made_due"] == 0
    assert run(rig, "retry").code == 2
    assert run(rig, "retry", "--all", "--source", "voice").code == 2


def test_an_accepted_loss_is_no_failure_any_more(rig: Rig, simulator: Simulator, troubled: list[SimRecording]) -> None:
    """An accepted loss is listed with its reason and no longer exits 3; `retry` takes it back and archives it."""
    ids = [troubled[number].recording_id for number in (1, 2, 4)]
    ran = run(rig, "failures", "accept", *ids, "--reason", "the provider lost it", "--json")
    assert (ran.code, {row["recording_id"] for row in ran.document["accepted"]}) == (0, set(ids))
    assert rig.sync().exit_code == 0
    document = run(rig, "failures", "--json").document
    assert (document["failures"], len(document["accepted"])) == ([], 3)
    assert document["accepted"][0]["message"].startswith("the provider lost it (by ")
    assert "media." in document["accepted"][0]["message"]  # what it was before
    counts = {row["source"]: row["counts"] for row in run(rig, "status", "--json").document["sources"]}
    assert [(counts[name]["accepted"], counts[name]["dead"]) for name in ("voice", "telnyx")] == [(2, 0), (1, 0)]
    simulator.faults.clear_plans()
    assert run(rig, "retry", ids[0]).code == 0
    assert rig.sync().exit_code == 0
    assert run(rig, "status", "--json").document["sources"][0]["counts"]["accepted"] == 1


def test_an_accepted_loss_has_a_record_in_the_bucket(rig: Rig, troubled: list[SimRecording]) -> None:
    """The record says who accepted which recordings, why and when; a bucket that takes none keeps them dead."""
    ids = sorted(troubled[number].recording_id for number in (1, 2))
    where, rig.s3_url = rig.s3_url, "http://127.0.0.1:9"
    assert run(rig, "failures", "accept", *ids, "--reason", "the provider lost it").code == 75
    rig.s3_url = where
    assert run(rig, "failures", "--json").document["accepted"] == []
    assert run(rig, "failures", "accept", *ids, "--reason", "the provider lost it").code == 0
    [(key, body)] = [(key, body) for key, body in rig.objects().items() if key.startswith("events/")]
    assert "-failures-accept-" in key
    lines = [json.loads(line) for line in body.splitlines()]
    assert sorted(line["recording_id"] for line in lines) == ids
    assert {(line["act"], line["reference"]) for line in lines} == {("failures accept", "the provider lost it")}
    assert lines[0]["command"][-2:] == ["--reason", "[above]"]


def test_what_is_archived_cannot_be_accepted_as_lost(rig: Rig, troubled: list[SimRecording]) -> None:
    """An archived recording cannot be accepted as lost, and a reason is required."""
    ran = run(rig, "failures", "accept", troubled[0].recording_id, "--reason", "why not")
    assert (ran.code, ran.stdout) == (0, "0 recordings accepted as lost\n")
    assert "is unchanged: it is archived already" in ran.stderr
    assert run(rig, "failures", "accept", troubled[1].recording_id).code == 2
    assert run(rig, "failures", "accept", troubled[1].recording_id, "--reason", " ").code == 2


@pytest.mark.parametrize("reason", sorted({reason for _, reason, _ in VERDICTS.values()} - {"drained"}))
def test_every_reason_has_a_hint(reason: str) -> None:
    """An operator is told what to do; and how to retry what is dead, once the cause is gone."""
    row = {"source": "voice", "recording_id": "RE1", "reason": reason}
    assert hint(row | {"state": "failing"})
    dead = hint(row | {"state": "dead"})
    assert dead.endswith(f"then `recvault retry --source voice --reason {reason}`") is (reason != "unexpected")
