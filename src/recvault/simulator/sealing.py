"""Encrypt recordings for a public key as Twilio does: calls by AES-GCM, Video tracks by AES-CBC. Needs cryptography.

Without it an encrypted recording is noise of the right length, which no key decrypts. A recording keeps the key that
was current when it was first requested.
"""

from __future__ import annotations

import base64
import hashlib
import threading
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from recvault.simulator.media import BLOCK, Media
from recvault.simulator.recording import SimRecording


@dataclass(frozen=True, slots=True)
class Seal:
    """One recording's own key, and its wrapped form."""

    public_key_sid: str
    key: bytes
    vector: bytes
    wrapped: bytes

    @property
    def call_fields(self) -> dict[str, str]:
        """A call's `encryption_details`."""
        return {
            "encryption_public_key_sid": self.public_key_sid,
            "encryption_cek": base64.b64encode(self.wrapped).decode(),
            "encryption_iv": base64.b64encode(self.vector).decode(),
        }


class Sealer:
    """Encrypts for the current public key."""

    def __init__(self, seed: int, public_pem: bytes) -> None:
        self._seed = seed
        self._seals: dict[str, Seal] = {}
        self._lock = threading.Lock()
        self.rotate(public_pem)

    def rotate(self, public_pem: bytes) -> None:
        """Use another public key from now on; recordings that were already sealed keep theirs."""
        key = load_pem_public_key(public_pem)
        if not isinstance(key, RSAPublicKey):
            raise ValueError("Twilio takes RSA keys alone")
        self._public = key
        self.public_key_sid = "CR" + hashlib.blake2b(public_pem, digest_size=16).hexdigest()

    def seal(self, recording: SimRecording) -> Seal:
        """Return the recording's seal, the same each time."""
        with self._lock:
            if recording.recording_id not in self._seals:
                self._seals[recording.recording_id] = self._new(recording)
            return self._seals[recording.recording_id]

    def sealed(self, recording: SimRecording, plain: Media) -> Media:
        """Return the ciphertext, built in memory: suitable for recordings of some minutes."""
        seal, body = self.seal(recording), plain.read()
        if recording.api == "voice":
            cipher = AESGCM(seal.key).encrypt(seal.vector, body, None)
        else:
            padding = PKCS7(AES256.block_size).padder()
            encryptor = Cipher(AES256(seal.key), CBC(seal.vector)).encryptor()
            cipher = encryptor.update(padding.update(body) + padding.finalize()) + encryptor.finalize()
        return Media(len(cipher), "application/octet-stream", cipher, BLOCK, lambda number: b"")

    def _new(self, recording: SimRecording) -> Seal:
        text = f"{self._seed}/seal/{recording.account_id}/{recording.recording_id}"
        material = hashlib.blake2b(text.encode(), digest_size=48).digest()
        key, vector = material[:32], material[32:]
        if recording.api == "voice":
            oaep = OAEP(mgf=MGF1(SHA256()), algorithm=SHA256(), label=None)
            return Seal(self.public_key_sid, key, vector[:12], self._public.encrypt(key, oaep))
        return Seal(self.public_key_sid, key, vector, self._public.encrypt(key, PKCS1v15()))
