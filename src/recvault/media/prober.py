"""Probe a medium while it streams: parse it by its container's rules, then compare it with the provider's facts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from recvault.errors import MediaRejected
from recvault.media.kinds import CONTENT_TYPES, ENOUGH, MATROSKA, MP3, WAV, WEBM, MediaKind, kind_of
from recvault.media.matroska import walk_matroska
from recvault.media.mp3 import METHOD as MP3_METHOD
from recvault.media.mp3 import Frames, tag_length
from recvault.media.stream_walker import Findings, Tape
from recvault.media.wav import walk_wav
from recvault.models import Check

WALKED = frozenset(name for kind in (WAV, MP3, MATROSKA, WEBM) for name in kind.names)
"""Formats that are parsed completely; of others only the start is checked."""
_CIPHER_BLOCK = 16
_SHOWS = 4096  # bytes of the beginning by which the kind is recognised
_NOT_AUDIO = (b"PK\3\4", b"%PDF", b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"\x1f\x8b\x08", b"\x7fELF", b"7z\xbc\xaf")
_ZEROS = 1 << 14  # bytes: two seconds of G.711


@dataclass(slots=True, kw_only=True)
class MediaFacts:
    """Facts from the bytes of media; never modified.

    `duration_seconds` is measured, or None. `media_format` is the real format, or "" if not checked.
    """

    media_format: str = ""
    empty: bool = False  # and without faults: nothing was recorded
    codec: str | None
    sample_rate: int | None
    channels: int | None
    duration_seconds: float | None
    check: Check
    worth_again: bool = True  # if suspect: another download may give a better result


class _Walker(Protocol):
    def feed(self, chunk: bytes | memoryview) -> None: ...

    def end(self) -> Findings: ...


class _Opaque:
    """Used for bytes that cannot be parsed."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings

    def feed(self, chunk: bytes | memoryview) -> None:
        pass

    def end(self) -> Findings:
        return self._findings


class Prober:
    """Takes the chunks of one media file as they arrive, in constant memory, then identifies it.

    It is parsed as what its first bytes show, not as what was requested: either URL may serve either format.
    """

    def __init__(self, media_format: str, *, encrypted: bool = False, wav_rate: int | None = None) -> None:
        """`wav_rate`: the fewest bytes a second of the provider's WAV; None if not known."""
        self._wanted = media_format
        self._encrypted = encrypted
        self._wav_rate = wav_rate
        self._bytes = 0
        self._zeros = 0  # bytes at the end so far
        self._kind: MediaKind | None = None
        self._head = b""  # kept until it shows the kind
        self._behind: tuple[int, bytearray] | None = None  # where a tag ends, and the first bytes after it
        self._walker: _Walker | None = _Opaque(Findings(method="ciphertext")) if encrypted else None

    def feed(self, chunk: bytes | memoryview) -> None:
        """Parse this chunk. Raises `MediaRejected` (`media.magic`) as soon as it is certain that it is not audio."""
        self._count_zeros(chunk)
        if self._walker is not None:
            self._look_behind_tag(self._bytes, chunk)
            self._bytes += len(chunk)
            self._walker.feed(chunk)
            return
        self._bytes += len(chunk)
        if self._bytes < ENOUGH:
            self._head += bytes(chunk)
        else:
            self._begin(self._head + bytes(chunk) if self._head else chunk)

    def finish(
        self, *, duration_seconds: float | None, size_bytes: int | None, channels: int | None = None
    ) -> MediaFacts:
        """Judge the whole against the provider's length, size and channels (None: not stated).

        Raises `MediaRejected` for an empty body (`media.empty`), unless the provider states a length of 0, and for
        anything that is not known audio (`media.magic`).
        """
        silent = duration_seconds == 0 and not (self._bytes == 0 and size_bytes)
        if self._bytes == 0 and not silent:
            raise MediaRejected(f"wanted {self._wanted}, but the body is empty", reason="media.empty")
        found = self._found()
        faults = [*found.faults, *self._size_faults(size_bytes)]
        if found.reach is None or length_faults(found.reach, duration_seconds):
            faults += length_faults(found.seconds, duration_seconds)
        faults += [*self._rate_faults(duration_seconds), *channel_faults(found.channels, channels)]
        if found.empty and not silent and not faults:
            faults.append("it contains only headers and no audio")
        return MediaFacts(
            media_format=self._named(found),
            codec=found.codec,
            sample_rate=found.sample_rate,
            channels=found.channels,
            duration_seconds=None if found.seconds is None else round(found.seconds, 6),
            empty=found.empty and not faults,
            check=_check(found, faults, [*self._name_notes(found), *found.notes, *self._zero_notes()]),
        )

    def _begin(self, first: bytes | memoryview) -> _Walker:
        """Start to walk what arrived so far, by the kind that its beginning shows."""
        head = bytes(first[:_SHOWS])
        self._kind = kind_of(head)
        if self._kind is None and self._wanted in CONTENT_TYPES and head.startswith(_NOT_AUDIO):
            raise MediaRejected(f"wanted {self._wanted}, but the body is not audio", reason="media.magic")
        if head[:3] == b"ID3":
            self._behind = tag_length(head), bytearray()
            self._look_behind_tag(0, first)
        self._walker = walker = _walker(self._wanted, self._kind)
        walker.feed(first)
        return walker

    def _look_behind_tag(self, at: int, chunk: bytes | memoryview) -> None:
        """Keep the first bytes after an ID3 tag: kinds other than MP3 may have one too."""
        if self._behind is not None and at + len(chunk) > self._behind[0] and len(self._behind[1]) < ENOUGH:
            start, found = self._behind
            found += bytes(chunk[max(0, start - at) :][: ENOUGH - len(found)])

    def _found(self) -> Findings:
        if self._bytes == 0:
            return Findings(method="size", seconds=0.0, empty=True)
        walker = self._walker or self._begin(self._head)
        kind = kind_of(bytes(self._behind[1])) if self._behind is not None else None
        if kind is not None and kind is not MP3:
            self._kind = kind
            return Findings(method="none", unknown=f"{kind.named(self._wanted)} behind a tag cannot be parsed")
        return walker.end()

    def _named(self, found: Findings) -> str:
        kind = self._kind
        if kind is None:  # ciphertext shows nothing; and frames may follow other bytes
            return "mp3" if found.method == MP3_METHOD and self._wanted not in MP3.names else self._wanted
        if kind is MATROSKA and found.is_video and self._wanted not in kind.names:
            return "mkv"
        return kind.named(self._wanted)

    def _count_zeros(self, chunk: bytes | memoryview) -> None:
        if not chunk or chunk[-1]:
            self._zeros = 0
            return
        filled = len(bytes(chunk).rstrip(b"\0"))
        self._zeros = len(chunk) - filled if filled else self._zeros + len(chunk)

    def _zero_notes(self) -> list[str]:
        """A truncated WAV filled with zeros looks like silence: not a fault, but noted."""
        if self._kind is not WAV or self._zeros < max(_ZEROS, self._bytes // 2):
            return []
        return [f"its last {self._zeros} bytes of {self._bytes} are zeros"]

    def _name_notes(self, found: Findings) -> list[str]:
        name = self._named(found)
        return [] if name == self._wanted else [f"{self._wanted} was requested, {name} was received"]

    def _size_faults(self, size_bytes: int | None) -> list[str]:
        if size_bytes is None or self._bytes == size_bytes:
            return []
        padded = size_bytes // _CIPHER_BLOCK * _CIPHER_BLOCK + _CIPHER_BLOCK
        if self._encrypted and self._bytes == padded:
            return []  # the provider states the size of the plaintext
        short = "truncated: " if self._bytes < size_bytes else ""
        return [f"{short}{self._bytes} bytes received, the provider states {size_bytes}"]

    def _rate_faults(self, told: float | None) -> list[str]:
        """Compare the length of ciphertext, which equals that of the plaintext, with the provider's duration."""
        if not self._encrypted or self._wanted != "wav" or self._wav_rate is None or told is None:
            return []
        most = self._bytes / self._wav_rate
        if most >= told - tolerance(told):
            return []
        return [f"truncated: {self._bytes} bytes hold at most {most:.2f} s, the provider states {told:.2f} s"]


def tolerance(seconds: float) -> float:
    """Return how far two lengths of one recording may differ, in seconds: providers round."""
    return max(2.0, 0.02 * seconds)


def length_faults(measured: float | None, told: float | None) -> list[str]:
    """Return a fault if a measured length differs from the provider's."""
    if measured is None or told is None or abs(measured - told) <= tolerance(told):
        return []
    short = "truncated: " if measured < told else ""
    return [f"{short}{measured:.2f} s measured, the provider states {told:.2f} s"]


def channel_faults(measured: int | None, told: int | None) -> list[str]:
    """Return a fault if fewer channels were received than the provider states."""
    if measured is None or told is None or measured >= told:
        return []
    return [f"{measured} channels received, the provider states {told}"]


def _check(found: Findings, faults: list[str], notes: list[str]) -> Check:
    if faults:
        status, reasons = "suspect", faults
    elif found.empty:
        status, reasons = "ok", ["empty"]
    elif found.unknown is not None or found.method in ("ciphertext", "none"):
        status, reasons = "unchecked", [found.unknown] if found.unknown else []
    else:
        status, reasons = "ok", []
    return Check(status=status, method=found.method, reason="; ".join([*reasons, *notes]) or None)


def _walker(wanted: str, kind: MediaKind | None) -> _Walker:
    if kind is WAV:
        return Tape(walk_wav())
    if kind in (MATROSKA, WEBM):
        return Tape(walk_matroska())
    if kind is MP3 or (kind is None and wanted in CONTENT_TYPES):
        return Frames(wanted)
    name = wanted if kind is None else kind.named(wanted)
    return _Opaque(Findings(method="none", unknown=f"{name} cannot be parsed"))
