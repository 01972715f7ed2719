"""Parse a WAV file (RIFF, RIFX, RF64, BW64) chunk by chunk and compare its sizes with the received bytes.

Headers are wrong more often than audio. The data chunk's size and the received bytes must agree; a RIFF size that is
off by the length of a header, or a missing pad byte, is noted. Impossible sizes are those of a streaming writer.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Literal

from recvault.errors import MediaRejected
from recvault.media.stream_walker import END, Findings, Walk, skip, take
from recvault.media.wav_format import Format, read_format

METHOD = "wav sizes"
RIFFS = (b"RIFF", b"RIFX", b"RF64", b"BW64")
_LARGE = (b"RF64", b"BW64")  # sizes are in a ds64 chunk
_IN_DS64 = 0xFFFFFFFF
_WRAP = 1 << 32
_STREAMED = ((0x7FFF0000, 0x80010000), (0xFFFF0000, _WRAP), (1 << 62, 1 << 64))
"""Sizes of a streaming writer: the largest number it knew, minus or plus its header. Any other size is checked."""
_KNOWN = frozenset(
    b"fmt |data|LIST|list|fact|bext|cue |smpl|inst|JUNK|junk|PAD |iXML|axml|chna|id3 |ID3 |FLLR|PEAK|cart|plst|labl|"
    b"note|ltxt|DISP|umid|levl|link|afsp|slnt|wavl|acid|strc|LGWV|minf|elm1|regn|_PMX|ds64|r64m".split(b"|")
)
_HEAD_BYTES = 40
_SLACK = 12  # bytes: no chunk with content is this short


@dataclass(slots=True)
class _Seen:
    riff_size: int
    large: bool
    order: Literal["little", "big"]
    at: int = 12
    odd: bool = False  # a pad byte should follow; some writers omit it
    large_audio: int | None = None
    form: Format | None = None
    samples: int | None = None  # from the fact chunk
    audio_at: int = 0
    audio_bytes: int | None = None
    untold: bool = False  # the data chunk's size is 0: audio follows, or the next chunk
    beyond: int = 0
    unknown: str | None = None
    fault: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def is_past_its_end(self) -> bool:
        return _is_streamed(self.riff_size) or self.at >= self.riff_size + 8


def walk_wav() -> Walk[Findings]:
    """Walk from the magic bytes to the end; `media.magic` if they are wrong."""
    head = yield from take(12)
    if head[:4] not in RIFFS:
        raise MediaRejected("wanted wav, but the body does not begin as RIFF", reason="media.magic")
    if head[8:] != b"WAVE":
        raise MediaRejected("wanted wav, but the RIFF body is not WAVE", reason="media.magic")
    order: Literal["little", "big"] = "big" if head[:4] == b"RIFX" else "little"
    seen = _Seen(riff_size=int.from_bytes(head[4:8], order), large=head[:4] in _LARGE, order=order)
    while True:
        at_end = seen.is_past_its_end
        header = yield from _header(seen)
        seen.at += len(header)
        name, audio = header[:4], seen.audio_bytes
        if seen.untold and (name not in _KNOWN or len(header) < 8):
            yield from _streamed(seen, len(header))
        elif len(header) < 8:
            return _judge(seen)
        elif audio is not None and name not in _KNOWN and (at_end or not _is_text(name)):
            yield from _pass_over(seen)
        else:
            yield from _chunk(seen, name, int.from_bytes(header[4:], order))


def _header(seen: _Seen) -> Walk[bytes]:
    """Return the next chunk's name and size, after the pad byte if there is one."""
    if not seen.odd:
        return (yield from take(8))
    seen.odd = False
    first = yield from take(1)
    if first in (b"", b"\0"):
        seen.at += len(first)
        return (yield from take(8))
    header = first + (yield from take(7))
    if header[:4] in _KNOWN or (_is_text(header[:4]) and header[1:5] not in _KNOWN):
        seen.notes.append("a chunk of odd length has no pad byte")
        return header
    seen.at += 1
    return header[1:] + (yield from take(1))


def _chunk(seen: _Seen, name: bytes, size: int) -> Walk[None]:
    seen.untold = False
    if name == b"data":
        yield from _audio(seen, size)
        return
    head = yield from take(min(size, _HEAD_BYTES) if name in (b"fmt ", b"ds64", b"fact") else 0)
    if name == b"fmt " and len(head) >= 16:
        seen.form = read_format(head, seen.order)
    elif name == b"fact" and len(head) >= 4:
        seen.samples = int.from_bytes(head[:4], seen.order)
    elif name == b"ds64" and len(head) >= 16 and seen.large:
        seen.riff_size, seen.large_audio = struct.unpack_from("<QQ", head)
    got = len(head) + (yield from skip(size - len(head)))
    seen.at += got
    seen.odd = size % 2 == 1
    if got < size:
        seen.fault = seen.fault or f"truncated: a chunk holds {got} of {size} bytes"


def _audio(seen: _Seen, size: int) -> Walk[None]:
    seen.audio_at = seen.audio_at or seen.at
    if seen.large and size == _IN_DS64 and seen.large_audio is not None:
        size = seen.large_audio
    streamed = _is_streamed(size) and size != 0
    got = yield from skip(END if streamed else size)
    seen.audio_bytes = (seen.audio_bytes or 0) + got
    seen.at += got
    seen.untold, seen.odd = size == 0, size % 2 == 1
    if streamed and got != size:
        seen.unknown = _UNKNOWN if got else None
    elif got < size and _is_streamed(seen.riff_size) and size >= _STREAMED[0][0]:
        seen.unknown = _UNKNOWN
    elif got < size:
        seen.fault = seen.fault or f"truncated: {got} of {size} bytes of audio"


_UNKNOWN = "the header was written before the length was known"


def _streamed(seen: _Seen, begun: int) -> Walk[None]:
    """Count the rest as audio, including the `begun` bytes that were read as a chunk header."""
    rest = yield from skip(END)
    seen.at += rest
    seen.untold = False
    seen.audio_bytes = (seen.audio_bytes or 0) + begun + rest
    seen.unknown = _UNKNOWN if begun + rest else None


def _pass_over(seen: _Seen) -> Walk[None]:
    """Skip the rest, which is not a chunk: audio beyond 32-bit lengths, or unknown bytes."""
    rest = yield from skip(END)
    seen.at += rest
    rest += 8
    if rest >= _WRAP and rest % _WRAP < 1 << 16:
        seen.audio_bytes = (seen.audio_bytes or 0) + rest - rest % _WRAP
        seen.notes.append("it is longer than the 4 GiB that its header can state")
    else:
        seen.beyond = rest


def _is_streamed(size: int) -> bool:
    return size == 0 or (size >= _STREAMED[0][0] and any(least <= size < most for least, most in _STREAMED))


def _is_text(name: bytes) -> bool:
    return len(name) == 4 and all(0x20 <= byte < 0x7F for byte in name)


def _judge(seen: _Seen) -> Findings:
    faults = list(_size_faults(seen))
    form = seen.form
    if form is None and seen.audio_bytes is not None:
        faults.append("there is no fmt chunk")
    seconds = None
    if form is not None and seen.audio_bytes is not None:
        whole = not faults and seen.unknown is None
        seconds = form.seconds(seen.audio_bytes, seen.samples if whole else None)
        if seconds is None and seen.audio_bytes:
            faults.append("its fmt chunk states no byte rate, so its length cannot be measured")
    return Findings(
        method=METHOD,
        codec=form.codec if form else None,
        sample_rate=form.sample_rate if form else None,
        channels=form.channels if form else None,
        seconds=seconds,
        faults=tuple(faults),
        notes=tuple(dict.fromkeys(seen.notes)),
        unknown=seen.unknown,
        empty=not seen.audio_bytes,
    )


def _size_faults(seen: _Seen) -> list[str]:
    """Compare its sizes with the bytes; if the audio is complete, a wrong header size is only noted."""
    promised = seen.riff_size + 8
    lacking = promised - seen.at
    if seen.fault:
        return [seen.fault]
    if seen.audio_bytes is None:
        return ["truncated: there is no data chunk"]
    if seen.beyond and not _is_streamed(seen.riff_size):
        return [f"{seen.beyond} bytes past the end stated in the RIFF header"]
    if seen.beyond:
        return [f"{seen.beyond} bytes after its audio are not a chunk"]
    if seen.unknown is not None or _is_streamed(seen.riff_size) or lacking in (-1, 0, 1):
        return []  # a missing pad byte at the end is common and harmless
    header = seen.audio_at
    if lacking > _SLACK and lacking not in (header, header - 8):
        return [f"truncated: {seen.at} of the {promised} bytes stated in the RIFF header"]
    much = seen.at >= _WRAP
    if not much:
        seen.notes.append(f"its RIFF header states {promised} bytes, {seen.at} were received; its audio is complete")
    return []
