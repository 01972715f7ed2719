"""Matroska media: a valid EBML skeleton, a cluster for each second, SimpleBlocks of noise."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache

from recvault.simulator.media import CONTENT_TYPES, Media, Noise, framed

_EBML, _SEGMENT, _INFO, _TRACKS, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1549A966, 0x1654AE6B, 0x1F43B675


@dataclass(frozen=True, slots=True)
class _Codec:
    name: bytes
    track_type: int
    frames_a_second: int
    frame_bytes: int


_OPUS_20_MS = b"\xf8"  # the start of every packet: CELT, full band, one frame of 20 ms, mono
_CODECS = {"mka": _Codec(b"A_OPUS", 2, 50, 80), "mkv": _Codec(b"V_VP8", 1, 25, 1000)}


def matroska(noise: Noise, seconds: float, media_format: str) -> Media:
    """Make an `mka` with Opus (32 kbit/s) or an `mkv` with VP8 (200 kbit/s) of this length."""
    codec = _CODECS[media_format]
    block_bytes = 7 + codec.frame_bytes  # id, two bytes of size, track, two bytes of time, flags
    frames = round(seconds * codec.frames_a_second)
    whole, rest = divmod(frames, codec.frames_a_second)
    columns = _columns(codec, codec.frames_a_second)

    def cluster(number: int) -> bytes:
        count = codec.frames_a_second if number < whole else rest
        body = noise.block(number, count * block_bytes)
        return _cluster_head(number, len(body)) + framed(body, block_bytes, tuple(c[:count] for c in columns))

    cluster_bytes = len(_cluster_head(0, 0)) + codec.frames_a_second * block_bytes
    total = whole * cluster_bytes + (len(_cluster_head(0, 0)) + rest * block_bytes if rest else 0)
    head = _head(codec, seconds, total)
    return Media(len(head) + total, CONTENT_TYPES[media_format], head, cluster_bytes, cluster)


@cache
def _columns(codec: _Codec, count: int) -> tuple[bytes, ...]:
    """Return the bytes before each frame of a cluster, and Opus's first byte, as one column of bytes per place."""
    size = struct.pack(">H", 0x4000 | (codec.frame_bytes + 4))
    times = [struct.pack(">h", number * 1000 // codec.frames_a_second) for number in range(count)]
    fixed = [bytes([byte]) * count for byte in (0xA3, size[0], size[1], 0x81)]
    moving = [bytes(time[place] for time in times) for place in (0, 1)]
    first = (_OPUS_20_MS * count,) if codec.track_type == 2 else ()
    return (*fixed, *moving, b"\x80" * count, *first)


def _cluster_head(number: int, body_bytes: int) -> bytes:
    timecode = _element(0xE7, struct.pack(">I", number * 1000))
    return _id(_CLUSTER) + _size(len(timecode) + body_bytes) + timecode


def _head(codec: _Codec, seconds: float, cluster_bytes: int) -> bytes:
    header = _element(0x4286, b"\x01") + _element(0x4282, b"matroska") + _element(0x4287, b"\x04")
    info = _element(0x2AD7B1, (1_000_000).to_bytes(3, "big")) + _element(0x4489, struct.pack(">d", seconds * 1000))
    info += _element(0x4D80, b"recvault") + _element(0x5741, b"recvault")
    track = _element(0xD7, b"\x01") + _element(0x73C5, b"\x01") + _element(0x83, bytes([codec.track_type]))
    track += _element(0x86, codec.name) + _shape(codec)
    inside = _element(_INFO, info) + _element(_TRACKS, _element(0xAE, track))
    return _element(_EBML, header) + _id(_SEGMENT) + _size(len(inside) + cluster_bytes) + inside


def _shape(codec: _Codec) -> bytes:
    if codec.track_type == 1:
        return _element(0xE0, _element(0xB0, b"\x02\x80") + _element(0xBA, b"\x01\xe0"))
    return _element(0xE1, _element(0xB5, struct.pack(">d", 48000.0)) + _element(0x9F, b"\x01"))


def _id(identifier: int) -> bytes:
    return identifier.to_bytes((identifier.bit_length() + 7) // 8, "big")


def _size(size: int) -> bytes:
    return (size | 1 << 56).to_bytes(8, "big")


def _element(identifier: int, body: bytes) -> bytes:
    return _id(identifier) + _size(len(body)) + body
