"""`show`: what is known of one recording, for people."""

from __future__ import annotations

from datetime import timedelta

from cli.commands import run
from recvault.simulator import Simulator
from rig import Rig


def _facts(shown: str) -> dict[str, str]:
    """Names and values of the lines before the row of the list or the sidecar."""
    above = shown.partition("\n{")[0].splitlines()[:-1]
    return {line[:18].strip(): line[18:] for line in above if line[:18].strip()}


def test_why_a_recording_is_not_archived_and_what_comes_next(rig: Rig, simulator: Simulator) -> None:
    """A recording that fails, and one that is not ready, are told with their reason, attempts and next attempt."""
    account = simulator.add_account("twilio")
    when = simulator.now - timedelta(days=2)
    failing = simulator.add(account, "voice", created_at=when)
    unready = simulator.add(account, "voice", created_at=when, completed_at=simulator.now + timedelta(hours=9))
    done = simulator.add(account, "voice", created_at=when)
    simulator.faults.plan("error_body_200", match=failing.recording_id, times=99, kind="media")
    rig.add_source("main", "twilio", account)
    rig.sync()
    why, later, archived = (_facts(run(rig, "show", each.recording_id).stdout) for each in (failing, unready, done))
    assert (why["recording"], why["source"]) == (failing.recording_id, "main (twilio, 2010-04-01)")
    assert why["state"].startswith("failing since 20")
    assert why["reason"].startswith("media.")
    assert ": " in why["reason"]
    assert why["attempts"] == "1, 1 of them count towards max_attempts"
    assert why["next attempt"][:2] == "20"
    assert why["what to do"] != ""
    assert later["state"].startswith("not_ready")
    assert later["reason"] == "the provider's status is in-progress: read again until it is final"
    assert "next attempt" in later
    assert archived["state"].startswith("archived since 20")
    assert archived["media"].endswith(f"{done.recording_id}.wav")
    assert "reason" not in archived
    assert "next attempt" not in archived
