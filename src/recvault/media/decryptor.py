"""Decrypt media that a provider encrypted with its customer's public key. The only module that uses cryptography (extra
`crypto`).

Two schemes are supported. A call's own key is wrapped by RSA-OAEP with SHA-256; its body is AES-256-GCM, followed by
its tag. A track's is wrapped by PKCS#1 v1.5; its body is AES-256-CBC, padded. A call's tag proves every bit; a track
has only its padding and its length to compare. The provider knows in which fields the key and the rest are stated.

Plaintext is streamed: at any time before `end` it is unverified and must not be trusted.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP, AsymmetricPadding, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC, GCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from recvault.errors import ConfigError, NotOpened
from recvault.models import JSON, Scheme, WrappedKey

_KEY, _TAG, _BLOCK = 32, 16, 16  # bytes
_MATROSKA = b"\x1a\x45\xdf\xa3"  # the start of every track
_BROKEN = "its bytes were changed, or its key fields belong to another recording"


class Opening(Protocol):
    """Decrypts one medium as its chunks arrive."""

    plain_bytes: int | None  # of the plaintext, if the provider states it
    tagged: bool  # a tag authenticates every bit

    def feed(self, chunk: bytes | memoryview) -> bytes:
        """Take ciphertext and return the plaintext available so far."""

    def end(self) -> bytes:
        """Return the rest after verifying the whole. Raises NotOpened otherwise: all earlier output is then invalid."""


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """One RSA key. `name` is the place where it is configured, `public_key_id` the id of its public key, if known."""

    name: str
    rsa: RSAPrivateKey = field(repr=False)
    public_key_id: str | None = None


def private_key(pem: str, name: str, public_key_id: str | None = None) -> PrivateKey:
    """Read a private key. Raises ConfigError, which never contains any of it, if it cannot be used."""
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except TypeError:
        hint = "write a copy without a passphrase: `openssl pkey -in KEY.pem -out OPEN.pem`, chmod 600"
        raise ConfigError(f"{name}: the key has a passphrase", hint) from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(
            f"{name}: is not a private key in PEM format", "use the RSA key that you created for Twilio"
        ) from None
    if not isinstance(key, RSAPrivateKey):
        raise ConfigError(f"{name}: is not an RSA key", "Twilio encrypts only for RSA keys: use that one")
    return PrivateKey(name, key, public_key_id)


@dataclass(frozen=True, slots=True)
class PrivateKeys:
    """A source's private keys, current and former: recordings outlive their keys."""

    keys: tuple[PrivateKey, ...]
    read: Callable[[JSON], WrappedKey | None]  # a provider's key fields

    def opening(self, encryption: JSON) -> Opening:
        """Return the decryptor for a medium with these key fields. Raises NotOpened if none of the keys fits."""
        told = self.read(encryption)
        if told is None:
            shown = ", ".join(sorted(map(ascii, encryption)))[:200]
            raise NotOpened(f"unknown kind of encryption: its fields are {shown}")
        named = told.public_key_id
        ordered: Sequence[PrivateKey] = self.keys
        if named is not None:
            ordered = sorted(self.keys, key=lambda each: each.public_key_id != named)  # the named one first
        whom = "for an unnamed public key" if named is None else f"for public key {named!a}"
        found = self._unwrapped(told.key, _PADDINGS[told.scheme], ordered, whom)
        if told.scheme is Scheme.OAEP_GCM:
            return _guarded(lambda vector: Sealed(found[0], vector), told.vector)
        return _guarded(lambda vector: Padded(found, vector, told.plain_bytes), told.vector)

    def _unwrapped(
        self, wrapped: object, padding: AsymmetricPadding, keys: Iterable[PrivateKey], whom: str
    ) -> list[bytes]:
        """Return the recording's own key as unwrapped by each private key that can."""
        body, found = _decoded(wrapped), []
        for key in keys:
            try:
                opened = key.rsa.decrypt(body, padding)
            except ValueError:
                continue
            # PKCS#1 v1.5 does not detect a wrong key, by design: it yields noise of any length.
            found += [opened] if len(opened) == _KEY else []
        if not found:
            names = ", ".join(key.name for key in self.keys)
            raise NotOpened(f"no private key decrypts it: it is encrypted {whom}; tried {names}")
        return found


class Sealed:
    """AES-256-GCM; the tag follows the ciphertext."""

    plain_bytes: int | None = None
    tagged = True

    def __init__(self, key: bytes, vector: bytes) -> None:
        self._cipher = Cipher(AES256(key), GCM(vector)).decryptor()
        self._held = b""  # the last bytes so far, which may be the tag

    def feed(self, chunk: bytes | memoryview) -> bytes:
        """See Opening.feed."""
        together = self._held + chunk
        self._held = together[-_TAG:]
        return self._cipher.update(memoryview(together)[: max(0, len(together) - _TAG)])

    def end(self) -> bytes:
        """See Opening.end."""
        if len(self._held) < _TAG:
            raise NotOpened("it is too short to contain its tag", worth_again=True)
        try:
            return self._cipher.finalize_with_tag(self._held)
        except InvalidTag:
            raise NotOpened(f"its tag does not match: {_BROKEN}", worth_again=True) from None


class Padded:
    """AES-256-CBC with PKCS#7 padding. Of several possible keys, uses the one whose first block begins like a track."""

    tagged = False

    def __init__(self, keys: Sequence[bytes], vector: bytes, plain_bytes: int | None) -> None:
        self.plain_bytes = plain_bytes
        self._vector = vector
        self._keys = keys
        self._begun: CipherContext | None = None
        self._head = b""
        self._padding = PKCS7(8 * _BLOCK).unpadder()
        self._decryptor(keys[0])  # raises now if the vector's length is invalid

    def feed(self, chunk: bytes | memoryview) -> bytes:
        """See Opening.feed."""
        if self._begun is None:
            chunk = self._head = self._head + chunk
            if len(self._head) < _BLOCK:
                return b""
            self._begun = self._decryptor(self._own())
        return self._padding.update(self._begun.update(chunk))

    def end(self) -> bytes:
        """See Opening.end."""
        try:
            if self._begun is None:
                raise ValueError("less than a block")
            return self._padding.update(self._begun.finalize()) + self._padding.finalize()
        except ValueError:
            raise NotOpened(f"its padding is invalid: {_BROKEN}", worth_again=True) from None

    def _own(self) -> bytes:
        for key in self._keys:
            if self._decryptor(key).update(self._head[:_BLOCK]).startswith(_MATROSKA):
                return key
        return self._keys[0]

    def _decryptor(self, key: bytes) -> CipherContext:
        return Cipher(AES256(key), CBC(self._vector)).decryptor()


_PADDINGS: dict[Scheme, AsymmetricPadding] = {
    Scheme.OAEP_GCM: OAEP(mgf=MGF1(SHA256()), algorithm=SHA256(), label=None),
    Scheme.PKCS1_CBC: PKCS1v15(),
}


def _guarded(make: Callable[[bytes], Opening], vector: object) -> Opening:
    body = _decoded(vector)
    try:
        return make(body)
    except ValueError:
        raise NotOpened(f"its initialisation vector has an invalid length: {len(body)} bytes") from None


def _decoded(text: object) -> bytes:
    try:
        return base64.b64decode(str(text or ""), validate=True)
    except (binascii.Error, ValueError):
        raise NotOpened("its key fields are not valid base64") from None
