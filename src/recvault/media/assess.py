"""How a source's media are checked: by our parser, on the plaintext if a key decrypts it, and optionally by FFmpeg.

Invariant: what is stored is what the provider served. Media that no key decrypts, that are corrupt, or on which the
parsers disagree are `suspect`: archived and flagged, never lost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from recvault.errors import MediaRejected, NotOpened
from recvault.media import MediaFacts, Prober, length_faults, tolerance
from recvault.models import JSON, Check

if TYPE_CHECKING:  # both need an extra, and are imported only if configured
    from recvault.media.decryptor import Opening, PrivateKeys
    from recvault.media.ffmpeg import Packets

DECRYPTED = "decrypted"
_PIECE = 1 << 16


class MediaProbe(Protocol):
    """Checks a medium as its bytes arrive."""

    def feed(self, chunk: bytes | memoryview) -> None: ...

    def finish(
        self, *, duration_seconds: float | None, size_bytes: int | None, channels: int | None = None
    ) -> MediaFacts: ...


class Bytes(Protocol):
    """A complete medium."""

    def read(self, size: int, /) -> bytes: ...

    def seek(self, place: int, /) -> object: ...


@dataclass(frozen=True, slots=True)
class Proof:
    """What checks a source's media besides our parser: private keys, and FFmpeg (`packets`)."""

    keys: PrivateKeys | None = None
    packets: bool = False
    wav_rate: int | None = None  # the fewest bytes a second of the provider's WAV; None: not known

    def probe(self, media_format: str, encryption: JSON | None) -> MediaProbe:
        """Return the probe for one medium."""
        if encryption is None or self.keys is None:
            return Prober(media_format, encrypted=encryption is not None, wav_rate=self.wav_rate)
        return OpenedProbe(media_format, self.keys, encryption, self.wav_rate)

    def deepened(
        self,
        facts: MediaFacts,
        media_format: str,
        body: Bytes,
        size: int,
        *,
        encryption: JSON | None,
        duration_seconds: float | None,
    ) -> MediaFacts:
        """Add FFmpeg's findings, which reads `body` from its start. Media that no key decrypts stay as they are."""
        from recvault.media import ffmpeg

        readable = encryption is None or facts.check.method == DECRYPTED
        media_format = facts.media_format or media_format
        if media_format not in ffmpeg.CONTAINERS or size == 0 or facts.empty or not readable:
            return facts
        body.seek(0)
        source: ffmpeg.ByteSource = body
        if encryption is not None and self.keys is not None:
            source = _Plain(body, self.keys.opening(encryption))
        seen = ffmpeg.walk_packets(media_format, source, size)
        return compared(facts, seen, duration_seconds)


PLAIN = Proof()


class OpenedProbe:
    """Checks encrypted media by their plaintext, which exists only here."""

    def __init__(self, media_format: str, keys: PrivateKeys, encryption: JSON, wav_rate: int | None = None) -> None:
        self._closed = Prober(media_format, encrypted=True, wav_rate=wav_rate)
        self._inner = Prober(media_format)
        self._error: NotOpened | MediaRejected | None = None
        self._opening: Opening | None = None
        try:
            self._opening = keys.opening(encryption)
        except NotOpened as error:
            self._error = error

    def feed(self, chunk: bytes | memoryview) -> None:
        """Decrypt and parse this chunk. Never rejects it: media that decrypt wrongly are still what was served."""
        self._closed.feed(chunk)
        if self._opening is not None:
            self._walk(self._opening.feed(chunk))

    def finish(
        self, *, duration_seconds: float | None, size_bytes: int | None, channels: int | None = None
    ) -> MediaFacts:
        """Judge the plaintext if it is authentic, else the ciphertext, with the reason."""
        closed = self._closed.finish(duration_seconds=duration_seconds, size_bytes=size_bytes)
        if self._opening is None:
            return _against(closed, self._error)
        try:
            self._walk(self._opening.end())
        except NotOpened as broken:
            return _against(closed, broken)
        try:
            if self._error is not None:
                raise self._error
            facts = self._inner.finish(
                duration_seconds=duration_seconds, size_bytes=self._opening.plain_bytes, channels=channels
            )
        except MediaRejected as error:
            return _against(replace(closed, check=replace(closed.check, method=DECRYPTED)), error)
        check = facts.check if facts.check.status == "suspect" or closed.check.status != "suspect" else closed.check
        # The stored ciphertext keeps the requested format, with or without a key.
        return replace(facts, media_format=closed.media_format, check=replace(check, method=DECRYPTED))

    def _walk(self, plain: bytes) -> None:
        if self._error is None and plain:
            try:
                self._inner.feed(plain)
            except MediaRejected as error:
                self._error = error  # reported after the authenticity check, which explains it


def _against(facts: MediaFacts, error: NotOpened | MediaRejected | None) -> MediaFacts:
    """Return the facts as suspect, with this error added to the reasons they already had."""
    before = facts.check.reason if facts.check.status == "suspect" else None
    reasons = [each for each in (error and error.message, before) if each]
    check = Check(status="suspect", method=facts.check.method, reason="; ".join(reasons))
    again = facts.check.status == "suspect" or not isinstance(error, NotOpened) or error.worth_again
    return replace(facts, check=check, worth_again=again)


def compared(facts: MediaFacts, seen: Packets, told: float | None) -> MediaFacts:
    """Add FFmpeg's facts to ours; a difference from ours or the provider's length is a fault."""
    seconds = _length(seen, told if told is not None else facts.duration_seconds)
    faults = [seen.fault] if seen.fault else []
    ours = facts.duration_seconds
    if not faults and seconds is not None:
        if ours is not None and min(abs(ours - each) for each in (seconds, seen.seconds or seconds)) > tolerance(ours):
            faults.append(f"FFmpeg measures {seconds:.2f} s, the container {ours:.2f} s")
        if not length_faults(ours, told) or ours is None:
            faults += [f"FFmpeg: {fault}" for fault in length_faults(seconds, told)]
    return replace(
        facts,
        codec=seen.codec or facts.codec,
        sample_rate=seen.sample_rate or facts.sample_rate,
        channels=seen.channels or facts.channels,
        duration_seconds=ours if seen.fault or seconds is None else round(seconds, 6),
        check=_judged(facts.check, faults),
    )


def _judged(check: Check, faults: list[str]) -> Check:
    method = f"{check.method}, packets"
    if faults:
        known = [check.reason] if check.status == "suspect" and check.reason else []
        return Check(status="suspect", method=method, reason="; ".join([*known, *faults]))
    return replace(check, method=method)


def _length(seen: Packets, told: float | None) -> float | None:
    """Return the length from the first packet, or from zero if that matches the provider's: a track may begin late."""
    if told is not None and seen.reach is not None and abs(seen.reach - told) <= tolerance(told):
        return seen.reach
    return seen.seconds


class _Plain:
    """The plaintext of a body that was verified before; it can be read once."""

    def __init__(self, body: Bytes, opening: Opening) -> None:
        self._body, self._opening = body, opening
        self._held = b""
        self._ended = False

    def read(self, size: int, /) -> bytes:
        while not self._held and not self._ended:
            chunk = self._body.read(max(size, _PIECE))
            self._ended = not chunk
            self._held = self._opening.feed(chunk) if chunk else self._opening.end()
        given, self._held = self._held[:size], self._held[size:]
        return given
