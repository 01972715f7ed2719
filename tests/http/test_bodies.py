"""Complete bodies, and those that are short, slow, encoded or endless."""

from __future__ import annotations

import gzip
import time
import tracemalloc
import zlib
from itertools import chain, repeat
from typing import Any

import httpx
import pytest

from recvault.errors import Interrupted, MediaRejected, ProtocolError, Refused, Unavailable
from recvault.http import MediaHead, bodies
from recvault.http.media import DrainCut, MediaAnswer, Place
from recvault.shutdown import Stop
from recvault.simulator.exchange import Request
from recvault.simulator.wire import Wire
from recvault.testing import Answer
from recvault.transport import Head

from .conftest import Taken, get, read

MEDIA = bytes(range(256)) * 64


def dripping(head: bytes, drops: list[bytes], seconds: float) -> Any:
    """Write a head, then single bytes with pauses."""

    def answer(wire: Wire, request: Request) -> bool:
        wire.send(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n")
        for drop in drops:
            wire.pause(seconds)
            wire.send(drop)
        return False

    return answer


def encoded(body: bytes, *codings: str) -> Answer:
    return Answer(headers=(("Content-Encoding", ", ".join(codings)),), body=body)


def test_media_come_as_they_are(wired: Any) -> None:
    """Media are requested without encoding and arrive byte for byte, with their length and URL."""
    home = wired.front(Answer(body=MEDIA))

    class Told(Taken):
        def finish(self) -> tuple[str, int | None, bytes]:
            return self.head.url, self.head.length, self.body

    plain = httpx.Request("GET", f"{home.origin}/a.wav?Signature=s#f", headers={"Accept-Encoding": "br, gzip"})
    assert wired.session(home.origin).download(plain, Told) == (f"{home.origin}/a.wav", len(MEDIA), MEDIA)
    assert home.seen[0].headers["accept-encoding"] == "identity"


NO_ENCODINGS = ["", "identity", "Identity", "aws-chunked", "identity,  AWS-chunked", "none", "binary", "UTF-8"]


@pytest.mark.parametrize("coding", NO_ENCODINGS)
def test_media_whose_encoding_is_none_come_as_they_are(wired: Any, coding: str) -> None:
    """A Content-Encoding that means none is accepted."""
    home = wired.front(encoded(MEDIA, coding))
    assert wired.session(home.origin).download(get(f"{home.origin}/a.wav"), read) == MEDIA
    home = wired.front(encoded(b'{"a": 1}', coding))
    assert wired.session(home.origin).send(get(home.origin)).json() == {"a": 1}


@pytest.mark.parametrize("coding", ["gzip", "br", "identity, gzip", "zstd", "none2"])
def test_media_that_are_encoded_are_refused(wired: Any, coding: str) -> None:
    """Media that are, or may be, compressed are never stored."""
    home = wired.front(encoded(MEDIA, coding))
    with pytest.raises(MediaRejected, match="encoded the media"):
        wired.session(home.origin).download(get(f"{home.origin}/a.wav"), read)


@pytest.mark.parametrize("came", [0, 1, len(MEDIA) - 1])
def test_a_short_body_is_no_body(wired: Any, came: int) -> None:
    """Media that end before their Content-Length are an error, even by one byte."""
    home = wired.front(Answer(body=MEDIA[:came], claimed=len(MEDIA)))
    with pytest.raises(Unavailable):
        wired.session(home.origin).download(get(home.origin), read)


def test_chunked_media_that_break_off_are_an_error(wired: Any) -> None:
    """A chunked body without its last chunk is an error."""
    base_url = wired.raw(dripping(b"Transfer-Encoding: chunked", [b"3\r\nabc\r\n"], 0))
    with pytest.raises(Unavailable):
        wired.session(base_url).download(get(base_url), read)


def test_a_short_body_is_asked_for_again(wired: Any) -> None:
    """A retry starts over: the receiver never gets bytes of two tries as one body."""
    answers = [Answer(body=MEDIA[:9], claimed=len(MEDIA)), Answer(body=MEDIA)]
    home = wired.front(lambda request: answers.pop(0))
    assert wired.session(home.origin, tries=2).download(get(home.origin), read) == MEDIA


@pytest.mark.parametrize("status", [201, 202, 204, 206])
def test_only_200_is_media(wired: Any, status: int) -> None:
    """A success other than 200 is no media, as no part was requested."""
    home = wired.front(Answer(status=status, body=b"" if status == 204 else MEDIA))
    with pytest.raises(Unavailable, match=str(status)):
        wired.session(home.origin).download(get(home.origin), read)


def test_encoded_media_are_refused(wired: Any) -> None:
    """A gzip body in place of media is refused, as its length proves nothing."""
    home = wired.front(encoded(gzip.compress(MEDIA, mtime=0), "gzip"))
    with pytest.raises(MediaRejected, match="encoded"):
        wired.session(home.origin).download(get(home.origin), read)


def test_a_stall_ends(wired: Any) -> None:
    """Media that stop arriving are given up after the configured time."""
    base_url = wired.raw(dripping(b"Content-Length: 9", [b"a", b"b"], 20))
    begun = time.monotonic()
    with pytest.raises(Unavailable, match=r"sent data too slowly|in time"):
        wired.session(base_url, stall_timeout=1.0).download(get(base_url), read)
    assert time.monotonic() - begun < 8


def test_a_drip_is_a_stall(wired: Any) -> None:
    """A body slower than min_rate has stalled, even if single bytes keep arriving."""
    base_url = wired.raw(dripping(b"Content-Length: 999", list(repeat(b"a", 400)), 0.05))
    with pytest.raises(Unavailable, match="too slowly"):
        wired.session(base_url, stall_timeout=1.0, min_rate=100).download(get(base_url), read)


def test_slow_is_not_a_stall(wired: Any) -> None:
    """A slow body faster than min_rate arrives completely, however long it takes."""
    base_url = wired.raw(dripping(b"Content-Length: 4000", list(repeat(b"a" * 100, 40)), 0.05))
    assert len(wired.session(base_url, stall_timeout=1.0, min_rate=100).download(get(base_url), read)) == 4000


@pytest.mark.parametrize("pieces", [[], [b"a"]], ids=["before its head", "in mid-body"])
def test_a_silent_download_does_not_delay_a_stop(wired: Any, pieces: list[bytes]) -> None:
    """A download that receives nothing during a drain is ended before the drain is over or it counts as stalled."""
    stop = Stop()
    stop.asked.set()

    def answer(wire: Wire, request: Request) -> bool:
        if pieces:
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" + b"".join(pieces))
        wire.pause(60)
        return False

    session = wired.session(wired.raw(answer), stop=stop, stall_timeout=60.0, drain_silence=0.01)
    with pytest.raises(Interrupted, match="nothing arrived"):
        session.download(get(session.base_url), read)


def test_a_download_that_receives_something_is_not_cut_by_a_stop() -> None:
    """During a drain, a download goes on while bytes arrive, and is ended once none has arrived for a while."""
    stop, moment = Stop(), [100.0]
    place = Place("http://h/x", "h", [], at_home=True)
    answer = MediaAnswer(place, Taken, lambda *_, **__: None)
    cut = DrainCut(answer, stop, 5.0, lambda: moment[0])

    def later(seconds: float) -> None:
        moment[0] += seconds
        cut()

    later(60.0)  # no stop is requested
    stop.asked.set()
    later(60.0)
    later(4.0)
    answer.begin(Head(200, [("Content-Length", "9")]))
    later(4.0)
    answer.write(b"a")
    later(4.0)
    later(4.0)
    with pytest.raises(Interrupted):
        later(1.0)


def test_a_stop_that_is_enforced_ends_a_body(wired: Any) -> None:
    """When the drain is over, a running download is abandoned."""
    stop = Stop()

    def receive(head: MediaHead) -> Taken:
        stop.enforced.set()
        return Taken(head)

    home = wired.front(Answer(body=MEDIA))
    with pytest.raises(Interrupted):
        wired.session(home.origin, stop=stop).download(get(home.origin), receive)


def test_an_api_answer_has_a_deadline(wired: Any) -> None:
    """An API answer that drips is given up after its deadline."""
    base_url = wired.raw(dripping(b"Content-Length: 999", list(repeat(b"a", 600)), 0.05))
    begun = time.monotonic()
    with pytest.raises(Unavailable, match="to answer"):
        wired.session(base_url, reply_deadline=0.3).send(get(base_url))
    assert time.monotonic() - begun < 10  # of thirty


def test_an_errors_body_has_a_deadline_too(wired: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error whose body drips is reported by its status and the text so far."""
    monkeypatch.setattr(bodies, "_ERROR_SECONDS", 0.2)

    def answer(wire: Wire, request: Request) -> bool:
        wire.send(b"HTTP/1.1 400 No\r\nContent-Length: 9999\r\n\r\n")
        for drop in chain([b'{"message": "'], repeat(b"a", 600)):
            wire.pause(0.05)
            wire.send(drop)
        return False

    base_url = wired.raw(answer)
    begun = time.monotonic()
    with pytest.raises(Refused, match="400"):
        wired.session(base_url).send(get(base_url))
    assert time.monotonic() - begun < 10  # of thirty


@pytest.mark.parametrize("answer", [encoded(gzip.compress(b'{"a": 1}', mtime=0), "gzip"), Answer(body=b'{"a": 1}')])
def test_json_may_come_compressed(wired: Any, answer: Answer) -> None:
    """gzip is offered to the API, and answers read the same with and without it."""
    home = wired.front(answer)
    assert wired.session(home.origin).send(get(home.origin)).json() == {"a": 1}
    assert home.seen[0].headers["accept-encoding"] == "gzip"


@pytest.mark.parametrize("body", [b"no gzip at all", gzip.compress(b"{}" * 99, mtime=0)[:20]])
def test_a_broken_encoding_is_no_answer(wired: Any, body: bytes) -> None:
    """A body that cannot be decoded is a ProtocolError, never a crash or half a page."""
    home = wired.front(encoded(body, "gzip"))
    with pytest.raises(Unavailable):
        wired.session(home.origin).send(get(home.origin)).json()


def test_a_bomb_is_refused(wired: Any) -> None:
    """A body that exceeds the limit, compressed or not, is refused."""
    for answer in (encoded(gzip.compress(bytes(2 << 20)), "gzip"), Answer(body=bytes(2 << 20))):
        home = wired.front(answer)
        with pytest.raises(ProtocolError, match="more than"):
            wired.session(home.origin).send(get(home.origin))


@pytest.mark.parametrize("codings", [("gzip", "gzip"), ("br",), ("zstd",), ("gzip", "deflate")])
@pytest.mark.parametrize("status", [200, 400])
def test_a_stack_of_encodings_is_not_unpacked(wired: Any, codings: tuple[str, ...], status: int) -> None:
    """Nested encodings are refused without decoding, also in an error's body."""
    body = zlib.compress(gzip.compress(b"{}", mtime=0))
    home = wired.front(Answer(status=status, headers=encoded(body, *codings).headers, body=body))
    with pytest.raises(ProtocolError if status == 200 else Refused):
        wired.session(home.origin).send(get(home.origin))


@pytest.mark.parametrize("status", [200, 400])
def test_a_bomb_is_not_even_unfolded(wired: Any, status: int) -> None:
    """A small piece that decodes to tens of megabytes is never completely in memory, also in an error's body."""
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(48)), packer.flush()])
    home = wired.front(Answer(status=status, headers=encoded(b"", "gzip").headers, body=bomb))
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError if status == 200 else Refused):
            wired.session(home.origin).send(get(home.origin))
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_a_page_may_be_larger_than_a_row(wired: Any) -> None:
    """A page may be much larger than an answer about one recording; both have limits."""
    body = b'{"next": null, "rows": "' + b"a" * (2 * bodies.MOST_ROW) + b'"}'
    home = wired.front(lambda request: Answer(body=body if request.path == "/page" else bytes(bodies.MOST_PAGE + 1)))
    session = wired.session(home.origin)
    assert len(list(session.follow(get(f"{home.origin}/page"), lambda reply: (reply.body, None)))) == 1
    with pytest.raises(ProtocolError, match="more than"):
        session.send(get(f"{home.origin}/page"))
    with pytest.raises(ProtocolError, match="more than"):
        list(session.follow(get(f"{home.origin}/endless"), lambda reply: (reply.body, None)))


@pytest.mark.parametrize("behind", [b"", b"more"])
def test_an_encoded_answer_ends_where_its_encoding_does(wired: Any, behind: bytes) -> None:
    """Bytes after an encoded answer are ignored; a truncated one is an error."""
    packed = gzip.compress(b'{"a": 1}', mtime=0)
    home = wired.front(encoded(packed + behind, "gzip"))
    assert wired.session(home.origin).send(get(home.origin)).json() == {"a": 1}
    home = wired.front(encoded(packed[:-6], "gzip"))
    with pytest.raises(ProtocolError, match="is cut off"):
        wired.session(home.origin).send(get(home.origin))


@pytest.mark.parametrize("tail", [b"\0", b"\0\0\0\xff\xff"], ids=["behind the end", "blocks that hold nothing"])
def test_an_encoded_answer_that_never_ends_has_a_deadline(wired: Any, tail: bytes) -> None:
    """Bytes that decode to nothing forever are given up after the deadline."""
    begun = gzip.compress(b"{}", mtime=0)
    if tail != b"\0":
        begun = begun[:10]  # only the head
    base_url = wired.raw(dripping(b"Content-Encoding: gzip\r\nConnection: close", [begun, *[tail] * 60], 0.05))
    with pytest.raises(Unavailable, match="to answer"):
        wired.session(base_url, reply_deadline=0.3).send(get(base_url))


def test_a_sink_is_finished_only_where_all_bytes_came() -> None:
    """With any transport, a body shorter than its Content-Length is no recording."""
    place = Place("https://media.example/a.wav", "media.example", (), at_home=False)
    answer = MediaAnswer(place, Taken, lambda *told, at_home: None)
    answer.begin(Head(200, [("Content-Length", "5")]))
    answer.write(b"abc")
    with pytest.raises(Unavailable, match="3 bytes of 5"):
        answer.outcome()
    answer.write(b"de")
    assert answer.outcome() == b"abcde"
