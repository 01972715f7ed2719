"""Parse an MP3 frame by frame, and measure its duration by the samples of its frames.

Only parsing detects a truncated MP3: it states no length, and encoders may omit Xing's frame count. One lookup
in a table of all 1,512 frame headers yields a frame's length, so an hour is walked in some tens of milliseconds.

A cut stream begins within a frame, and some encoders write zeros first. The walk therefore begins at several frames
of one kind in a row, as 1 in 5,000 random words is a valid frame header.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from struct import Struct

from recvault.errors import MediaRejected
from recvault.media.stream_walker import Findings

METHOD = "mp3 frames"
TICKS = 14_112_000  # per second: the least common multiple of all sample rates, so that sums stay exact
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # by the version's bits
_KBITS = {  # by (MPEG 1?, layer)
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLES = {(True, 1): 384, (True, 2): 1152, (True, 3): 1152, (False, 1): 384, (False, 2): 1152, (False, 3): 576}
_KIND = 0xFFFE0C00  # sync, version, layer, sample rate: what frames of one stream share
_WORD = Struct(">I").unpack_from
_PLACE = re.compile(rb"\xff[\xe2-\xff]|TAG|ID3|APETAGEX")  # where a frame or a tag can begin
_TAG_BYTES = 32  # enough for any tag's header
_XING_BYTES = 64  # of the first frame, enough for Xing's header
_IN_A_ROW = 3  # frames of one kind in a row: too many for chance
_FIRST_BYTES = 6 << 10  # enough for that many of the longest frames
_REACH = 1 << 20  # non-zero bytes in which the first frame is searched for
_PADDING = 4096  # bytes at either end that are not worth a flag: a second at 32 kbit/s


def _length(layer: int, samples: int, bits_per_second: int, rate: int, padding: int) -> int:
    if layer == 1:
        return (12 * bits_per_second // rate + padding) * 4
    return samples // 8 * bits_per_second // rate + padding


def _table() -> dict[int, tuple[int, int]]:
    """Map a header's upper 23 bits to its frame's length in bytes and in ticks."""
    table = {}
    for version, rates in _RATES.items():
        for layer in (1, 2, 3):
            samples, kbits = _SAMPLES[version == 3, layer], _KBITS[version == 3, layer]
            fixed = 0x7FF << 12 | version << 10 | (4 - layer) << 8
            for low in range(256):  # protection, bit rate, sample rate, padding
                bitrate, rate, padding = low >> 3 & 15, low >> 1 & 3, low & 1
                if 1 <= bitrate <= 14 and rate < 3:
                    length = _length(layer, samples, kbits[bitrate - 1] * 1000, rates[rate], padding)
                    table[fixed | low] = length, samples * TICKS // rates[rate]
    return table


FRAMES = _table()


def is_frame(first: bytes) -> bool:
    """Whether it begins with a frame header, including one of free bit rate, whose frames cannot be walked."""
    if len(first) < 4:
        return False
    free = first[2] & 0xF0 == 0
    return (int.from_bytes(first[:4]) | (0x1000 if free else 0)) >> 9 in FRAMES


class Frames:
    """Walks the frames of one MP3; holds at most 6 KiB between chunks.

    Raises `media.magic` after a mebibyte, or at the end, without a frame or a tag.
    """

    def __init__(self, wanted: str = "mp3") -> None:
        self._wanted = wanted
        self._tagged = False  # begins with a tag, or with a frame of free bit rate: it is an MP3
        self._passed = 0  # non-zero bytes before the first frame
        self._lead = 0  # bytes before the first frame, outside any frame or tag
        self._synced = False  # a frame should follow
        self._first = 0  # header of the first frame
        self._carry = b""
        self._skip = 0  # bytes of the next chunks that belong to the last frame or tag
        self._ticks = 0
        self._count = 0
        self._promised = 0  # frames, according to Xing's header
        self._gap = 0  # bytes since the last frame or tag, outside either
        self._blank = True  # the gap holds only zeros
        self._losses: list[int] = []  # gaps between frames, in bytes; the first hundred

    def feed(self, chunk: bytes | memoryview) -> None:
        """Jump from frame to frame to the end of this chunk."""
        if self._skip >= len(chunk):
            self._skip -= len(chunk)
        else:
            self._walk(self._carry + bytes(chunk) if self._carry else chunk, final=False)
        if self._passed > _REACH and not self._first and not self._tagged:
            raise self._none()

    def end(self) -> Findings:
        """Walk the rest and return the findings."""
        self._walk(self._carry, final=True)
        known = self._first != 0
        if not known and not self._tagged:
            raise self._none()
        return Findings(
            method=METHOD,
            codec=f"mp{4 - (self._first >> 17 & 3)}" if known else None,
            sample_rate=_RATES[self._first >> 19 & 3][self._first >> 10 & 3] if known else None,
            channels=(1 if self._first >> 6 & 3 == 3 else 2) if known else None,
            seconds=self._ticks / TICKS,
            faults=tuple(self._faults()),
            notes=(f"{self._lead} bytes before its first frame do not belong to a frame",)
            if 0 < self._lead <= _PADDING
            else (),
            empty=self._count == 0,
        )

    def _walk(self, buffer: bytes | memoryview, *, final: bool) -> None:
        at, end = self._skip, len(buffer)
        while True:
            if not self._synced:
                at = self._seek(buffer, at, final=final)
                if not self._synced:
                    break
            at = self._jump(buffer, at)
            self._synced = at > end - 4
            if self._synced:
                break
        self._skip = max(0, at - end)
        self._carry = bytes(buffer[at:])

    def _jump(self, buffer: bytes | memoryview, at: int) -> int:
        """Return the first place without a complete frame header. Nearly all of a walk's time is spent in this loop."""
        last, ticks, count = len(buffer) - 4, 0, 0
        frame, word = FRAMES.get, _WORD
        while at <= last:
            found = frame(word(buffer, at)[0] >> 9)
            if found is None:
                break
            at += found[0]
            ticks += found[1]
            count += 1
        self._ticks += ticks
        self._count += count
        return at

    def _seek(self, buffer: bytes | memoryview, at: int, *, final: bool) -> int:
        """Skip tags and bytes outside frames, up to the next frame; sets `_synced` if there is one."""
        end = len(buffer)
        needed = _TAG_BYTES if self._first else _FIRST_BYTES
        while at < end and (final or end - at >= needed):
            here = bytes(buffer[at : at + _XING_BYTES])
            tag = tag_length(here)
            if tag:
                at += tag
                self._tagged = self._tagged or self._gap == 0
            elif self._continues(here) if self._first else self._begins(buffer, at):
                self._close_gap()
                self._synced = True
                return at + self._index_length(here)
            else:
                self._tagged = self._tagged or (self._gap == 0 and _is_free(here))
                place = _PLACE.search(buffer, at + 1)
                beyond = place.start() if place else max(at + 1, end if final else end - needed + 1)
                self._pass_over(bytes(buffer[at : min(beyond, end)]), beyond - at)
                at = beyond
        return at

    def _pass_over(self, gap: bytes, size: int) -> None:
        self._gap += size
        filled = len(gap.strip(b"\0"))
        self._blank = self._blank and not filled
        self._passed += filled

    def _continues(self, here: bytes) -> bool:
        """Whether this is a frame like the first one: after a gap no other counts."""
        if len(here) < 4:
            return False
        word = int.from_bytes(here[:4])
        return word >> 9 in FRAMES and (word ^ self._first) & _KIND == 0

    def _begins(self, buffer: bytes | memoryview, at: int) -> bool:
        """Whether several frames of one kind follow each other here, or fewer that reach the end of a short body."""
        place, first, count, last = at, 0, 0, len(buffer) - 4
        while place <= last and count < _IN_A_ROW:
            word = int(_WORD(buffer, place)[0])
            found = FRAMES.get(word >> 9)
            if found is None or (first and (word ^ first) & _KIND):
                is_tag = tag_length(bytes(buffer[place : place + _TAG_BYTES])) > 0
                return count > (0 if is_tag else 1) and self._gap == 0
            first = first or word
            place += found[0]
            count += 1
        return count == _IN_A_ROW or count > (0 if self._gap == 0 else 1)

    def _none(self) -> MediaRejected:
        return MediaRejected(f"wanted {self._wanted}, but the body is not a known audio format", reason="media.magic")

    def _index_length(self, here: bytes) -> int:
        """Return the length of Xing's index frame, 0 if the frame holds audio. Only the first frame can be an index."""
        if self._first:
            return 0
        self._first = word = int.from_bytes(here[:4])
        length = FRAMES[word >> 9][0]
        mono, mpeg1 = word >> 6 & 3 == 3, word >> 19 & 3 == 3
        xing = 4 + ((17 if mono else 32) if mpeg1 else (9 if mono else 17))
        if here[xing : xing + 4] in (b"Xing", b"Info"):
            counted = here[xing + 7] & 1 if len(here) > xing + 7 else 0
            self._promised = int.from_bytes(here[xing + 8 : xing + 12]) if counted else 0
            return length
        if here[36:40] == b"VBRI":
            self._promised = int.from_bytes(here[50:54])
            return length
        return 0

    def _close_gap(self) -> None:
        if self._first and self._gap and len(self._losses) < 100:
            self._losses.append(self._gap)
        elif not self._first:
            self._lead = 0 if self._tagged and self._blank and self._gap <= _PADDING else self._gap
        self._gap, self._blank = 0, True

    def _faults(self) -> Iterator[str]:
        if self._skip:
            yield f"truncated: the last frame or tag lacks {self._skip} bytes"
        elif self._synced and self._carry[:1] == b"\xff":
            yield "truncated: the last frame's header is cut short"
        elif self._carry.strip(b"\0") or (self._gap and not self._blank):
            yield f"{self._gap + len(self._carry)} bytes at the end belong to no frame"
        elif self._gap + len(self._carry) > _PADDING:
            yield f"{self._gap + len(self._carry)} bytes at the end are zeros"
        if self._lead > _PADDING:
            yield f"{self._lead} bytes before its first frame do not belong to a frame"
        if self._losses:
            yield f"the next frame was missing {len(self._losses)} times ({sum(self._losses)} bytes skipped)"
        if self._promised > self._count + 1:
            yield f"truncated: {self._count} of the {self._promised} frames that its index announces"


def _is_free(here: bytes) -> bool:
    return is_frame(here) and int.from_bytes(here[:4]) >> 9 not in FRAMES


def tag_length(here: bytes) -> int:
    if here[:3] == b"ID3" and len(here) >= 10:
        size = 0
        for byte in here[6:10]:
            size = size << 7 | byte & 127
        return size + (20 if here[5] & 0x10 else 10)
    if here[:8] == b"APETAGEX" and len(here) >= 24:
        header = int.from_bytes(here[20:24], "little") & 1 << 29
        return 32 + (int.from_bytes(here[12:16], "little") if header else 0)
    return 128 if here[:3] == b"TAG" else 0
