"""A medium is what its bytes show, whatever was requested: each kind of file under every name."""

from __future__ import annotations

from pathlib import Path

import pytest

from recvault.errors import MediaRejected
from recvault.media import CONTENT_TYPES, MediaFacts, Prober
from recvault.simulator.media import Noise, mp3, wav

FILES = {
    "g722.wav": "wav",
    "gsm.wav": "wav",
    "ima.wav": "wav",
    "msadpcm.wav": "wav",
    "late.mka": "mka",
    "opus.ogg": "ogg",
    "tone.aac": "aac",
    "tone.aiff": "aiff",
    "tone.amr": "amr",
    "tone.au": "au",
    "tone.caf": "caf",
    "tone.flac": "flac",
    "tone.m4a": "m4a",
    "tone.mp3": "mp3",
    "tone.w64": "w64",
    "tone.webm": "webm",
    "tone.wma": "wma",
}
HOME = Path(__file__).parent.parent / "data" / "media"
FRAME = 288  # bytes of the simulator's MP3


def probe(
    body: bytes, asked: str, *, told: float | None = None, channels: int | None = None, step: int = 1 << 16
) -> MediaFacts:
    prober = Prober(asked)
    for at in range(0, len(body), step):
        prober.feed(body[at : at + step])
    return prober.finish(duration_seconds=told, size_bytes=None, channels=channels)


def sound(seconds: float, name: str, channels: int = 1) -> bytes:
    return (wav if name == "wav" else mp3)(Noise(7, name), seconds, channels).read()


@pytest.mark.parametrize("asked", ["wav", "mp3", "mka"])
@pytest.mark.parametrize("name", FILES)
def test_sound_audio_is_never_refused(name: str, asked: str) -> None:
    """Every kind is recognised under any name and never suspect; the reason states what was requested."""
    facts = probe((HOME / name).read_bytes(), asked)
    expected = "mka" if name == "tone.webm" and asked == "mka" else FILES[name]
    assert facts.media_format == expected
    assert facts.check.status in ("ok", "unchecked")
    assert (f"{asked} was requested, {expected} was received" in (facts.check.reason or "")) == (asked != expected)
    assert expected in CONTENT_TYPES


@pytest.mark.parametrize("name", FILES)
def test_a_kind_shows_itself_however_the_body_is_cut(name: str) -> None:
    """A body fed byte by byte gives the same kind as at once."""
    body = (HOME / name).read_bytes()
    assert probe(body, "wav", step=1) == probe(body, "wav")


@pytest.mark.parametrize("tag", [0, 10, 300, 70_000])
@pytest.mark.parametrize("name", ["tone.aac", "tone.flac", "tone.mp3"])
def test_a_tag_in_front_hides_no_kind(name: str, tag: int) -> None:
    """AAC and FLAC after an ID3 tag are recognised."""
    size = bytes(tag >> shift & 127 for shift in (21, 14, 7, 0))
    body = b"ID3\x04\0\0" + size + bytes(tag) + (HOME / name).read_bytes()
    for step in (1 << 16, 13):
        facts = probe(body, "mp3", step=step)
        assert (facts.media_format, facts.check.status) == (FILES[name], "ok" if name == "tone.mp3" else "unchecked")


def test_a_name_of_its_own_kind_stays() -> None:
    """A requested name of the real kind is kept."""
    body = (HOME / "opus.ogg").read_bytes()
    assert [probe(body, asked).media_format for asked in ("opus", "oga", "ogg", "wav")] == ["opus", "oga", "ogg", "ogg"]


def test_a_format_that_is_not_known_is_taken_as_it_is_asked_for() -> None:
    """An unknown format of a plug-in is archived unchecked, under its name."""
    facts = probe(b"\x01\x80" * 500, "vox")
    assert (facts.media_format, facts.check.status) == ("vox", "unchecked")
    assert probe(sound(1, "wav"), "vox").media_format == "wav"


@pytest.mark.parametrize(("real", "asked"), [("wav", "mp3"), ("mp3", "wav")])
def test_the_other_format_is_walked_as_what_it_is(real: str, asked: str) -> None:
    """A WAV served as .mp3 and an MP3 as .wav are measured and checked; a truncated one is detected."""
    body = sound(7.2, real)
    facts = probe(body, asked, told=7.2)
    assert (facts.media_format, facts.check.status, facts.duration_seconds) == (real, "ok", 7.2)
    assert probe(body[: len(body) // 2], asked, told=7.2).check.status == "suspect"


@pytest.mark.parametrize("asked", ["mp3", "wav"])
@pytest.mark.parametrize(
    "begin",
    [b"\0" * FRAME, b"\0" * 1044, b"junk" * 300, b"\xff\xfb\x90\x64" * 7, b"\r\n", b"\0" * 4096],
    ids=["a frame of zeros", "zeros", "junk", "headers of another kind", "a line end", "a block of zeros"],
)
def test_an_mp3_that_begins_late_is_sound(begin: bytes, asked: str) -> None:
    """Zeros, junk or a false header before the first frame are only noted."""
    for step in (1 << 16, 7):
        facts = probe(begin + sound(7.2, "mp3"), asked, told=7.2, step=step)
        assert (facts.media_format, facts.check.status, facts.duration_seconds) == ("mp3", "ok", 7.2)
        assert f"{len(begin)} bytes before its first frame do not belong to a frame" in (facts.check.reason or "")


@pytest.mark.parametrize("cut", [1, 2, 3, 100, FRAME - 1])
def test_an_mp3_that_begins_amid_a_frame_is_sound(cut: int) -> None:
    """A stream that begins within a frame loses only that frame."""
    facts = probe(sound(7.2, "mp3")[cut:], "mp3", told=7.2)
    assert (facts.check.status, facts.duration_seconds) == ("ok", pytest.approx(7.128))


def test_an_mp3_that_lacks_its_beginning_is_suspect() -> None:
    """Many bytes before the first frame are suspect, as they were audio."""
    check = probe(b"\0" * 40_000 + sound(7.2, "mp3"), "mp3").check
    assert (check.status, check.reason) == ("suspect", "40000 bytes before its first frame do not belong to a frame")


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_an_mp3_that_ends_in_zeros_is_suspect(share: float) -> None:
    """A second half of zeros is suspect; a block of padding is not."""
    body = sound(20, "mp3")
    kept = body[: int(len(body) * share)]
    check = probe(kept + bytes(len(body) - len(kept)), "mp3").check
    assert check.status == "suspect"
    assert probe(body + bytes(4096), "mp3").check.status == "ok"


def test_a_wav_that_ends_in_zeros_is_noted() -> None:
    """A WAV whose second half is zeros may be silence: ok, with a note."""
    body = sound(20, "wav")
    for step in (1 << 16, 1 << 14, 999):
        check = probe(body[: len(body) // 2 - 1] + b"\1" + bytes(len(body) // 2), "wav", step=step).check
        assert check.status == "ok"
        assert check.reason == f"its last {len(body) // 2} bytes of {len(body)} are zeros"
    assert probe(body[:-30_000] + bytes(30_000), "wav").check.reason is None


@pytest.mark.parametrize("body", [b"\0" * 5000, b"\xff\xfb\x90\x64" + b"x" * 900, b"x" * 600 + b"\xff\xfb\x90\x64"])
def test_a_lone_frame_header_is_no_mp3(body: bytes) -> None:
    """A single frame header is no MP3, as it occurs by chance."""
    with pytest.raises(MediaRejected):
        probe(body, "wav")


def test_channels_are_held_against_what_is_told() -> None:
    """Fewer channels than stated are suspect; more are not."""
    for name in ("wav", "mp3"):
        check = probe(sound(2, name, channels=1), name, channels=2).check
        assert (check.status, check.reason) == ("suspect", "1 channels received, the provider states 2")
        for told in (None, 1, 2):
            assert probe(sound(2, name, channels=2), name, channels=told).check.status == "ok"


def test_a_track_that_begins_late_is_as_long_as_it_is() -> None:
    """A track's length counts from its first block, and may match either of the provider's two definitions."""
    body = (HOME / "late.mka").read_bytes()
    for told in (None, 1.0, 31.0):
        facts = probe(body, "mka", told=told)
        assert (facts.check.status, facts.duration_seconds) == ("ok", 1.008)
    assert probe(body, "mka", told=12.0).check.status == "suspect"
