"""A waveform's peaks, from a WAV's samples as they pass; computed once, and kept by the medium's SHA-256.

Other formats would need a decoder of hostile bytes in this process: the browser's own, which is in a sandbox, plays
those, without a waveform.
"""

from __future__ import annotations

import sys
import threading
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from recvault.browse.holdings import PIECE, Holdings
from recvault.media.wav_format import Format, read_format

WIDTH = 1000  # peaks of a channel
_MOST_BYTES = 512 << 20
_MOST_CHANNELS = 8
_KEPT = 512
_HEADER = 12

Peaks = list[list[float]]
"""For each channel, the largest amplitude in each part of the time, from 0 to 1."""


def _mulaw(code: int) -> int:
    code = ~code & 0xFF
    return ((((code & 0x0F) << 3) + 0x84) << ((code & 0x70) >> 4)) - 0x84


def _alaw(code: int) -> int:
    code ^= 0x55
    part, value = (code & 0x70) >> 4, ((code & 0x0F) << 4) + 8
    return value if part == 0 else (value + 0x100) << (part - 1)


# Of each byte, its amplitude from 0 to 255.
_BYTES = {
    "pcm_u8": bytes(min(255, 2 * abs(code - 128)) for code in range(256)),
    "pcm_mulaw": bytes(_mulaw(code) >> 7 for code in range(256)),
    "pcm_alaw": bytes(_alaw(code) >> 7 for code in range(256)),
}


class Waveforms:
    """The peaks of what was looked at. Thread-safe."""

    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings
        self._kept: OrderedDict[str, Peaks | None] = OrderedDict()
        self._lock = threading.Lock()  # held while computing, too: two would only slow each other down

    def of(self, medium: dict[str, Any]) -> Peaks | None:
        """Return a medium's peaks; None if it is not a WAV whose samples can be read."""
        if medium["media_format"] != "wav" or medium["bytes"] > _MOST_BYTES:
            return None
        with self._lock:
            if medium["sha256"] not in self._kept:
                pieces = self._holdings.pieces(medium["key"], 0, medium["bytes"])
                self._kept[medium["sha256"]] = wav_peaks(pieces, medium["bytes"])
                if len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
            return self._kept[medium["sha256"]]


def wav_peaks(pieces: Iterator[bytes], size: int) -> Peaks | None:
    """Return the peaks of a WAV of this size; None if it is another file, or of another codec."""
    head, form = bytearray(next(pieces, b"")), None
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    at = _HEADER
    while at + 8 <= min(len(head), PIECE):
        name, length = bytes(head[at : at + 4]), int.from_bytes(head[at + 4 : at + 8], "little")
        at += 8
        if name == b"fmt " and length >= 16:
            form = read_format(bytes(head[at : at + min(length, 40)]), "little")
        elif name == b"data":
            length = min(length, size - at) if length else size - at
            return _measured(form, head[at:], pieces, length) if form else None
        at += length + length % 2
    return None


def _measured(form: Format, first: bytearray, pieces: Iterator[bytes], length: int) -> Peaks | None:
    channels = form.channels or 0
    width = 2 if form.codec == "pcm_s16le" else 1 if form.codec in _BYTES else 0
    if not width or not 1 <= channels <= _MOST_CHANNELS:
        return None
    amplitude = _amplitude(form.codec)
    frame = width * channels
    step = -(-(length // frame) // WIDTH) * frame or frame
    found: Peaks = [[] for _ in range(channels)]
    buffer = first
    for piece in _and_an_end(pieces):
        buffer += piece
        there = min(len(buffer), length)  # what follows the samples is another chunk
        done = there // step * step if piece and there < length else there
        for at in range(0, done - done % frame, step):
            if len(found[0]) < WIDTH:
                part = bytes(buffer[at : min(at + step, done - done % frame)])
                for channel, peaks in enumerate(found):
                    peaks.append(amplitude(part, channel, channels))
        del buffer[:done]
        length -= done
    return found


def _and_an_end(pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield from pieces
    yield b""


def _amplitude(codec: str) -> Callable[[bytes, int, int], float]:
    """Return what measures a channel's largest amplitude in some frames."""

    def of_words(part: bytes, channel: int, channels: int) -> float:
        words = array("h", part)
        if sys.byteorder == "big":
            words.byteswap()
        own = words[channel::channels]
        return round(min(1.0, max(max(own), -min(own)) / 32767), 3)

    def of_bytes(part: bytes, channel: int, channels: int) -> float:
        return round(max(part[channel::channels].translate(_BYTES[codec])) / 255, 3)

    return of_words if codec == "pcm_s16le" else of_bytes
