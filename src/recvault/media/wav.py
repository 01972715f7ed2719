"""Walk a WAV file (RIFF, RF64, BW64) chunk by chunk and compare its sizes with the bytes that came."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from recvault.errors import MediaRejected
from recvault.media.tape import END, Findings, Walk, skip, take

METHOD = "wav sizes"
_STREAMED = frozenset({0, 0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF})  # written before the length was known
_IN_DS64 = 0xFFFFFFFF
_FORMATS = {6: "pcm_alaw", 7: "pcm_mulaw", 2: "adpcm_ms", 0x11: "adpcm_ima_wav", 0x31: "gsm_ms", 0x55: "mp3"}
_EXTENSIBLE = 0xFFFE
_FMT_BYTES = 40


@dataclass(slots=True)
class _Seen:
    riff_size: int
    large: bool  # RF64 and BW64 hold their sizes in a ds64 chunk
    at: int = 12
    large_audio: int | None = None
    codec: str | None = None
    sample_rate: int | None = None
    channels: int | None = None
    bytes_per_second: int = 0
    audio_bytes: int | None = None
    unknown: str | None = None
    fault: str | None = None


def walk_wav() -> Walk[Findings]:
    """Walk from the magic bytes to the end; `media.magic` where they are wrong."""
    head = yield from take(12)
    if head[:4] not in (b"RIFF", b"RF64", b"BW64"):
        raise MediaRejected("wanted wav, but the body does not begin as RIFF", reason="media.magic")
    if head[8:] != b"WAVE":
        raise MediaRejected("wanted wav, but the RIFF body holds no WAVE", reason="media.magic")
    seen = _Seen(riff_size=int.from_bytes(head[4:8], "little"), large=head[:4] != b"RIFF")
    while True:
        if seen.audio_bytes is not None and seen.riff_size not in _STREAMED and seen.at >= seen.riff_size + 8:
            seen.at += yield from skip(END)  # no chunk of this file
        header = yield from take(8)
        seen.at += len(header)
        if len(header) < 8:
            return _judge(seen)
        yield from _chunk(seen, header[:4], int.from_bytes(header[4:], "little"))


def _chunk(seen: _Seen, name: bytes, size: int) -> Walk[None]:
    if name == b"data":
        yield from _audio(seen, size)
        return
    head = yield from take(min(size, _FMT_BYTES) if name in (b"fmt ", b"ds64") else 0)
    if name == b"fmt " and len(head) >= 16:
        _read_format(seen, head)
    elif name == b"ds64" and len(head) >= 16 and seen.large:
        seen.riff_size, seen.large_audio = struct.unpack_from("<QQ", head)
    passed = yield from skip(size - len(head) + size % 2)
    got = len(head) + passed
    seen.at += got
    if got < size:
        seen.fault = seen.fault or f"truncated: a chunk holds {got} of {size} bytes"


def _audio(seen: _Seen, size: int) -> Walk[None]:
    if seen.large and size == _IN_DS64 and seen.large_audio is not None:
        size = seen.large_audio
    streamed = size in _STREAMED
    got = yield from skip(END if streamed else size)
    seen.audio_bytes = (seen.audio_bytes or 0) + got
    seen.at += got
    if streamed:
        seen.unknown = "the header was written before the length was known" if got else None
    elif got < size:
        seen.fault = seen.fault or f"truncated: {got} of {size} bytes of audio"
    else:
        seen.at += yield from skip(size % 2)


def _read_format(seen: _Seen, head: bytes) -> None:
    tag, channels, rate, byte_rate, block, bits = struct.unpack_from("<HHIIHH", head)
    if tag == _EXTENSIBLE and len(head) >= 26:
        tag = int.from_bytes(head[24:26], "little")
    seen.channels, seen.sample_rate = channels or None, rate or None
    if tag == 1:
        seen.codec = "pcm_u8" if bits == 8 else f"pcm_s{bits}le"
    elif tag == 3:
        seen.codec = f"pcm_f{bits}le"
    else:
        seen.codec = _FORMATS.get(tag, f"wav_{tag:04x}")
    frames = tag in (1, 3, 6, 7) and rate * (block or channels * bits // 8)
    seen.bytes_per_second = frames or byte_rate


def _judge(seen: _Seen) -> Findings:
    faults = []
    promised = seen.riff_size + 8
    if seen.fault:
        faults.append(seen.fault)
    elif seen.audio_bytes is None:
        faults.append("truncated: there is no data chunk")
    elif seen.unknown is None and seen.riff_size not in _STREAMED:
        if seen.at < promised - 1:  # a missing pad byte is common and harmless
            faults.append(f"truncated: {seen.at} of the {promised} bytes that the RIFF header tells")
        elif seen.at > promised + 1:
            faults.append(f"{seen.at - promised} bytes past the end that the RIFF header tells")
    if seen.codec is None and seen.audio_bytes is not None:
        faults.append("there is no fmt chunk")
    elif seen.audio_bytes and not seen.bytes_per_second:
        faults.append("its fmt chunk tells no byte rate, so that its length cannot be measured")
    measurable = seen.audio_bytes is not None and seen.bytes_per_second
    return Findings(
        method=METHOD,
        codec=seen.codec,
        sample_rate=seen.sample_rate,
        channels=seen.channels,
        seconds=(seen.audio_bytes or 0) / seen.bytes_per_second if measurable else None,
        faults=tuple(faults),
        unknown=seen.unknown,
        empty=not seen.audio_bytes,
    )
