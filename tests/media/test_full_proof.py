"""`media_proof = "full"`: what it adds to the sidecars, and what it flags."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from recvault.simulator import Simulator
from recvault.simulator.media import Media
from recvault.simulator.world import World
from rig import SOURCES, Rig
from strict_s3 import StrictS3

T0 = datetime(2026, 10, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def full(tmp_path: Path, simulator: Simulator, strict_s3: StrictS3) -> Rig:
    """A recvault with FFmpeg's check for everything."""
    simulator.set_now(T0)
    made = Rig(root=tmp_path, simulator=simulator, s3_url=strict_s3.url, bucket=strict_s3.bucket().name)
    made.transfer = {"workers": 2, "media_proof": "full"}
    return made


def archived(rig: Rig, name: str, seconds: float, **options: Any) -> list[dict[str, Any]]:
    """Return the media of one recording's sidecar."""
    provider, kind = SOURCES[name]
    account: Any = rig.simulator.add_account(kind)  # type: ignore[arg-type]
    rig.add_source(name, provider, account, **options)
    rig.simulator.add(account, name, created_at=T0 - timedelta(hours=1), duration_seconds=seconds)  # type: ignore[arg-type]
    assert rig.sync_at(T0).exit_code == 0
    if not rig.sidecars():  # a suspect must still be so hours later
        assert rig.sync_at(T0 + timedelta(hours=4)).exit_code == 0
    [sidecar] = rig.sidecars().values()
    return list(sidecar["media"])


@pytest.mark.parametrize("spool_memory", ["8MiB", "1KiB"], ids=["in memory", "on disk"])
@pytest.mark.parametrize("name", ["voice", "telnyx", "signalwire"])
def test_calls_are_walked_twice(full: Rig, name: str, spool_memory: str) -> None:
    """WAV and MP3 pass both checks, from memory or from the spool, and are archived byte for byte."""
    full.transfer["spool_memory"] = spool_memory
    wav, mp3 = archived(full, name, 7.2, formats=["wav", "mp3"])
    assert (wav["checked"]["status"], wav["checked"]["method"]) == ("ok", "wav sizes, packets")
    assert (mp3["checked"]["status"], mp3["checked"]["method"]) == ("ok", "mp3 frames, packets")
    assert [(each["duration_seconds"], each["sample_rate"], each["channels"]) for each in (wav, mp3)] == [
        (7.2, 8000, 1)
    ] * 2


def test_tracks_are_walked_twice(full: Rig) -> None:
    """FFmpeg's facts about tracks are in the sidecar."""
    [track] = archived(full, "video", 7.0)
    assert (track["checked"]["status"], track["checked"]["method"]) == ("ok", "ebml, packets")
    assert (track["codec"], track["sample_rate"], track["duration_seconds"]) == ("opus", 48000, 7.0)


def test_what_only_packets_show_is_archived_and_flagged(full: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A live track cut between clusters is archived as suspect, with its real length."""
    made = World.media

    def cut(self: World, *which: Any) -> Media:
        body = made(self, *which).read()
        segment = body.index(b"\x18\x53\x80\x67")
        ends = [at for at in range(len(body)) if body.startswith(b"\x1f\x43\xb6\x75", at)]
        short = body[: segment + 4] + b"\x01" + b"\xff" * 7 + body[segment + 12 : ends[10]]
        return Media(len(short), "video/x-matroska", short, 1 << 16, lambda number: b"")

    monkeypatch.setattr(World, "media", cut)
    [track] = archived(full, "video", 20.0)
    assert track["checked"]["status"] == "suspect"
    assert "FFmpeg: truncated: 10.00 s measured, the provider states 20.00 s" in track["checked"]["reason"]
    assert track["duration_seconds"] == 10.0
