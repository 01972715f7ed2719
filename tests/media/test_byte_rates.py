"""Size against byte rate: the number of bytes shows a length where nothing else does."""

from __future__ import annotations

import struct

import pytest

from recvault.media import MediaFacts, Prober


def wav(rate: int, byte_rate: int, block: int, tag: int = 1) -> bytes:
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, tag, 1, rate, byte_rate, block, 16)
    body = b"WAVE" + form + struct.pack("<4sI", b"data", 16_000) + bytes(16_000)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def probed(body: bytes, told: float | None, *, encrypted: bool = False) -> MediaFacts:
    prober = Prober("wav", encrypted=encrypted, wav_rate=16_000)
    prober.feed(body)
    return prober.finish(duration_seconds=told, size_bytes=None)


@pytest.mark.parametrize("body", [wav(0, 0, 0), wav(8000, 0, 0, tag=0x31)], ids=["no rate", "no byte rate"])
def test_a_length_that_cannot_be_measured_is_not_ok(body: bytes) -> None:
    """A WAV without byte rate has no measurable length, and is flagged although its sizes agree."""
    check = probed(body, 60.0).check
    assert (check.status, check.reason) == (
        "suspect",
        "its fmt chunk states no byte rate, so its length cannot be measured",
    )


@pytest.mark.parametrize(
    ("size", "told", "status"),
    [
        (160_060, 10.0, "unchecked"),
        (320_060, 10.0, "unchecked"),  # two channels
        (128_060, 10.0, "unchecked"),  # within 2 s
        (127_000, 10.0, "suspect"),
        (56_448_000, 3600.0, "unchecked"),  # within 2 %
        (56_400_000, 3600.0, "suspect"),
        (16, 10.0, "suspect"),
        (16, None, "unchecked"),
        (16, 0.0, "unchecked"),
    ],
)
def test_ciphertext_is_as_long_as_what_was_encrypted(size: int, told: float | None, status: str) -> None:
    """An encrypted call with less than 16,000 bytes a second is flagged as truncated."""
    assert probed(bytes(size), told, encrypted=True).check.status == status


def test_where_the_providers_rate_is_not_known_ciphertext_proves_nothing() -> None:
    """Without `bytes_per_second` of its provider no ciphertext is flagged for its size."""
    prober = Prober("wav", encrypted=True)
    prober.feed(bytes(16))
    assert prober.finish(duration_seconds=10.0, size_bytes=None).check.status == "unchecked"
