"""Decrypt a recording from the bucket.

Invariant: when `decrypt` returns, everything was verified. The ciphertext has the size and SHA-256 of its sidecar; a
call's tag matches; a track, which has no tag, has the right padding, length and first bytes. Everything written
before that is unverified, and the caller discards it on an error.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recvault.archive import Sidecar
from recvault.errors import MediaRejected, NotOpened, TooLarge, UnknownName
from recvault.media import Prober
from recvault.models import JSON
from recvault.shutdown import Stop
from recvault.store import ObjectStore

if TYPE_CHECKING:
    from recvault.media.decryptor import PrivateKeys


@dataclass(frozen=True, slots=True, kw_only=True)
class Encrypted:
    """An encrypted recording as its sidecar describes it."""

    source: str
    recording_id: str
    key: str  # of the ciphertext, in the bucket
    media_format: str
    bytes: int
    sha256: str
    encryption: JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Plaintext:
    """The size and SHA-256 of what was written."""

    bytes: int
    sha256: str


def encrypted(store: ObjectStore, sidecar_key: str) -> Encrypted:
    """Read a sidecar. Raises UnknownName if it is missing, invalid, or not of an encrypted recording."""
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
        medium, unknown = sidecar.media[0], sidecar.unknown
    except ValueError as error:
        raise UnknownName(f"{sidecar_key} is not a sidecar of recvault", "run `recvault verify` for details") from error
    if "encryption" in unknown:
        raise UnknownName(
            f"whether {recording_id} is encrypted is not known: its sidecar was lost, and restored from the ledger",
            "an earlier version of the sidecar in the bucket may hold the key",
        )
    if encryption is None:
        keys = ", ".join(each.key for each in sidecar.media)
        raise UnknownName(f"{recording_id} is not encrypted", f"read it directly: {keys}")
    return Encrypted(
        source=source,
        recording_id=recording_id,
        key=medium.key,
        media_format=medium.media_format,
        bytes=medium.bytes,
        sha256=medium.sha256,
        encryption=encryption,
    )


def decrypt(
    store: ObjectStore, sealed: Encrypted, keys: PrivateKeys, write: Callable[[bytes], object], stop: Stop
) -> Plaintext:
    """Write the plaintext in pieces, then verify it. Raises NotOpened if it is not authentic."""
    opening = keys.opening(sealed.encryption)
    cipher, plain, size = hashlib.sha256(), hashlib.sha256(), [0, 0]
    look = _Look(sealed.media_format)

    def give(piece: bytes) -> None:
        if piece:
            look.feed(piece)
            plain.update(piece)
            size[1] += len(piece)
            write(piece)

    if store.head(sealed.key) is None:
        raise NotOpened(f"{sealed.key} is not in the bucket, although its sidecar names it", _VERIFY)
    for chunk in store.stream(sealed.key):
        stop.check()
        cipher.update(chunk)
        size[0] += len(chunk)
        give(opening.feed(chunk))
    if (size[0], cipher.hexdigest()) != (sealed.bytes, sealed.sha256):
        raise NotOpened(f"{sealed.key} differs from its sidecar in size or SHA-256", _VERIFY)
    give(opening.end())
    if opening.plain_bytes not in (None, size[1]):
        raise NotOpened(f"{size[1]} bytes were decrypted, but {opening.plain_bytes} were encrypted", _OTHER_KEY)
    look.end()
    if look.refused and not opening.tagged:
        raise NotOpened(f"the decrypted data is not {sealed.media_format}: {look.refused}", _OTHER_KEY)
    return Plaintext(bytes=size[1], sha256=plain.hexdigest())


_VERIFY = "run `recvault verify` to find other differences"
_OTHER_KEY = "it may belong to another private key: use that one"


class _Look:
    """Checks whether plaintext is audio: without a tag, only this detects a wrong key."""

    def __init__(self, media_format: str) -> None:
        self._prober = Prober(media_format)
        self.refused: str | None = None

    def feed(self, piece: bytes) -> None:
        if self.refused is None:
            try:
                self._prober.feed(piece)
            except MediaRejected as error:
                self.refused = error.message

    def end(self) -> None:
        """Check the whole after its last byte."""
        if self.refused is None:
            try:
                self._prober.finish(duration_seconds=0.0, size_bytes=None)
            except MediaRejected as error:
                self.refused = error.message
