"""The transport beneath httpx: connections kept and dropped, answers that are no HTTP, TLS, and what is raised."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from recvault.errors import Unavailable
from recvault.http import client as client_module
from recvault.simulator.exchange import Request
from recvault.simulator.wire import Wire
from recvault.testing import Answer

from .conftest import get, read

MEDIA = bytes(range(256)) * 64
WHOLE = Answer(body=MEDIA).bytes_on_wire()


class Wires:
    """Answers every request in turn, and knows over how many connections they came."""

    def __init__(self, *answers: bytes | Callable[[Wire], bool]) -> None:
        self._answers = list(answers)
        self.met: list[Wire] = []

    def __call__(self, wire: Wire, request: Request) -> bool:
        self.met.append(wire)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if callable(answer):
            return answer(wire)
        wire.send(answer)
        return True

    @property
    def connections(self) -> int:
        return len({id(wire) for wire in self.met})


def head(*lines: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode("latin-1")


# -- connections -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        WHOLE,
        head("Transfer-Encoding: chunked") + b"3\r\nabc\r\n1;x=y\r\nd\r\n0\r\nTrailer: x\r\n\r\n",
        head("Content-Length: 0"),
    ],
    ids=["by length", "in chunks", "empty"],
)
def test_a_connection_serves_many(wired: Any, answer: bytes) -> None:
    """A body that is read to its end leaves its connection to the next request."""
    wires = Wires(answer)
    base_url = wired.raw(wires)
    session = wired.session(base_url)
    bodies = {session.download(get(base_url), read) for _ in range(5)}
    assert (len(bodies), len(wires.met), wires.connections) == (1, 5, 1)


def test_a_redirects_body_is_not_worth_a_connection(wired: Any) -> None:
    """The few words of a redirect or an error are read past, so that the next request has its connection."""
    away = head("Location: /b", "Content-Length: 9", status="302 Found") + b"over here"
    wires = Wires(away, WHOLE, away, WHOLE)
    base_url = wired.raw(wires)
    session = wired.session(base_url)
    assert [session.download(get(base_url), read) for _ in range(2)] == [MEDIA, MEDIA]
    assert (len(wires.met), wires.connections) == (4, 1)


@pytest.mark.parametrize("length", [9, 1 << 20])
def test_a_body_that_is_left_takes_its_connection_along(wired: Any, length: int) -> None:
    """What is under way still when nobody wants it is neither waited for nor taken for the next answer."""
    away = head("Location: /b", f"Content-Length: {length}", status="302 Found") + b"over"
    wires = Wires(away, WHOLE)
    base_url = wired.raw(wires)
    assert wired.session(base_url).download(get(base_url), read) == MEDIA
    assert wires.connections == 2


def test_a_connection_that_was_closed_meanwhile_is_not_used(wired: Any) -> None:
    """A server may end an idle connection at any time: the next request is not lost to it."""
    closed = threading.Event()

    def then_close(wire: Wire) -> bool:
        wire.send(WHOLE)
        threading.Timer(0.05, lambda: (wire._sock.shutdown(socket.SHUT_RDWR), closed.set())).start()
        return True

    wires = Wires(then_close, WHOLE)
    base_url = wired.raw(wires)
    session = wired.session(base_url)
    assert session.download(get(base_url), read) == MEDIA
    assert closed.wait(5)
    assert session.download(get(base_url), read) == MEDIA
    assert wires.connections == 2


def test_an_idle_connection_ages(wired: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that lay idle for long is not trusted."""
    monkeypatch.setattr("recvault.http.transport._IDLE_SECONDS", -1.0)
    wires = Wires(WHOLE)
    base_url = wired.raw(wires)
    session = wired.session(base_url)
    assert [session.download(get(base_url), read) for _ in range(2)] == [MEDIA, MEDIA]
    assert wires.connections == 2


def test_words_nobody_asked_for_end_a_connection(wired: Any) -> None:
    """An answer that comes before its request, smuggled behind another's body, is not taken for the next one's."""
    said = threading.Event()

    def twice(wire: Wire) -> bool:
        wire.send(WHOLE)
        threading.Timer(0.05, lambda: (wire.send(Answer(body=b"smuggled").bytes_on_wire()), said.set())).start()
        return True

    wires = Wires(twice, WHOLE)
    base_url = wired.raw(wires)
    session = wired.session(base_url)
    assert session.download(get(base_url), read) == MEDIA
    assert said.wait(5)
    assert session.download(get(base_url), read) == MEDIA
    assert wires.connections == 2


def test_a_connection_is_kept_once(wired: Any) -> None:
    """However often an answer is closed, no two requests share a connection."""
    base_url = wired.raw(wires := Wires(WHOLE))
    client = wired.clients(base_url).get()
    for _ in range(3):
        answer = client.send(get(base_url), stream=True)
        answer.read()
        answer.stream.close()
    first, second = (client.send(get(base_url), stream=True) for _ in range(2))
    assert (first.read(), second.read(), wires.connections) == (MEDIA, MEDIA, 2)


def test_closing_comes_while_a_body_is_read(wired: Any) -> None:
    """Who closes the clients takes no body away from its reader, and leaves no connection open behind it."""
    home = wired.front(Answer(body=MEDIA))
    session = wired.session(home.origin)

    def receive(_: Any, chunks: Iterator[bytes]) -> bytes:
        session.clients.close()
        return b"".join(chunks)

    assert session.download(get(home.origin), receive) == MEDIA
    assert session.download(get(home.origin), read) == MEDIA


# -- answers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        head("Content-Length: 3", "Content-Length: 4") + b"abc",
        head("Content-Length: 3, 3") + b"abc",
        head("Content-Length: +3") + b"abc",
        head("Content-Length: -3") + b"abc",
        head("Content-Length: three") + b"abc",
        head("Transfer-Encoding: gzip, chunked") + b"3\r\nabc\r\n0\r\n\r\n",
        head("Transfer-Encoding: identity", "Content-Length: 3") + b"abc",
        head("no colon", "Content-Length: 3") + b"abc",
        head(" folded first", "Content-Length: 3") + b"abc",
        head(status="103 Early Hints") + head("Content-Length: 3") + b"abc",
        head(status="101 Switching Protocols") + b"abc",
        b"HTTP/2 200\r\n\r\nabc",
        b"200 OK\r\n\r\nabc",
        head("Transfer-Encoding: chunked") + b"x\r\nabc\r\n0\r\n\r\n",
        head("Content-Length: 9") + b"abc",
        head(*[f"X-{number}: y" for number in range(200)], "Content-Length: 3") + b"abc",
        head("X-Long: " + "y" * 70_000, "Content-Length: 3") + b"abc",
        head("X-A: b\nX-B: c", "Content-Length: 3") + b"abc",
        head("X-A : b", "Content-Length: 3") + b"abc",
        head("X-A: b\0c", "Content-Length: 3") + b"abc",
    ],
    ids=[
        "two lengths",
        "a list of lengths",
        "a sign before it",
        "less than nothing",
        "a word",
        "two codings",
        "no coding",
        "no colon",
        "a fold that follows nothing",
        "early hints",
        "another protocol",
        "another version",
        "no version",
        "no chunk",
        "short",
        "too many headers",
        "too long a header",
        "a bare line feed",
        "a space before the colon",
        "a null",
    ],
)
def test_what_is_no_http_is_no_answer(wired: Any, answer: bytes) -> None:
    """Where it is not certain how long a body is, nothing is read; and no later answer comes from its connection."""

    def spoil(wire: Wire) -> bool:
        wire.send(answer)
        return False

    wires = Wires(spoil, WHOLE)
    base_url = wired.raw(wires)
    session = wired.session(base_url)
    with pytest.raises(Unavailable, match="RemoteProtocolError"):
        session.download(get(base_url), read)
    assert session.download(get(base_url), read) == MEDIA


def forever(beginning: bytes, more: bytes) -> Callable[[Wire], bool]:
    """Say this, and then that again and again, as fast as it is taken."""

    def answer(wire: Wire) -> bool:
        wire.send(beginning)
        while not wire.stopping.is_set():
            wire.send(more * 100)
        return False

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        forever(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        forever(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
        forever(b"HTTP/1.1 200 OK\r\nX-A: ", b"b"),
        forever(head("Transfer-Encoding: chunked") + b"0\r\n", b"X-A: b\r\n"),
        forever(head("Transfer-Encoding: chunked"), b"00000"),
        forever(head("Transfer-Encoding: chunked") + b"1;x=", b"y"),
    ],
    ids=["go on", "headers", "one header", "a trailer", "a chunk's size", "a chunk's extension"],
)
def test_what_never_ends_is_left(wired: Any, answer: Any) -> None:
    """Heads, trailers and sizes without an end are an error after some kilobytes, however fast they come."""
    base_url = wired.raw(Wires(answer))
    with pytest.raises(Unavailable, match="RemoteProtocolError"):
        wired.session(base_url).download(get(base_url), read)


@pytest.mark.parametrize(
    "beginning", [b"HTTP/1.1 200 OK\r\nX-A: ", head("Transfer-Encoding: chunked") + b"1;x="], ids=["head", "chunk"]
)
def test_what_drips_before_any_body_is_left(wired: Any, beginning: bytes) -> None:
    """A byte now and then is each in time; a whole head, or a chunk's size, has its time too."""

    def drip(wire: Wire) -> bool:
        wire.send(beginning)
        for _ in range(200):
            wire.pause(0.05)
            wire.send(b"y")
        return False

    base_url = wired.raw(Wires(drip))
    begun = time.monotonic()
    with pytest.raises(Unavailable, match="ReadTimeout"):
        wired.session(base_url, stall_timeout=0.25).download(get(base_url), read)
    assert time.monotonic() - begun < 8


@pytest.mark.parametrize("length", ["9" * 19, "9" * 5000])
def test_a_length_beyond_all_measure_is_none(wired: Any, length: str) -> None:
    """A number that no disk and no counter holds is no HTTP, and never a crash."""
    base_url = wired.raw(Wires(head(f"Content-Length: {length}") + b"abc"))
    with pytest.raises(Unavailable, match="RemoteProtocolError"):
        wired.session(base_url).download(get(base_url), read)


def test_an_api_answer_that_is_short_is_none(wired: Any) -> None:
    """A page that ends before its Content-Length is not read as one that is shorter."""
    home = wired.front(Answer(body=b'{"a": 1}', claimed=99))
    with pytest.raises(Unavailable):
        wired.session(home.origin).send(get(home.origin))


@pytest.mark.parametrize(
    "answer",
    [head("Content-Length: 3", "Content-Length: 3") + b"abc", head() + b"abc"],
    ids=["the same length twice", "no length"],
)
def test_what_is_odd_and_certain_is_read(wired: Any, answer: bytes) -> None:
    """The same length twice is one length; without any, the end of the connection ends the body."""

    def once(wire: Wire) -> bool:
        wire.send(answer)
        return False

    base_url = wired.raw(Wires(once))
    assert wired.session(base_url).download(get(base_url), read) == b"abc"


def test_headers_come_as_they_are(wired: Any) -> None:
    """Values keep their bytes, but for the blanks around them and folds within."""
    lines = ("X-A:  a  b ", "X-Latin: caf\xe9", "X-Fold: a\r\n  b", "Content-Length: 0")
    base_url = wired.raw(Wires(head(*lines)))
    answer = wired.clients(base_url).get().get(base_url)
    assert [answer.headers[name] for name in ("x-a", "x-latin", "x-fold")] == ["a  b", "caf\xe9", "a b"]


# -- what is raised ----------------------------------------------------------------------------------------------------


def silent(wire: Wire) -> bool:
    wire.pause(1.0)
    return False


def silent_within(wire: Wire) -> bool:
    wire.send(head("Content-Length: 9") + b"abc")
    wire.pause(1.0)
    return False


def gone(wire: Wire) -> bool:
    return False


def reset(wire: Wire) -> bool:
    wire.reset()
    return False


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (silent, httpx.ReadTimeout),
        (silent_within, httpx.ReadTimeout),
        (gone, httpx.RemoteProtocolError),
        (reset, httpx.ReadError),
    ],
)
def test_errors_are_httpx_errors(wired: Any, answer: Any, error: type[Exception]) -> None:
    """Whatever the standard library calls it, what is raised is what httpx would raise."""
    base_url = wired.raw(Wires(answer))
    with pytest.raises(httpx.TransportError) as caught:
        wired.clients(base_url, read_seconds=0.2).get().get(base_url)
    kinds = {error, httpx.RemoteProtocolError} if answer is reset else {error}  # a reset may overtake what it resets
    assert type(caught.value) in kinds


def test_a_refused_connection_is_an_error_of_httpx(wired: Any) -> None:
    """Nobody listens: a ConnectError."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(httpx.ConnectError):
        wired.clients(url).get().get(url)


def test_a_request_that_is_no_http_is_not_sent(wired: Any) -> None:
    """A line break in a header begins no second header, and the error does not repeat what stands there."""
    home = wired.front(Answer())
    with pytest.raises(httpx.LocalProtocolError) as caught:
        wired.clients(home.origin).get().get(home.origin, headers={"X-A": "b\r\nX-Secret: s3cr3t"})
    assert "s3cr3t" not in str(caught.value)
    assert home.seen == []


def test_proxies_of_the_environment_are_not_asked(wired: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would connect where nobody checks the address."""
    home, proxy = wired.front(Answer(body=MEDIA)), wired.front(Answer(status=502))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.origin)
    assert wired.session(home.origin).download(get(home.origin), read) == MEDIA
    assert proxy.seen == []


# -- TLS ---------------------------------------------------------------------------------------------------------------


def certificate(folder: Path, name: str) -> Path:
    """A certificate for a name, signed by itself, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + made.public_bytes(serialization.Encoding.PEM)
    path = folder / f"{name}.pem"
    path.write_bytes(text)
    return path


@pytest.fixture
def secure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], tuple[int, list[str]]]]:
    """Starts a TLS server with a certificate that the clients trust: its port, and the names it is asked for."""
    listener = socket.create_server(("127.0.0.1", 0))
    asked: list[str] = []

    def serve(context: ssl.SSLContext) -> None:
        try:
            with listener.accept()[0] as plain, context.wrap_socket(plain, server_side=True) as sock:
                while sock.recv(65536):
                    sock.sendall(WHOLE)
        except OSError:
            return

    def start(pem: Path) -> tuple[int, list[str]]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        context.sni_callback = lambda sock, name, _: asked.append(name or "")
        trusting = ssl.create_default_context(cafile=pem)
        monkeypatch.setattr(client_module, "_tls", lambda: trusting)
        threads.append(threading.Thread(target=serve, args=(context,)))
        threads[-1].start()
        return int(listener.getsockname()[1]), asked

    threads: list[threading.Thread] = []
    yield start
    listener.close()
    for thread in threads:
        thread.join(5)


def test_tls_asks_for_the_name(wired: Any, secure: Any, tmp_path: Path) -> None:
    """The connection goes to the address that was checked, and its certificate must be the name's."""
    port, asked = secure(certificate(tmp_path, "localhost"))
    base_url = f"https://localhost:{port}"
    session = wired.session(base_url)
    assert [session.download(get(base_url), read) for _ in range(2)] == [MEDIA, MEDIA]
    assert asked == ["localhost"]
    session.clients.close()


def test_a_certificate_of_another_name_is_refused(wired: Any, secure: Any, tmp_path: Path) -> None:
    """Who answers at the address without the name's certificate is not asked anything."""
    port, _ = secure(certificate(tmp_path, "other.example"))
    base_url = f"https://localhost:{port}"
    with pytest.raises(Unavailable, match="ConnectError"):
        wired.session(base_url).download(get(base_url), read)
