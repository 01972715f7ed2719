"""Ciphertext decrypts only with its own key, complete and unchanged; anything else is an error with a reason."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from operations.decrypt.keypairs import IV16, KEY, call, private_keys, private_pem, public_pem, rsa, track
from pairs import pairs
from recvault.errors import ConfigError, NotOpened
from recvault.media.decryptor import Opening, Padded, PrivateKeys, Sealed, private_key
from recvault.providers.twilio_account import wrapped_key

PLAIN = b"\x1a\x45\xdf\xa3" + bytes(range(256)) * 4
SEALERS = {"call": call, "track": track}


def opened(opening: Opening, body: bytes, step: int = 1 << 16) -> bytes:
    pieces = [opening.feed(body[at : at + step]) for at in range(0, len(body), step)]
    return b"".join(pieces) + opening.end()


# Known answers, from outside


def test_gcm_known_answer() -> None:
    """The test case 14 of GCM's specification is decrypted."""
    body = bytes.fromhex("cea7403d4d606b6e074ec5d3baf39d18" + "d0d1c8a799996bf0265b98b5d48ab919")
    assert opened(Sealed(bytes(32), bytes(12)), body) == bytes(16)


def test_cbc_known_answer() -> None:
    """The first block of NIST SP 800-38A, F.2.5, is decrypted."""
    key = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    body = bytes.fromhex("f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d")
    given = Padded([key], bytes(range(16)), None).feed(body)
    assert given == bytes.fromhex("6bc1bee22e409f96e93d7e117393172a")  # the last block is held back for its padding


# Opening


@pytest.mark.parametrize(
    *pairs(length=[0, 1, 15, 16, 17, 1028], step=[1, 7, 15, 16, 17, 1000, 1 << 16], sealed=SEALERS)
)
def test_what_was_encrypted_comes_out(sealed: str, step: int, length: int) -> None:
    """Any length in any chunks gives exactly the plaintext."""
    fields, body = SEALERS[sealed](PLAIN[:length])
    opening = private_keys(0).opening(fields)
    assert opened(opening, body, step) == PLAIN[:length]
    assert opening.plain_bytes in (None, length)


def test_chunks_may_be_memoryviews() -> None:
    """Chunks may be bytes or memoryviews."""
    for seals in SEALERS.values():
        fields, body = seals(PLAIN)
        opening = private_keys(0).opening(fields)
        assert opening.feed(memoryview(body)) + opening.end() == PLAIN


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_no_changed_bit_of_a_call_is_believed(draw: st.DataObject) -> None:
    """A flipped bit, a cut or extra bytes in a call are detected by the tag."""
    fields, body = call(PLAIN)
    kind = draw.draw(st.sampled_from(["flip", "cut", "more"]))
    if kind == "flip":
        place, bit = draw.draw(st.integers(0, len(body) - 1)), draw.draw(st.integers(0, 7))
        body = body[:place] + bytes([body[place] ^ 1 << bit]) + body[place + 1 :]
    else:
        body = body[: draw.draw(st.integers(0, len(body) - 1))] if kind == "cut" else body + b"\0"
    with pytest.raises(NotOpened) as refused:
        opened(private_keys(0).opening(fields), body)
    assert refused.value.worth_again


def test_a_track_that_is_cut_is_not_believed() -> None:
    """A partial block, invalid padding or another length of a track is detected."""
    fields, body = track(PLAIN)
    for cut in (1, 16, len(body) - 1, len(body)):
        opening = private_keys(0).opening(fields)
        try:
            plain = opened(opening, body[:-cut])
        except NotOpened as refused:
            assert refused.worth_again
        else:
            assert len(plain) != opening.plain_bytes


# Keys


def test_keys_rotate() -> None:
    """Of several keys the right one decrypts, whatever its position and name."""
    fields, body = call(PLAIN, 1)
    for keys in (private_keys(0, 1), private_keys(1, 0), private_keys(0, 2, 1)):
        assert opened(keys.opening(fields), body) == PLAIN
    renamed = {**fields, "encryption_public_key_sid": "CR0"}  # with a wrong name
    assert opened(private_keys(0, 1).opening(renamed), body) == PLAIN


def test_the_named_key_is_tried_first() -> None:
    """The public key that a recording names is tried first, and others not at all."""
    tried = []

    class Noted:
        def __init__(self, number: int) -> None:
            self.number = number

        def decrypt(self, body: bytes, padding: Any) -> bytes:
            tried.append(self.number)
            return rsa(self.number).decrypt(body, padding)

    fields, _ = call(PLAIN, 1)
    keys = [private_key(private_pem(each), f"key {each}", f"CR{each}") for each in (0, 2, 1)]
    for key, number in zip(keys, (0, 2, 1), strict=True):
        object.__setattr__(key, "rsa", Noted(number))
    PrivateKeys(tuple(keys), wrapped_key).opening(fields)
    assert tried[0] == 1


def test_a_track_s_key_shows_in_its_first_block() -> None:
    """If a wrong key unwraps by chance, the track's first bytes select the right one."""
    _, body = track(PLAIN)
    for keys in ([bytes(32), KEY], [KEY, bytes(32)]):
        assert opened(Padded(keys, IV16, None), body, 5) == PLAIN


def test_a_call_that_no_key_opens() -> None:
    """The error names the wanted key and the tried ones, and no other download is suggested."""
    fields, _ = call(PLAIN, 1)
    with pytest.raises(NotOpened) as refused:
        private_keys(0, 2).opening(fields)
    assert refused.value.message == (
        "no private key decrypts it: it is encrypted for public key 'CR1'; tried key 0, key 2"
    )
    assert not refused.value.worth_again


BAD_FIELDS: dict[str, dict[str, Any]] = {
    "not valid base64": call(b"")[0] | {"encryption_cek": "!!"},
    "not ASCII": call(b"")[0] | {"encryption_cek": "ü"},
    "null": call(b"")[0] | {"encryption_cek": None},
    "a short key": call(b"")[0] | {"encryption_cek": "AAAA"},
    "no vector": {name: value for name, value in call(b"")[0].items() if name != "encryption_iv"},
    "a short vector": call(b"")[0] | {"encryption_iv": "AAAA"},
    "a list": call(b"")[0] | {"encryption_iv": [1, 2]},
    "a track's short vector": track(b"")[0] | {"x-amz-iv": "AAAA"},
    "a track's null": track(b"")[0] | {"x-amz-key": None},
    "another way": {"kms_key": "arn:…"},
    "nothing": {},
}


@pytest.mark.parametrize("fields", BAD_FIELDS.values(), ids=BAD_FIELDS)
def test_fields_that_cannot_be_used(fields: dict[str, Any]) -> None:
    """Invalid key fields of a provider are reported with a reason."""
    with pytest.raises(NotOpened):
        private_keys(0).opening(fields)


VALUES = st.one_of(st.none(), st.integers(), st.text(max_size=30), st.binary(max_size=300).map(base64.b64encode))
NAMES = st.sampled_from([*call(b"")[0], *track(b"")[0], "other"])


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(NAMES, VALUES), st.binary(max_size=100))
def test_any_fields(fields: dict[str, Any], body: bytes) -> None:
    """Any fields and bytes decrypt or raise NotOpened, nothing else."""
    try:
        opened(private_keys(0).opening(fields), body)
    except NotOpened as refused:
        assert refused.message.isprintable()


# Reading keys


def bad_keys() -> dict[str, str]:
    sealed = rsa().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    curve = generate_ec_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return {
        "has a passphrase": sealed.decode(),
        "is not an RSA key": curve.decode(),
        "is not a private key in PEM": public_pem().decode(),
        "is not a private key": private_pem()[:200],
    }


@pytest.mark.parametrize("problem", bad_keys())
def test_a_key_that_cannot_be_used(problem: str) -> None:
    """An unusable key is reported with its place, the reason and a hint, without its content."""
    text = bad_keys()[problem]
    with pytest.raises(ConfigError) as refused:
        private_key(text, "main: private_keys[0]")
    said = str(refused.value)
    assert said.startswith(f"main: private_keys[0]: {'the key ' if 'passphrase' in problem else ''}{problem}")
    assert refused.value.hint
    assert not any(line in said for line in text.splitlines() if "-----" not in line)


def test_no_key_is_shown() -> None:
    """No repr contains a key."""
    keys = private_keys(0)
    fields, _ = call(PLAIN)
    shown = repr(keys) + repr(keys.opening(fields))
    assert "rsa=" not in shown
    assert KEY.hex() not in shown
