"""Tests of the network path: libcurl or httpx, direct or through a proxy; and whether each proxy reaches its
provider."""

from __future__ import annotations

import os
from collections.abc import Iterator
from urllib.parse import urlsplit

from recvault.app.runtime import Runtime
from recvault.check.probe import Notice, Probe, probe
from recvault.config import Config, SourceSettings
from recvault.http.exchange_errors import Failures
from recvault.transport import CURL, Enough, Head, Request, curl_missing, curl_version

_OF_OTHERS = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")  # also in lower case, as curl and Python read them


def ways(runtime: Runtime) -> Iterator[Probe]:
    """Test what transfers media; name proxy variables that recvault ignores."""
    yield probe("transport", _carried, runtime.settings.transfer.transport)
    named = [name for each in _OF_OTHERS for name in (each, each.lower()) if os.environ.get(name)]
    if named and (keys := _direct(runtime.settings)):
        yield probe("proxies", _ignored, named, keys)


def proxied(runtime: Runtime) -> Iterator[Probe]:
    """Test that each source's proxy reaches its provider."""
    for source in runtime.settings.sources:
        if source.proxy is not None:
            yield probe(f"source {source.name}: proxy", _leads, runtime, source)


def _carried(way: str) -> str | Notice:
    if way != CURL:
        return f"{way}: httpx transfers media, as configured by transfer.transport"
    if missing := curl_missing():
        return Notice(
            f"plain: httpx transfers media, which is slower, because pycurl cannot be imported: {missing}",
            'pip install pycurl, or set transfer.transport = "plain"',
        )
    return f"curl: {curl_version()}"


def _direct(settings: Config) -> dict[str, list[str]]:
    """Return what is reached without a proxy, by the key that would set one."""
    found = {"proxy in [[sources]]": [f"source {source.name}" for source in settings.sources if source.proxy is None]}
    if settings.daemon.ping_url and settings.daemon.ping_proxy is None:
        found["daemon.ping_proxy"] = ["daemon.ping_url"]
    if settings.notify.webhook and settings.notify.webhook_proxy is None:
        found["notify.webhook_proxy"] = ["notify.webhook"]
    return {key: names for key, names in found.items() if names}


def _ignored(named: list[str], keys: dict[str, list[str]]) -> Notice:
    """Name the variables, without their values, which may contain a password."""
    direct = [name for names in keys.values() for name in names]
    return Notice(
        f"{', '.join(named)} {'is' if len(named) == 1 else 'are'} set in the environment, but used only for the "
        "bucket: "
        f"{', '.join(direct)} {'goes' if len(direct) == 1 else 'go'} directly",
        f"if providers are reachable only through a proxy, set {' and '.join(keys)}",
    )


class _Answered:
    """A receiver that needs only a status."""

    status = 0

    def begin(self, head: Head) -> None:
        self.status = head.status
        raise Enough

    def write(self, piece: memoryview | bytes) -> None:
        """Ignore a body."""


def _leads(runtime: Runtime, source: SourceSettings) -> str:
    """Send a request without credentials; any answer counts."""
    lines = runtime.lines(source.name)
    url, answered = lines.provider.base_url, _Answered()
    host = urlsplit(url).hostname or ""
    with Failures(host):
        lines.clients.media.exchange(Request("GET", f"{url}/"), answered, runtime.stop.check)
    return f"it reaches {host}, which answered {answered.status}"
