"""RSA key pairs, made once per process, and encrypted bodies."""

from __future__ import annotations

import base64
import functools
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from recvault.media.decryptor import PrivateKeys, private_key
from recvault.providers.twilio_account import wrapped_key

KEY, IV12, IV16 = bytes(range(32)), bytes(range(12)), bytes(range(16))


@functools.cache
def rsa(number: int = 0) -> RSAPrivateKey:
    """Return a key; another number gives another key."""
    return generate_private_key(65537, 2048)


@functools.cache
def private_pem(number: int = 0) -> str:
    return rsa(number).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@functools.cache
def public_pem(number: int = 0) -> bytes:
    return rsa(number).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def key_file(directory: Path, number: int = 0) -> Path:
    """Write the private key to a file that only its owner can read."""
    path = directory / f"key-{number}.pem"
    path.write_text(private_pem(number))
    path.chmod(0o600)
    return path


@functools.cache  # reading a key takes longer than decrypting with it
def private_keys(*numbers: int) -> PrivateKeys:
    keys = tuple(private_key(private_pem(each), f"key {each}", f"CR{each}") for each in numbers)
    return PrivateKeys(keys, wrapped_key)


def call(plain: bytes, number: int = 0, **changed: Any) -> tuple[dict[str, Any], bytes]:
    """Return a call's fields and ciphertext, as Twilio makes them."""
    wrapped = rsa(number).public_key().encrypt(KEY, OAEP(mgf=MGF1(SHA256()), algorithm=SHA256(), label=None))
    fields = {
        "encryption_public_key_sid": f"CR{number}",
        "encryption_cek": base64.b64encode(wrapped).decode(),
        "encryption_iv": base64.b64encode(IV12).decode(),
    }
    return {**fields, **changed}, AESGCM(KEY).encrypt(IV12, plain, None)


def track(plain: bytes, number: int = 0, **changed: Any) -> tuple[dict[str, Any], bytes]:
    """Return a Video track's fields and ciphertext."""
    padder, encryptor = PKCS7(128).padder(), Cipher(AES256(KEY), CBC(IV16)).encryptor()
    fields = {
        "x-amz-key": base64.b64encode(rsa(number).public_key().encrypt(KEY, PKCS1v15())).decode(),
        "x-amz-iv": base64.b64encode(IV16).decode(),
        "x-amz-unencrypted-content-length": str(len(plain)),
        "x-amz-matdesc": "{}",
    }
    return {**fields, **changed}, encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()
