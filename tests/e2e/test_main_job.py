"""The main job: from a list page to a committed object, with real bytes, for each provider."""

from __future__ import annotations

from typing import Any

import pytest

from recvault.simulator import SimRecording, Simulator
from rig import SOURCES, Rig, sha256

APIS = {"voice": "voice", "legacy": "voice", "video": "video", "telnyx": "telnyx", "signalwire": "signalwire"}


def truth_bytes(simulator: Simulator, recording: SimRecording, medium: dict[str, Any]) -> bytes:
    return simulator.media(recording, medium["media_format"], medium["channels"]).read()


@pytest.mark.parametrize("name", SOURCES)
def test_every_final_recording_is_in_the_bucket_byte_for_byte(rig: Rig, name: str) -> None:
    """One sync archives everything listed, with sidecars; a second one downloads and writes nothing."""
    provider, kind = SOURCES[name]
    account = rig.simulator.add_account(kind)
    rig.simulator.populate(account, APIS[name], count=30)
    rig.add_source(name, provider, account)

    report = rig.sync()

    assert (report.exit_code, report.outcome) == (0, "ok"), report.document()
    truth = {recording.recording_id: recording for recording in rig.simulator.truth(account)}
    sidecars = rig.sidecars()
    assert set(sidecars) == set(truth)
    objects = rig.objects()
    for recording_id, sidecar in sidecars.items():
        for medium in sidecar["media"]:
            assert objects[medium["key"]] == truth_bytes(rig.simulator, truth[recording_id], medium)
            assert sha256(objects[medium["key"]]) == medium["sha256"]

    rig.simulator.clear_requests()
    again = rig.sync()
    assert again.exit_code == 0
    assert not [each for each in rig.simulator.requests if "Media" in each.path or each.path.endswith((".wav", ".mp3"))]
    assert rig.objects() == objects
