"""One populated world for all tests that only read it, as each process takes a second to start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from cli.commands import Ran, run, run_each
from recvault.simulator import SimRecording, Simulator
from rig import Rig
from strict_s3 import StrictS3

ASKED = (
    "status --json",
    "failures --json",
    "show voice:ARCHIVED --json",
    "show ARCHIVED",
    "show telnyx:ARCHIVED --json",
    "check --json",
    "schema",
)


@dataclass(frozen=True)
class World:
    """A recvault after its first sync, with a recording in each state."""

    rig: Rig
    archived: SimRecording
    failing: SimRecording
    synced: Ran
    asked: dict[str, Ran]  # results by command line


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, strict_s3: StrictS3) -> Iterator[World]:
    """Two sources, one with problems; nothing changes after the sync."""
    with Simulator(seed=11) as simulator:
        root, bucket = tmp_path_factory.mktemp("world"), strict_s3.bucket()
        rig = Rig(root=root, simulator=simulator, s3_url=bucket.url, bucket=bucket.name)
        rig.transfer = {"retry_base": "1h", "retry_max": "2h"}
        voice, telnyx = simulator.add_account("twilio"), simulator.add_account("telnyx")
        archived = simulator.populate(voice, "voice", count=6, conference_share=0)[0]
        failing = simulator.add(voice, "voice", recording_id="RE" + "f" * 32, **_aged(simulator, 30))
        simulator.add(voice, "voice", malformed="bad_date", **_aged(simulator, 31))
        simulator.add(voice, "voice", status_final="absent", **_aged(simulator, 32))
        simulator.add(voice, "voice", external_location="https://theirs.example.com/a.wav", **_aged(simulator, 33))
        simulator.add(voice, "voice", completed_at=simulator.now + timedelta(hours=9), **_aged(simulator, 34))
        simulator.populate(telnyx, "telnyx", count=5)
        simulator.faults.plan("error_body_200", match=failing.recording_id, times=99, kind="media")
        rig.add_source("voice", "twilio", voice)
        rig.add_source("telnyx", "telnyx", telnyx)
        synced = run(rig, "sync", "--json")
        commands = [each.replace("ARCHIVED", archived.recording_id).split() for each in ASKED]
        yield World(rig, archived, failing, synced, dict(zip(ASKED, run_each(rig, *commands), strict=True)))


def _aged(simulator: Simulator, hours: int) -> dict[str, object]:
    created = simulator.now - timedelta(hours=hours)
    return {"created_at": created, "visible_at": created}
