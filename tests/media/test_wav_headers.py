"""WAV headers with wrong sizes and rates, as encoders and gateways write them: the audio is measured."""

from __future__ import annotations

import struct

import pytest

from recvault.media import MediaFacts, Prober

PCM = struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16)
AUDIO = b"\x10\x20" * 16_000  # two seconds
UNKNOWN = "the header was written before the length was known"
BIG = 0xFFFFFFFF


def chunk(name: bytes, body: bytes, *, size: int | None = None, pad: bool = True) -> bytes:
    told = len(body) if size is None else size
    return name + struct.pack("<I", told) + body + (b"\0" * (len(body) % 2) if pad else b"")


def riff(*chunks: bytes, size: int | None = None, name: bytes = b"RIFF") -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return name + struct.pack("<I", len(body) if size is None else size) + body


def probe(body: bytes, *, told: float | None = 2.0, step: int = 1 << 16) -> MediaFacts:
    prober = Prober("wav")
    for at in range(0, len(body), step):
        prober.feed(body[at : at + step])
    return prober.finish(duration_seconds=told, size_bytes=None)


def status(body: bytes, *, told: float | None = 2.0) -> tuple[str, float | None]:
    facts = probe(body, told=told)
    return facts.check.status, facts.duration_seconds


@pytest.mark.parametrize(
    "data",
    [0, 0x7FFF0000, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0x80000000 - 44, 0x80000024, BIG, BIG - 8, BIG - 36, BIG - 44],
)
@pytest.mark.parametrize("riff_size", [0, 36, 0x80000024, 0x7FFFFFFF, BIG, BIG - 8])
def test_a_stream_tells_no_size(data: int, riff_size: int) -> None:
    """The largest number, minus or plus a header, is a stream's size: the bytes give the length."""
    facts = probe(riff(chunk(b"fmt ", PCM), chunk(b"data", AUDIO, size=data), size=riff_size))
    assert (facts.check.status, facts.duration_seconds, facts.check.reason) == ("unchecked", 2.0, UNKNOWN)


def test_a_stream_is_still_held_against_the_provider() -> None:
    """A stream with half of the provider's length is suspect."""
    body = riff(chunk(b"fmt ", PCM), chunk(b"data", AUDIO, size=0x80000000), size=BIG)
    assert status(body, told=30.0) == ("suspect", 2.0)


@pytest.mark.parametrize("name", [b"RF64", b"BW64"])
@pytest.mark.parametrize("size", [0, BIG, (1 << 64) - 1, (1 << 63) - 1])
def test_a_large_header_that_was_never_filled_in(name: bytes, size: int) -> None:
    """An empty ds64 chunk is that of a stream."""
    ds64 = chunk(b"ds64", struct.pack("<QQQI", size, size, 0, 0))
    body = riff(ds64, chunk(b"fmt ", PCM), chunk(b"data", AUDIO, size=BIG), name=name, size=BIG)
    assert status(body) == ("unchecked", 2.0)


@pytest.mark.parametrize("off", [8, -8, 4, 1, -1, 12, 36, 44, -36, -44, -32_000, -100])
def test_a_riff_size_that_is_off_by_a_header_is_noted(off: int) -> None:
    """If the data chunk is complete, a RIFF size that is off by a header is only noted."""
    body = riff(chunk(b"fmt ", PCM), chunk(b"data", AUDIO), size=36 + len(AUDIO) + off)
    facts = probe(body)
    assert (facts.check.status, facts.duration_seconds) == ("ok", 2.0)
    assert ("its RIFF header states" in (facts.check.reason or "")) == (abs(off) > 1)


def test_chunks_behind_the_end_are_no_junk() -> None:
    """A LIST chunk after the RIFF size is accepted; other bytes are detected."""
    lost = chunk(b"LIST", b"INFOabcd")
    head = chunk(b"fmt ", PCM), chunk(b"data", AUDIO)
    assert status(riff(*head, lost, size=len(AUDIO))) == ("ok", 2.0)
    assert status(riff(*head, size=36 + len(AUDIO)) + b"<html>Bad Gateway</html>") == ("suspect", 2.0)
    assert status(riff(*head, size=36 + len(AUDIO)) + lost[:-3]) == ("suspect", 2.0)
    assert status(riff(*head, size=BIG) + b"\0\1\2\3junk junk") == ("suspect", 2.0)


@pytest.mark.parametrize("odd", [b"INFOISFT\x05\0\0\0abcde", b"x"])
@pytest.mark.parametrize("pad", [True, False])
@pytest.mark.parametrize("name", [b"LIST", b"zzzz"])
def test_an_odd_chunk_may_lack_its_pad_byte(odd: bytes, pad: bool, name: bytes) -> None:
    """The chunk after a missing pad byte is found, before and after the audio."""
    for body in (
        riff(chunk(b"fmt ", PCM), chunk(name, odd, pad=pad), chunk(b"data", AUDIO)),
        riff(chunk(b"fmt ", PCM), chunk(b"data", AUDIO), chunk(b"LIST", odd, pad=pad), chunk(b"id3 ", b"ab")),
    ):
        assert status(body) == ("ok", 2.0)
        assert probe(body, step=1) == probe(body)


def test_odd_audio_may_lack_its_pad_byte() -> None:
    """Audio of odd length, such as G.711, may lack its pad byte."""
    form = struct.pack("<HHIIHH", 7, 1, 8000, 8000, 1, 8)
    for pad in (True, False):
        body = riff(chunk(b"fmt ", form), chunk(b"data", b"\x7f" * 16_001, pad=pad), chunk(b"LIST", b"INFO"))
        assert status(body) == ("ok", 2.000125)


def test_no_audio_before_other_chunks_is_no_stream() -> None:
    """An empty data chunk before a LIST is empty, not a stream."""
    body = riff(chunk(b"fmt ", PCM), chunk(b"data", b""), chunk(b"LIST", b"INFOISFT\x04\0\0\0abcd"))
    facts = probe(body, told=0.0)
    assert (facts.check.status, facts.check.reason, facts.duration_seconds) == ("ok", "empty", 0.0)
    assert status(body, told=None) == ("suspect", 0.0)


@pytest.mark.parametrize("tail", [0, 34])
def test_audio_beyond_four_gibibytes_is_measured(tail: int) -> None:
    """Audio beyond 32-bit sizes is measured."""
    over, block = 960_000, b"\1" * (1 << 20)
    form = struct.pack("<HHIIHH", 1, 2, 48_000, 192_000, 4, 16)
    head = riff(chunk(b"fmt ", form), b"data" + struct.pack("<I", over), size=36 + over)
    prober = Prober("wav")
    prober.feed(head)
    for _ in range(4096):
        prober.feed(block)
    prober.feed(bytes(over) + (chunk(b"LIST", b"INFO" + bytes(tail - 12)) if tail else b""))
    facts = prober.finish(duration_seconds=22_374.0, size_bytes=None)
    assert (facts.check.status, facts.duration_seconds) == ("ok", pytest.approx(((1 << 32) + over) / 192_000))
    assert (facts.check.reason or "").startswith("it is longer than the 4 GiB that its header can state")


def test_big_endian_riff_is_walked() -> None:
    """RIFX, with big-endian sizes, is read."""
    form = struct.pack(">HHIIHH", 1, 1, 8000, 16000, 2, 16)
    body = b"WAVEfmt " + struct.pack(">I", 16) + form + b"data" + struct.pack(">I", len(AUDIO)) + AUDIO
    facts = probe(b"RIFX" + struct.pack(">I", len(body)) + body)
    assert (facts.check.status, facts.duration_seconds, facts.codec) == ("ok", 2.0, "pcm_s16be")


def form(tag: int, rate: int, block: int, bits: int, byte_rate: int, *, channels: int = 1, extra: bytes = b"") -> bytes:
    return struct.pack("<HHIIHH", tag, channels, rate, byte_rate, block, bits) + extra


IMA = struct.pack("<HH", 2, 2041)
GSM = struct.pack("<HH", 2, 320)


@pytest.mark.parametrize("byte_rate", [0, 1, 8000, 16_000, 176_400])
@pytest.mark.parametrize(
    ("fmt", "size", "seconds"),
    [
        (lambda wrong: form(0x11, 8000, 1024, 4, wrong, extra=IMA), 48 * 1024, 48 * 2041 / 8000),
        (lambda wrong: form(2, 8000, 1024, 4, wrong, extra=IMA), 48 * 1024, 48 * 2041 / 8000),
        (lambda wrong: form(0x31, 8000, 65, 0, wrong, extra=GSM), 65 * 300, 12.0),
        (lambda wrong: form(0x31, 8000, 65, 0, wrong), 65 * 300, 12.0),
        (lambda wrong: form(0x28F, 16_000, 1, 4, wrong), 96_000, 12.0),
        (lambda wrong: form(0x65, 16_000, 1, 8, wrong), 96_000, 12.0),
        (lambda wrong: form(0x45, 8000, 1, 4, wrong), 48_000, 12.0),
        (lambda wrong: form(0x45, 8000, 1, 2, wrong), 24_000, 12.0),
        (lambda wrong: form(7, 8000, 1, 8, wrong), 96_000, 12.0),
        (lambda wrong: form(6, 8000, 2, 16, wrong), 96_000, 12.0),
        (lambda wrong: form(7, 8000, 2, 8, wrong, channels=2), 192_000, 12.0),
        (lambda wrong: form(1, 8000, 2, 16, wrong), 192_000, 12.0),
        (lambda wrong: form(1, 8000, 0, 16, wrong), 192_000, 12.0),
    ],
    ids=[
        "ima",
        "ms",
        "gsm",
        "gsm-16-bytes",
        "g722",
        "g722-0x65",
        "g726-32",
        "g726-16",
        "ulaw",
        "alaw-16-bits",
        "ulaw-2",
        "pcm",
        "pcm-no-block",
    ],
)
def test_a_byte_rate_that_is_wrong_is_not_believed(fmt: object, size: int, seconds: float, byte_rate: int) -> None:
    """If the codec fixes the byte rate, the header's is ignored."""
    assert callable(fmt)
    facts = probe(riff(chunk(b"fmt ", fmt(byte_rate)), chunk(b"data", bytes(size))), told=12.0)
    assert facts.duration_seconds == pytest.approx(seconds, abs=1e-6)
    assert facts.check.status == "ok"


def test_g722_may_tell_the_rate_of_rtp() -> None:
    """G.722 may state 8,000 samples for 16,000, as RTP does."""
    body = riff(chunk(b"fmt ", form(0x28F, 8000, 1, 8, 8000)), chunk(b"data", bytes(96_000)))
    assert status(body, told=12.0) == ("ok", 12.0)


def test_samples_that_are_counted_measure_what_no_rate_does() -> None:
    """For codecs without a fixed rate the fact chunk's samples give the length; an invalid count is ignored."""
    rated = chunk(b"fmt ", form(0x55, 8000, 1, 0, 99_999))
    for samples, seconds in ((96_000, 12.0), (0, 48_000 / 99_999), (BIG, 48_000 / 99_999)):
        body = riff(rated, chunk(b"fact", struct.pack("<I", samples)), chunk(b"data", bytes(48_000)))
        assert probe(body, told=None).duration_seconds == pytest.approx(seconds, abs=1e-6)
