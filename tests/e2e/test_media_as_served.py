"""Media of another format than requested are archived as what they are, once, and found again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from recvault.cli import main
from recvault.simulator import Simulator, twilio_voice
from recvault.simulator.exchange import Request, SimulatedReply
from recvault.simulator.media import Media
from recvault.simulator.world import World
from rig import Rig
from strict_s3 import StrictS3

T0 = datetime(2026, 10, 1, 12, 0, tzinfo=UTC)
SOUNDS = Path(__file__).parent.parent / "data" / "media"


@pytest.fixture
def rig(tmp_path: Path, simulator: Simulator, strict_s3: StrictS3) -> Rig:
    simulator.set_now(T0)
    made = Rig(root=tmp_path, simulator=simulator, s3_url=strict_s3.url, bucket=strict_s3.bucket().name)
    made.transfer = {"workers": 2}
    return made


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the provider serve another format, or a given body, under any content type."""
    made = World.media

    def instead(swap: dict[str, str | bytes], content_type: str | None = None) -> None:
        def media(self: World, recording: Any, media_format: str, channels: int) -> Media:
            given = swap.get(media_format, media_format)
            if isinstance(given, bytes):
                return Media(len(given), content_type or "audio/x-wav", given, 1 << 16, lambda number: b"")
            body = made(self, recording, given, channels)
            return Media(body.length, content_type or body.content_type, body.head, body.block_size, body.block)

        monkeypatch.setattr(World, "media", media)

    return instead


def add(rig: Rig, *, formats: list[str], seconds: float = 7.2, **details: Any) -> str:
    account = rig.simulator.add_account("twilio")
    rig.add_source("voice", "twilio", account, formats=formats)
    created = T0 - timedelta(days=1)
    return rig.simulator.add(account, "voice", created_at=created, duration_seconds=seconds, **details).recording_id


def media_of(rig: Rig, recording_id: str) -> list[dict[str, Any]]:
    return list(rig.sidecars()[recording_id]["media"])


def run(rig: Rig, *words: str) -> int:
    return CliRunner().invoke(main, ["--config", str(rig.config_path), *words]).exit_code


def check_found_again(rig: Rig) -> None:
    """Check that a further pass, verify and a rebuilt ledger find everything, and move no byte."""
    before, asked = rig.objects(), downloads(rig)
    assert run(rig, "verify", "--deep") == 0
    assert rig.sync_at(T0).exit_code == 0
    for path in rig.root.glob("ledger.db*"):
        if path.is_file():
            path.unlink()
    assert run(rig, "rebuild") == 0
    assert run(rig, "verify", "--deep") == 0
    assert rig.sync_at(T0).exit_code == 0
    assert (rig.objects(), downloads(rig)) == (before, asked)


def downloads(rig: Rig) -> int:
    return rig.simulator.count(lambda each: each.path.endswith((".wav", ".mp3")) and each.status == 200)


@pytest.mark.parametrize(("asked", "real", "kind"), [("wav", "mp3", "audio/mpeg"), ("mp3", "wav", "audio/wav")])
def test_the_other_format_is_archived_as_what_it_is(rig: Rig, serve: Any, asked: str, real: str, kind: str) -> None:
    """Key, format and content type follow the bytes, and the sidecar has the requested format."""
    serve({asked: real})
    recording_id = add(rig, formats=[asked])
    assert rig.sync_at(T0).exit_code == 0
    [medium] = media_of(rig, recording_id)
    assert medium["key"].endswith(f"{recording_id}.{real}")
    assert (medium["media_format"], medium["content_type"], medium["requested"]["media_format"]) == (real, kind, asked)
    assert medium["checked"]["status"] == "ok"
    assert medium["checked"]["reason"] == f"{asked} was requested, {real} was received"
    head = rig.s3.head_object(Bucket=rig.bucket, Key=medium["key"])
    assert head["ContentType"] == kind
    check_found_again(rig)


def test_both_formats_that_come_as_one_are_one_medium(rig: Rig, serve: Any) -> None:
    """The same bytes at both URLs are one object, named once in the sidecar."""
    body = (SOUNDS / "g722.wav").read_bytes()
    serve({"wav": body, "mp3": body})
    recording_id = add(rig, formats=["wav", "mp3"], seconds=1.0)
    assert rig.sync_at(T0).exit_code == 0
    [medium] = media_of(rig, recording_id)
    assert (medium["media_format"], medium["requested"]["media_format"]) == ("wav", "wav")
    assert rig.sidecars()[recording_id]["archive"]["formats_wanted"] == ["wav", "mp3"]
    check_found_again(rig)


def test_both_formats_that_come_as_two_of_a_kind_are_two_media(rig: Rig, serve: Any) -> None:
    """Two different WAVs at both URLs are both kept."""
    first = (SOUNDS / "g722.wav").read_bytes()
    serve({"wav": first, "mp3": (SOUNDS / "ima.wav").read_bytes()})
    recording_id = add(rig, formats=["wav", "mp3"], seconds=1.0)
    assert rig.sync_at(T0).exit_code == 0
    media = media_of(rig, recording_id)
    assert [each["media_format"] for each in media] == ["wav", "wav"]
    assert [each["requested"]["media_format"] for each in media] == ["wav", "mp3"]
    assert len({each["key"] for each in media}) == 2
    assert all(each["key"].endswith(".wav") for each in media)
    check_found_again(rig)


@pytest.mark.parametrize(
    ("name", "seconds"),
    [("opus.ogg", 1.0), ("tone.flac", 0.25), ("tone.m4a", 1.0), ("tone.amr", 1.0), ("tone.aac", 1.0)],
)
def test_what_a_gateway_makes_of_it_is_archived_as_what_it_is(rig: Rig, serve: Any, name: str, seconds: float) -> None:
    """Audio in a container that was not requested is kept under its own extension, unchecked."""
    body = (SOUNDS / name).read_bytes()
    serve({"wav": body}, "application/octet-stream")
    recording_id = add(rig, formats=["wav"], seconds=seconds)
    assert rig.sync_at(T0).exit_code == 0
    [medium] = media_of(rig, recording_id)
    assert medium["key"].endswith(name.rpartition(".")[2])
    assert rig.objects()[medium["key"]] == body
    assert medium["checked"]["status"] == "unchecked"
    check_found_again(rig)


@pytest.mark.parametrize("content_type", ["text/plain; charset=UTF-8", "application/json", "application/octet-stream"])
def test_audio_is_archived_under_any_content_type(rig: Rig, serve: Any, content_type: str) -> None:
    """The bytes decide the format, whatever the content type."""
    serve({}, content_type)
    recording_id = add(rig, formats=["wav"])
    assert rig.sync_at(T0).exit_code == 0
    [medium] = media_of(rig, recording_id)
    assert (medium["checked"]["status"], medium["content_type"]) == ("ok", "audio/wav")


def lost(rig: Rig, recording_id: str) -> str:
    [medium] = media_of(rig, recording_id)
    rig.s3.delete_object(Bucket=rig.bucket, Key=medium["key"])
    return str(medium["key"])


def test_a_lost_medium_is_asked_for_as_it_was_before(rig: Rig, serve: Any) -> None:
    """A lost MP3 that was served at .wav is restored from there, as the MP3's own URL has other bytes."""
    serve({"wav": "mp3", "mp3": (SOUNDS / "tone.mp3").read_bytes()})
    recording_id = add(rig, formats=["wav"])
    assert rig.sync_at(T0).exit_code == 0
    before = rig.objects()
    lost(rig, recording_id)
    assert run(rig, "verify", "--repair") == 3
    assert rig.sync_at(T0 + timedelta(hours=1)).exit_code == 0
    assert rig.objects() == before


@pytest.fixture
def refuse_channels(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Answer that many requests for two channels with 400."""
    serve, left = twilio_voice.serve, [0]

    def refusing(world: World, request: Request, find: Any, media_format: str) -> SimulatedReply:
        if request.param("RequestedChannels") == "2" and left[0] > 0:
            left[0] -= 1
            raise twilio_voice.refuse("xml", 400, 20001, "not now")
        return serve(world, request, find, media_format)

    monkeypatch.setattr(twilio_voice, "serve", refusing)

    def times(count: int) -> list[int]:
        left[0] = count
        return left

    return times


def test_channels_that_are_refused_once_are_not_lost(rig: Rig, refuse_channels: Any) -> None:
    """A temporary 400 to the request for two channels does not lose them: they are requested again."""
    left = refuse_channels(1)
    recording_id = add(rig, formats=["wav"], channels=2, conference_id="CF1")
    assert rig.sync_at(T0).exit_code == 0
    [medium] = media_of(rig, recording_id)
    assert (medium["channels"], medium["checked"]["status"]) == (2, "ok")
    assert medium["requested"] == {"media_format": "wav", "channels": 2, "refused": None}
    assert left == [0]


def test_channels_that_are_refused_for_hours_are_flagged(rig: Rig, refuse_channels: Any) -> None:
    """Mono media of a row with two channels are fetched again hours later, and flagged if still mono."""
    refuse_channels(99)
    recording_id = add(rig, formats=["wav"], channels=2, conference_id="CF1")
    assert rig.sync_at(T0).exit_code == 0
    assert rig.sidecars() == {}
    assert rig.sync_at(T0 + timedelta(hours=4)).exit_code == 0
    [medium] = media_of(rig, recording_id)
    assert (medium["channels"], medium["checked"]["status"]) == (1, "suspect")
    assert medium["checked"]["reason"] == "1 channels received, the provider states 2"
    assert medium["requested"] == {"media_format": "wav", "channels": None, "refused": "2 channels: answered 400"}


def test_mono_under_a_row_that_tells_two_channels_is_flagged(rig: Rig, serve: Any) -> None:
    """Mono media in answer to a request for two channels are not ok."""
    serve({"wav": (SOUNDS / "g722.wav").read_bytes()})
    recording_id = add(rig, formats=["wav"], seconds=1.0, channels=2)
    for hours in (0, 4):
        assert rig.sync_at(T0 + timedelta(hours=hours)).exit_code == 0
    [medium] = media_of(rig, recording_id)
    assert (medium["channels"], medium["checked"]["status"]) == (1, "suspect")
    assert medium["requested"]["channels"] == 2
