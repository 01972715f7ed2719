"""Parse a Matroska or WebM file (mka, mkv) element by element, by their sizes.

The walk is flat: masters whose children matter (Segment, Cluster, BlockGroup) are entered; all other elements are
skipped by size, so a master of unknown size needs no special treatment. If Info states a duration, clusters of known
size are skipped, except the first; if it states none, the times of the blocks give the length.

Info's duration is the end of the last block, counted from zero. A room's track may begin long after the room did, so
its own length is counted from its first block.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from recvault.errors import MediaRejected
from recvault.media.stream_walker import END, Findings, Walk, skip, take

METHOD = "ebml"
_EBML, _DOCTYPE, _SEGMENT, _INFO, _TRACKS = 0x1A45DFA3, 0x4282, 0x18538067, 0x1549A966, 0x1654AE6B
_CLUSTER, _CLUSTER_TIME, _SIMPLE_BLOCK, _BLOCK_GROUP, _BLOCK = 0x1F43B675, 0xE7, 0xA3, 0xA0, 0xA1
_SCALE, _DURATION = 0x2AD7B1, 0x4489
_TRACK, _CODEC, _AUDIO, _RATE, _CHANNELS = 0xAE, 0x86, 0xE1, 0xB5, 0x9F
_CODECS = {"V_MPEG4/ISO/AVC": "h264", "A_MS/ACM": "acm", "A_PCM/INT/LIT": "pcm", "A_MPEG/L3": "mp3"}
_UNKNOWN = -1
_READ_AT_MOST = 1 << 16
_BLOCK_REACH = 32_768  # a block's time is at most this many units after its cluster's


@dataclass(slots=True)
class _Seen:
    at: int = 0
    ends: list[int] = field(default_factory=list)  # ends of segments of known size
    scale: int = 1_000_000  # nanoseconds per unit of time
    told: float | None = None  # seconds, from Info
    codec: str | None = None
    is_video: bool = False
    sample_rate: int | None = None
    channels: int | None = None
    cluster: int = 0  # time of the last cluster, in units
    timed: bool = True  # that time could be read
    earliest: int | None = None
    latest: int = 0
    clusters: int = 0
    fault: str | None = None


def walk_matroska() -> Walk[Findings]:
    """Walk from the magic bytes to the end; `media.magic` where they or the DocType are wrong."""
    seen = _Seen()
    magic = yield from take(4)
    if magic != _EBML.to_bytes(4):
        raise MediaRejected("wanted Matroska, but the body does not begin as EBML", reason="media.magic")
    size, width = yield from _size()
    body = yield from take(size if size and 0 < size <= _READ_AT_MOST else 0)
    doctype = next((value for name, value in _children(body) if name == _DOCTYPE), b"").rstrip(b"\0")
    if doctype not in (b"matroska", b"webm"):
        raise MediaRejected("wanted Matroska, but the EBML document is of another type", reason="media.magic")
    seen.at = 4 + width + len(body)
    while seen.fault is None:
        name, width = yield from _number(keep_marker=True, longest=4)
        if width == 0:
            break
        seen.at += width
        size, width = yield from _size()
        seen.at += width
        if width == 0:
            seen.fault = "truncated: an element's header is cut short"
        elif name is None or size is None:
            seen.fault = f"damaged: no element at byte {seen.at}"
            seen.at += yield from skip(END)
        else:
            yield from _element(seen, name, size)
    return _judge(seen)


def _element(seen: _Seen, name: int, size: int) -> Walk[None]:
    if name == _SEGMENT and size != _UNKNOWN:
        seen.ends.append(seen.at + size)
    if name == _CLUSTER:
        seen.clusters += 1
    entered = name == _CLUSTER and (seen.told is None or seen.clusters == 1)
    if size == _UNKNOWN or name in (_SEGMENT, _BLOCK_GROUP) or entered:
        return  # its children follow
    wanted = {
        _INFO: _READ_AT_MOST,
        _TRACKS: _READ_AT_MOST,
        _CLUSTER_TIME: 8,
        _CLUSTER: 16,
        _SIMPLE_BLOCK: 12,
        _BLOCK: 12,
    }
    head = yield from take(min(size, wanted.get(name, 0)))
    _read(seen, name, head)
    got = len(head) + (yield from skip(size - len(head)))
    seen.at += got
    if got < size:
        seen.fault = f"truncated: an element holds {got} of {size} bytes"


def _read(seen: _Seen, name: int, head: bytes) -> None:
    if name == _INFO:
        _read_times(seen, head)
    elif name == _TRACKS:
        _read_tracks(seen, head)
    elif name == _CLUSTER_TIME:
        seen.cluster = int.from_bytes(head)
    elif name == _CLUSTER:
        time = next((int.from_bytes(value) for child, value in _children(head) if child == _CLUSTER_TIME), None)
        seen.cluster, seen.timed = time or 0, time is not None
    elif name in (_SIMPLE_BLOCK, _BLOCK) and head:
        track_width = 9 - head[0].bit_length()
        time = seen.cluster + int.from_bytes(head[track_width : track_width + 2], signed=True)
        seen.earliest = time if seen.earliest is None else min(seen.earliest, time)
        seen.latest = max(seen.latest, time)


def _read_times(seen: _Seen, body: bytes) -> None:
    values = dict(_children(body))
    seen.scale = int.from_bytes(values.get(_SCALE, b"")[:8]) or seen.scale
    duration = _real(values.get(_DURATION, b""))
    seconds = (duration or 0.0) * seen.scale / 1e9
    seen.told = seconds if seconds > 0 and math.isfinite(seconds) else None


def _read_tracks(seen: _Seen, body: bytes) -> None:
    tracks = [dict(_children(value)) for name, value in _children(body) if name == _TRACK]
    first = tracks[0] if tracks else {}
    seen.is_video = any(each.get(_CODEC, b"").startswith(b"V_") for each in tracks)
    audio = dict(_children(first.get(_AUDIO, b"")))
    codec = first.get(_CODEC, b"").rstrip(b"\0").decode("ascii", "replace")[:40]
    seen.codec = (_CODECS.get(codec) or codec.partition("_")[2].lower() or None) if codec.isprintable() else None
    rate, channels = _real(audio.get(_RATE, b"")) or 0.0, int.from_bytes(audio.get(_CHANNELS, b"")[:8])
    seen.sample_rate = int(rate) if 1 <= rate <= 10_000_000 else None
    seen.channels = channels if 1 <= channels <= 255 else None


def _judge(seen: _Seen) -> Findings:
    fault, unit = seen.fault, seen.scale / 1e9
    end = max(seen.ends, default=seen.at)
    reach = (max(seen.cluster, seen.latest) + _BLOCK_REACH) * unit
    if fault is None and seen.at < end:
        fault = f"truncated: {seen.at} of the {end} bytes that the Segment's size announces"
    elif fault is None and seen.clusters and seen.timed and seen.told is not None and seen.told > reach:
        fault = f"truncated: the clusters reach to {reach:.1f} s at most, the header announces {seen.told:.1f} s"
    measured = (seen.latest - seen.earliest) * unit if seen.earliest is not None else None
    if seen.told is not None and fault is None:  # the header of a truncated file states the original length
        measured = _length(seen, seen.told, unit)
    return Findings(
        method=METHOD,
        codec=seen.codec,
        sample_rate=seen.sample_rate,
        channels=seen.channels,
        is_video=seen.is_video,
        seconds=measured if seen.clusters else 0.0,
        reach=seen.told if fault is None else None,
        faults=(fault,) if fault else (),
        empty=seen.clusters == 0,
    )


def _length(seen: _Seen, told: float, unit: float) -> float:
    """Return the length from the first block to the end stated in Info; some writers state the length instead."""
    start = max(0, seen.earliest or 0) * unit
    last = max(seen.cluster, seen.latest) * unit
    return told - start if told >= last else max(told, last - start)


def _size() -> Walk[tuple[int | None, int]]:
    """Read an element's size and the width of that field; `_UNKNOWN` for the reserved value of all ones."""
    value, width = yield from _number(keep_marker=False, longest=8)
    return (_UNKNOWN if value == (1 << 7 * width) - 1 else value), width


def _number(*, keep_marker: bool, longest: int) -> Walk[tuple[int | None, int]]:
    """Read an EBML number of variable length and its width in bytes; None if there is none."""
    first = yield from take(1)
    if not first:
        return None, 0
    width = 9 - first[0].bit_length()
    if width > longest:
        return None, 1
    rest = yield from take(width - 1)
    if len(rest) < width - 1:
        return None, 1 + len(rest)
    value = int.from_bytes(first + rest)
    return (value if keep_marker else value & (1 << 7 * width) - 1), width


def _children(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield name and content of the elements of a master in memory; stops at the first that cannot be read."""
    at = 0
    while at < len(body):
        width = 9 - body[at].bit_length()
        name, at = int.from_bytes(body[at : at + width]), at + width
        if width > 4 or at >= len(body):
            return
        width = 9 - body[at].bit_length()
        size = int.from_bytes(body[at : at + width]) & (1 << 7 * width) - 1
        at += width
        if width > 8 or at + size > len(body):
            return
        yield name, body[at : at + size]
        at += size


def _real(value: bytes) -> float | None:
    if len(value) not in (4, 8):
        return None
    number: float = struct.unpack(">f" if len(value) == 4 else ">d", value)[0]
    return number if math.isfinite(number) and number >= 0 else None
