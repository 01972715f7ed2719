"""Probe a medium while it streams: walk it by its container's rules, then hold it against what the provider says."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from recvault.errors import MediaRejected
from recvault.media.matroska import walk_matroska
from recvault.media.mp3 import Frames
from recvault.media.tape import Findings, Tape
from recvault.media.wav import walk_wav
from recvault.models import Check

CONTENT_TYPES = MappingProxyType(
    {"wav": "audio/wav", "mp3": "audio/mpeg", "mka": "audio/matroska", "mkv": "video/matroska"}
)
_CIPHER_BLOCK = 16
_WAV_LEAST = 16_000  # bytes a second: a WAV comes encrypted from Twilio alone, in 16 bits at 8 kHz, never less


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFacts:
    """What the bytes of a medium tell of it. `duration_seconds` is measured, None where it cannot be."""

    codec: str | None
    sample_rate: int | None
    channels: int | None
    duration_seconds: float | None
    check: Check
    worth_again: bool = True  # of what is suspect: another download may tell more


class _Walker(Protocol):
    def feed(self, chunk: bytes | memoryview) -> None: ...

    def end(self) -> Findings: ...


class _Opaque:
    """Stands where nothing can be told from the bytes."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings

    def feed(self, chunk: bytes | memoryview) -> None:
        pass

    def end(self) -> Findings:
        return self._findings


class Prober:
    """Takes every chunk of one medium as it arrives, in constant memory, then tells what the medium is."""

    def __init__(self, media_format: str, *, encrypted: bool = False) -> None:
        self._format = media_format
        self._encrypted = encrypted
        self._bytes = 0
        self._walker = _walker(media_format, encrypted)

    def feed(self, chunk: bytes | memoryview) -> None:
        """Walk this chunk. `MediaRejected` (`media.magic`) as soon as the first bytes are another format's."""
        self._bytes += len(chunk)
        self._walker.feed(chunk)

    def finish(self, *, duration_seconds: float | None, size_bytes: int | None) -> MediaFacts:
        """Judge the whole against the provider's length and size (None: it tells none).

        `MediaRejected` where nothing came though something was recorded (`media.empty`), or too little to tell what
        it is (`media.magic`).
        """
        silent = duration_seconds == 0 and not (self._bytes == 0 and size_bytes)
        if self._bytes == 0 and not silent:
            raise MediaRejected(f"wanted {self._format}, but the body is empty", reason="media.empty")
        found = self._walker.end() if self._bytes else Findings(method="size", seconds=0.0, empty=True)
        faults = [*found.faults, *self._size_faults(size_bytes), *length_faults(found.seconds, duration_seconds)]
        faults += self._rate_faults(duration_seconds)
        if found.empty and not silent and not faults:
            faults.append("there is no audio in it, only headers")
        return MediaFacts(
            codec=found.codec,
            sample_rate=found.sample_rate,
            channels=found.channels,
            duration_seconds=None if found.seconds is None else round(found.seconds, 6),
            check=_check(found, faults),
        )

    def _size_faults(self, size_bytes: int | None) -> list[str]:
        if size_bytes is None or self._bytes == size_bytes:
            return []
        padded = size_bytes // _CIPHER_BLOCK * _CIPHER_BLOCK + _CIPHER_BLOCK
        if self._encrypted and self._bytes == padded:
            return []  # the provider tells the plain size
        short = "truncated: " if self._bytes < size_bytes else ""
        return [f"{short}{self._bytes} bytes came, the provider tells {size_bytes}"]

    def _rate_faults(self, told: float | None) -> list[str]:
        """Ciphertext shows nothing, but it is as long as what was encrypted."""
        most = self._bytes / _WAV_LEAST
        if not self._encrypted or self._format != "wav" or told is None or most >= told - tolerance(told):
            return []
        return [f"truncated: {self._bytes} bytes hold {most:.2f} s at most, the provider tells {told:.2f} s"]


def tolerance(seconds: float) -> float:
    """By how much two lengths of one recording may differ: providers round."""
    return max(2.0, 0.02 * seconds)


def length_faults(measured: float | None, told: float | None) -> list[str]:
    """What a measured length has against the provider's."""
    if measured is None or told is None or abs(measured - told) <= tolerance(told):
        return []
    short = "truncated: " if measured < told else ""
    return [f"{short}{measured:.2f} s measured, the provider tells {told:.2f} s"]


def _check(found: Findings, faults: list[str]) -> Check:
    if faults:
        return Check(status="suspect", method=found.method, reason="; ".join(faults))
    if found.empty:
        return Check(status="ok", method=found.method, reason="empty")
    if found.unknown is not None or found.method in ("ciphertext", "none"):
        return Check(status="unchecked", method=found.method, reason=found.unknown)
    return Check(status="ok", method=found.method)


def _walker(media_format: str, encrypted: bool) -> _Walker:
    if encrypted:
        return _Opaque(Findings(method="ciphertext"))
    if media_format == "wav":
        return Tape(walk_wav())
    if media_format == "mp3":
        return Frames()
    if media_format in ("mka", "mkv"):
        return Tape(walk_matroska())
    return _Opaque(Findings(method="none", unknown=f"there is no walk for {media_format}"))
