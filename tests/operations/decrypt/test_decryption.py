"""Decryption from the bucket: what is returned is verified completely, and each error has its reason."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from operations.decrypt.keypairs import call, private_keys, track
from recvault.cli.outputs import to_file
from recvault.errors import Interrupted, NotOpened, UnknownName
from recvault.media.decryptor import PrivateKeys
from recvault.operations.decrypt import decrypt, encrypted
from recvault.reading.fetching import Encrypted, FetchedMedium
from recvault.shutdown import Stop
from recvault.simulator.matroska import matroska
from recvault.simulator.media import Noise
from recvault.store import Stored

TRACK = matroska(Noise(1, "a"), 3.0, "mka").read()
KEYS: PrivateKeys = private_keys(0)


class Shelf:
    """Objects by key, read in chunks of 1,000 bytes."""

    def __init__(self, **objects: bytes) -> None:
        self.objects = objects

    def head(self, key: str) -> Stored | None:
        body = self.objects.get(key)
        return None if body is None else Stored(key=key, bytes=len(body), sha256=None, metadata={})

    def get(self, key: str, most: int = 0) -> bytes | None:
        return self.objects.get(key)

    def stream(self, key: str) -> Iterator[bytes]:
        body = self.objects[key]
        yield from (body[at : at + 1000] for at in range(0, len(body), 1000))


def sealed(fields: dict[str, Any], body: bytes, media_format: str) -> Encrypted:
    return Encrypted(
        source="main",
        recording_id="RE1",
        key="medium",
        media_format=media_format,
        bytes=len(body),
        sha256=hashlib.sha256(body).hexdigest(),
        encryption=fields,
    )


def opened(fields: dict[str, Any], body: bytes, media_format: str = "mka") -> tuple[FetchedMedium, bytes]:
    pieces: list[bytes] = []
    shelf: Any = Shelf(medium=body)
    done = decrypt(shelf, sealed(fields, body, media_format), KEYS, pieces.append, Stop())
    return done, b"".join(pieces)


@pytest.mark.parametrize(("seals", "media_format"), [(call, "wav"), (track, "mka")])
def test_what_is_told_is_what_was_written(seals: Any, media_format: str) -> None:
    """The returned size and SHA-256 are those of the plaintext."""
    done, plain = opened(*seals(TRACK), media_format)
    assert plain == TRACK
    assert done == FetchedMedium(bytes=len(TRACK), sha256=hashlib.sha256(TRACK).hexdigest())


def test_a_seal_that_was_broken_before_it_was_archived() -> None:
    """Ciphertext that matches its sidecar but was changed before is detected by its tag."""
    fields, body = call(TRACK)
    with pytest.raises(NotOpened, match="its tag does not match"):
        opened(fields, body[:2000] + b"\0" + body[2001:])


def test_a_track_of_another_length() -> None:
    """A track's plaintext must have the length stated by its provider."""
    with pytest.raises(NotOpened, match="were encrypted"):
        opened(*track(TRACK, **{"x-amz-unencrypted-content-length": str(len(TRACK) - 1)}))


def test_a_track_that_is_none() -> None:
    """Without a tag the plaintext must begin as its format; for a call the tag is enough."""
    with pytest.raises(NotOpened, match="is not mka"):
        opened(*track(b"noise" * 100))
    assert opened(*call(b"noise" * 100), "wav")[1] == b"noise" * 100


def test_a_medium_that_is_not_there() -> None:
    """A missing medium is reported with the next step."""
    fields, body = call(TRACK)
    shelf: Any = Shelf()
    with pytest.raises(NotOpened, match="medium is not in the bucket"):
        decrypt(shelf, sealed(fields, body, "wav"), KEYS, lambda piece: None, Stop())


def test_a_stop_ends_it_and_leaves_nothing(tmp_path: Path) -> None:
    """A stop in mid-stream ends it, and no plaintext is left."""
    stop, shelf = Stop(), Shelf(medium=call(TRACK)[1])
    one: Any = shelf

    def write(piece: bytes) -> None:
        file.write(piece)
        stop.asked.set()

    with pytest.raises(Interrupted), to_file(tmp_path / "out") as file:
        decrypt(one, sealed(*call(TRACK), "wav"), KEYS, write, stop)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_its_owner_s_from_the_first_byte(tmp_path: Path) -> None:
    """While it is written only its owner can read it, nothing has its name, and a link there is not followed."""
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / "out").symlink_to(tmp_path / "theirs")
    with to_file(tmp_path / "out") as file:
        file.write(b"plain")
        [part] = [path for path in tmp_path.iterdir() if path.suffix == ".part"]
        assert part.stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "out").read_bytes() == b"plain"
    assert not (tmp_path / "out").is_symlink()
    assert (tmp_path / "theirs").read_text() == "theirs"


SIDECAR: dict[str, Any] = {
    "schema": "recvault/sidecar/v1",
    "source": "main",
    "provider": "twilio",
    "account_id": "AC1",
    "recording_id": "RE1",
    "media": [
        {
            "key": "medium",
            "media_format": "wav",
            "bytes": 3,
            "sha256": "00",
            "content_type": "audio/wav",
            "checked": {"status": "unchecked", "method": "ciphertext", "reason": None},
        }
    ],
    "encryption": {"encryption_cek": "AAAA"},
    "archive": {},
}


def test_a_sidecar_is_read() -> None:
    """Ciphertext and key fields are read from the sidecar."""
    shelf: Any = Shelf(sidecar=json.dumps(SIDECAR).encode())
    found = encrypted(shelf, "sidecar")
    assert found == replace(sealed({"encryption_cek": "AAAA"}, b"abc", "wav"), sha256="00")


def test_a_sidecar_that_was_restored_does_not_say_that_nothing_is_encrypted() -> None:
    """A restored sidecar that does not know whether it is encrypted is reported so."""
    document = {**SIDECAR, "encryption": None, "archive": {"restored_from": "ledger", "unknown": ["encryption", "raw"]}}
    shelf: Any = Shelf(sidecar=json.dumps(document).encode())
    with pytest.raises(UnknownName, match="is not known"):
        encrypted(shelf, "sidecar")


@pytest.mark.parametrize(
    "changed",
    [
        b"no JSON",
        b"[]",
        b"{}",
        b"\xff",
        json.dumps({**SIDECAR, "schema": "other"}).encode(),
        json.dumps({**SIDECAR, "media": []}).encode(),
        json.dumps({**SIDECAR, "encryption": "text"}).encode(),
        json.dumps({**SIDECAR, "encryption": None}).encode(),
    ],
    ids=[
        "no JSON",
        "a list",
        "empty",
        "refusing to write",
        "another schema",
        "no media",
        "keys that are none",
        "not encrypted",
    ],
)
def test_what_is_no_sidecar_of_an_encrypted_recording(changed: bytes) -> None:
    """Anything else under the key is an error with a reason."""
    shelf: Any = Shelf(sidecar=changed)
    with pytest.raises(UnknownName):
        encrypted(shelf, "sidecar")
    with pytest.raises(UnknownName, match="the sidecar"):
        encrypted(shelf, "elsewhere")
