"""Providers and stores with unusual HTTP, by both transports, plain and over TLS: every byte is right."""

from __future__ import annotations

import http.client
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from daemon.started import assert_truth
from recvault.simulator import Simulator
from rig import Rig
from strict_s3 import Bucket
from transport.certificates import Authority
from transport.loopback import Asked, Peer, Server

_DROPPED = frozenset({"connection", "content-length", "expect", "host", "transfer-encoding"})
_INFORMED = b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"
_GHOST = b'HTTP/1.1 200 OK\r\nETag: "0"\r\nContent-Type: audio/x-wav\r\nContent-Length: 4\r\n\r\nRIFF'
_codings = itertools.cycle(["", "Identity", "aws-chunked", "identity, aws-chunked", "none"])

Manner = Callable[[Peer, bytes], bool]
"""Answers with some bytes; whether the connection is closed behind them."""


def informs(peer: Peer, answer: bytes) -> bool:
    """Send interim answers before each answer."""
    peer.send(_INFORMED + answer)
    return False


def answers_twice(peer: Peer, answer: bytes) -> bool:
    """Send a second answer in the same piece."""
    peer.send(answer + _GHOST)
    return False


def closes_soon(peer: Peer, answer: bytes) -> bool:
    """Close the connection shortly after each answer, without announcing it."""
    peer.send(answer)
    time.sleep(0.02)
    return True


def names_a_coding(peer: Peer, answer: bytes) -> bool:
    """Declare encodings that mean none."""
    first, _, rest = answer.partition(b"\r\n")
    peer.send(first + f"\r\nContent-Encoding: {next(_codings)}\r\n".encode() + rest)
    return False


def front(origin: str, manner: Manner) -> Callable[[Peer], None]:
    """Forward requests to a server and change its answers in one of these ways."""
    backend = origin.removeprefix("http://")

    def passed_on(asked: Asked) -> bytes:
        connection = http.client.HTTPConnection(backend, timeout=30)
        headers = {name: value for name, value in asked.headers.items() if name not in _DROPPED}
        connection.request(asked.method, asked.target, asked.body or None, headers)
        answer = connection.getresponse()
        body = answer.read()
        kept = [f"{name}: {value}" for name, value in answer.getheaders() if name.lower() not in _DROPPED]
        length = answer.getheader("content-length", "0") if asked.method == "HEAD" else len(body)
        connection.close()
        return "\r\n".join([f"HTTP/1.1 {answer.status} X", *kept, f"Content-Length: {length}", "", ""]).encode() + body

    def behave(peer: Peer) -> None:
        is_over = False
        while not is_over:
            asked = peer.head()
            if "expect" in asked.headers:
                peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = peer.body(int(asked.headers.get("content-length", "0")))
            is_over = manner(peer, passed_on(Asked(asked.method, asked.target, asked.headers, body)))

    return behave


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority that all trust."""
    return Authority(tmp_path_factory.mktemp("authority"), "authority")


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """Closed with the test."""
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("manner", [informs, answers_twice, closes_soon, names_a_coding])
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("way", ["curl", "plain"])
def test_all_is_archived_as_it_is(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    simulator: Simulator,
    strict_bucket: Bucket,
    authority: Authority,
    opened: ExitStack,
    way: str,
    scheme: str,
    manner: Manner,
) -> None:
    """If provider and store both do so, nothing fails, is confused with another answer, or is put twice."""
    tls = authority.server("127.0.0.1") if scheme == "https" else None
    monkeypatch.setenv("SSL_CERT_FILE", authority.file)
    monkeypatch.setenv("AWS_CA_BUNDLE", authority.file)
    servers = [Server(front(origin, manner), tls) for origin in (simulator.base_url, strict_bucket.url)]
    for each in servers:
        opened.callback(each.stop)
    provider, store = (f"{scheme}://127.0.0.1:{each.port}" for each in servers)
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=8)
    rig = Rig(tmp_path, simulator, store, strict_bucket.name, transfer={"transport": way, "workers": 3})
    rig.add_source("voice", "twilio", account, base_url=provider)
    report = rig.sync()
    assert (report.outcome, report.failures) == ("ok", [])
    rig.s3_url = strict_bucket.url
    assert_truth(rig, strict_bucket, (simulator, account, "wav"))
