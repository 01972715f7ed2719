"""Fetch a recording's bytes from the bucket, and verify them.

Invariant: when `fetch` returns, the written bytes have the sidecar's size and SHA-256. Until then they are unverified,
and the caller must discard them if it raises.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from recvault.archive import Sidecar
from recvault.errors import NotAsArchived, TooLarge, UnknownName
from recvault.models import JSON, MediaObject
from recvault.shutdown import Stop
from recvault.store import ObjectStore

VERIFY = "run `recvault verify` to find other differences"


@dataclass(frozen=True, slots=True, kw_only=True)
class Encrypted:
    """What a sidecar says about an encrypted medium."""

    source: str
    recording_id: str
    key: str  # of the ciphertext, in the bucket
    media_format: str
    bytes: int
    sha256: str
    encryption: JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedMedium:
    """Size and hash of what was written."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarMedia:
    """What a sidecar says about a recording's media."""

    source: str
    recording_id: str
    media: tuple[MediaObject, ...]
    encryption: JSON | None
    is_encryption_known: bool  # False if the sidecar was restored from the ledger

    def medium(self, media_format: str | None) -> MediaObject:
        """Return the medium of that format; the first if none is given. UnknownName if there is none."""
        for each in self.media:
            if media_format in (None, each.media_format):
                return each
        known = ", ".join(each.media_format for each in self.media)
        raise UnknownName(
            f"{self.recording_id} is not archived as {media_format}", f"use --format with one of: {known}"
        )

    def sealed(self, medium: MediaObject) -> Encrypted | None:
        """Return what is needed to decrypt a medium; None if it is not encrypted."""
        if self.encryption is None:
            return None
        return Encrypted(
            source=self.source,
            recording_id=self.recording_id,
            key=medium.key,
            media_format=medium.media_format,
            bytes=medium.bytes,
            sha256=medium.sha256,
            encryption=self.encryption,
        )


def described(store: ObjectStore, sidecar_key: str, sha256: str | None = None) -> SidecarMedia:
    """Read a sidecar. UnknownName if there is none, NotAsArchived if its SHA-256 is not the given one."""
    try:
        body = store.get(sidecar_key)
    except TooLarge as error:
        raise UnknownName(error.message, "run `recvault verify` for details") from error
    if body is None:
        raise UnknownName(f"the sidecar {sidecar_key} is not in the bucket", "`recvault show ID` prints its key")
    try:
        sidecar = Sidecar.read(body)
        if not sidecar.is_v1 or not sidecar.media:
            raise ValueError("another schema, or none")
        source, (_, _, recording_id), encryption = sidecar.source, sidecar.identity, sidecar.encryption
        media, unknown = sidecar.media, sidecar.unknown
    except ValueError as error:
        raise UnknownName(f"{sidecar_key} is not a sidecar of recvault", "run `recvault verify` for details") from error
    if sha256 not in (None, sidecar.sha256):
        raise NotAsArchived(f"{sidecar_key} is not the sidecar that was written: its SHA-256 is another", VERIFY)
    is_known = "encryption" not in unknown
    return SidecarMedia(
        source=source, recording_id=recording_id, media=media, encryption=encryption, is_encryption_known=is_known
    )


class MediumToFetch(Protocol):
    """What is known of a medium before it is read."""

    @property
    def key(self) -> str: ...
    @property
    def bytes(self) -> int: ...
    @property
    def sha256(self) -> str: ...


def fetch(store: ObjectStore, medium: MediumToFetch, write: Callable[[bytes], object], stop: Stop) -> FetchedMedium:
    """Write a medium's bytes in pieces. NotAsArchived, after all are written, if they are not the right ones."""
    if store.head(medium.key) is None:
        raise NotAsArchived(f"{medium.key} is not in the bucket, although its sidecar names it", VERIFY)
    digest, size = hashlib.sha256(), 0
    for chunk in store.stream(medium.key):
        stop.check()
        digest.update(chunk)
        size += len(chunk)
        write(chunk)
    if (size, digest.hexdigest()) != (medium.bytes, medium.sha256):
        raise NotAsArchived(f"{medium.key} differs from its sidecar in size or SHA-256", VERIFY)
    return FetchedMedium(bytes=size, sha256=digest.hexdigest())
