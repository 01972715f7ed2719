"""Read a WAV's fmt chunk: the codec and its bytes a second.

The byte rate field is the least reliable: players ignore it, so a wrong one goes unnoticed. If the codec fixes the
rate, it is calculated from the codec.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

_PCM, _FLOAT, _ALAW, _ULAW, _GSM, _MP3 = 1, 3, 6, 7, 0x31, 0x55
_CODECS = {
    2: "adpcm_ms",
    _ALAW: "pcm_alaw",
    _ULAW: "pcm_mulaw",
    0x10: "adpcm_ima_oki",
    0x11: "adpcm_ima_wav",
    0x20: "adpcm_yamaha",
    _GSM: "gsm_ms",
    0x45: "adpcm_g726",
    _MP3: "mp3",
    0x64: "adpcm_g726",
    0x65: "adpcm_g722",
    0x28F: "adpcm_g722",
}
_BLOCKS = frozenset({2, 0x11})  # the end of the chunk states how many samples a block holds
_G722 = frozenset({0x65, 0x28F})
_G722_BYTES = 8000  # a second and channel: 64 kbit/s of 16,000 samples, which some headers state as 8,000, as RTP does
_OF_BITS = frozenset({0x10, 0x20, 0x45, 0x64})  # the chunk states the bits of a sample, 2 to 5
_GSM_BLOCK, _GSM_SAMPLES = 65, 320
_EXTENSIBLE = 0xFFFE
_UNTOLD = 0x7FFF0000  # this many samples or more were written by a streaming writer


@dataclass(frozen=True, slots=True)
class Format:
    """Contents of a fmt chunk. `bytes_per_second` is 0 if unknown; `is_sure` if the codec fixes it."""

    codec: str
    sample_rate: int | None
    channels: int | None
    bytes_per_second: float
    is_sure: bool

    def seconds(self, audio_bytes: int, samples: int | None) -> float | None:
        """Return the length of so many bytes; by the fact chunk's samples unless the codec fixes the byte rate."""
        if samples and samples < _UNTOLD and self.sample_rate and not self.is_sure:
            return samples / self.sample_rate
        return audio_bytes / self.bytes_per_second if self.bytes_per_second else None


def read_format(head: bytes, order: Literal["little", "big"]) -> Format:
    """Parse a fmt chunk; `head` must have at least 16 bytes."""
    end = "<" if order == "little" else ">"
    tag, channels, rate, byte_rate, block, bits = struct.unpack_from(f"{end}HHIIHH", head)
    if tag == _EXTENSIBLE and len(head) >= 26:
        tag = int.from_bytes(head[24:26], order)
    per_block = int.from_bytes(head[18:20], order) if len(head) >= 20 else 0
    if tag == _GSM and block == _GSM_BLOCK:
        per_block = _GSM_SAMPLES
    sure = _sure_rate(tag, channels or 1, rate, byte_rate, block, bits, per_block)
    return Format(
        codec=_codec(tag, bits, order),
        sample_rate=rate or None,
        channels=channels or None,
        bytes_per_second=sure or byte_rate,
        is_sure=bool(sure),
    )


def _codec(tag: int, bits: int, order: str) -> str:
    end = "le" if order == "little" else "be"
    if tag == _PCM:
        return "pcm_u8" if bits == 8 else f"pcm_s{bits}{end}"
    return f"pcm_f{bits}{end}" if tag == _FLOAT else _CODECS.get(tag, f"wav_{tag:04x}")


def _sure_rate(
    tag: int, channels: int, rate: int, byte_rate: int, block: int, bits: int, per_block: int
) -> float | None:
    """Return the bytes a second that the codec fixes; None if it fixes none."""
    if tag in (_ALAW, _ULAW):
        return rate * channels
    if tag in (_PCM, _FLOAT):
        width = channels * -(-bits // 8)
        return rate * (block if not width or (block and byte_rate == rate * block) else width)
    if tag in _BLOCKS or tag == _GSM:
        return block * rate / per_block if per_block else None
    if tag in _G722:
        return _G722_BYTES * channels if byte_rate == _G722_BYTES * channels else rate * channels / 2
    if tag in _OF_BITS and 2 <= bits <= 5:
        return rate * bits * channels / 8
    return None
