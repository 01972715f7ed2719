"""The configuration decides which certificates are trusted, and invalid ones are reported."""

from __future__ import annotations

import ssl
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from recvault.transport import Trust
from transport.certificates import Authority
from transport.loopback import OK, Line, Peer

DAY = timedelta(days=1)


def once(peer: Peer) -> None:
    peer.request()
    peer.send(OK)


def hashed(folder: Path, certificate: x509.Certificate) -> Path:
    """A folder of trusted certificates with hashed names."""
    folder.mkdir()
    pem = folder / "authority.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    command = ["openssl", "x509", "-hash", "-noout", "-in", str(pem)]
    name = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    pem.rename(folder / f"{name}.0")
    return folder


def test_a_folder_of_hashed_certificates_is_trusted(tls_line: Line, tmp_path: Path) -> None:
    """A folder of hashed certificates, as in distributions, is trusted."""
    trust = Trust(folder=str(hashed(tmp_path / "trusted", tls_line.authority.certificate)))
    assert bytes(tls_line.ask(tls_line.serve(once), by=tls_line.transport(trust=trust)).body) == b"ok"
    (tmp_path / "empty").mkdir()
    nobody = Trust(folder=str(tmp_path / "empty"))
    assert tls_line.fails(tls_line.serve(once), by=tls_line.transport(trust=nobody)).cause == "certificate"


def test_a_file_and_a_folder_are_both_trusted(tls_line: Line, tmp_path: Path) -> None:
    """With both, the authority may be in either."""
    folder = str(hashed(tmp_path / "trusted", tls_line.authority.certificate))
    trust = Trust(file=Authority(tmp_path, "other").file, folder=folder)
    assert bytes(tls_line.ask(tls_line.serve(once), by=tls_line.transport(trust=trust)).body) == b"ok"


def test_another_authority_is_not_trusted(tls_line: Line, tmp_path: Path) -> None:
    """With another authority nothing is sent."""
    seen: list[str] = []
    origin = tls_line.serve(lambda peer: seen.append(peer.head().target))
    error = tls_line.fails(origin, by=tls_line.transport(trust=Trust(file=Authority(tmp_path, "other").file)))
    assert (error.cause, seen) == ("certificate", [])
    assert "local issuer certificate" in error.detail


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        ("another name", ("127.0.0.1", "IP")),
        ("expired", ("expired",)),
        ("not yet valid", ("not yet valid",)),
    ],
)
def test_a_certificate_that_does_not_hold_is_told(tls_line: Line, shown: str, words: tuple[str, ...]) -> None:
    """An invalid certificate is reported with the reason."""
    authority = tls_line.authority
    tls = {
        "another name": lambda: authority.server("elsewhere.example"),
        "expired": lambda: authority.server("127.0.0.1", since=-3 * DAY, until=-DAY),
        "not yet valid": lambda: authority.server("127.0.0.1", since=DAY, until=3 * DAY),
    }[shown]()
    seen: list[str] = []
    server = tls_line.server(lambda peer: seen.append(peer.head().target), tls=tls)
    error = tls_line.fails(f"https://127.0.0.1:{server.port}")
    assert (error.cause, seen) == ("certificate", [])
    assert any(word in error.detail for word in words), error.detail


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1 is deprecated")
def test_tls_of_old_is_not_spoken(tls_line: Line) -> None:
    """A server with only TLS 1.0 is refused."""
    server = tls_line.server(once, tls=tls_line.authority.server("127.0.0.1", highest=ssl.TLSVersion.TLSv1))
    assert tls_line.fails(f"https://127.0.0.1:{server.port}").cause == "tls"


def test_plain_http_on_the_port_of_tls_is_told(tls_line: Line) -> None:
    """Plain HTTP on a TLS port is reported as such, not as a certificate's fault."""

    def answer(peer: Peer) -> None:
        peer.sock.recv(100)
        peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    server = tls_line.server(answer, bare=True)
    assert tls_line.fails(f"https://127.0.0.1:{server.port}").cause == "tls"


def test_a_server_that_closes_amid_the_handshake_is_told(tls_line: Line) -> None:
    """A connection closed during the handshake is reported as such."""
    server = tls_line.server(lambda peer: peer.sock.recv(100) and None, bare=True)
    assert tls_line.fails(f"https://127.0.0.1:{server.port}").cause in ("tls", "broken")


def test_a_file_of_certificates_that_is_gone_is_told(curl_line: Line) -> None:
    """A missing certificate file is an error about trust; with httpx already at construction."""
    if curl_line.scheme == "https":
        error = curl_line.fails(curl_line.serve(once), by=curl_line.transport(trust=Trust(file="/nowhere.pem")))
        assert error.cause == "certificate"
