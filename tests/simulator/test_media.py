"""The media are valid files, the same each time, and different for each recording."""

from __future__ import annotations

import io
import itertools
import wave

import pytest

from recvault.simulator import Media, SimRecording, Simulator

from .ebml import children, find


def recording(seed: int = 7, api: str = "voice", **details: object) -> tuple[Simulator, SimRecording]:
    simulator = Simulator(seed=seed)
    account = simulator.add_account("twilio")
    return simulator, simulator.add(account, api, **details)


def mp3_frames(content: bytes) -> int:
    """Walk from header to header; each must be where the previous one ends."""
    count, place = 0, 0
    while place < len(content):
        assert content[place : place + 2] == b"\xff\xe3", f"no frame at {place}"
        assert content[place + 2] == 0x48  # 32 kbit/s at 8 kHz, unpadded: 288 bytes
        count, place = count + 1, place + 288
    assert place == len(content)
    return count


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("seconds", [0, 1.0, 2.51, 30.0])
def test_wav_opens(seconds: float, channels: int) -> None:
    """A WAV is 8 kHz PCM of the right duration, channels and length."""
    simulator, rec = recording(duration_seconds=seconds, channels=channels)
    media = simulator.media(rec, "wav")
    content = media.read()
    assert len(content) == media.length
    with wave.open(io.BytesIO(content)) as opened:
        assert opened.getframerate() == 8000
        assert opened.getnchannels() == channels
        assert opened.getnframes() == round(seconds * 8000)


@pytest.mark.parametrize("seconds", [0, 1.0, 2.51, 30.0])
def test_mp3_frames_count_the_duration(seconds: float) -> None:
    """An MP3's frames last as long as the recording, to the frame."""
    simulator, rec = recording(duration_seconds=seconds)
    media = simulator.media(rec, "mp3")
    assert len(media.read()) == media.length
    assert mp3_frames(media.read()) * 0.072 == pytest.approx(seconds, abs=0.036)


@pytest.mark.parametrize(("media_format", "codec"), [("mka", b"A_OPUS"), ("mkv", b"V_VP8")])
@pytest.mark.parametrize("seconds", [0.5, 2.0, 3.3])
def test_matroska_sizes_add_up(media_format: str, codec: bytes, seconds: float) -> None:
    """Every EBML size is right, the segment ends with the file, and blocks fill the duration."""
    simulator, rec = recording(api="video", duration_seconds=seconds, formats=(media_format,))
    media = simulator.media(rec, media_format)
    content = media.read()
    assert len(content) == media.length
    header, segment = children(content)
    assert find(header.body, 0x4282) == b"matroska"
    assert find(segment.body, 0x1654AE6B, 0xAE, 0x86) == codec
    blocks = [
        block
        for cluster in children(segment.body)
        if cluster.id == 0x1F43B675
        for block in children(cluster.body)
        if block.id == 0xA3
    ]
    assert len(blocks) == round(seconds * (50 if media_format == "mka" else 25))
    assert {block.body[0] for block in blocks} == {0x81}


def test_media_depend_on_seed_and_recording_alone() -> None:
    """The same seed gives the same bytes; another seed, recording, format or channel count gives others."""
    first, one = recording()
    again, same = recording()
    other, strange = recording(seed=8)
    two = first.add(first.add_account("twilio"), "voice")
    assert first.media(one, "wav").sha256 == again.media(same, "wav").sha256
    sums = {
        first.media(one, "wav").sha256,
        first.media(one, "wav", 2).sha256,
        first.media(one, "mp3").sha256,
        first.media(two, "wav").sha256,
        other.media(strange, "wav").sha256,
    }
    assert len(sums) == 5


def test_blocks_differ_and_are_not_silence() -> None:
    """No two blocks of a long recording are equal, and none is silent."""
    simulator, rec = recording(duration_seconds=60, channels=2)
    blocks = list(itertools.islice(simulator.media(rec, "wav").chunks(), 1, None))
    assert len(set(blocks)) == len(blocks) == 30
    assert all(len(set(block)) == 256 for block in blocks[:-1])


def test_two_gigabytes_are_promised_without_being_made() -> None:
    """A WAV of 2 GiB needs no memory until it is read, and any part can be read."""
    simulator, rec = recording(duration_seconds=2**31 / 32000, channels=2)
    media = simulator.media(rec, "wav")
    assert media.length == 2**31 + 44
    assert len(b"".join(media.chunks(2**31 - 100_000, 2**31))) == 100_000


@pytest.mark.parametrize("media_format", ["wav", "mp3", "mka", "mkv"])
def test_parts_are_parts_of_the_whole(media_format: str) -> None:
    """A range has the bytes of that part of the whole."""
    simulator, rec = recording(api="video", duration_seconds=20)
    media: Media = simulator.media(rec, media_format)
    whole = media.read()
    for start, stop in itertools.pairwise((0, 1, 44, 45, 4000, 70_000, 65_580, media.length)):
        assert b"".join(media.chunks(start, stop)) == whole[start:stop]


def test_ciphertext_has_the_length_of_its_cipher() -> None:
    """Encrypted voice is 16 bytes longer (GCM's tag); encrypted Video is padded to the next 16 (CBC)."""
    simulator, rec = recording(encrypted=True)
    assert rec.formats == ("wav",)
    assert simulator.media(rec, "wav").length == 16044 + 16
    assert not simulator.media(rec, "wav").read().startswith(b"RIFF")
    simulator, rec = recording(api="video", encrypted=True, formats=("mkv",))
    clear_simulator, clear = recording(api="video", formats=("mkv",))
    plain = clear_simulator.media(clear, "mkv").length
    assert simulator.media(rec, "mkv").length == (plain // 16 + 1) * 16
