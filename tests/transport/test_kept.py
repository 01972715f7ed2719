"""No byte of one exchange is taken for another's, and a closed kept connection costs nothing."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recvault.transport import Enough, ExchangeFailed
from transport.loopback import OK, Asked, Line, Peer, Taken

SIZES = [0, 10, 16384, 65536, 100_000]


def answer(octets: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(octets) + octets


def own(asked: Asked, size: int) -> bytes:
    """Return a request's own answer, whose body repeats the path."""
    mark = asked.target.partition("?")[0].encode()
    return (b"" if size == 0 else (mark * (size // len(mark) + 1))[:size]) if asked.method != "HEAD" else b""


def twice(manner: str, size: int) -> Callable[[Peer], None]:
    """A server that answers each request twice, the second time with an answer to no request."""

    def behave(peer: Peer) -> None:
        while True:
            asked = peer.request()
            first, second = answer(own(asked, size)), answer(b"x" * size)
            if asked.method == "HEAD":
                first = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX: %s\r\n\r\n" % (size, asked.target[:2].encode())
            match manner:
                case "together":
                    peer.send(first + second)
                case "corked":  # over TLS: two records in one packet
                    peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
                    peer.send(first)
                    peer.send(second)
                    peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
                case "half":
                    peer.send(first + second[: len(second) // 2])
                case "split":
                    peer.send(first[:-1])
                    peer.send(first[-1:] + second[:3])
                    peer.send(second[3:])
                case "late":
                    peer.send(first)
                    peer.send(second)

    return behave


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("manner", ["together", "corked", "half", "split", "late"])
def test_a_second_answer_is_nobodys(line: Line, manner: str, size: int) -> None:
    """Whatever a server sends after an answer, the next request gets its own."""
    origin = line.serve(twice(manner, size))
    for number in range(2):
        path = f"/{number}"
        mark = path.encode()
        wanted = (mark * (size // 2 + 1))[:size]
        assert bytes(line.ask(origin + path).body) == wanted
        if manner == "late":
            time.sleep(0.02)  # no client can detect what comes only while the next answer is awaited
        assert bytes(line.ask(origin + path, "PUT", body=b"body").body) == wanted
        if manner == "late":
            time.sleep(0.02)
        assert bytes(line.ask(origin + path, "HEAD").body) == b""
        if manner == "late":
            time.sleep(0.02)


def test_over_tls_a_kept_connection_is_for_those_who_can_tell(curl_line: Line) -> None:
    """With `tells_its_answer` connections are kept over TLS, too; renew() closes them."""
    server = curl_line.server(lambda peer: [peer.send(answer(own(peer.request(), 4))) for _ in range(99)] and None)
    origin = f"{curl_line.scheme}://127.0.0.1:{server.port}"
    for number in range(3):
        curl_line.ask(f"{origin}/{number}", tells_its_answer=True)
    assert server.accepted == 1
    curl_line.ask(f"{origin}/x")
    assert server.accepted == (2 if curl_line.scheme == "https" else 1)
    curl_line.by.renew()
    curl_line.ask(f"{origin}/y", tells_its_answer=True)
    assert server.accepted == (3 if curl_line.scheme == "https" else 2)


def test_renew_ends_what_a_second_answer_began(tls_line: Line) -> None:
    """A sender that detects a foreign answer renews, and gets its own."""
    origin = tls_line.serve(twice("corked", 4))
    seen = []
    for number in (1, 2):
        body = bytes(tls_line.ask(f"{origin}/{number}", tells_its_answer=True).body)
        if body != f"/{number}".encode() * 2:
            seen.append(body)
            tls_line.by.renew()
            body = bytes(tls_line.ask(f"{origin}/{number}", tells_its_answer=True).body)
        assert body == f"/{number}".encode() * 2
    assert seen == ([b"xxxx"] if tls_line.way == "curl" else [])


class Failing(Taken):
    """Raises an error after the first piece."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def write(self, piece: memoryview | bytes) -> None:
        raise self.error


@pytest.mark.parametrize("end", ["enough", "error", "cut", "timeout", "broken"])
def test_after_an_exchange_that_ended_early_the_next_gets_its_own(line: Line, end: str) -> None:
    """After an exchange that ended early the connection is closed, and the next gets its own answer."""

    def behave(peer: Peer) -> None:
        while True:
            asked = peer.request()
            if "/first" not in asked.target:
                peer.send(answer(b"its own"))
                continue
            whole = answer(b"f" * 300_000)
            peer.send(whole[: 100_000 if end in ("timeout", "broken", "cut") else None])
            if end == "broken":
                return

    origin = line.serve(behave)
    line.ask(origin, tells_its_answer=True)
    cuts = iter(range(1000))

    def cut() -> None:
        if next(cuts) > 1:
            raise InterruptedError

    to = {"enough": Failing(Enough()), "error": Failing(KeyError())}.get(end)
    try:
        line.ask(f"{origin}/first", to=to, cut=cut if end == "cut" else lambda: None, tells_its_answer=True)
    except (ExchangeFailed, KeyError, InterruptedError) as error:
        assert getattr(error, "cause", "") == {"timeout": "slow", "broken": "broken"}.get(end, "")
    else:
        assert end == "enough"
    for _ in range(2):
        assert bytes(line.ask(origin, tells_its_answer=True).body) == b"its own"


def test_a_thousand_exchanges_at_once_get_their_own(line: Line) -> None:
    """Eight threads with one transport each get the answers to their paths."""
    each_many = 125 if line.scheme == "http" else 40

    def behave(peer: Peer) -> None:
        while True:
            asked = peer.request()
            peer.send(answer(own(asked, 3000)))

    origin = line.serve(behave)

    def ask(thread: int) -> list[str]:
        wrong = []
        for number in range(each_many):
            path = f"/{thread}-{number}-"
            body = bytes(line.ask(origin + path, tells_its_answer=number % 2 == 0).body)
            if body != own(Asked("GET", path, {}), 3000):
                wrong.append(path)
        return wrong

    assert line.at_once([lambda thread=thread: ask(thread) for thread in range(8)]) == [[]] * 8


@pytest.mark.parametrize("after", [0.0, 0.05])
def test_a_connection_that_was_closed_meanwhile_costs_nothing(line: Line, after: float) -> None:
    """If a server closes a kept connection, the next exchange uses another."""

    def behave(peer: Peer) -> None:
        asked = peer.request()
        peer.send(answer(own(asked, 40)))
        peer.pause(after)

    origin = line.serve(behave)
    for wait in (0.0, after / 2, after, after * 1.2):
        for method in ("GET", "PUT"):
            body = {"body": b"a body"} if method == "PUT" else {}
            assert len(line.ask(origin, method, tells_its_answer=True, **body).body) == 40
            time.sleep(wait)


@pytest.mark.parametrize("manner", ["closed", "reset", "head", "half a body"])
@pytest.mark.parametrize("kind", ["memory", "file"])
def test_what_a_kept_connection_lost_is_sent_anew_from_its_start(
    curl_line: Line, manner: str, kind: str, tmp_path: Path
) -> None:
    """If it closes during the next request, the body is sent again from the start."""
    line, whole = curl_line, bytes(range(256)) * 12_000
    bodies: list[bytes] = []

    def behave(peer: Peer) -> None:
        bodies.append(peer.request().body)
        peer.send(OK)
        if peer.number > 1:
            peer.pause()
        if manner in ("closed", "reset"):
            peer.sock.recv(1)  # the next request has begun
        else:
            peer.head()
            if manner == "half a body":
                peer.body(len(whole) // 2)
        if manner == "reset":
            peer.reset()

    origin = line.serve(behave)
    path = tmp_path / "body"
    path.write_bytes(b"before" + whole)
    line.ask(origin, tells_its_answer=True)
    with path.open("rb") as file:
        file.seek(6)
        body: Any = file if kind == "file" else whole
        taken = line.ask(origin, "PUT", body=body, length=len(whole), tells_its_answer=True)
    assert (bytes(taken.body), [len(each) for each in bodies]) == (b"ok", [0, len(whole)])
    assert bodies[1] == whole


def test_a_new_connection_that_is_lost_is_an_error(line: Line) -> None:
    """A lost new connection is an error, which is not retried here."""
    server = line.server(lambda peer: peer.request() and None)
    origin = f"{line.scheme}://127.0.0.1:{server.port}"
    assert line.fails(origin, "PUT", body=b"body").cause == "broken"
    assert server.accepted == 1


def test_two_hundred_exchanges_with_a_server_that_closes_after_each(line: Line) -> None:
    """Four threads succeed although each connection lasts only 20 ms after its first answer."""
    each_many = 50 if line.scheme == "http" else 15

    def behave(peer: Peer) -> None:
        peer.send(answer(own(peer.request(), 400)))  # on a new connection, however late
        until = time.monotonic() + 0.02
        peer.sock.settimeout(0.02)
        while time.monotonic() < until:
            peer.send(answer(own(peer.request(), 400)))

    origin = line.serve(behave)

    def ask(thread: int) -> int:
        for number in range(each_many):
            method, body = ("PUT", {"body": b"b" * 5000}) if number % 2 else ("GET", {})
            path = f"/{thread}-{number}-"
            taken = line.ask(origin + path, method, tells_its_answer=True, **body)
            assert bytes(taken.body) == own(Asked(method, path, {}), 400)
        return each_many

    assert line.at_once([lambda thread=thread: ask(thread) for thread in range(4)]) == [each_many] * 4
