"""A source's connections: httpx clients for its API, one per thread, and a transport for its media.

All share the trusted certificates and the rule about allowed addresses. The session decides where a request goes and
what it contains: redirects are not followed here, cookies are not kept, proxies and netrc of the environment are not
read.
"""

from __future__ import annotations

import functools
import os
import ssl
import threading

import certifi
import httpx

from recvault import __version__
from recvault.http.addresses import AddressRule
from recvault.transport import Cut, Patience, Proxy, Transport, Trust, authorities, make
from recvault.transport.guarded import GuardedTransport
from recvault.transport.plain import tls_context

USER_AGENT = f"recvault/{__version__}"
CONNECT_SECONDS = 15.0


def trusted() -> Trust:
    """Return the trusted certificate authorities. As in httpx, SSL_CERT_DIR counts only without SSL_CERT_FILE."""
    if path := os.environ.get("SSL_CERT_FILE"):
        authorities.check_file("SSL_CERT_FILE", path)
        return Trust(file=path)
    if path := os.environ.get("SSL_CERT_DIR"):
        authorities.check_folders("SSL_CERT_DIR", path)
        return Trust(folder=path)
    return Trust(file=certifi.where())


@functools.lru_cache(maxsize=8)
def tls(trusting: Trust) -> ssl.SSLContext:
    """Return the TLS context for providers, shared by equal `Trust`s: reading authorities takes 30 ms."""
    return tls_context(trusting)


class _NoCookies(httpx.Cookies):
    """A cookie jar that stays empty: nothing is sent back, and parsing costs nothing."""

    def extract_cookies(self, response: httpx.Response) -> None:
        pass


class _Client(httpx.Client):
    """An httpx client that stores no cookies."""

    _jar = _NoCookies()

    @property
    def cookies(self) -> httpx.Cookies:
        return self._jar

    @cookies.setter
    def cookies(self, cookies: object) -> None:
        raise TypeError("cookies are not stored")


class Clients:
    """Hands each thread its own client, and closes them all. `media` is the transport for media."""

    def __init__(
        self,
        rule: AddressRule,
        read_seconds: float,
        *,
        least_rate: float = 1.0,
        transport: str = "curl",
        proxy: Proxy | None = None,
    ) -> None:
        patience, trusting = Patience(CONNECT_SECONDS, read_seconds, least_rate), trusted()
        self.rule, self._proxy = rule, proxy
        self.media: Transport = make(transport, rule.permits, patience, trusting, proxy)
        self._tls = tls(trusting)  # here, so that a ConfigError comes at the start and names the source
        self._timeout = httpx.Timeout(connect=CONNECT_SECONDS, read=read_seconds, write=read_seconds, pool=read_seconds)
        self._local = threading.local()
        self._lock = threading.Lock()
        self._all: list[tuple[threading.Thread, httpx.Client]] = []

    def get(self, cut: Cut | None = None) -> httpx.Client:
        """Return this thread's client; from now on `cut` can interrupt its waits."""
        own: tuple[httpx.Client, GuardedTransport] | None = getattr(self._local, "own", None)
        if own is None:
            transport = GuardedTransport(self.rule.permits, self._tls, self._proxy)
            client = _Client(transport=transport, timeout=self._timeout, follow_redirects=False, trust_env=False)
            self._local.own = own = (client, transport)
            self._keep(client)
        if cut is not None:
            own[1].cut = cut
        return own[0]

    def _keep(self, client: httpx.Client) -> None:
        """Keep a new client, and close those whose threads have ended: each pass has new threads."""
        with self._lock:
            ended = [each for thread, each in self._all if not thread.is_alive()]
            self._all = [(thread, each) for thread, each in self._all if thread.is_alive()]
            self._all.append((threading.current_thread(), client))
        for each in ended:
            each.close()

    def close(self) -> None:
        """Close every thread's client; using one afterwards creates a new one."""
        with self._lock:
            clients, self._all = self._all, []
            self._local = threading.local()
        for _, client in clients:
            client.close()
        self.media.close()
