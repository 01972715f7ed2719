"""Waveforms: what is loud is high, in the channel where it is loud."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator

import pytest

from browse.conftest import Small
from recvault.browse.peaks import WIDTH, Waveforms, wav_peaks
from recvault.store.local.local_reader import LocalReader


def wav(tag: int, bits: int, channels: int, body: bytes, size: int | None = None) -> bytes:
    """Return a WAV with a chunk before its data that must be skipped."""
    width = channels * bits // 8
    form = struct.pack("<HHIIHH", tag, channels, 8000, 8000 * width, width, bits)
    size = len(body) if size is None else size
    chunks = b"fmt " + struct.pack("<I", 16) + form + b"LIST\x03\0\0\0abc\0" + b"data" + struct.pack("<I", size) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def cut(body: bytes, size: int) -> Iterator[bytes]:
    """Yield a body in pieces, the first with the header."""
    yield body[:2000]
    yield from (body[at : at + size] for at in range(2000, len(body), size))


@pytest.mark.parametrize("size", [1, 777, 1 << 20])
def test_each_channel_has_its_own_peaks(size: int) -> None:
    """The first half is loud in the first channel, the second in the other, however the bytes arrive."""
    samples = array("h", [32767, 0] * 5000 + [0, -16384] * 5000)
    body = wav(1, 16, 2, samples.tobytes())
    first, second = wav_peaks(cut(body, size), len(body)) or ([], [])
    assert (len(first), len(second)) == (WIDTH, WIDTH)
    assert (set(first[:500]), set(first[500:])) == ({1.0}, {0.0})
    assert (set(second[:500]), set(second[500:])) == ({0.0}, {0.5})


@pytest.mark.parametrize(
    ("tag", "bits", "silence", "loud"),
    [(1, 8, 0x80, 0xFF), (7, 8, 0xFF, 0x00), (7, 8, 0x7F, 0x80), (6, 8, 0xD5, 0x2A)],
    ids=["pcm_u8", "mulaw", "mulaw of the other sign", "alaw"],
)
def test_telephone_codecs_have_peaks(tag: int, bits: int, silence: int, loud: int) -> None:
    """Eight bits, mu-law and A-law are measured as amplitudes, not as codes."""
    body = wav(tag, bits, 1, bytes([silence] * 4000 + [loud] * 4000))
    found = wav_peaks(iter([body]), len(body))
    assert found is not None and len(found) == 1
    assert max(found[0][:499]) < 0.01 and min(found[0][501:]) > 0.95


@pytest.mark.parametrize("size", [1, 777, 1 << 20])
def test_what_follows_the_samples_is_not_heard(size: int) -> None:
    """A chunk behind the samples is no part of the waveform, however the bytes arrive."""
    body = wav(1, 16, 1, array("h", [0] * 2999).tobytes()) + b"LIST\x08\0\0\0\xff\x7f\xff\x7f\xff\x7f\xff\x7f"
    found = wav_peaks(cut(body, size), len(body))
    assert found is not None and set(found[0]) == {0.0}


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_streaming_writers_size_is_no_size(size: int) -> None:
    """A data chunk of an impossible size goes to the end of the file."""
    body = wav(1, 16, 1, array("h", [1000] * 3000).tobytes(), size)
    found = wav_peaks(iter([body]), len(body))
    assert found is not None and len(found[0]) == WIDTH and min(found[0]) > 0


@pytest.mark.parametrize(
    "body",
    [b"", b"RIFF", b"ID3" + bytes(100), wav(1, 16, 0, b""), wav(1, 24, 2, bytes(600)), wav(0x31, 0, 1, bytes(65))],
    ids=["empty", "short", "mp3", "no channels", "24 bits", "gsm"],
)
def test_what_is_not_understood_has_no_peaks(body: bytes) -> None:
    """Another file, or another codec, has no waveform, and is no error."""
    assert wav_peaks(iter([body]), len(body)) is None


def test_they_are_computed_once(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bytes are read once, by their SHA-256."""
    holdings, read = small.holdings(), []
    part = LocalReader.part
    monkeypatch.setattr(LocalReader, "part", lambda *given: read.append(given[1]) or part(*given))
    waveforms, medium = Waveforms(holdings), small.rows[3]["media"][0]
    assert waveforms.of(medium) == waveforms.of({**medium, "key": "another"}) is not None
    assert read == [medium["key"]]
    holdings.close()
