"""Where a recording's objects go: under their first keys, or beside existing objects.

Invariants: no object is replaced. An existing object counts as ours only if its bytes are the fetched ones, or if an
earlier attempt of this ledger may have put it; an object's metadata prove nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import BinaryIO

from recvault import archive
from recvault.archive import EDITIONS, KeyTemplate
from recvault.errors import Cold, KeyConflict, TooLarge
from recvault.media import CONTENT_TYPES, MediaFacts
from recvault.models import Job, MediaObject, Receipt, Recording, Requested
from recvault.store import ObjectStore, Origin, Put
from recvault.transfer.cold_sidecar import cold_commit

Adopt = Callable[[str], MediaObject | None]


@dataclass(slots=True, kw_only=True)
class Placing:
    """Puts the objects of one job."""

    store: ObjectStore
    keys: KeyTemplate
    job: Job
    begun: bool = False  # something was put, or may have been
    taken: list[str] = field(default_factory=list)  # keys occupied by other objects
    placed: set[str] = field(default_factory=set)  # keys under which it put something, or found the same bytes

    def medium(
        self,
        recording: Recording,
        media_format: str,
        described: Callable[[str], MediaObject],
        body: BinaryIO,
        adopt: Adopt,
        *,
        after: int = 0,
        origin: Origin | None = None,
    ) -> MediaObject:
        """Put a medium under its first key, beyond edition `after`, that is free or has these bytes.

        `described` describes it for a key. `adopt` verifies other bytes that an earlier attempt may have put, and
        returns them to be kept instead.
        """
        for edition in EDITIONS[after:]:
            placed = described(self.keys(recording, media_format, edition))
            if self.put(recording, placed, body, origin):
                return placed
            if placed.key in self.placed:
                continue  # this job's own: two requested formats have the same real one
            if self.job.maybe_archived and self._is_last(recording, media_format, edition):
                found = adopt(placed.key)
                if found is not None:
                    return found
            self._note_taken(placed.key)
        raise self._exhausted(recording)

    def put(self, recording: Recording, medium: MediaObject, body: BinaryIO, origin: Origin | None = None) -> bool:
        """Put media under their key; False if it has other bytes."""
        return self._put(
            Put(
                key=medium.key,
                body=body,
                bytes=medium.bytes,
                sha256=medium.sha256,
                content_type=medium.content_type,
                metadata=archive.object_metadata(recording, medium.sha256),
                origin=origin,
            )
        )

    def sidecar(
        self, recording: Recording, receipt: Callable[..., Receipt], write: Callable[[Receipt], bytes]
    ) -> Receipt:
        """Put the sidecar under its first free key, or find it there, naming the same media.

        `receipt` makes the receipt once the key is known.
        """
        for edition in EDITIONS[self._first_edition(recording) - 1 :]:
            key, taken = self.keys(recording, "json", edition), tuple(self.taken)
            placed = receipt(sidecar_key=key, taken=taken)
            body = write(placed)
            sha256 = hashlib.sha256(body).hexdigest()
            if self._put(
                Put(
                    key=key,
                    body=BytesIO(body),
                    bytes=len(body),
                    sha256=sha256,
                    content_type=archive.SIDECAR_TYPE,
                    metadata=archive.object_metadata(recording, sha256),
                )
            ):
                return placed.altered(sidecar_sha256=sha256)
            found = self.commit_at(recording, key)
            if found is not None and self._is_the_same(found, placed):
                return replace(found, taken=taken, missing=placed.missing)
            self._note_taken(key)
        raise self._exhausted(recording)

    def commit_at(self, recording: Recording, key: str) -> Receipt | None:
        """Read a sidecar of this recording; None if missing, or not as recvault writes it."""
        try:
            body = self.store.get(key)
        except TooLarge:
            return None
        except Cold as cold:
            return cold_commit(self.store, self.keys, self.job, cold, key)
        if body is None:
            return None
        try:
            sidecar = archive.Sidecar.read(body)
            receipt, contradicts = sidecar.receipt(recording, key), sidecar.contradicts(recording)
        except ValueError:
            return None
        known = {each.key for each in self.job.standing.media} if self.job.standing else set()
        foreign = [each for each in receipt.media if each.key not in known and not self.keys.is_of(recording, each.key)]
        if contradicts or foreign or not receipt.media:
            return None
        return receipt

    def standing_endings(self, recording: Recording) -> list[str]:
        """Return the endings of the recording's existing objects: media have their real format's, not the wanted
        one's."""
        stem = self.keys(recording, "")
        return [each.key.removeprefix(stem) for each in self.store.list(stem) if self.keys.is_of(recording, each.key)]

    def standing_editions(self, recording: Recording, ext: str) -> list[str]:
        """Return the occupied keys, the last edition first."""
        found = []
        for edition in EDITIONS:
            key = self.keys(recording, ext, edition)
            if self.store.head(key) is None:
                break
            found.append(key)
        return found[::-1]

    def _put(self, put: Put) -> bool:
        self.begun = True
        try:
            stands = self.store.put(put) or self._holds(put)
        except KeyConflict:
            return False
        if stands:
            self.placed.add(put.key)
        return stands

    def _holds(self, put: Put) -> bool:
        """Verify the bytes themselves: the store compared only metadata, which their writer set."""
        digest, size = hashlib.sha256(), 0
        try:
            for chunk in self.store.stream(put.key):
                digest.update(chunk)
                size += len(chunk)
                if size > put.bytes:
                    return False
        except Cold:
            return True  # it cannot be read: size and hash must suffice
        return digest.hexdigest() == put.sha256

    def _is_last(self, recording: Recording, ext: str, edition: int) -> bool:
        """Whether the next key is free: what an earlier attempt put is always the last edition."""
        return edition + 1 not in EDITIONS or self.store.head(self.keys(recording, ext, edition + 1)) is None

    def _first_edition(self, recording: Recording) -> int:
        """Return the edition of the earlier sidecar, whether it exists or is missing; 1 if there is none."""
        if self.job.standing is None:
            return 1
        key = self.job.standing.sidecar_key
        parts = self.keys.read(key)
        return parts.edition if parts is not None and self.keys.is_of(recording, key) else 1

    def _is_the_same(self, found: Receipt, placed: Receipt) -> bool:
        standing = self.job.standing
        if standing is not None and found.sidecar_key == standing.sidecar_key and not _is_that(found, standing):
            return False
        return _named(found) == _named(placed)

    def _note_taken(self, key: str) -> None:
        standing = self.job.standing
        ours = {standing.sidecar_key, *(each.key for each in standing.media)} if standing else set()
        if key not in ours | self.placed and key not in self.taken:
            self.taken.append(key)

    def _exhausted(self, recording: Recording) -> KeyConflict:
        return KeyConflict(
            f"all {len(EDITIONS)} keys of {recording.recording_id} are occupied by other objects, starting with "
            f"{self.taken[0]}",
            "find out who writes there, move the objects away, then retry",
        )


def described(
    recording: Recording,
    media_format: str,
    facts: MediaFacts,
    *,
    key: str,
    size: int,
    sha256: str,
    requested: Requested | None,
) -> MediaObject:
    """Describe media in the bucket, or about to be put."""
    return MediaObject(
        key=key,
        media_format=media_format,
        bytes=size,
        sha256=sha256,
        content_type=CONTENT_TYPES.get(media_format, "application/octet-stream"),
        codec=facts.codec or recording.codec,
        sample_rate=facts.sample_rate,
        channels=facts.channels,
        duration_seconds=facts.duration_seconds,
        check=facts.check,
        requested=requested,
    )


def _is_that(found: Receipt, standing: Receipt) -> bool:
    return standing.sidecar_sha256 in (None, found.sidecar_sha256)


def _named(receipt: Receipt) -> set[tuple[str, int, str]]:
    return {(each.key, each.bytes, each.sha256) for each in receipt.media}
