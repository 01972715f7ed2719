"""Pings to a monitor, whose problems never affect the work."""

from __future__ import annotations

import base64
import io
import json
import socket
import threading
import time
from typing import Any

import pytest

from recvault import __version__
from recvault.errors import ConfigError
from recvault.http import Ping
from recvault.log.lines import configure
from recvault.log.masking import hide
from recvault.simulator.exchange import Request
from recvault.simulator.wire import Wire
from recvault.testing import Answer
from recvault.transport import Proxy

KEY = "/6b7c1b9e-0000-4000-8000-000000000000"


@pytest.fixture
def lines() -> io.StringIO:
    """Return the logged lines, as JSON."""
    stream = io.StringIO()
    configure(format="json", verbosity=1, stream=stream)
    return stream


def events(lines: io.StringIO) -> list[tuple[str, str, int]]:
    """Return level, event and number of failures of each line."""
    told = [json.loads(line) for line in lines.getvalue().splitlines()]
    return [(each["level"], each["event"], each["failures"]) for each in told]


def trouble(lines: io.StringIO) -> list[str]:
    """Return the error of each failure."""
    events = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [each["trouble"] for each in events] == [each["error"] for each in events]  # the old key, for one release
    return [each["error"] for each in events]


def test_what_a_monitor_is_told(wired: Any) -> None:
    """Start, success and failure are sent to the URL and its suffixes, with a text."""
    home = wired.front()
    ping = Ping(home.origin + KEY)
    assert [ping.start(), ping.success(), ping.success("3 archived"), ping.fail("é: no")] == [True] * 4
    assert [(each.method, each.path, each.body.decode()) for each in home.seen] == [
        ("POST", f"{KEY}/start", ""),
        ("POST", KEY, ""),
        ("POST", KEY, "3 archived"),
        ("POST", f"{KEY}/fail", "é: no"),
    ]
    assert {each.headers["user-agent"] for each in home.seen} == {f"recvault/{__version__}"}
    assert {each.headers["content-type"] for each in home.seen} == {"text/plain; charset=utf-8"}


def test_what_is_told_is_short_and_redacted(wired: Any) -> None:
    """A ping has no secret or phone number, and at most 10 kB."""
    hide("s3cret-of-a-ping")
    home = wired.front()
    ping = Ping(home.origin + KEY)
    assert ping.fail("s3cret-of-a-ping and +14155550100 \ud800")
    assert ping.fail("a" + "é" * 9000)
    assert home.seen[0].body == b"[hidden] and +[number] \\ud800"
    assert home.seen[1].body == ("a" + "é" * 4999).encode()


def test_nobody_to_tell() -> None:
    """Without a URL nothing is sent or reported."""
    assert [Ping("").start(), Ping("").success("a"), Ping("").fail("b")] == [True] * 3


@pytest.mark.parametrize("status", [301, 307, 400, 404, 429, 500])
def test_a_monitor_that_refuses(wired: Any, lines: io.StringIO, status: int) -> None:
    """Any status but a success is a failed ping; a redirect is not followed, so that the key does not leak."""
    other = wired.front()
    home = wired.front(Answer(status=status, headers=(("Location", other.origin + KEY),)))
    assert Ping(home.origin + KEY).success() is False
    assert other.seen == []
    assert events(lines) == [("warning", "ping.failed", 1)]
    assert f"status {status}" in lines.getvalue()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://127.0.0.1:1", "cannot be reached (Connection refused)"),
        ("http://no-such-host.invalid", "cannot be resolved"),
        ("http://[::1", "InvalidURL"),
        ("ftp://127.0.0.1", "cannot be reached: the request is not valid HTTP"),
        ("https://a b", "cannot be resolved"),
        ("nonsense", "cannot be reached: the request is not valid HTTP"),
    ],
)
def test_a_monitor_that_is_not_there(lines: io.StringIO, url: str, told: str) -> None:
    """Any unusable URL is logged with its cause, and never raises."""
    assert Ping(url + KEY, seconds=5.0).start() is False
    assert events(lines) == [("warning", "ping.failed", 1)]
    assert trouble(lines) == [told]


def closes(wire: Wire, request: Request) -> bool:
    return False


def chatters(wire: Wire, request: Request) -> bool:
    wire.send(b"hello\r\n\r\n")
    return False


def two_lengths(wire: Wire, request: Request) -> bool:
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 1\r\n\r\n")
    return False


def nowhere(wire: Wire, request: Request) -> bool:
    wire.send(b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\nContent-Length: 0\r\n\r\n")
    return True


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (closes, "closed the connection before its answer was complete"),
        (chatters, "did not answer in HTTP"),
        (two_lengths, "did not answer in HTTP"),
        (nowhere, "RemoteProtocolError"),
    ],
)
def test_a_monitor_that_breaks_off(wired: Any, lines: io.StringIO, answer: Any, told: str) -> None:
    """A broken answer is logged as such, and never raises."""
    assert Ping(wired.raw(answer) + KEY, seconds=5.0).success() is False
    assert [each.partition(" (")[0] for each in trouble(lines)] == [told]


# -- through a proxy ---------------------------------------------------------------------------------------------------


def test_a_monitor_beyond_a_proxy(wired: Any) -> None:
    """Pings go through the proxy with its credentials, for a name that only it resolves; each ping reads its URL."""
    gate, other = wired.front(), wired.front()
    proxies = [Proxy(gate.origin, "operator", "password-1"), Proxy(other.origin, "operator", "password-2")]
    ping = Ping("http://monitor.invalid" + KEY, proxy=lambda: proxies.pop(0))
    assert [ping.start(), ping.success()] == [True, True]
    for front, path, password in ((gate, f"{KEY}/start", "password-1"), (other, KEY, "password-2")):
        (seen,) = front.seen
        assert seen.path == f"http://monitor.invalid{path}"
        told = base64.b64decode(seen.headers["proxy-authorization"].removeprefix("Basic ")).decode()
        assert told == f"operator:{password}"


def refuses(wire: Wire, request: Request) -> bool:
    wire.send(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
    return False


@pytest.mark.parametrize("url", ["http://monitor.invalid", "https://monitor.invalid"])
def test_a_proxy_that_refuses(wired: Any, lines: io.StringIO, url: str) -> None:
    """A proxy's refusal is logged with its status, without password or key."""
    ping = Ping(url + KEY, proxy=lambda: Proxy(wired.raw(refuses), "operator", "password-1"))
    assert ping.start() is False
    assert trouble(lines) == ["cannot be reached through the proxy (it answered 407)"]
    assert "password-1" not in lines.getvalue() + repr(ping) and KEY not in lines.getvalue()


def test_a_proxy_that_is_not_there(lines: io.StringIO) -> None:
    """If the proxy is unreachable, nothing is sent directly."""
    assert Ping("http://monitor.invalid" + KEY, proxy=lambda: Proxy("http://127.0.0.1:1")).start() is False
    assert events(lines) == [("warning", "ping.failed", 1)]
    assert trouble(lines)[0].startswith("cannot be reached")


def test_a_proxy_that_hangs_holds_up_nothing(wired: Any) -> None:
    """A hanging proxy has the same deadline as a monitor."""
    gate = wired.raw(silent)
    begun = time.monotonic()
    assert Ping("https://monitor.invalid" + KEY, seconds=0.3, proxy=lambda: Proxy(gate)).success() is False
    assert time.monotonic() - begun < 10


def test_a_proxy_whose_secret_is_missing(lines: io.StringIO) -> None:
    """A missing secret of the proxy fails the ping with its place, not the work."""

    def missing() -> Proxy:
        raise ConfigError(
            "daemon: ping_proxy: the environment variable GATE is not set", "set it, or use another variable"
        )

    assert Ping("http://monitor.invalid" + KEY, proxy=missing).start() is False
    assert trouble(lines) == ["daemon: ping_proxy: the environment variable GATE is not set"]


# -- times -------------------------------------------------------------------------------------------------------------


def test_a_row_of_failures_is_told_once_an_hour(wired: Any, lines: io.StringIO) -> None:
    """Of a series of failures the first, one an hour and the end are logged; the next series starts over."""
    now, answers = [0.0], [Answer(status=500)]
    ping = Ping(wired.front(lambda request: answers[0]).origin + KEY, clock=lambda: now[0])
    for moment in (0.0, 10.0, 3599.0, 3600.0, 3700.0):
        now[0] = moment
        assert ping.start() is False
    answers[0] = Answer()
    assert [ping.success(), ping.success()] == [True, True]
    answers[0] = Answer(status=500)
    assert ping.fail("no") is False
    assert events(lines) == [
        ("warning", "ping.failed", 1),
        ("warning", "ping.failed", 4),
        ("info", "ping.recovered", 5),
        ("warning", "ping.failed", 1),
    ]


def test_the_address_is_no_ones_to_know(wired: Any, lines: io.StringIO) -> None:
    """Logs and the ping's repr contain only the URL's host."""
    ping = Ping(f"http://user:password@{wired.front(Answer(status=500)).host}{KEY}")
    ping.fail("no")
    ping.clock = lambda: float("inf")
    ping.url = f"http://user:password@127.0.0.1:1{KEY}"
    ping.fail("no")
    told = lines.getvalue() + repr(ping)
    assert len(events(lines)) == 2
    assert '"host": "127.0.0.1"' in told
    assert not any(each in told for each in (KEY, "password", "/fail"))


def drips(wire: Wire, request: Request) -> bool:
    """An answer's head, byte by byte, without end."""
    wire.send(b"HTTP/1.1 200 OK\r\nX: ")
    while not wire.stopping.wait(0.02):
        wire.send(b"a")
    return False


def silent(wire: Wire, request: Request) -> bool:
    wire.stopping.wait(30)
    return False


@pytest.mark.parametrize("answer", [drips, silent])
def test_a_monitor_that_hangs_holds_up_nothing(wired: Any, answer: Any) -> None:
    """A whole ping has a deadline, however the monitor delays it."""
    begun = time.monotonic()
    assert Ping(wired.raw(answer) + KEY, seconds=0.3).success() is False
    assert time.monotonic() - begun < 10


def test_an_endless_answer_is_not_read(wired: Any) -> None:
    """Only the status counts; an endless body is not read."""

    def endless(wire: Wire, request: Request) -> bool:
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        wire.stopping.wait(30)
        return False

    assert Ping(wired.raw(endless) + KEY, seconds=20.0).success() is True


def test_a_name_that_resolves_slowly_holds_up_nothing(lines: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ping has a deadline although the resolver has none."""
    answered = threading.Event()

    def slow(*_: Any, **__: Any) -> list[Any]:
        answered.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    begun = time.monotonic()
    assert Ping("http://monitor.example" + KEY, seconds=0.2).start() is False
    assert time.monotonic() - begun < 10
    answered.set()
    assert trouble(lines) == ["did not answer in time"]


def test_each_address_of_a_name_is_tried(wired: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A monitor with one dead address is still reached."""
    home = wired.front()
    port = int(home.origin.rpartition(":")[2])
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in ("127.0.0.2", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert Ping(f"http://monitor.example:{port}{KEY}").start() is True
    assert len(home.seen) == 1
