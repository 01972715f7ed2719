"""The end of an answer follows unambiguously from its framing, or it is an error."""

from __future__ import annotations

import pytest

from transport.loopback import Line, Peer

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

BROKEN = {
    "a short body": HEAD + b"Content-Length: 10\r\n\r\nshort",
    "no body": HEAD + b"Content-Length: 10\r\n\r\n",
    "a cut chunk": CHUNKED + b"a\r\nshort",
    "chunks without an end": CHUNKED + b"5\r\nshort\r\n",
    "a cut chunk size": CHUNKED + b"5\r\nshort\r\n1",
    "a cut last chunk": CHUNKED + b"5\r\nshort\r\n0\r\n",
    "a cut head": HEAD + b"Content-Le",
    "a cut header line": HEAD + b"X: y\r\n",
    "nothing": b"",
    "5 GB announced": HEAD + b"Content-Length: 5368709120\r\n\r\n" + bytes(1 << 20),
}
UNSOUND = {
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
    "two lengths in one": HEAD + b"Content-Length: 2, 3\r\n\r\nabc",
    "a negative length": HEAD + b"Content-Length: -2\r\n\r\nok",
    "a signed length": HEAD + b"Content-Length: +2\r\n\r\nok",
    "a length that is no number": HEAD + b"Content-Length: two\r\n\r\nok",
    "a length with more behind it": HEAD + b"Content-Length: 2x\r\n\r\nok",
    "a length in hex": HEAD + b"Content-Length: 0x2\r\n\r\nok",
    "an empty length": HEAD + b"Content-Length:\r\n\r\nok",
    "a length beyond all measure": HEAD + b"Content-Length: 99999999999999999999999\r\n\r\nok",
    "length and chunks": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "chunks and length": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "a chunk size that is no number": CHUNKED + b"x\r\nok\r\n0\r\n\r\n",
    "a negative chunk size": CHUNKED + b"-2\r\nok\r\n0\r\n\r\n",
    "a chunk size beyond all measure": CHUNKED + b"fffffffffffffffffffff2\r\nok\r\n0\r\n\r\n",
    "a chunk longer than its size": CHUNKED + b"1\r\nok\r\n0\r\n\r\n",
    "an unknown coding": HEAD + b"Transfer-Encoding: fancy\r\n\r\nok",
    "a compressed coding": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "gzip alone": HEAD + b"Transfer-Encoding: gzip\r\n\r\nok",
    "the identity coding": HEAD + b"Transfer-Encoding: identity\r\n\r\nok",
    "chunked twice": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "no HTTP": b"220 mail.example ESMTP\r\n\r\nok",
    "HTTP/0.9": b"<html>hello</html>\r\n\r\n",
    "another version": b"HTTP/3.7 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/2": b"HTTP/2 200\r\nContent-Length: 2\r\n\r\nok",
    "no status": b"HTTP/1.1 OK\r\nContent-Length: 2\r\n\r\nok",
    "a short status": b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
    "a long status": b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok",
    "a NUL in a value": HEAD + b"X: a\0b\r\nContent-Length: 2\r\n\r\nok",
    "a NUL in a name": HEAD + b"X\0: b\r\nContent-Length: 2\r\n\r\nok",
    "a line without a colon": HEAD + b"nonsense\r\nContent-Length: 2\r\n\r\nok",
    "a space before the colon": HEAD + b"Content-Length : 2\r\nX: y\r\n\r\nok",
    "no name": HEAD + b": y\r\nContent-Length: 2\r\n\r\nok",
    "a head of 400 KB": HEAD + b"X: " + b"y" * 400_000 + b"\r\nContent-Length: 2\r\n\r\nok",
    "1,000 headers": HEAD + b"X: y\r\n" * 1000 + b"Content-Length: 2\r\n\r\nok",
    "101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\nok",
    "nothing but 100": b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000,
}
WHOLE = {
    "a length": (HEAD + b"Content-Length: 2\r\n\r\nok", 2),
    "one length, told twice": (HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok", 2),
    "one byte too many": (HEAD + b"Content-Length: 2\r\n\r\nokk", 2),
    "a whole answer too many": (HEAD + b"Content-Length: 2\r\n\r\nok" + HEAD + b"Content-Length: 2\r\n\r\nno", 2),
    "chunks": (CHUNKED + b"1\r\no\r\n1;ext=1\r\nk\r\n0\r\n\r\n", None),
    "chunks with a trailer": (CHUNKED + b"2\r\nok\r\n0\r\nContent-Length: 7\r\nX: y\r\n\r\n", None),
    "chunks with more behind them": (CHUNKED + b"2\r\nok\r\n0\r\n\r\nmore", None),
    "to the end of the connection": (HEAD + b"\r\nok", None),
    "as HTTP/1.0 did": (b"HTTP/1.0 200 OK\r\n\r\nok", None),
    "bare line feeds": (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", 2),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", 2),
    "content that is said to be compressed": (HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok", 2),
    "an unnamed charset": (HEAD + b"X: \xe9\xff\r\nContent-Length: 2\r\n\r\nok", 2),
    "100, 102 and 103 before it": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nContent-Length: 9\r\n\r\n"
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + HEAD + b"Content-Length: 2\r\n\r\nok",
        2,
    ),
    "many 103 before it": (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 40 + HEAD + b"\r\nok", None),
}
BODILESS = {
    "204": ("GET", b"HTTP/1.1 204 No Content\r\n\r\nno body"),
    "204 with a length": ("GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\nno body"),
    "304": ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\nno body"),
    "HEAD with a length": ("HEAD", HEAD + b"Content-Length: 5368709120\r\n\r\n"),
    "HEAD with a body": ("HEAD", HEAD + b"Content-Length: 7\r\n\r\nno body"),
    "HEAD with chunks announced": ("HEAD", CHUNKED),
    "a body of nothing": ("GET", HEAD + b"Content-Length: 0\r\n\r\n"),
}


@pytest.mark.parametrize("octets", BROKEN.values(), ids=BROKEN)
def test_an_answer_that_is_cut_is_an_error(line: Line, octets: bytes) -> None:
    """An answer that ends before its framing does is an error."""
    assert line.fails(line.answers(octets)).cause == "broken"


@pytest.mark.parametrize("octets", UNSOUND.values(), ids=UNSOUND)
def test_an_answer_that_can_be_read_in_two_ways_is_an_error(line: Line, octets: bytes) -> None:
    """An ambiguous answer is an error."""
    patient = line.transport(patience=line.patience(20.0))  # 20,000 heads take a loaded machine a second
    assert line.fails(line.answers(octets, then=Peer.pause), by=patient).cause == "framing"


@pytest.mark.parametrize(("octets", "length"), WHOLE.values(), ids=WHOLE)
def test_a_sound_answer_is_delivered_whole(line: Line, octets: bytes, length: int | None) -> None:
    """A valid body is delivered exactly; if only the connection's end marks it, no length is stated."""
    taken = line.ask(line.answers(octets))
    assert (taken.head.status, bytes(taken.body), taken.head.length, len(taken.heads)) == (200, b"ok", length, 1)


@pytest.mark.parametrize(("method", "octets"), BODILESS.values(), ids=BODILESS)
def test_what_has_no_body_brings_none(line: Line, method: str, octets: bytes) -> None:
    """An answer without a body ends with its head, whatever is announced or follows."""
    taken = line.ask(line.answers(octets, then=lambda peer: peer.pause(0.3)), method)
    assert (bytes(taken.body), len(taken.heads)) == (b"", 1)


def test_a_tls_connection_that_is_cut_does_not_end_a_body(tls_line: Line) -> None:
    """A TLS connection closed without notice does not end a body, as anyone could have cut it."""

    def cut(peer: Peer) -> None:
        peer.request()
        peer.send(HEAD + b"\r\nok")
        peer.sock.shutdown(2)

    assert tls_line.fails(tls_line.serve(cut)).cause == "broken"
