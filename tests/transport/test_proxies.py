"""Everything goes through the configured proxy, and credentials stay with their owner."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from collections.abc import Callable

import pytest

from recvault.transport import Proxy
from transport.loopback import OK, Asked, Line, Peer, Server

HTML = b"HTTP/1.1 %d Sorry\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"


class Forwarder:
    """A proxy that tunnels or forwards if the password is right."""

    def __init__(self, line: Line, wanted: str = "") -> None:
        self.wanted, self.seen = wanted, []
        self.seen: list[Asked] = []
        self.server: Server = line.server(self._behave, bare=True)
        self.address = f"http://127.0.0.1:{self.server.port}"

    def _behave(self, peer: Peer) -> None:
        while True:
            asked = peer.request()
            self.seen.append(asked)
            if self.wanted and asked.headers.get("proxy-authorization", "") != self.wanted:
                peer.send(HTML % 407)
            elif asked.method == "CONNECT":
                host, _, port = asked.target.rpartition(":")
                with socket.create_connection((host.strip("[]"), int(port))) as target:
                    peer.send(b"HTTP/1.1 200 Established\r\nX-From: proxy\r\nContent-Length: 9\r\n\r\n")
                    self._tunnel(peer.sock, target)
                return
            else:
                self._forward(peer, asked)

    def _forward(self, peer: Peer, asked: Asked) -> None:
        host, _, path = asked.target.partition("://")[2].partition("/")
        name, _, port = host.rpartition(":")
        lines = [f"{key}: {value}" for key, value in asked.headers.items() if not key.startswith("proxy-")]
        head = "\r\n".join([f"{asked.method} /{path} HTTP/1.1", *lines, "Connection: close", "", ""])
        with socket.create_connection((name, int(port))) as target:
            target.sendall(head.encode() + asked.body)
            while chunk := target.recv(1 << 16):
                peer.send(chunk)

    def _tunnel(self, one: socket.socket, other: socket.socket) -> None:
        def pump(source: socket.socket, sink: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while chunk := source.recv(1 << 16):
                    sink.sendall(chunk)
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)

        back = threading.Thread(target=pump, args=(other, one))
        back.start()
        pump(one, other)
        back.join()


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def target(seen: list[Asked]) -> Callable[[Peer], None]:
    def behave(peer: Peer) -> None:
        while True:
            seen.append(peer.request())
            peer.send(OK)
            if seen[-1].headers.get("connection") == "close":
                return

    return behave


@pytest.mark.parametrize("with_password", [True, False])
def test_an_exchange_goes_through_the_proxy(line: Line, with_password: bool) -> None:
    """For both schemes the proxy gets its password, and over TLS nothing of the target's."""
    seen: list[Asked] = []
    origin = line.serve(target(seen))
    forwarder = Forwarder(line, basic("someone", line.secret) if with_password else "")
    proxy = line.proxy(forwarder.address) if with_password else Proxy(forwarder.address)
    by = line.transport(proxy=proxy)
    for method, body in (("GET", {}), ("PUT", {"body": b"a body"}), ("HEAD", {})):
        taken = line.ask(f"{origin}/path", method, by=by, **body)
        assert (taken.head.status, len(taken.heads), taken.head.length) == (200, 1, 2)
        assert "X-From" not in [name for name, _ in taken.head.headers]
    assert [each.body for each in seen] == [b"", b"a body", b""]
    assert all(not name.startswith("proxy-") for each in seen for name in each.headers)
    assert all(each.target == f"/path?token={line.secret}" for each in seen)
    if line.scheme == "https":
        assert {each.method for each in forwarder.seen} == {"CONNECT"}
        assert all("authorization" not in each.headers for each in forwarder.seen)
        assert all(line.secret not in each.target for each in forwarder.seen)


def test_a_wrong_password_is_the_proxys_fault(line: Line) -> None:
    """A 407 is reported as the proxy's, not as the target's answer."""
    seen: list[Asked] = []
    forwarder = Forwarder(line, basic("someone", "another"))
    error = line.fails(line.serve(target(seen)), by=line.transport(proxy=line.proxy(forwarder.address)))
    assert (error.cause, error.detail, seen) == ("proxy", "it answered 407", [])


@pytest.mark.parametrize("status", [403, 502])
def test_a_proxy_that_refuses_a_tunnel_is_told(tls_line: Line, status: int) -> None:
    """A refused tunnel is reported with its status, without the proxy's page."""
    server = tls_line.server(lambda peer: peer.request() and peer.send(HTML % status), bare=True)
    by = tls_line.transport(proxy=tls_line.proxy(f"http://127.0.0.1:{server.port}"))
    error = tls_line.fails("https://somewhere.example/", by=by)
    assert (error.cause, error.detail) == ("proxy", f"it answered {status}")


@pytest.mark.parametrize(
    ("manner", "causes"),
    [("hangs", ("late", "proxy")), ("closes", ("broken", "proxy")), ("babbles", ("framing", "proxy", "broken"))],
)
def test_a_proxy_that_is_ill_ends_the_exchange(line: Line, manner: str, causes: tuple[str, ...]) -> None:
    """A broken proxy ends the exchange in time, whatever it does."""

    def behave(peer: Peer) -> None:
        peer.request()
        if manner == "hangs":
            peer.pause()
        if manner == "babbles":
            peer.send(b"220 mail.example ESMTP\r\n\r\n")

    server = line.server(behave, bare=True)
    by = line.transport(proxy=line.proxy(f"http://127.0.0.1:{server.port}"))
    assert line.fails(f"{line.scheme}://somewhere.example/", by=by).cause in causes


def test_a_proxy_that_is_not_there_is_told_as_the_proxy(line: Line) -> None:
    """An unreachable proxy is reported as such, not as the target."""
    with line.closed_port() as port:
        by = line.transport(proxy=line.proxy(f"http://127.0.0.1:{port}"))
        error = line.fails(f"{line.scheme}://somewhere.example/", by=by)
    assert (error.cause, error.detail) == ("proxy", "Connection refused")
    by = line.transport(proxy=line.proxy("http://nowhere.invalid:3128"))
    error = line.fails(f"{line.scheme}://somewhere.example/", by=by)
    assert (error.cause, error.detail) == ("proxy", "its name cannot be resolved")


@pytest.mark.parametrize(
    "name", ["127.0.0.1", "[::1]", "localhost", "a.localhost", "localhost.", "127.1", "0x7f000001"]
)
def test_what_is_written_as_a_forbidden_address_is_refused_here(line: Line, name: str) -> None:
    """A host written as a forbidden address is refused here, although the proxy resolves names."""
    forwarder = Forwarder(line)
    by = line.transport(
        proxy=Proxy(forwarder.address), guard=lambda host, port, address: address not in ("127.0.0.1", "::1")
    )
    error = line.fails(f"{line.scheme}://{name}:9/", by=by)
    assert (error.cause, len(error.addresses), forwarder.seen) == ("address", 1, [])


def test_a_name_is_left_to_the_proxy(line: Line) -> None:
    """A name is not resolved here, and the proxy's own address is not guarded."""
    forwarder = Forwarder(line, "no password is right")
    by = line.transport(proxy=Proxy(forwarder.address), guard=lambda host, port, address: False)
    assert line.fails(f"{line.scheme}://somewhere.invalid/", by=by).cause == "proxy"
    assert len(forwarder.seen) == 1


def test_a_stop_ends_the_wait_for_a_tunnel(tls_line: Line) -> None:
    """A cut ends the wait for a tunnel with its own error."""
    server = tls_line.server(lambda peer: peer.request() and peer.pause(), bare=True)
    by = tls_line.transport(proxy=tls_line.proxy(f"http://127.0.0.1:{server.port}"), patience=tls_line.patience(30.0))
    waits = iter(range(1000))

    def cut() -> None:
        if next(waits) > 2:
            raise InterruptedError

    assert type(tls_line.fails("https://somewhere.example/", by=by, cut=cut)) is InterruptedError


def test_a_second_tunnel_is_not_mixed_with_the_first(line: Line) -> None:
    """Two targets through one proxy each get their own answers."""
    forwarder = Forwarder(line)
    by = line.transport(proxy=Proxy(forwarder.address))
    origins = [line.answers(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n%03d" % number) for number in (1, 2)]
    for _ in range(2):
        assert [bytes(line.ask(each, by=by, tells_its_answer=True).body) for each in origins] == [b"001", b"002"]


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://proxy:3128", Proxy("http://proxy:3128")),
        ("proxy:3128", Proxy("http://proxy:3128")),
        ("http://us%40er:p%3Ass@proxy:3128/", Proxy("http://proxy:3128", "us@er", "p:ss")),
        ("http://[::1]:3128", Proxy("http://[::1]:3128")),
        ("http://proxy", Proxy("http://proxy:80")),
    ],
)
def test_a_proxy_is_read_from_a_url(url: str, proxy: Proxy) -> None:
    """A proxy's URL is parsed, with encoded user and password."""
    assert Proxy.of(url) == proxy
    assert "p:ss" not in repr(proxy)


@pytest.mark.parametrize(
    "url", ["socks5://proxy:1080", "http://", "http://proxy/path", "http://proxy:x", "http://proxy?q"]
)
def test_what_is_no_http_proxy_is_an_error(url: str) -> None:
    """Anything but an HTTP proxy is an error before anything is sent."""
    with pytest.raises(ValueError, match=r"."):
        Proxy.of(url)
