"""The monitoring HTTP server, over real sockets, with slow, many or hostile clients."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families

from recvault.daemon import endpoint as module
from recvault.daemon.endpoint import MOST_CONNECTIONS, Endpoint, EndpointAnswer
from recvault.errors import ConfigError
from recvault.monitoring.metrics import CONTENT_TYPE, NAMES, Metrics

PATIENCE = 20.0  # for what must happen; normally much less


def fails() -> EndpointAnswer:
    raise ValueError("the secret reason")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    metrics = Metrics()
    metrics.reloaded(True, datetime(2026, 11, 2, tzinfo=UTC))
    routes: dict[str, Callable[[], EndpointAnswer]] = {
        "/metrics": lambda: EndpointAnswer(200, CONTENT_TYPE, metrics.text()),
        "/healthz": lambda: EndpointAnswer(503, "application/json", b"{}"),
        "/broken": fails,
    }
    with closing(Endpoint("127.0.0.1:0", routes)) as running:
        yield running


def ask(port: int, path: str, method: str = "GET", host: str = "127.0.0.1") -> tuple[http.client.HTTPResponse, bytes]:
    with closing(http.client.HTTPConnection(host, port, timeout=PATIENCE)) as connection:
        connection.request(method, path)
        response = connection.getresponse()
        return response, response.read()


def connected(port: int, sent: bytes = b"") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    client.sendall(sent)
    return client


def everything(client: socket.socket) -> bytes:
    """Return what the server sends until it closes or resets the connection."""
    received = bytearray()
    try:
        while some := client.recv(65536):
            received += some
    except ConnectionResetError:
        pass
    return bytes(received)


def test_a_scrape(endpoint: Endpoint) -> None:
    """A scrape parses, has the right content type, and contains every family."""
    response, body = ask(endpoint.port, "/metrics")
    assert (response.status, response.headers["Content-Type"]) == (200, CONTENT_TYPE)
    shown = {family.name: family for family in text_string_to_metric_families(body.decode())}
    assert {name.removesuffix("_total") for name in NAMES} <= set(shown)
    assert [name for name, family in shown.items() if not family.documentation] == []


def test_head_is_get_without_a_body(endpoint: Endpoint) -> None:
    """HEAD answers with status, type and length only."""
    with connected(endpoint.port, b"HEAD /healthz?verbose=1 HTTP/1.1\r\n\r\n") as client:
        head, _, body = everything(client).partition(b"\r\n\r\n")
    assert head.split()[1] == b"503"
    assert {b"Content-Type: application/json", b"Content-Length: 2"} <= set(head.split(b"\r\n"))
    assert body == b""


def test_an_unknown_path_names_the_routes(endpoint: Endpoint) -> None:
    """A 404 lists the routes."""
    response, body = ask(endpoint.port, "/")
    assert (response.status, body) == (404, b"not found; available: /metrics, /healthz, /broken\n")


@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS", "TRACE"])
def test_nothing_but_asking(endpoint: Endpoint, method: str) -> None:
    """Other methods are refused, and requests from other sites' pages are not allowed."""
    response, body = ask(endpoint.port, "/metrics", method)
    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")
    assert body == b"only GET and HEAD are served here\n"
    assert "Access-Control-Allow-Origin" not in response.headers


def test_a_route_that_raises(
    endpoint: Endpoint, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """If a route raises, the client gets an error, the log the reason, and the next request is served."""
    response, body = ask(endpoint.port, "/broken")
    assert (response.status, body) == (500, b"this could not be answered; the log says why\n")
    assert "endpoint.failed" in caplog.text
    assert "the secret reason" in caplog.text
    assert ask(endpoint.port, "/metrics")[0].status == 200
    assert "127.0.0.1" not in capfd.readouterr().err  # http.server's own request log


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(b"GET /" + 70_000 * b"a" + b" HTTP/1.1\r\n\r\n", b"431", id="a long line"),
        pytest.param(b"GET / HTTP/1.1\r\n" + 9000 * b"X-A: b\r\n" + b"\r\n", b"431", id="many headers"),
        pytest.param(b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", b"413", id="a large body"),
        pytest.param(b"\x16\x03\x01 hello there you\r\n\r\n", b"400", id="no HTTP"),
    ],
)
def test_what_is_no_request(endpoint: Endpoint, sent: bytes, status: bytes) -> None:
    """An invalid or overlong request is refused in plain text, without Python's name and version."""
    with connected(endpoint.port, sent) as client:
        answer = everything(client)
    assert answer.split()[1:2] == [status]
    assert b"<html" not in answer.lower()
    assert b"Python" not in answer


@pytest.mark.parametrize("begun", [b"", b"GET /metrics HT"], ids=["silent", "in the middle of a request"])
def test_slow_clients_block_nobody(endpoint: Endpoint, begun: bytes) -> None:
    """A scrape is answered while as many slow clients as allowed are connected."""
    with ExitStack() as stack:
        for _ in range(MOST_CONNECTIONS + 20):
            stack.enter_context(connected(endpoint.port, begun))
        assert ask(endpoint.port, "/metrics")[0].status == 200


def test_an_answer_that_takes_long_does_not_delay_another() -> None:
    """A slow route does not delay another."""
    entered, leave = threading.Event(), threading.Event()

    def slow() -> EndpointAnswer:
        entered.set()
        leave.wait(PATIENCE)
        return EndpointAnswer(200, "text/plain", b"late")

    routes: dict[str, Callable[[], EndpointAnswer]] = {
        "/slow": slow,
        "/": lambda: EndpointAnswer(200, "text/plain", b"here"),
    }
    with closing(Endpoint("127.0.0.1:0", routes)) as running, ExitStack() as stack:
        waiting = stack.enter_context(connected(running.port, b"GET /slow HTTP/1.0\r\n\r\n"))
        assert entered.wait(PATIENCE)
        assert ask(running.port, "/")[1] == b"here"
        leave.set()
        assert everything(waiting).endswith(b"late")


@pytest.mark.parametrize("drips", [False, True], ids=["silent", "never ends"])
def test_a_client_cannot_stay(monkeypatch: pytest.MonkeyPatch, drips: bool) -> None:
    """A silent client and one that never ends its request are disconnected."""
    assert (module._SILENT_SECONDS, module._LONGEST_SECONDS) == (3, 10.0)
    monkeypatch.setattr(module, "_SILENT_SECONDS", 3600 if drips else 1)
    monkeypatch.setattr(module, "_LONGEST_SECONDS", 0.05 if drips else 3600.0)
    with closing(Endpoint("127.0.0.1:0", {})) as running, connected(running.port, b"GET ") as client:
        assert client.recv(65536) == b""


def serving() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(("recvault-endpoint", "waitress"))]


def test_closing_frees_the_port_at_once() -> None:
    """Closing ends the threads, disconnects silent clients, and frees the port."""
    before = serving()
    running = Endpoint("127.0.0.1:0", {"/": lambda: EndpointAnswer(200, "text/plain", b"first")})
    port = running.port
    with connected(port) as silent:
        assert ask(port, "/")[1] == b"first"
        running.close()
        assert silent.recv(65536) == b""
    assert serving() == before
    with closing(Endpoint(f"127.0.0.1:{port}", {"/": lambda: EndpointAnswer(200, "text/plain", b"second")})) as again:
        assert ask(again.port, "/")[1] == b"second"


def test_closing_lets_an_answer_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing waits a moment for an answer in progress, which still arrives."""
    monkeypatch.setattr(module, "_CLOSING_SECONDS", PATIENCE)
    entered, leave = threading.Event(), threading.Event()

    def slow() -> EndpointAnswer:
        entered.set()
        leave.wait(PATIENCE)
        return EndpointAnswer(200, "text/plain", b"late")

    running = Endpoint("127.0.0.1:0", {"/": slow})
    with connected(running.port, b"GET / HTTP/1.0\r\n\r\n") as client:
        assert entered.wait(PATIENCE)
        closes = threading.Thread(target=running.close)
        closes.start()
        closes.join(0.5)
        assert closes.is_alive()
        leave.set()
        closes.join(PATIENCE)
        assert everything(client).endswith(b"late")


@pytest.mark.parametrize("listen", ["[::1]:0", "localhost:0"])
def test_other_hosts(listen: str) -> None:
    """It listens on IPv6 in brackets, and on IPv4 for a name that has both."""
    host = "::1" if "[" in listen else "127.0.0.1"
    try:
        running = Endpoint(listen, {"/": lambda: EndpointAnswer(200, "text/plain", b"here")})
    except ConfigError:
        if host != "::1" or can_bind(host):
            raise
        pytest.skip("this machine has no IPv6")
    with closing(running):
        assert ask(running.port, "/", host=host)[1] == b"here"


def can_bind(host: str) -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True


@pytest.mark.parametrize(
    ("listen", "words"),
    [
        ("203.0.113.7:0", "this machine does not have that address"),
        ("no-such-host.invalid:9464", "set a host and port of this machine"),
    ],
)
def test_where_nothing_can_listen(listen: str, words: str) -> None:
    """If it cannot listen, the error names the setting, the address and what to do."""
    with pytest.raises(ConfigError) as caught:
        Endpoint(listen, {})
    assert str(caught.value).startswith(f"daemon.metrics_listen: nothing can listen on {listen}: ")
    assert words in str(caught.value)


def test_a_port_that_is_taken(endpoint: Endpoint) -> None:
    """A second daemon never shares the first one's port."""
    with pytest.raises(ConfigError) as caught:
        Endpoint(f"127.0.0.1:{endpoint.port}", {})
    assert "another program listens there" in str(caught.value)
