"""Media made from a key in blocks: a 2 GiB file needs no memory, and has the same bytes each time.

Noise is taken from one random pool, at a place chosen by the key and the block's number, and begins with their digest:
it is never silence, and never the same in two recordings or blocks.
"""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

BLOCK = 1 << 16
SAMPLE_RATE = 8000
_POOL = 1 << 20
_MP3_FRAME_BYTES = 288  # 72 * 32 kbit/s / 8 kHz
_MP3_FRAME_SECONDS = 0.072  # 576 samples at 8 kHz
_MP3_BLOCK = 227 * _MP3_FRAME_BYTES

CONTENT_TYPES = {"wav": "audio/x-wav", "mp3": "audio/mpeg", "mka": "audio/x-matroska", "mkv": "video/x-matroska"}


@lru_cache(maxsize=4)
def _pool(seed: int) -> bytes:
    pool = random.Random(seed).randbytes(_POOL)  # noqa: S311 - noise, not a secret
    return pool + pool[: 2 * BLOCK]


class Noise:
    """Deterministic bytes for one key, block by block."""

    def __init__(self, seed: int, key: str) -> None:
        self._pool = _pool(seed)
        self._key = hashlib.blake2b(f"{seed}/{key}".encode(), digest_size=16).digest()

    def block(self, number: int, size: int) -> bytes:
        digest = hashlib.blake2b(self._key + number.to_bytes(8, "big"), digest_size=32).digest()
        start = int.from_bytes(digest[:4], "big") % _POOL
        return (digest + self._pool[start : start + size])[:size]


@dataclass(frozen=True)
class Media:
    """What a client must receive, byte for byte: a head, then blocks of one size, truncated at `length`."""

    length: int
    content_type: str
    head: bytes
    block_size: int
    block: Callable[[int], bytes]

    def chunks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from `start` up to `stop`."""
        stop = self.length if stop is None else min(stop, self.length)
        if start < len(self.head):
            yield self.head[start : min(stop, len(self.head))]
            start = len(self.head)
        while start < stop:
            number, skip = divmod(start - len(self.head), self.block_size)
            piece = self.block(number)[skip : skip + stop - start]
            yield piece
            start += len(piece)

    def read(self) -> bytes:
        return b"".join(self.chunks())

    @cached_property
    def sha256(self) -> str:
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        return digest.hexdigest()


def framed(noise: bytes, stride: int, columns: tuple[bytes, ...]) -> bytes:
    """Write a header into the noise at every stride; a column holds one byte of it for each frame."""
    block = bytearray(noise)
    for place, column in enumerate(columns):
        block[place::stride] = column
    return bytes(block)


def opaque(noise: Noise, length: int) -> Media:
    """Make ciphertext: noise of a length."""
    return Media(length, "application/octet-stream", b"", BLOCK, lambda number: noise.block(number, BLOCK))


def wav(noise: Noise, seconds: float, channels: int) -> Media:
    """Make PCM of 16 bit and 8 kHz."""
    size = round(seconds * SAMPLE_RATE) * 2 * channels
    rate = SAMPLE_RATE * 2 * channels
    # A length beyond 4 GiB does not fit into the header; writers of such files put the largest number there.
    fits = min(size, 0xFFFFFFFF - 36)
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, SAMPLE_RATE, rate, 2 * channels, 16)
    head = struct.pack("<4sI4s", b"RIFF", 36 + fits, b"WAVE") + form + struct.pack("<4sI", b"data", fits)
    return Media(len(head) + size, CONTENT_TYPES["wav"], head, BLOCK, lambda number: noise.block(number, BLOCK))


def mp3(noise: Noise, seconds: float, channels: int) -> Media:
    """Make MPEG-2.5 Layer III of 8 kHz and 32 kbit/s: valid frame headers with noise between them."""
    frames = round(seconds / _MP3_FRAME_SECONDS)
    count = _MP3_BLOCK // _MP3_FRAME_BYTES
    header = bytes((0xFF, 0xE3, 0x48, 0xC0 if channels == 1 else 0x00))
    columns = tuple(bytes([byte]) * count for byte in header)
    return Media(
        frames * _MP3_FRAME_BYTES,
        CONTENT_TYPES["mp3"],
        b"",
        _MP3_BLOCK,
        lambda number: framed(noise.block(number, _MP3_BLOCK), _MP3_FRAME_BYTES, columns),
    )
