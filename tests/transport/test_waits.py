"""Every wait ends: by timeout if too little arrives, and within two seconds if it is cut."""

from __future__ import annotations

import contextlib
import mmap
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from recvault.transport import Patience
from transport.loopback import OK, Gone, Line, Peer

PATIENT = Patience(connect_seconds=30.0, stall_seconds=30.0)
LARGE = 64 << 20  # bytes: more than sockets' buffers
NOTHING = memoryview(mmap.mmap(-1, LARGE))  # zeros that take no memory, as they are never written


def in_mid_head(peer: Peer) -> None:
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-")
    peer.pause()


def before_the_head(peer: Peer) -> None:
    peer.request()
    peer.pause()


def in_mid_body(peer: Peer) -> None:
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(50_000))
    peer.pause()


def unread(peer: Peer) -> None:
    peer.head()
    peer.pause()


def after_a_go_on(peer: Peer) -> None:
    peer.head()
    peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    peer.pause()


def drip(prefix: bytes) -> Callable[[Peer], None]:
    def behave(peer: Peer) -> None:
        peer.request()
        peer.send(prefix)
        while True:
            peer.send(b"x")
            peer.pause(0.1)

    return behave


def informed_for_ever(peer: Peer) -> None:
    peer.request()
    while True:
        peer.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        peer.pause(0.1)


HANGS: dict[str, tuple[Callable[[Peer], None], str, str]] = {
    "before the head": (before_the_head, "GET", "late"),
    "in mid-head": (in_mid_head, "GET", "late"),
    "in mid-body": (in_mid_body, "GET", "slow"),
    "unread": (unread, "PUT", "late"),
    "after a go-on": (after_a_go_on, "PUT", "late"),
    "a head that drips": (drip(b"HTTP/1.1 200 OK\r\nX: "), "GET", "late"),
    "a body that drips": (drip(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n"), "GET", "slow"),
    "informed for ever": (informed_for_ever, "GET", "late"),
}


@contextlib.contextmanager
def full_backlog() -> Iterator[int]:
    """A port whose listener accepts nobody, with a full backlog."""
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            sock = opened.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        time.sleep(0.05)
        yield listener.getsockname()[1]


def places(line: Line) -> dict[str, tuple[str, dict[str, Any], str]]:
    """Return each place where an exchange can hang: URL, request, and the cause of its end."""
    found = {}
    for name, (behave, method, cause) in HANGS.items():
        asked: dict[str, Any] = {"method": method}
        if method == "PUT":
            asked |= {"body": NOTHING, "length": LARGE, "expects": name == "after a go-on"}
        found[name] = (line.serve(behave), asked, cause)
    found["connect"] = (f"{line.scheme}://127.0.0.1:{line.opened.enter_context(full_backlog())}", {}, "late")
    if line.scheme == "https":
        mute = line.server(Peer.pause, bare=True)
        found["handshake"] = (f"https://127.0.0.1:{mute.port}", {}, "late")
    return found


def test_every_wait_ends_by_patience(line: Line) -> None:
    """Wherever a server hangs or drips, the exchange ends with its cause."""
    by = line.transport(patience=Patience(connect_seconds=1.0, stall_seconds=1.0, least_rate=50.0))
    found = places(line)

    def wait(url: str, asked: dict[str, Any]) -> tuple[str, bool]:
        begun = time.monotonic()
        cause = line.fails(url, by=by, **asked).cause
        return cause, time.monotonic() - begun < 10.0

    ended = line.at_once([lambda url=url, asked=asked: wait(url, asked) for url, asked, _ in found.values()])
    assert dict(zip(found, ended, strict=True)) == {name: (cause, True) for name, (_, _, cause) in found.items()}


def test_a_connection_that_never_stands_is_told_as_such(line: Line) -> None:
    """A connection that is never established is distinguished from a silent server."""
    with full_backlog() as port:
        by = line.transport(patience=Patience(connect_seconds=0.2))
        error = line.fails(f"{line.scheme}://127.0.0.1:{port}", by=by)
    assert (error.cause, error.detail) == ("late", "no connection in time")


class Stopped(Exception):
    """A stop was requested."""


def test_every_wait_can_be_cut(line: Line) -> None:
    """Every wait ends within two seconds of a cut, with the cut's own error."""
    by = line.transport(patience=PATIENT)
    found = places(line)

    def wait(url: str, asked: dict[str, Any]) -> bool:
        stop_at = time.monotonic() + 0.4
        error = Stopped()

        def cut() -> None:
            if time.monotonic() > stop_at:
                raise error

        caught = line.fails(url, by=by, cut=cut, **asked)
        return caught is error and time.monotonic() - stop_at < 2.0

    ended = line.at_once([lambda url=url, asked=asked: wait(url, asked) for url, asked, _ in found.values()])
    assert dict(zip(found, ended, strict=True)) == dict.fromkeys(found, True)


def test_a_slow_answer_that_keeps_the_least_rate_is_waited_for(line: Line) -> None:
    """A slow answer at the least rate is received completely."""

    def behave(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 320\r\n\r\n")
        for _ in range(16):
            peer.send(b"x" * 20)
            peer.pause(0.1)

    by = line.transport(patience=Patience(stall_seconds=1.0, least_rate=50.0))
    assert len(line.ask(line.serve(behave), by=by).body) == 320


def test_a_slow_reader_is_sent_to_with_patience(line: Line) -> None:
    """A body is sent completely to a server that reads at the least rate."""

    def behave(peer: Peer) -> None:
        head = peer.head()
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        left = int(head.headers["content-length"])
        while left:
            peer.skip(min(left, 1 << 20))
            left -= min(left, 1 << 20)
            peer.pause(0.15)
        peer.send(OK)

    by = line.transport(patience=Patience(stall_seconds=1.0, least_rate=1000.0))
    assert line.ask(line.serve(behave), "PUT", body=bytes(9 << 20), by=by).head.status == 200


def test_the_wait_for_an_answer_is_told(line: Line) -> None:
    """The wait from the request to the first byte is measured."""

    def behave(peer: Peer) -> None:
        peer.request()
        peer.pause(0.3)
        peer.send(OK)

    assert 0.25 < line.ask(line.serve(behave)).head.wait_seconds < 5.0


def test_a_resolver_that_hangs_can_be_cut_and_has_a_deadline(monkeypatch: pytest.MonkeyPatch, line: Line) -> None:
    """With httpx a hanging resolver's thread is abandoned. For libcurl see test_processes."""
    if line.way == "curl":
        return
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(3) or [])
    stop_at = time.monotonic() + 0.3

    def cut() -> None:
        if time.monotonic() > stop_at:
            raise Stopped

    assert type(line.fails("http://somewhere.example", cut=cut)) is Stopped
    by = line.transport(patience=Patience(connect_seconds=0.5))
    assert line.fails("http://somewhere.example", by=by).cause == "name"
    assert time.monotonic() - stop_at < 4.0


def test_a_peer_that_goes_while_it_is_sent_to_is_seen(line: Line) -> None:
    """A peer that closes during the request ends the exchange at once."""

    def behave(peer: Peer) -> None:
        peer.head()
        peer.reset()
        raise Gone

    error = line.fails(line.serve(behave), "PUT", body=bytes(32 << 20))
    assert error.cause == "broken"
