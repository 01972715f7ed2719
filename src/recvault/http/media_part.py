"""A part of media, to compare it with a copy that somebody else made.

A service may ignore Range and send everything: then all of it is hashed as it arrives, and nothing is kept.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

from recvault.errors import ProtocolError
from recvault.http.media import MediaHead

_RANGE = re.compile(r"bytes ([0-9]+)-([0-9]+)/([0-9]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaPart:
    """What was sent."""

    head: MediaHead
    sent: int  # bytes
    whole: int  # size of the media in bytes
    content: bytes | None = field(repr=False)  # None: everything was sent instead of a part
    sha256: str  # hex; of what was sent


class PartSink:
    """See http.Sink. Raises ProtocolError for another part than was asked for."""

    def __init__(self, start: int, size: int, head: MediaHead) -> None:
        self._head, self._digest, self.size = head, hashlib.sha256(), 0
        self._whole: int | None = None
        self._kept: bytearray | None = None
        told = head.headers.get("content-range")
        if told is None:
            return
        found = _RANGE.fullmatch(told)
        if found is None or int(found[1]) != start or not 0 <= int(found[2]) - start < size:
            raise ProtocolError(f"{head.url} sent another part of the media than was asked for ({told})")
        self._whole, self._kept = int(found[3]), bytearray()

    def write(self, piece: bytes | memoryview) -> None:
        """See Sink."""
        self._digest.update(piece)
        self.size += len(piece)
        if self._kept is not None:
            self._kept += piece

    def finish(self) -> MediaPart:
        """See Sink."""
        return MediaPart(
            head=self._head,
            sent=self.size,
            whole=self.size if self._whole is None else self._whole,
            content=None if self._kept is None else bytes(self._kept),
            sha256=self._digest.hexdigest(),
        )

    def close(self) -> None:
        """See Sink. Nothing is held."""
