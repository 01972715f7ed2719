"""The connection to a store: proxies, authorities, kept connections, refused bodies; with each sender."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from recvault.errors import ConfigError, StoreRefused, StoreUnavailable
from recvault.log.lines import configure
from recvault.store import StoreFacts
from recvault.store.s3.clients import Client, make_client
from recvault.store.s3.s3_store import S3Store
from store.places import SENDERS, make_put, store_with, transport_of
from strict_s3 import Bucket, StrictS3
from transport.certificates import Authority
from transport.loopback import Behave, Peer, Server

KEY = "recordings/RE1.wav"
LARGE = b"RIFF" * 500_000
FACTS = StoreFacts(sha256=True, conditional=True, tells="sha256")
REFUSED = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority in AWS_CA_BUNDLE."""
    return Authority(tmp_path_factory.mktemp("authority"), "authority")


@pytest.fixture(scope="session")
def shown(authority: Authority) -> ssl.SSLContext:
    """The certificate of a server on loopback."""
    return authority.server("localhost", "127.0.0.1")


@pytest.fixture
def client_at(monkeypatch: pytest.MonkeyPatch, authority: Authority) -> Iterator[Callable[..., Client]]:
    """Make clients that trust the authority."""
    monkeypatch.setenv("AWS_CA_BUNDLE", authority.file)
    made: list[Client] = []

    def make(url: str, sender: str) -> Client:
        how: Any = {"addressing_style": "path", "pool": 2, "transport": transport_of(sender)}
        made.append(make_client(region="us-east-1", endpoint_url=url, **how))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(params=["http", "https"])
def serve(request: pytest.FixtureRequest, shown: ssl.SSLContext) -> Iterator[Callable[[Behave], str]]:
    """Start servers over plain HTTP and TLS; return their URLs."""
    running: list[Server] = []

    def start(behave: Behave) -> str:
        running.append(Server(behave, shown if request.param == "https" else None))
        return f"{request.param}://localhost:{running[-1].port}"

    yield start
    for each in running:
        each.stop()


def stored(headers: dict[str, str]) -> bytes:
    """Return the answer to a successful put."""
    told = f'ETag: "e"\r\nx-amz-checksum-sha256: {headers["x-amz-checksum-sha256"]}\r\n'
    return f"HTTP/1.1 200 OK\r\n{told}Content-Length: 0\r\n\r\n".encode()


def refused(status: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(REFUSED)}\r\n\r\n".encode() + REFUSED


# Connections that are kept


@pytest.mark.parametrize("sender", SENDERS)
def test_an_answer_too_many_is_never_anothers(
    serve: Callable[[Behave], str], client_at: Callable[..., Client], sender: str
) -> None:
    """If a server answers twice, no put counts by another's answer, and the next one is right."""
    kept: dict[str, bytes] = {}

    def behave(peer: Peer) -> None:
        while True:
            asked = peer.request()
            kept[asked.target] = asked.body
            peer.send(stored(asked.headers) * (2 if asked.target.endswith("RE0.wav") else 1))

    store = store_with(sender, client_at(serve(behave), sender), "bucket", facts=FACTS)
    outcomes = []
    for number in range(4):
        body = f"RIFF{number}".encode()
        try:
            outcomes.append(store.put(make_put(f"recordings/RE{number}.wav", body)))
        except StoreUnavailable as error:
            assert "says that it stored" in error.message
            outcomes.append(False)
    assert outcomes.count(False) <= 1  # put again later
    assert (outcomes[0], outcomes[2], outcomes[3]) == (True, True, True)
    assert kept["/bucket/recordings/RE3.wav"] == b"RIFF3"


def test_puts_share_a_connection(serve: Callable[[Behave], str], client_at: Callable[..., Client]) -> None:
    """Puts share a connection, also over TLS, as a handshake would cost more than a put."""
    numbers = []

    def behave(peer: Peer) -> None:
        while True:
            asked = peer.request()
            numbers.append(peer.number)
            peer.send(stored(asked.headers))

    store = store_with("fast", client_at(serve(behave), "fast"), "bucket", facts=FACTS)
    for number in range(3):
        store.put(make_put(f"recordings/RE{number}.wav", b"RIFF"))
    assert numbers == [1, 1, 1]


def test_a_stream_that_breaks_off_is_not_begun_again(
    serve: Callable[[Behave], str], client_at: Callable[..., Client], waits: list[float]
) -> None:
    """A broken stream is an error for whoever has part of it, and no byte is delivered twice."""

    def behave(peer: Peer) -> None:
        peer.request()
        peer.send(b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 1000\r\n\r\n' + b"RIFF")

    url = serve(behave)
    for sender in SENDERS:
        got = []
        with pytest.raises(StoreUnavailable):
            for piece in store_with(sender, client_at(url, sender), "bucket").stream(KEY):
                got.append(piece)
        assert b"".join(got) == b"RIFF"


def test_a_stream_that_is_left_lets_go(serve: Callable[[Behave], str], client_at: Callable[..., Client]) -> None:
    """An abandoned stream's thread and connection end."""

    def behave(peer: Peer) -> None:
        peer.request()
        peer.send(b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 99999999999\r\n\r\n')
        while True:
            peer.send(bytes(65536))

    stream = store_with("fast", client_at(serve(behave), "fast"), "bucket").stream(KEY)
    assert next(stream)
    [thread] = [each for each in threading.enumerate() if each.name == "pulled"]
    stream.close()  # type: ignore[attr-defined]
    thread.join(30)
    assert not thread.is_alive()


# Bodies that are announced


@pytest.mark.parametrize("sender", SENDERS[:2])
@pytest.mark.parametrize("interim", [b"", b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n"])
def test_a_large_body_is_announced(
    serve: Callable[[Behave], str], client_at: Callable[..., Client], interim: bytes, sender: str
) -> None:
    """A refused body is not sent; an accepted one is, whatever precedes the answer."""
    seen = []

    def behave(peer: Peer) -> None:
        head = peer.head()
        assert head.headers["expect"] == "100-continue"
        if head.target.endswith("RE0.wav"):
            peer.send(refused("403 Forbidden"))
            return
        peer.send(interim + b"HTTP/1.1 100 Continue\r\n\r\n")
        seen.append(hashlib.sha256(peer.body(int(head.headers["content-length"]))).digest())
        peer.send(interim + stored(head.headers))

    store = store_with(sender, client_at(serve(behave), sender), "bucket", facts=FACTS)
    with pytest.raises(StoreRefused, match="AccessDenied"):
        store.put(make_put("recordings/RE0.wav", LARGE))
    assert store.put(make_put(KEY, LARGE)) is True
    assert seen == [hashlib.sha256(LARGE).digest()]


@pytest.mark.parametrize("sender", SENDERS[:2])
def test_a_store_that_knows_no_announcement_gets_the_body(
    serve: Callable[[Behave], str], client_at: Callable[..., Client], sender: str
) -> None:
    """After a 417 the put is sent again without the header, at once."""
    seen = []

    def behave(peer: Peer) -> None:
        head = peer.head()
        if "expect" in head.headers:
            peer.send(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        seen.append(peer.body(int(head.headers["content-length"])) == LARGE)
        peer.send(stored(head.headers))

    store = store_with(sender, client_at(serve(behave), sender), "bucket", facts=FACTS)
    assert store.put(make_put(KEY, LARGE)) is True
    assert seen == [True]


# Proxies


class Tunnel:
    """A proxy that requires user and password, and records requests."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.asked: list[str] = []
        self.expected = "Basic " + base64.b64encode(b"us er:p@ss").decode()

    def __call__(self, peer: Peer) -> None:
        head = peer.head()
        self.asked.append(f"{head.method} {head.target}")
        if head.headers.get("proxy-authorization") != self.expected:
            peer.send(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        if head.method != "CONNECT":
            body = peer.body(int(head.headers.get("content-length", "0")))
            assert body == b"RIFF"
            peer.send(stored(head.headers))
            return
        peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with socket.create_connection(("127.0.0.1", self._port)) as beyond:
            back = threading.Thread(target=_copied, args=(beyond, peer.sock))
            back.start()
            _copied(peer.sock, beyond)
            back.join()


def _copied(source: Any, target: Any) -> None:
    try:
        while chunk := source.recv(65536):
            target.sendall(chunk)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@pytest.fixture
def tunnel(shown: ssl.SSLContext) -> Iterator[tuple[Tunnel, Server, Server]]:
    """A store over TLS, and a proxy to it."""

    def behave(peer: Peer) -> None:
        asked = peer.request()
        assert "proxy-authorization" not in asked.headers
        peer.send(stored(asked.headers))

    store = Server(behave, shown)
    way = Tunnel(store.port)
    front = Server(way)
    yield way, front, store
    front.stop()
    store.stop()


@pytest.mark.parametrize("sender", SENDERS)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_asks_for_a_password(
    tunnel: tuple[Tunnel, Server, Server],
    client_at: Callable[..., Client],
    monkeypatch: pytest.MonkeyPatch,
    waits: list[float],
    scheme: str,
    sender: str,
) -> None:
    """HTTP_PROXY and HTTPS_PROXY are used, NO_PROXY bypasses them; a wrong password is reported."""
    way, front, store = tunnel
    name, url = f"{scheme}_proxy", f"{scheme}://localhost:{store.port}"
    monkeypatch.setenv(name, f"http://us%20er:p%40ss@127.0.0.1:{front.port}")
    assert store_with(sender, client_at(url, sender), "bucket", facts=FACTS).put(make_put(KEY, b"RIFF")) is True
    asked = f"CONNECT localhost:{store.port}" if scheme == "https" else f"PUT {url}/bucket/{KEY}"
    assert way.asked == [asked]
    monkeypatch.setenv(name, f"http://us%20er:other@127.0.0.1:{front.port}")
    with pytest.raises((StoreUnavailable, StoreRefused)) as caught:
        store_with(sender, client_at(url, sender), "bucket", facts=FACTS).put(make_put(KEY, b"RIFF"))
    assert "other" not in str(caught.value)
    if scheme == "https":
        assert "proxy" in caught.value.message and "HTTPS_PROXY" in caught.value.hint
        monkeypatch.setenv("no_proxy", "localhost")
        way.asked.clear()
        assert store_with(sender, client_at(url, sender), "bucket", facts=FACTS).put(make_put(KEY, b"RIFF")) is True
        assert way.asked == []


@pytest.mark.parametrize("value", ["socks5://127.0.0.1:1080", "http://127.0.0.1:1/path"])
def test_a_proxy_that_is_none_is_configuration(
    client_at: Callable[..., Client], monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """An invalid proxy is a configuration error, never bypassed."""
    monkeypatch.setenv("https_proxy", value)
    with pytest.raises(ConfigError, match="HTTPS_PROXY") as caught:
        client_at("https://localhost:1", "fast")
    assert value not in str(caught.value)


# Without pycurl


def test_without_pycurl_boto3_and_httpx_do_it(
    strict_s3: StrictS3, strict_bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without pycurl one line says so, and puts and reads work."""
    stream = io.StringIO()
    configure(format="json", verbosity=0, stream=stream)
    monkeypatch.setitem(sys.modules, "pycurl", None)
    client = make_client(region="us-east-1", endpoint_url=strict_s3.url, addressing_style="path", pool=2)
    store = S3Store(client, strict_bucket.name, facts=FACTS, straight=True)
    for key, body in ((KEY, b"RIFF"), (f"{KEY}.large", LARGE)):
        assert store.put(make_put(key, body)) is True
        assert b"".join(store.stream(key)) == body == strict_bucket.body(key)
    client.close()
    assert all("amz-sdk-request" in each.headers for each in strict_bucket.log)
    assert len(re.findall("pycurl cannot be imported", stream.getvalue())) == 1


def test_where_the_errors_of_the_way_are_told(client_at: Callable[..., Client], waits: list[float]) -> None:
    """Connection errors have host and cause, and nothing that was signed."""
    for sender in SENDERS:
        store = store_with(sender, client_at("http://no-such-host.invalid", sender), "bucket", facts=FACTS)
        with pytest.raises(StoreUnavailable) as caught:
            store.put(make_put(KEY, b"RIFF"))
        assert caught.value.message.startswith(
            f"s3://bucket/{KEY} cannot be reached: no-such-host.invalid cannot be resolved"
        )
