"""`Expect: 100-continue` by libcurl: a refused body is not sent. httpx does not use it."""

from __future__ import annotations

import pytest

from recvault.transport import Request
from transport.loopback import OK, Line, Peer, Taken

GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"
BODY = bytes(range(256)) * 400


def test_a_body_goes_where_the_server_says_go_on(line: Line) -> None:
    """After a 100 the body is sent, and an unrequested 100 is skipped."""
    heads = []

    def behave(peer: Peer) -> None:
        asked = peer.head()
        heads.append(asked.headers.get("expect", ""))
        peer.send(GO_ON)
        assert peer.body(len(BODY)) == BODY
        peer.send(OK)

    taken = line.ask(line.serve(behave), "PUT", body=BODY, expects=True)
    assert (bytes(taken.body), len(taken.heads)) == (b"ok", 1)
    assert heads == ["100-continue" if line.way == "curl" else ""]


@pytest.mark.parametrize("status", [403, 412, 507])
def test_a_body_that_is_refused_is_not_sent(curl_line: Line, status: int) -> None:
    """A refusal is the answer, the body is not sent, and the next exchange has its own answer."""
    sent = []

    def behave(peer: Peer) -> None:
        while True:
            head = peer.head()
            if head.method == "GET":
                peer.send(OK)
                continue
            peer.send(b"HTTP/1.1 %d No\r\nContent-Length: 4\r\n\r\nfull" % status)
            peer.sock.settimeout(0.3)
            sent.append(peer.body(1))

    origin = curl_line.serve(behave)
    taken = curl_line.ask(origin, "PUT", body=BODY, expects=True)
    assert (taken.head.status, bytes(taken.body), sent) == (status, b"full", [])
    assert bytes(curl_line.ask(origin).body) == b"ok"


def test_a_server_that_says_nothing_is_sent_the_body(curl_line: Line) -> None:
    """A silent server is sent the body after a second."""

    def behave(peer: Peer) -> None:
        peer.head()
        assert peer.body(len(BODY)) == BODY
        peer.send(OK)

    by = curl_line.transport(patience=curl_line.patience(stall_seconds=3.0))
    assert bytes(curl_line.ask(curl_line.serve(behave), "PUT", body=BODY, expects=True, by=by).body) == b"ok"


def test_a_server_that_knows_of_no_expectations_is_sent_the_body_at_once(curl_line: Line, tmp_path) -> None:
    """After a 417 the request is repeated without the header, from memory and from a file."""
    heads = []

    def behave(peer: Peer) -> None:
        while True:
            asked = peer.head()
            heads.append(asked.headers.get("expect", ""))
            if heads[-1]:
                peer.send(b"HTTP/1.1 417 Expectation Failed\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
                peer.skip(len(BODY))  # if the second has passed, the body arrives: a reset would lose the 417
                return
            assert peer.body(len(BODY)) == BODY
            peer.send(OK)

    origin = curl_line.serve(behave)
    assert bytes(curl_line.ask(origin, "PUT", body=BODY, expects=True).body) == b"ok"
    path = tmp_path / "body"
    path.write_bytes(b"before" + BODY)
    with path.open("rb") as file:
        file.seek(6)
        taken = curl_line.ask(origin, "PUT", body=file, length=len(BODY), expects=True)
    assert (bytes(taken.body), len(taken.heads), heads) == (b"ok", 1, ["100-continue", "", "100-continue", ""])


def test_an_answer_in_mid_body_is_the_answer(line: Line) -> None:
    """An early answer during the body is received."""

    def behave(peer: Peer) -> None:
        peer.head()
        peer.body(10_000)
        peer.send(b"HTTP/1.1 403 No\r\nConnection: close\r\nContent-Length: 4\r\n\r\nfull")
        peer.pause(0.5)

    origin = line.serve(behave)
    taken = line.ask(origin, "PUT", body=bytes(8 << 20))
    assert (taken.head.status, bytes(taken.body)) == (403, b"full")


def test_a_length_beyond_32_bits_is_announced_right(line: Line) -> None:
    """A length of 5 GB and one byte is announced correctly, and refused by the server."""
    heads = []

    def behave(peer: Peer) -> None:
        heads.append(peer.head().headers["content-length"])
        peer.send(b"HTTP/1.1 507 Full\r\nConnection: close\r\nContent-Length: 4\r\n\r\nfull")
        peer.pause(0.5)

    length = 5 * 1024**3 + 1
    with open("/dev/zero", "rb") as body:  # noqa: PTH123 - of no end
        taken = line.ask(line.serve(behave), "PUT", body=body, length=length, expects=True)
    assert (taken.head.status, heads) == (507, [str(length)])


def test_the_same_headers_say_so_again_where_the_method_is_another(curl_line: Line) -> None:
    """Headers set for one kind of request are set again for another."""
    heads = []

    def behave(peer: Peer) -> None:
        while True:
            asked = peer.head()
            heads.append((asked.method, asked.headers.get("expect")))
            if asked.method == "PUT":
                if "expect" in asked.headers:
                    peer.send(GO_ON)
                peer.body(len(BODY))
            peer.send(OK)

    origin, headers = curl_line.serve(behave), [("X-A", "a")]
    for method, expects in (("GET", False), ("PUT", True), ("PUT", False), ("GET", False)):
        body = {"body": memoryview(BODY), "length": len(BODY), "expects": expects} if method == "PUT" else {}
        curl_line.by.exchange(Request(method, origin, headers, **body), Taken(), lambda: None)  # type: ignore[arg-type]
    assert heads == [("GET", None), ("PUT", "100-continue"), ("PUT", None), ("GET", None)]
