"""Prove that a foreign object is the recording: by its format, its length, its size, and by the provider's own bytes.

The object is read once, whole, through the same check as a download. Of the provider's media only samples are
requested, and their size; all of them from a service that ignores Range, or if they are hardly more than the samples.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import IO

from recvault.errors import MediaExpired, MediaRejected, NotFound, Refused
from recvault.http import MediaHead
from recvault.http.media_part import MediaPart
from recvault.models import JSON, Phase, Recording, Requested
from recvault.operations.adopt.names import ending, is_named
from recvault.store import Foreign, Origin
from recvault.transfer.fetch import Fetched, Line, Receiving
from recvault.transfer.fetch import formats as wanted_formats
from recvault.transfer.listed_row import not_there, refreshed
from recvault.transfer.spool import SpoolPlace

SAMPLE = 16 * 1024  # bytes; three of them


class Unproven(Exception):
    """An object is not shown to be the recording. `reason`: a dotted constant."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.reason, self.message = reason, message


@dataclass(slots=True)
class ProvenObject:
    """A proven object, in the spool. Close its `fetched`."""

    fetched: Fetched
    origin: Origin
    proof: JSON


class _Reading:
    """The sink of one object: each begin starts over, with a new spool."""

    def __init__(self, begin: Callable[[int | None], Receiving]) -> None:
        self._begin = begin
        self._receiving: Receiving | None = None

    def begin(self, length: int | None) -> None:
        """See Sink."""
        self.close()
        self._receiving = self._begin(length)

    def write(self, piece: memoryview | bytes) -> None:
        """See Sink."""
        assert self._receiving is not None  # noqa: S101 - begin comes first
        self._receiving.write(piece)

    def finish(self) -> Fetched:
        """Return what was read; from here on its spool belongs to the caller."""
        if self._receiving is None:
            self.begin(0)
        assert self._receiving is not None  # noqa: S101
        fetched, receiving = None, self._receiving
        try:
            fetched = receiving.finish()
        finally:
            if fetched is not None:
                self._receiving = None
        return fetched

    def close(self) -> None:
        """Free what was not finished."""
        if self._receiving is not None:
            self._receiving.close()
            self._receiving = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prover:
    """Proves objects of one foreign bucket. Thread-safe."""

    foreign: Foreign
    place: SpoolPlace
    sample: int = SAMPLE
    count: Callable[[int], None] = field(default=lambda sent: None)  # told the bytes that a provider sent

    def prove(self, line: Line, recording: Recording, key: str, matched_by: str) -> ProvenObject:
        """Read and prove one object. Raises Unproven, Settled if the row says that it has no media, or the error."""
        fetched, origin = self.read(line, recording, key)
        try:
            check = fetched.facts.check
            if check.status == "suspect" or check.reason == "empty":
                raise Unproven("media.suspect", f"{check.reason}")
            if is_named(origin.bucket, key, recording.external_location):
                compared: JSON = {"method": "named by the provider", "bytes": fetched.spool.bytes, "compared": []}
            elif recording.phase is Phase.EXTERNAL:
                where = recording.external_location or "another place"
                raise Unproven("adopt.elsewhere", f"the provider has no media of it, and its row names {where}")
            else:
                compared = self._compare_renewed(line, recording, fetched)
        except BaseException:
            fetched.spool.close()
            raise
        return ProvenObject(fetched, origin, {"from": str(origin), "matched_by": matched_by, **compared})

    def read(self, line: Line, recording: Recording, key: str) -> tuple[Fetched, Origin]:
        """Read an object into the spool, hashed and checked like a download. Raises Unproven if it is no media."""
        named = ending(key)
        asked = named if named in recording.formats else (*_wanted(line, recording), named or "wav")[0]
        url = f"s3://{self.foreign.bucket}/{key}"

        def begin(length: int | None) -> Receiving:
            return Receiving(self.place, line, recording, Requested(media_format=asked), MediaHead(url, {}, length))

        reading = _Reading(begin)
        try:
            origin = self.foreign.read(key, reading)
            if origin is None:
                raise Unproven("adopt.deleted", "it was deleted meanwhile")
            return reading.finish(), origin
        except MediaRejected as error:
            raise Unproven(error.reason, error.message) from error
        finally:
            reading.close()

    def _compare_renewed(self, line: Line, recording: Recording, fetched: Fetched) -> JSON:
        """Compare; a refused signed URL is renewed once, and a 404 is explained by the recording's row."""
        try:
            try:
                return self._compare(line, recording, fetched)
            except MediaExpired:
                return self._compare(line, refreshed(line, recording), fetched)
        except NotFound as error:
            raise not_there(refreshed(line, recording), error) from error

    def begins_like(self, line: Line, recording: Recording, fetched: Fetched) -> bool:
        """Whether the provider's media have the object's size and first bytes."""
        start, length = places(fetched.spool.bytes, self.sample)[0]
        for ask in self._asked(line, recording, fetched.media_format):
            with suppress(Refused):
                part = ask(start, length)
                self.count(part.sent)
                if part.content is None:
                    return part.sha256 == fetched.spool.sha256
                is_as_long = part.whole == fetched.spool.bytes
                return is_as_long and part.content == _piece(fetched.spool.file, start, length)
        return False

    def _compare(self, line: Line, recording: Recording, fetched: Fetched) -> JSON:
        refused: Refused | None = None
        for ask in self._asked(line, recording, fetched.media_format):
            try:
                return self._samples(line, fetched, ask)
            except Refused as error:
                refused = error  # e.g. two channels of a mono recording
        if refused is not None:
            raise refused
        raise Unproven("adopt.format", f"it is {fetched.media_format}, which the provider does not serve")

    def _asked(self, line: Line, recording: Recording, media_format: str) -> list[Callable[[int, int], MediaPart]]:
        """Return the requests for parts of a recording's media, best first."""
        signed = line.provider.media_url_lifetime is not None
        if signed and not recording.media_urls:
            recording = refreshed(line, recording)
        requests = line.provider.media_requests(recording, media_format)
        return [partial(line.session.part, each, signed=signed) for each in requests]

    def _samples(self, line: Line, fetched: Fetched, ask: Callable[[int, int], MediaPart]) -> JSON:
        """Compare samples of the object with the provider's media, and their sizes."""
        size, compared = fetched.spool.bytes, list[list[int]]()
        for start, length in places(size, self.sample):
            part = ask(start, length)
            self.count(part.sent)
            if fetched.encryption is None and line.provider.media_encryption(part.head.headers):
                raise Unproven("adopt.encrypted", "it is encrypted, and its keys come only with the provider's media")
            if part.whole != size:
                raise Unproven("adopt.size", f"it has {size} bytes, the provider's media {part.whole}")
            if part.content is None:
                if part.sha256 != fetched.spool.sha256:
                    raise Unproven("adopt.differs", "its bytes differ from the provider's")
                return {"method": "whole", "bytes": size, "compared": [[0, size]]}
            if part.content != _piece(fetched.spool.file, start, length):
                raise Unproven(
                    "adopt.differs", f"its bytes differ from the provider's between {start} and {start + length}"
                )
            compared.append([start, length])
        method = "whole" if compared == [[0, size]] else "samples"
        return {"method": method, "bytes": size, "compared": compared}


def places(size: int, sample: int) -> list[tuple[int, int]]:
    """Return the ranges to compare: beginning, middle and end, or all of media that are hardly longer."""
    if size <= 3 * sample:
        return [(0, size)]
    return [(0, sample), ((size - sample) // 2, sample), (size - sample, sample)]


def _piece(file: IO[bytes], start: int, length: int) -> bytes:
    file.seek(start)
    pieces = bytearray()
    while len(pieces) < length and (piece := file.read(length - len(pieces))):
        pieces += piece
    return bytes(pieces)


def _wanted(line: Line, recording: Recording) -> tuple[str, ...]:
    return wanted_formats(line.formats, recording.formats) if recording.formats else line.formats
