"""Encrypted recordings are always stored as ciphertext, and verified by it if a key is configured."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from operations.decrypt.conftest import T0, SealedRig
from operations.decrypt.keypairs import public_pem
from recvault.models import JSON
from recvault.monitoring.metrics import Metrics
from recvault.simulator import SimRecording
from recvault.simulator.media import Media
from recvault.simulator.sealing import Sealer

NAMES = ("voice", "video")


def archived(rig: SealedRig, recording: SimRecording, at: timedelta = timedelta()) -> JSON:
    """Return the medium of the recording's sidecar after a pass, whose ciphertext is as served."""
    assert rig.sync_at(T0 + at).exit_code == 0
    [medium] = rig.sidecars()[recording.recording_id]["media"]
    served = rig.simulator.media(recording, medium["media_format"]).read()
    assert rig.objects()[medium["key"]] == served
    return dict(medium)


def stayed_so(rig: SealedRig, recording: SimRecording) -> JSON:
    """Return the same for a broken one, which is archived only after another look hours later."""
    assert rig.sync_at(T0).exit_code == 0
    assert recording.recording_id not in rig.sidecars()
    return archived(rig, recording, timedelta(hours=4))


def downloads(rig: SealedRig) -> int:
    return rig.simulator.count(lambda each: each.host == "media" or each.path.endswith(".wav"))


@pytest.mark.parametrize("name", NAMES)
def test_what_a_key_opens_is_proven_by_its_plaintext(sealed: SealedRig, name: str) -> None:
    """Length, codec and so on are the plaintext's, bytes and hash the ciphertext's."""
    sealed.opened(name, 0)
    recording = sealed.encrypted()
    medium = archived(sealed, recording)
    assert medium["checked"] == {"status": "ok", "method": "decrypted", "reason": None}
    assert medium["duration_seconds"] == 9.0
    assert medium["codec"] == ("pcm_s16le" if name == "voice" else "opus")
    assert medium["bytes"] != len(sealed.plain(recording))


@pytest.mark.parametrize("name", NAMES)
def test_without_a_key_ciphertext_is_archived_unchecked(sealed: SealedRig, name: str) -> None:
    """Without a key ciphertext is archived unchecked."""
    sealed.opened(name)
    medium = archived(sealed, sealed.encrypted())
    assert medium["checked"] == {"status": "unchecked", "method": "ciphertext", "reason": None}
    assert medium["duration_seconds"] is None


@pytest.mark.parametrize("name", NAMES)
def test_a_key_that_does_not_open_is_flagged_and_counted(sealed: SealedRig, name: str) -> None:
    """With a wrong key it is archived as suspect with the reason, and counted."""
    sealed.opened(name, 1)
    recording, metrics = sealed.encrypted(), Metrics()
    with sealed.runtime(lambda: T0) as runtime:
        assert runtime.sync("sync", [name], observer=metrics).exit_code == 0
    [medium] = sealed.sidecars()[recording.recording_id]["media"]
    assert sealed.objects()[medium["key"]] == sealed.simulator.media(recording, medium["media_format"]).read()
    assert medium["checked"]["status"] == "suspect"
    counted = {
        sample.name: sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }
    assert counted["recvault_suspect_media_total"] == 1


def test_a_key_that_is_not_there_costs_no_second_download(sealed: SealedRig) -> None:
    """If the right key is missing, it is fetched once, and the reason names the wanted key."""
    sealed.opened("voice", 1, 2)
    recording = sealed.encrypted()
    sid = sealed.simulator.seal_for(public_pem(0))
    check = archived(sealed, recording)["checked"]
    assert check["reason"] == (
        f"no private key decrypts it: it is encrypted for public key '{sid}'; "
        "tried voice: private_keys[0], voice: private_keys[1]"
    )
    assert downloads(sealed) == 1


@pytest.mark.parametrize("name", NAMES)
def test_keys_rotate(sealed: SealedRig, name: str) -> None:
    """With the old and the new key configured, recordings of both are verified."""
    sealed.opened(name, 0, 1)
    old = sealed.encrypted()
    assert archived(sealed, old)["checked"]["status"] == "ok"
    sealed.simulator.seal_for(public_pem(1))
    new = sealed.encrypted(created_at=T0)
    assert archived(sealed, new, timedelta(hours=1))["checked"]["status"] == "ok"


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Flip a bit of the served ciphertext, that many times."""

    def after(times: int, place: int = -1) -> None:
        seal, served = Sealer.sealed, [0]

        def spoilt(self: Sealer, recording: SimRecording, plain: Media) -> Media:
            media, body = seal(self, recording, plain), bytearray(seal(self, recording, plain).read())
            served[0] += 1
            body[place] ^= served[0] <= times
            return Media(media.length, media.content_type, bytes(body), media.block_size, media.block)

        monkeypatch.setattr(Sealer, "sealed", spoilt)

    return after


def test_a_flipped_bit_is_fetched_again(sealed: SealedRig, spoil: Any) -> None:
    """A flipped bit, shown by the tag, is fetched again and archived ok."""
    sealed.opened("voice", 0)
    recording = sealed.encrypted()
    spoil(1, 5000)
    assert sealed.sync_at(T0).exit_code == 0
    [medium] = sealed.sidecars()[recording.recording_id]["media"]
    assert medium["checked"]["status"] == "ok"
    assert downloads(sealed) == 2


def test_a_bit_that_stays_flipped_is_kept_and_flagged(sealed: SealedRig, spoil: Any) -> None:
    """If it stays so for hours, it is archived as suspect with the reason."""
    sealed.opened("voice", 0)
    recording = sealed.encrypted()
    spoil(99, 5000)
    assert sealed.sync_at(T0).exit_code == 0
    assert sealed.sidecars() == {}
    assert sealed.sync_at(T0 + timedelta(hours=4)).exit_code == 0
    [medium] = sealed.sidecars()[recording.recording_id]["media"]
    assert medium["checked"]["status"] == "suspect"
    assert medium["checked"]["reason"].startswith("its tag does not match")


def test_a_track_whose_first_bytes_break_is_kept_and_flagged(sealed: SealedRig, spoil: Any) -> None:
    """A track whose plaintext is invalid is archived as suspect."""
    sealed.opened("video", 0)
    recording = sealed.encrypted()
    spoil(99, 0)
    assert sealed.sync_at(T0).exit_code == 0
    assert sealed.sync_at(T0 + timedelta(hours=4)).exit_code == 0
    [medium] = sealed.sidecars()[recording.recording_id]["media"]
    assert medium["checked"]["status"] == "suspect"
    assert "not a known audio format" in medium["checked"]["reason"]


@pytest.fixture
def halved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Encrypts only half of each recording."""
    seal = Sealer.sealed

    def short(self: Sealer, recording: SimRecording, plain: Media) -> Media:
        cut = plain.read()[: plain.length // 2]
        return seal(self, recording, Media(len(cut), plain.content_type, cut, plain.block_size, plain.block))

    monkeypatch.setattr(Sealer, "sealed", short)


@pytest.mark.usefixtures("halved")
@pytest.mark.parametrize("name", NAMES)
def test_a_plaintext_that_is_short_is_flagged(sealed: SealedRig, name: str) -> None:
    """A truncated plaintext with a valid tag is suspect by its length."""
    sealed.opened(name, 0)
    medium = stayed_so(sealed, sealed.encrypted())
    assert (medium["checked"]["status"], medium["checked"]["method"]) == ("suspect", "decrypted")
    assert "truncated" in medium["checked"]["reason"]


@pytest.mark.usefixtures("halved")
def test_ciphertext_that_is_too_short_for_its_length_is_flagged(sealed: SealedRig) -> None:
    """Without a key, ciphertext smaller than a call of that length must be is suspect."""
    sealed.opened("voice")
    check = stayed_so(sealed, sealed.encrypted())["checked"]
    assert (check["status"], check["method"]) == ("suspect", "ciphertext")
    assert check["reason"] == "truncated: 72038 bytes hold at most 4.50 s, the provider states 9.00 s"


@pytest.mark.parametrize("name", NAMES)
def test_ffmpeg_walks_the_plaintext(sealed: SealedRig, name: str) -> None:
    """With the full proof FFmpeg checks the plaintext, but nothing without a key."""
    sealed.transfer["media_proof"] = "full"
    sealed.opened(name, 0)
    sealed.simulator.seal_for(public_pem(1))
    closed = sealed.encrypted()
    sealed.simulator.media(closed, closed.formats[0])  # its key is fixed now
    sealed.simulator.seal_for(public_pem(0))
    check = archived(sealed, sealed.encrypted())["checked"]
    assert check == {"status": "ok", "method": "decrypted, packets", "reason": None}
    sealed.sync_at(T0 + timedelta(hours=4))  # what cannot be decrypted is archived after hours
    check = sealed.sidecars()[closed.recording_id]["media"][0]["checked"]
    assert check["status"] == "suspect"
    assert "FFmpeg" not in check["reason"]
