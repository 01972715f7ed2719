"""An answer's headers are the same however written; a fast path reads the usual form."""

from __future__ import annotations

import itertools
import resource
import socket
from contextlib import ExitStack

import pytest

from recvault.transport import ExchangeFailed, Head, Request
from recvault.transport.callbacks import _headers, _odd_headers
from transport.loopback import Line, Peer, Taken

PIECES = [
    "A: 1\r\n",
    "b:2\r\n",
    "C:  3\r\n",
    "D: 4 \r\n",
    "E:\t5\r\n",
    "F: 6\n",
    "a: 7\r\n",
    "G:\r\n",
    "H: x: y\r\n",
    "I:j: k\r\n",
]
BEYOND_SELECT = 1024


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_the_shorter_way_reads_what_the_longer_one_does(number: int) -> None:
    """The fast path gives the same headers for spaces, tabs, bare line feeds, repeated names and colons."""
    for pieces in itertools.permutations(PIECES, number):
        text = "".join(pieces)
        headers, named = _headers(text)
        expected = _odd_headers(text)
        assert [tuple(pair) for pair in headers] == expected
        assert Head(200, headers, 0.0, named).named == {n.lower(): v for n, v in reversed(expected)}


@pytest.mark.parametrize("line", ["A : 1\r\n", ": 1\r\n", "A 1\r\n", " A: 1\r\n", "A: 1\r\nB\r\n"])
def test_what_is_no_header_is_refused_by_either(line: str) -> None:
    """An invalid header is refused by both paths."""
    for read in (_headers, _odd_headers):
        with pytest.raises(ExchangeFailed) as refused:
            read(line)
        assert refused.value.cause == "framing"


def test_descriptors_that_select_cannot_take_are_waited_for(line: Line) -> None:
    """Descriptors beyond select's limit work."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = BEYOND_SELECT + 200
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"{hard} descriptors are allowed here")
    with ExitStack() as opened:
        opened.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (max(soft, wanted) if soft != resource.RLIM_INFINITY else soft, hard)
        )
        held = opened.enter_context(socket.socket())
        while held.fileno() < BEYOND_SELECT:
            held = opened.enter_context(socket.socket())

        def later(peer: Peer) -> None:
            peer.request()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
            peer.send(b"ok")
            peer.pause()

        assert line.ask(line.serve(later)).body == b"ok"


@pytest.mark.parametrize("odd", ["\r", "\n", "\0", "\r\n"])
def test_a_request_holds_no_line_of_its_own(line: Line, odd: str) -> None:
    """Line ends and null bytes are not sent within a header."""
    server = line.server(Peer.pause)
    asked = Request("GET", f"{line.scheme}://127.0.0.1:{server.port}/", [("X-A", f"a{odd}X-B: b")])
    with pytest.raises(ExchangeFailed) as refused:
        line.transport().exchange(asked, Taken(), lambda: None)
    assert (refused.value.cause, server.accepted) == ("request", 0)
