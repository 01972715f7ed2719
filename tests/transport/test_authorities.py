"""Unusable certificates named in the environment are reported before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import certifi
import httpx
import pytest

from real_s3 import certificates
from recvault.errors import ConfigError
from recvault.http import AddressRule, Clients, client
from recvault.http.ping import Ping
from recvault.store.s3.clients import make_client
from recvault.transport import authorities


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test makes its TLS context anew, and leaves none."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    client.tls.cache_clear()
    yield
    client.tls.cache_clear()


@pytest.fixture
def unusable(tmp_path: Path) -> dict[str, str]:
    """Return unusable certificates by defect."""
    (tmp_path / "empty.pem").write_text("")
    (tmp_path / "text.pem").write_text("no certificate")
    (tmp_path / "none").mkdir()
    return {
        "missing": str(tmp_path / "missing.pem"),
        "empty": str(tmp_path / "empty.pem"),
        "text": str(tmp_path / "text.pem"),
        "folder": str(tmp_path / "none"),
    }


KINDS = ("missing", "empty", "text", "folder")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_certificates_for_providers(
    unusable: dict[str, str], monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    """A file or folder without certificates is a configuration error with variable and path."""
    monkeypatch.setenv(name, unusable[kind])
    with pytest.raises(ConfigError) as caught:
        Clients(AddressRule.of("https://api.example", ()), 1.0)
    assert name in caught.value.message and unusable[kind] in caught.value.message
    assert f"set {name}" in caught.value.hint


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "ca_bundle in the AWS configuration"])
def test_certificates_for_the_bucket(
    unusable: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, kind: str
) -> None:
    """The bucket's are found like boto3's, and checked only for https."""
    if name.isupper():
        monkeypatch.setenv(name, unusable[kind])
    else:
        (tmp_path / "aws").write_text(f"[default]\nca_bundle = {unusable[kind]}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws"))
    made: dict[str, Any] = {"region": "us-east-1", "addressing_style": "path", "pool": 1}
    with pytest.raises(ConfigError) as caught:
        make_client(endpoint_url="https://127.0.0.1:1", **made)
    assert name in caught.value.message and unusable[kind] in caught.value.message
    make_client(endpoint_url="http://127.0.0.1:1", **made).close()


def test_what_can_be_used_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A PEM file, and a folder with a hashed certificate, the first or a later of several, are used."""
    authority = certificates.make(tmp_path)
    authorities.check_file("SSL_CERT_FILE", str(authority))
    authorities.check("AWS_CA_BUNDLE", certifi.where())
    hashed = tmp_path / "hashed"
    hashed.mkdir()
    (hashed / "0a1b2c3d.0").write_bytes(authority.read_bytes())
    for paths in (str(hashed), f"{tmp_path / 'missing'}:{hashed}"):
        authorities.check_folders("SSL_CERT_DIR", paths)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "missing"))  # then ignored by httpx
    Clients(AddressRule.of("https://api.example", ()), 1.0).close()


def test_a_ping_fails_in_words(unusable: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without certificates a ping fails with a message, and never raises."""
    monkeypatch.setenv("SSL_CERT_FILE", unusable["missing"])
    noted: list[str] = []
    ping = Ping("https://monitor.example/key")
    monkeypatch.setattr(Ping, "_note_failure", lambda self, trouble: noted.append(trouble))
    assert ping.start() is False
    assert len(noted) == 1 and "SSL_CERT_FILE cannot be used" in noted[0]


def test_httpx_reads_the_names_that_are_checked(monkeypatch: pytest.MonkeyPatch, unusable: dict[str, str]) -> None:
    """httpx itself reads the checked variables, and fails on the same ones."""
    monkeypatch.setenv("SSL_CERT_FILE", unusable["missing"])
    with pytest.raises(FileNotFoundError):
        httpx.create_ssl_context()
