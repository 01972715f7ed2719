"""Parse packets with FFmpeg: a second check besides our own parser.

The only module that uses PyAV. Nothing is decoded. FFmpeg is C code that reads hostile bytes, so it is restricted: the
container is named, never guessed; no protocol and no decoder is allowed; it reads only the bytes it is given, forward;
streams, packets and time are limited. A bug in it could still crash the process; whoever enables it accepts that.
"""

from __future__ import annotations

import functools
import io
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

import av
from av.container import InputContainer
from av.error import FFmpegError

METHOD = "packets"
CONTAINERS: Mapping[str, str] = MappingProxyType(
    {"wav": "wav", "mp3": "mp3", "mka": "matroska", "mkv": "matroska", "webm": "matroska"}
)
_OPTIONS = {"protocol_whitelist": "none", "codec_whitelist": "none", "max_streams": "16"}
_OPTIONS_OF = {"wav": {"max_size": "65536"}}  # larger, and therefore fewer, packets
_READ = 1 << 16
_BASE_SECONDS, _BYTES_A_SECOND, _MOST_SECONDS = 30.0, 1 << 20, 600.0
_BASE_PACKETS, _BYTES_A_PACKET = 1000, 4  # even the smallest block of a track is larger


@dataclass(frozen=True, slots=True, kw_only=True)
class Packets:
    """The result of parsing. `seconds`: from the first packet to the end of the last; `reach`: from zero."""

    seconds: float | None = None
    reach: float | None = None
    codec: str | None = None
    sample_rate: int | None = None
    channels: int | None = None
    fault: str | None = None


class ByteSource(Protocol):
    """Bytes that are read once, forward."""

    def read(self, size: int, /) -> bytes: ...


def walk_packets(
    media_format: str, source: ByteSource, size: int, *, clock: Callable[[], float] = time.monotonic
) -> Packets:
    """Parse about `size` bytes to their end. What FFmpeg cannot read becomes a fault, never an exception."""
    reader = _Reader(source)
    seen = _Seen(
        most=_BASE_PACKETS + size // _BYTES_A_PACKET,
        until=clock() + min(_MOST_SECONDS, _BASE_SECONDS + size / _BYTES_A_SECOND),
    )
    try:
        with _opened(media_format, reader) as container:
            seen.take_in(container, clock)
    except FFmpegError as error:
        seen.fault = seen.fault or f"FFmpeg cannot read it: {_words(error)}"
    except (OSError, ValueError, OverflowError) as error:
        seen.fault = seen.fault or f"FFmpeg cannot read it: {type(error).__name__}"
    if reader.error is not None:
        raise reader.error  # an error of the source, not of the medium
    return seen.told()


@contextmanager
def _opened(media_format: str, reader: _Reader) -> Iterator[InputContainer]:
    name = CONTAINERS[media_format]
    options = {**_OPTIONS, **_OPTIONS_OF.get(name, {})}
    with av.open(reader, mode="r", format=name, buffer_size=_READ, options=options, **_any_tags()) as opened:
        yield opened


@functools.cache
def _any_tags() -> dict[str, Any]:
    """Return the option that makes PyAV accept tags that are not UTF-8. PyAV 19 always does, and refuses the option."""
    option: dict[str, Any] = {"metadata_errors": "ignore"}
    try:
        av.open(io.BytesIO(), mode="r", format="wav", **option).close()
    except TypeError:
        return {}
    except (FFmpegError, ValueError):  # the empty file cannot be read, but the option was accepted
        pass
    return option


class _Reader:
    """The file that FFmpeg reads from. It has no `seek`, so nothing is read twice."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self.error: BaseException | None = None

    def read(self, size: int) -> bytes:
        """Return the next bytes, none at the end."""
        try:
            return self._source.read(size)
        except BaseException as error:
            self.error = error  # FFmpeg would replace it by an error of its own
            raise


@dataclass(slots=True)
class _Seen:
    most: int
    until: float
    first: dict[int, int] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)
    base: dict[int, float] = field(default_factory=dict)
    codec: str | None = None
    sample_rate: int | None = None
    channels: int | None = None
    fault: str | None = None

    def take_in(self, container: InputContainer, clock: Callable[[], float]) -> None:
        """Parse the packets of all streams."""
        if container.streams:
            self._describe(container.streams[0])
        count = 0
        for packet in container.demux():
            count += 1
            if count > self.most or (count % 256 == 0 and clock() > self.until):
                self.fault = f"FFmpeg finds no end: {count} packets"
                return
            if packet.size == 0 or packet.pts is None:
                continue
            number, start = packet.stream_index, packet.pts
            if number not in self.first:
                self.first[number] = self.ends[number] = start
                self.base[number] = float(packet.time_base)
            self.first[number] = min(self.first[number], start)
            self.ends[number] = max(self.ends[number], start + (packet.duration or 0))

    def told(self) -> Packets:
        lengths = [(self.ends[number] - self.first[number]) * base for number, base in self.base.items()]
        reaches = [self.ends[number] * base for number, base in self.base.items()]
        return Packets(
            seconds=_sound(max(lengths, default=0.0)),
            reach=_sound(max(reaches, default=0.0)),
            codec=self.codec,
            sample_rate=self.sample_rate,
            channels=self.channels,
            fault=self.fault,
        )

    def _describe(self, stream: Any) -> None:
        context = stream.codec_context
        if context is None:
            return  # a codec that this FFmpeg does not know
        self.codec = str(context.codec.canonical_name)[:40] or None
        self.sample_rate = getattr(context, "sample_rate", None) or None
        self.channels = getattr(context, "channels", None) or None


def _sound(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _words(error: FFmpegError) -> str:
    return ascii(error.strerror or type(error).__name__).strip("'\"")[:100]
