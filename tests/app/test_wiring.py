"""The configuration reaches the parts that are built from it, and its secrets are hidden on the way."""

from __future__ import annotations

import base64

import pytest

from recvault.app import wiring
from recvault.app.connections import Connections
from recvault.config import SourceSettings, read
from recvault.errors import ConfigError
from recvault.http import Limits
from recvault.log.masking import mask
from recvault.log.meter import Waits
from recvault.providers.telnyx import Telnyx
from recvault.shutdown import Stop
from recvault.testing import Answer, Front
from recvault.transport import Head, Proxy
from recvault.transport import Request as Asked
from recvault.transport.curl import CurlTransport
from recvault.transport.plain import PlainTransport

TEXT = '[archive]\nbucket = "acme"\n[[sources]]\nname = "main"\nprovider = "telnyx"\napi_key = { env = "API_KEY" }\n'


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "KEY0123456789")


class Nobody:
    """A receiver that ignores the answer."""

    def begin(self, head: Head) -> None: ...

    def write(self, piece: memoryview | bytes) -> None: ...


def source(text: str = "") -> SourceSettings:
    return read(TEXT + text, "config.toml").sources[0]


def lines(text: str = "") -> Connections:
    config = read(TEXT + text, "config.toml")
    return wiring.lines(config.sources[0], config.transfer, Stop(), Limits(20, 32), Waits())


def test_exchanges_go_by_libcurl_and_directly_by_default() -> None:
    """Without settings for it, a source uses libcurl and no proxy."""
    made = lines()
    assert isinstance(made.clients.media, CurlTransport)
    assert wiring.proxy(source().proxy) is None


@pytest.mark.parametrize("way", ["curl", "plain"])
def test_a_source_s_connections_know_its_way_and_its_proxy(way: str) -> None:
    """`transport` and `proxy` apply to the connections for media and for lists."""
    with Front(lambda request: Answer(status=418)) as gate:
        clients = lines(f'proxy = "{gate.origin}"\n[transfer]\ntransport = "{way}"\n').clients
        assert isinstance(clients.media, CurlTransport if way == "curl" else PlainTransport)
        head = clients.media.exchange(Asked("GET", "http://media.invalid/1"), Nobody(), lambda: None)
        listed = clients.get().get("http://api.invalid/2")
        clients.close()
    assert (head.status, listed.status_code) == (418, 418)
    assert [each.path for each in gate.seen] == ["http://media.invalid/1", "http://api.invalid/2"]


def test_a_proxy_s_password_is_in_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once read, a proxy's URL, password and header are masked in every text."""
    monkeypatch.setenv("GATE", "http://opera%40tor:gate%2Fpassword-1@gate.example:3128")
    proxy = wiring.proxy(source('proxy = { env = "GATE" }\n').proxy)
    assert proxy == Proxy("http://gate.example:3128", "opera@tor", "gate/password-1")
    header = base64.b64encode(b"opera@tor:gate/password-1").decode()
    for text in ("gate/password-1", "gate%2Fpassword-1", "http://opera%40tor:gate%2Fpassword-1@gate", header):
        assert "password-1" not in mask(text) and header not in mask(text)
    monkeypatch.setenv("GATE", "http://operator:%67ate-%70assword-2@gate.example:3128")  # unnecessary escapes
    assert wiring.proxy(source('proxy = { env = "GATE" }\n').proxy) is not None
    assert mask("by http://operator:%67ate-%70assword-2@gate.example:3128 alone") == "by [hidden] alone"
    assert mask("gate.example:3128") == "gate.example:3128"


def test_a_proxy_that_cannot_be_had_is_told() -> None:
    """If its proxy's secret is missing, a source is a configuration error, never requested directly."""
    with pytest.raises(ConfigError, match="main: proxy: the environment variable GATE_MISSING is not set"):
        lines('proxy = { env = "GATE_MISSING" }\n')


def test_the_monitor_is_told_through_its_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """`ping_url` and `ping_proxy` reach the ping; its secret is read at each ping, and a missing one is no error."""
    monkeypatch.setenv("GATE", "http://operator:first-password@gate.example:3128")
    daemon = read(
        '[daemon]\nping_url = "https://monitor.example/key"\nping_proxy = { env = "GATE" }\n' + TEXT, ""
    ).daemon
    ping = wiring.ping(daemon)
    assert ping.url == "https://monitor.example/key"
    assert ping.proxy() == Proxy("http://gate.example:3128", "operator", "first-password")
    assert mask("first-password") == "[hidden]"
    monkeypatch.delenv("GATE")
    with pytest.raises(ConfigError, match="daemon: ping_proxy"):
        ping.proxy()
    assert wiring.ping(read(TEXT, "").daemon).start() is True


@pytest.mark.parametrize(("known", "expected"), [({"wav": (16_000, 32_000)}, 16_000), ({"mp3": (4_000, 4_000)}, None)])
def test_media_are_held_against_the_providers_rate(
    monkeypatch: pytest.MonkeyPatch, known: dict[str, tuple[int, int]], expected: int | None
) -> None:
    """The WAV rate of a provider's class is used for the proof; without one nothing is checked by it."""
    monkeypatch.setattr(Telnyx, "bytes_per_second", known)
    assert lines().proof.wav_rate == expected


@pytest.mark.parametrize(
    ("processes", "least", "places"), [(1, 0, 16), (2, 0, 96), (4, 0, 192), (1, 96, 96), (2, 96, 192)]
)
def test_other_processes_have_jobs_at_hand(processes: int, least: int, places: int) -> None:
    """Threads of this process get what they run; other processes queue some, more if sending takes long."""
    assert wiring.places(16, processes, least) == places
