"""Decrypt a recording from the bucket.

Invariant: when `decrypt` returns, everything was verified. The ciphertext has the size and SHA-256 of its sidecar; a
call's tag matches; a track, which has no tag, has the right padding, length and first bytes. Everything written
before that is unverified, and the caller discards it on an error.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from recvault.errors import MediaRejected, NotOpened, UnknownName
from recvault.media import Prober
from recvault.reading.fetching import VERIFY, Encrypted, FetchedMedium, described
from recvault.shutdown import Stop
from recvault.store import ObjectStore

if TYPE_CHECKING:
    from recvault.media.decryptor import PrivateKeys


def encrypted(store: ObjectStore, sidecar_key: str) -> Encrypted:
    """Read a sidecar. Raises UnknownName if it names nothing that is encrypted."""
    found = described(store, sidecar_key)
    if not found.is_encryption_known:
        raise UnknownName(
            f"whether {found.recording_id} is encrypted is not known: its sidecar was lost, and restored from the "
            "ledger",
            "an earlier version of the sidecar in the bucket may hold the key",
        )
    if (sealed := found.sealed(found.media[0])) is None:
        keys = ", ".join(each.key for each in found.media)
        raise UnknownName(f"{found.recording_id} is not encrypted", f"read it directly: {keys}")
    return sealed


def decrypt(
    store: ObjectStore, sealed: Encrypted, keys: PrivateKeys, write: Callable[[bytes], object], stop: Stop
) -> FetchedMedium:
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
        raise NotOpened(f"{sealed.key} is not in the bucket, although its sidecar names it", VERIFY)
    for chunk in store.stream(sealed.key):
        stop.check()
        cipher.update(chunk)
        size[0] += len(chunk)
        give(opening.feed(chunk))
    if (size[0], cipher.hexdigest()) != (sealed.bytes, sealed.sha256):
        raise NotOpened(f"{sealed.key} differs from its sidecar in size or SHA-256", VERIFY)
    give(opening.end())
    if opening.plain_bytes not in (None, size[1]):
        raise NotOpened(f"{size[1]} bytes were decrypted, but {opening.plain_bytes} were encrypted", _OTHER_KEY)
    look.end()
    if look.refused and not opening.tagged:
        raise NotOpened(f"the decrypted data is not {sealed.media_format}: {look.refused}", _OTHER_KEY)
    return FetchedMedium(bytes=size[1], sha256=plain.hexdigest())


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
