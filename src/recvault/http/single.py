"""One request to a host that is not a provider: a monitor, a receiver of notifications.

Redirects are not followed, because they would send the content elsewhere; proxies of the environment are not used.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import httpx

from recvault.errors import ConfigError
from recvault.http.client import USER_AGENT, tls, trusted
from recvault.transport import Cut, ExchangeFailed, Proxy, anywhere
from recvault.transport.guarded import GuardedTransport


def exchange(
    method: str,
    url: httpx.URL | str,
    *,
    seconds: float,
    proxy: Callable[[], Proxy | None] = lambda: None,
    headers: Mapping[str, str] | None = None,
    content: bytes | None = None,
) -> int | str:
    """Return the status of the answer, or the error without the URL. Takes at most `seconds`."""
    sent = {"User-Agent": USER_AGENT, **(headers or {})}
    try:
        _check(url)
        transport = GuardedTransport(anywhere, tls(trusted()), proxy())
        transport.cut = _deadline(seconds)
        # These are rare, so each has its own connection.
        with (
            httpx.Client(transport=transport, timeout=seconds, follow_redirects=False, trust_env=False) as client,
            client.stream(method, url, headers=sent, content=content) as response,
        ):
            return response.status_code
    except ExchangeFailed as error:
        return error.words
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return type(error).__name__
    except ConfigError as error:
        return error.message  # about this machine's certificates, or the proxy's secret


def host_of(url: str) -> str:
    """Return what may be logged of a URL: its host."""
    try:
        return httpx.URL(url).host
    except httpx.InvalidURL:
        return ""


def _check(url: httpx.URL | str) -> None:
    """Raise ExchangeFailed for a URL that is not HTTP."""
    parsed = httpx.URL(url)
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ExchangeFailed("request")


def _deadline(seconds: float) -> Cut:
    """Limit a whole exchange: httpx's timeout applies to each of its steps."""
    until = time.monotonic() + seconds

    def cut() -> None:
        if time.monotonic() >= until:
            raise ExchangeFailed("late")

    return cut
