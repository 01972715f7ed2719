"""The lines of `check` about transports: libcurl or httpx, direct or through each source's proxy."""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from recvault import check
from recvault.check import Probe, machine, ways
from recvault.simulator import Simulator
from recvault.simulator.exchange import Request
from recvault.simulator.wire import Server, Wire
from recvault.testing import Answer, Front
from recvault.testing.front import forward
from rig import Rig
from strict_s3 import StrictS3

VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
USER, PASSWORD = "operator", "gate-password-1"


@pytest.fixture
def small(tmp_path: Path, simulator: Simulator, strict_s3: StrictS3) -> Rig:
    """One source, one strict bucket."""
    rig = Rig(root=tmp_path, simulator=simulator, s3_url=strict_s3.url, bucket=strict_s3.bucket().name)
    rig.add_source("voice", "twilio", simulator.add_account("twilio"))
    return rig


def offline(rig: Rig) -> dict[str, Probe]:
    with rig.runtime() as runtime:
        return {probe.name: probe for probe in check.offline(runtime)}


def online(rig: Rig) -> dict[str, Probe]:
    """The lines about sources and their proxies."""
    with rig.runtime() as runtime:
        found = [*ways.proxied(runtime), *check.sources.answers(runtime)]
    return {probe.name: probe for probe in found}


# -- by what -----------------------------------------------------------------------------------------------------------


def test_libcurl_is_told_with_its_version(small: Rig) -> None:
    """The line states the versions of libcurl and of the TLS library, for bug reports."""
    pycurl = pytest.importorskip("pycurl")
    line = offline(small)["transport"]
    assert (line.ok, line.hint) == (True, "")
    assert line.detail.startswith("curl: ")
    assert f"libcurl/{pycurl.version_info()[1]}" in line.detail and "SSL/" in line.detail


def test_plain_as_configured_is_no_notice(small: Rig) -> None:
    """There is no notice if plain was configured."""
    small.transfer = {"transport": "plain"}
    line = offline(small)["transport"]
    assert (line.ok, line.hint) == (True, "")
    assert line.detail.startswith("plain: ")


@pytest.mark.parametrize("way", ["curl", "plain"])
def test_where_pycurl_cannot_be_imported(small: Rig, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """Without pycurl a notice says that plain is used and why; nothing fails. There is none if plain was configured."""
    monkeypatch.setitem(sys.modules, "pycurl", None)
    small.transfer = {"transport": way}
    line = offline(small)["transport"]
    assert line.ok and line.detail.startswith("plain: ")
    assert (way == "curl") is ("pycurl cannot be imported: " in line.detail) is ("pip install pycurl" in line.hint)
    assert online(small)["source voice: list"].ok


# -- proxies of others -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [each for name in VARIABLES for each in (name, name.lower())])
def test_a_proxy_of_the_environment_is_told_not_used(small: Rig, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A proxy in the environment is a notice with the variable (not its value), the direct sources, and the key."""
    monkeypatch.setenv(name, f"http://{USER}:{PASSWORD}@gate.example:3128")
    found = offline(small)
    line = found["proxies"]
    assert (line.ok, line.exit_code) == (True, 0)
    assert line.detail == f"{name} is set in the environment, but used only for the bucket: source voice goes directly"
    assert line.hint == "if providers are reachable only through a proxy, set proxy in [[sources]]"
    assert PASSWORD not in repr(found)
    assert online(small)["source voice: list"].ok  # nothing is requested through it


def test_only_who_goes_directly_is_named(small: Rig, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources with a proxy of their own are not listed; if all have one there is no notice."""
    monkeypatch.setenv("HTTPS_PROXY", "http://gate.example:3128")
    monkeypatch.setenv("http_proxy", "http://gate.example:3128")
    small.add_source("other", "telnyx", simulator.add_account("telnyx"), proxy="http://gate.example:3128")
    small.daemon = {"ping_url": "https://monitor.example/key"}
    line = offline(small)["proxies"]
    assert "HTTPS_PROXY, http_proxy are set in the environment, but used only for the bucket" in line.detail
    assert line.detail.endswith("source voice, daemon.ping_url go directly")
    assert line.hint.endswith("set proxy in [[sources]] and daemon.ping_proxy")
    small.sources[0]["proxy"] = "http://gate.example:3128"
    assert offline(small)["proxies"].hint.endswith("set daemon.ping_proxy")
    small.daemon["ping_proxy"] = "http://gate.example:3128"
    small.notify = {"webhook": "https://hooks.example/key", "webhook_secret": {"env": "HOOK"}}
    assert offline(small)["proxies"].detail.endswith("notify.webhook goes directly")
    assert offline(small)["proxies"].hint.endswith("set notify.webhook_proxy")
    small.notify["webhook_proxy"] = "http://gate.example:3128"
    assert "proxies" not in offline(small)


@pytest.mark.parametrize("value", [None, ""])
def test_an_environment_without_a_proxy_is_no_line(
    small: Rig, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    """An unset and an empty variable give no line."""
    if value is not None:
        monkeypatch.setenv("HTTPS_PROXY", value)
    assert "proxies" not in offline(small)


# -- a source's own ----------------------------------------------------------------------------------------------------


class Gate(Front):
    """A proxy for plain http that requires user and password."""

    def __init__(self, upstream: str) -> None:
        onward = forward(upstream, {})

        def answering(request: Request) -> Answer:
            assert request.path.startswith(f"{upstream}/")
            told = request.headers.get("proxy-authorization", "").removeprefix("Basic ")
            if base64.b64decode(told).decode() != f"{USER}:{PASSWORD}":
                return Answer(status=407, headers=(("Proxy-Authenticate", 'Basic realm="gate"'),))
            headers = {name: value for name, value in request.headers.items() if not name.startswith("proxy-")}
            path = request.path.removeprefix(upstream)
            return onward(Request(request.method, path, request.query, headers, request.body))

        super().__init__(answering)

    def url(self, password: str = PASSWORD) -> str:
        return f"http://{USER}:{password}@{self.host}"


def put_secret(rig: Rig, value: str) -> None:
    """Let the rig's source read its proxy from a file."""
    place = rig.root / "proxy.secret"
    place.write_text(value)
    place.chmod(0o600)
    rig.sources[0]["proxy"] = {"file": str(place)}


WAYS = pytest.mark.parametrize("way", ["curl", "plain"])


@WAYS
def test_a_proxy_leads_to_its_provider(small: Rig, simulator: Simulator, way: str) -> None:
    """Media and lists go through the proxy with the secret's user and password; no line contains either."""
    small.transfer = {"transport": way}
    with Gate(simulator.base_url) as gate:
        put_secret(small, gate.url())
        found = online(small)
    assert [(name, probe.ok) for name, probe in found.items()] == [
        ("source voice: proxy", True),
        ("source voice: list", True),
    ]
    assert found["source voice: proxy"].detail.startswith("it reaches 127.0.0.1, which answered ")
    assert PASSWORD not in repr(found)
    first, *rest = gate.seen
    assert first.path == f"{simulator.base_url}/" and rest
    assert "authorization" not in first.headers  # the proxy's probe sends no credentials


@WAYS
def test_a_proxy_that_refuses_the_password(small: Rig, simulator: Simulator, way: str) -> None:
    """A 407 is reported as the proxy's, with what to check; the provider is not requested directly."""
    small.transfer = {"transport": way}
    with Gate(simulator.base_url) as gate:
        put_secret(small, gate.url("another-password"))
        found = online(small)
    line = found["source voice: proxy"]
    assert (line.ok, line.exit_code) == (False, 75)
    assert line.detail == "127.0.0.1 cannot be reached through the proxy (it answered 407)"
    assert "for 407 its user and password" in line.hint
    assert not found["source voice: list"].ok
    assert "another-password" not in repr(found)


@contextmanager
def raw(answer: bytes) -> Iterator[str]:
    """Start a proxy that gives one answer; return its origin."""

    def say(wire: Wire, request: Request) -> bool:
        wire.send(answer)
        return False

    server = Server(0, say)
    server.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.stop()


@WAYS
@pytest.mark.parametrize("status", [407, 403, 502])
def test_a_proxy_that_refuses_a_tunnel(small: Rig, way: str, status: int) -> None:
    """If a proxy refuses the tunnel for https, the line has its status."""
    small.transfer = {"transport": way}
    small.sources[0]["base_url"] = "https://127.0.0.1:1"
    with raw(f"HTTP/1.1 {status} Refused\r\nContent-Length: 0\r\n\r\n".encode()) as gate:
        small.sources[0]["proxy"] = gate
        with small.runtime() as runtime:
            (line,) = ways.proxied(runtime)
    assert (line.ok, line.exit_code) == (False, 75)
    assert line.detail == f"127.0.0.1 cannot be reached through the proxy (it answered {status})"


@WAYS
def test_a_proxy_that_is_not_there(small: Rig, way: str) -> None:
    """An unreachable proxy is reported as such, and nothing is requested directly."""
    small.transfer = {"transport": way}
    small.sources[0]["proxy"] = "http://127.0.0.1:1"
    found = online(small)
    assert {name: probe.exit_code for name, probe in found.items()} == {
        "source voice: proxy": 75,
        "source voice: list": 75,
    }
    assert "cannot be reached through the proxy" in found["source voice: proxy"].detail
    assert "check the source's proxy" in found["source voice: proxy"].hint


def test_a_proxy_whose_secret_is_missing(small: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing secret of a proxy is a configuration error with its place, even offline."""
    monkeypatch.delenv("GATE", raising=False)
    small.sources[0]["proxy"] = {"env": "GATE"}
    line = offline(small)["source voice: settings"]
    assert (line.ok, line.exit_code) == (False, 78)
    assert line.detail == "voice: proxy: the environment variable GATE is not set"


def test_a_source_without_a_proxy_has_no_line_of_it(small: Rig) -> None:
    """A source without a proxy has no line about one."""
    assert list(online(small)) == ["source voice: list"]


def test_check_tries_proxies_before_what_lies_beyond(small: Rig) -> None:
    """A proxy's line comes before its source's list, whose failure it explains."""
    small.sources[0]["proxy"] = "http://127.0.0.1:1"
    with small.runtime() as runtime:
        assert next(check.online(runtime)).name == "source voice: proxy"


# -- the monitor's -----------------------------------------------------------------------------------------------------

KEY = "/6b7c1b9e-0000-4000-8000-000000000000"


def monitor(rig: Rig, proxy: object) -> Probe:
    """Return the line about a monitor that only its proxy can resolve."""
    rig.daemon = {"metrics_listen": "", "ping_url": f"http://monitor.invalid{KEY}", "ping_proxy": proxy}
    with rig.runtime() as runtime:
        (line,) = machine.daemon(runtime)
    return line


@pytest.mark.parametrize("status", [200, 404])
def test_a_monitor_answers_through_its_proxy(small: Rig, status: int) -> None:
    """Its name need not resolve here; only its front page is requested, without the key, so that no ping counts."""
    with Front(lambda request: Answer(status=status)) as gate:
        line = monitor(small, gate.origin)
    assert (line.name, line.ok, line.detail) == ("daemon: ping_proxy", True, "monitor.invalid answers through it")
    assert [(each.method, each.path) for each in gate.seen] == [("GET", "http://monitor.invalid/")]


def test_a_monitor_s_proxy_that_refuses(small: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line says that the proxy refuses, and what to check; a missing secret is a configuration error."""
    with Front(lambda request: Answer(status=407)) as gate:
        monkeypatch.setenv("GATE", f"http://{USER}:{PASSWORD}@{gate.host}")
        line = monitor(small, {"env": "GATE"})
    assert (line.ok, line.exit_code) == (False, 75)
    assert line.detail == "monitor.invalid: cannot be reached through the proxy (it answered 407)"
    assert "daemon.ping_proxy" in line.hint and PASSWORD not in repr(line) and KEY not in repr(line)
    monkeypatch.delenv("GATE")
    line = monitor(small, {"env": "GATE"})
    assert (line.exit_code, line.detail) == (78, "daemon: ping_proxy: the environment variable GATE is not set")
