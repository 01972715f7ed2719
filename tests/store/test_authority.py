"""Https to a private store: its authority is trusted where boto3 is configured so, with each sender."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from faults.proxy import Proxy
from real_s3 import certificates
from recvault.errors import ConfigError, StoreUnavailable
from store.places import SENDERS, Place, make_put
from strict_s3 import StrictS3

KEY = "recordings/provider=twilio/account=AC1/date=2026-10-01/RE1.wav"
BODIES = {"small": b"RIFF" * 100, "streamed": b"RIFF" * 500_000}


@pytest.fixture(params=SENDERS)
def secure(request: pytest.FixtureRequest, strict_s3: StrictS3, tmp_path: Path) -> Iterator[Place]:
    """The strict server with a certificate of an unknown authority."""
    certificates.make(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    bucket = strict_s3.bucket()
    with Proxy(strict_s3.url, tls=context) as front:
        yield replace(Place("aws", front.url, bucket.name, bucket), sender=request.param)


@pytest.mark.parametrize("told", ["environment", "config file"])
def test_a_private_authority_is_trusted(
    secure: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    """AWS_CA_BUNDLE, or ca_bundle in AWS's config file, makes a private https store work."""
    authority = str(tmp_path / "authority.pem")
    if told == "environment":
        monkeypatch.setenv("AWS_CA_BUNDLE", authority)
    else:
        (tmp_path / "aws").write_text(f"[default]\nca_bundle = {authority}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws"))
    store = secure.store()
    assert store.facts.sha256
    for name, body in BODIES.items():
        assert store.put(make_put(KEY + name, body)) is True
        assert store.get(KEY + name) == body


def test_an_unknown_authority_is_told_nothing(secure: Place, waits: list[float]) -> None:
    """Without it nothing is sent, and the error says what to set."""
    with pytest.raises(StoreUnavailable, match=r"untrusted certificate .*issuer") as caught:
        secure.store(asked=False).put(make_put(KEY, BODIES["small"]))
    assert "AWS_CA_BUNDLE" in caught.value.hint
    assert secure.strict is not None
    assert not secure.strict.counts


@pytest.mark.parametrize("named", ["another", "a missing"])
def test_a_wrong_file_of_authorities_is_no_way_round(
    secure: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float], named: str
) -> None:
    """Another authority does not suffice, and a missing file does not disable the check."""
    (tmp_path / "other").mkdir()
    other = certificates.make(tmp_path / "other")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(other if named == "another" else tmp_path / "no.pem"))
    with pytest.raises(StoreUnavailable if named == "another" else ConfigError) as caught:
        secure.store(asked=False).put(make_put(KEY, BODIES["small"]))
    assert "AWS_CA_BUNDLE" in caught.value.hint
