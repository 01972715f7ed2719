"""Determine the kind of media from the first bytes, regardless of the requested name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from recvault.media.mp3 import is_frame

ENOUGH = 64  # bytes that identify every kind except an MP3 that begins within a frame


@dataclass(frozen=True, slots=True)
class MediaKind:
    """A container: its format names, the usual one first, and its content type."""

    names: tuple[str, ...]
    content_type: str

    def named(self, wanted: str) -> str:
        """Return the requested name if this kind has it, else this kind's usual name."""
        return wanted if wanted in self.names else self.names[0]


WAV = MediaKind(("wav", "wave"), "audio/wav")
MP3 = MediaKind(("mp3", "mp2", "mpga"), "audio/mpeg")
MATROSKA = MediaKind(("mka", "mkv"), "audio/matroska")
WEBM = MediaKind(("webm", "mka", "mkv"), "audio/webm")
OGG = MediaKind(("ogg", "oga", "opus", "spx"), "audio/ogg")
FLAC = MediaKind(("flac",), "audio/flac")
MP4 = MediaKind(("mp4", "m4a", "m4b", "mov", "3gp"), "video/mp4")
M4A = MediaKind(("m4a", "mp4"), "audio/mp4")
THREE_GP = MediaKind(("3gp", "mp4", "m4a"), "audio/3gpp")
AAC = MediaKind(("aac",), "audio/aac")
AMR = MediaKind(("amr",), "audio/amr")
AMR_WB = MediaKind(("awb", "amr"), "audio/amr-wb")
AU = MediaKind(("au", "snd"), "audio/basic")
AIFF = MediaKind(("aiff", "aif", "aifc"), "audio/aiff")
CAF = MediaKind(("caf",), "audio/x-caf")
W64 = MediaKind(("w64",), "audio/x-w64")
ASF = MediaKind(("wma", "asf", "wmv"), "audio/x-ms-wma")
KINDS = (WAV, MP3, MATROSKA, WEBM, OGG, FLAC, MP4, M4A, THREE_GP, AAC, AMR, AMR_WB, AU, AIFF, CAF, W64, ASF)

_TYPES_OF_NAMES = {"mkv": "video/matroska", "mka": "audio/matroska", "mp4": "video/mp4", "m4a": "audio/mp4"}
CONTENT_TYPES: Mapping[str, str] = MappingProxyType(
    {name: kind.content_type for kind in reversed(KINDS) for name in reversed(kind.names)} | _TYPES_OF_NAMES
)
"""Content types by format name."""

_BEGINNINGS: tuple[tuple[bytes, MediaKind], ...] = (
    (b"OggS", OGG),
    (b"fLaC", FLAC),
    (b"#!AMR-WB", AMR_WB),
    (b"#!AMR", AMR),
    (b".snd", AU),
    (b"caff", CAF),
    (b"riff\x2e\x91\xcf\x11", W64),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", ASF),
)
_EBML = b"\x1a\x45\xdf\xa3"


def kind_of(first: bytes) -> MediaKind | None:
    """Identify media by their beginning (`ENOUGH` bytes, or a whole shorter body); None if that does not suffice."""
    if first[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
        return WAV if first[8:12] == b"WAVE" else None
    if first[:4] == _EBML:
        return WEBM if b"\x42\x82\x84webm" in first or b"webm" in first[4:ENOUGH] else MATROSKA
    if first[4:8] == b"ftyp":
        return M4A if first[8:11] in (b"M4A", b"M4B") else THREE_GP if first[8:10] == b"3g" else MP4
    if first[:4] == b"FORM" and first[8:12] in (b"AIFF", b"AIFC"):
        return AIFF
    for beginning, kind in _BEGINNINGS:
        if first.startswith(beginning):
            return kind
    if first[:3] == b"ID3" or is_frame(first):
        return MP3
    return AAC if len(first) >= 4 and first[0] == 0xFF and first[1] & 0xF6 == 0xF0 else None


def known(name: str) -> bool:
    """Whether this format can be recognised by its beginning."""
    return name in CONTENT_TYPES
