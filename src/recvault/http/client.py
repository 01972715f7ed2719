"""The httpx clients: one a thread, because a shared pool costs more the more threads share it.

All share one TLS context. Redirects are not followed here, cookies are not kept, proxies and netrc of the environment
are not read: the session decides where a request goes, and what it says.
"""

from __future__ import annotations

import functools
import os
import ssl
import threading

import httpcore
import httpx

from recvault import __version__, trust
from recvault.http.addresses import AddressRule, GuardedBackend
from recvault.http.transport import GuardedTransport, Streamed
from recvault.transport import Proxy
from recvault.wire import Headers

USER_AGENT = f"recvault/{__version__}"
CONNECT_SECONDS = 15.0


@functools.cache
def _tls() -> ssl.SSLContext:
    # As httpx reads them: the folder counts only where there is no file.
    if path := os.environ.get("SSL_CERT_FILE"):
        trust.check_file("SSL_CERT_FILE", path)
    elif path := os.environ.get("SSL_CERT_DIR"):
        trust.check_folders("SSL_CERT_DIR", path)
    context = httpx.create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class BackedTransport(httpx.HTTPTransport):
    """httpx's own transport over a pool whose connections a backend of ours makes."""

    def __init__(self, backend: httpcore.NetworkBackend) -> None:
        super().__init__(verify=_tls(), trust_env=False)
        # httpx takes no network backend of ours, so the pool is laid anew (httpx is pinned).
        self._pool = httpcore.ConnectionPool(
            ssl_context=_tls(),
            max_connections=8,
            max_keepalive_connections=4,
            keepalive_expiry=30.0,
            network_backend=backend,
        )


class _NoCookies(httpx.Cookies):
    """A jar that stays empty: nothing is told on, and nobody pays for reading what answers set."""

    def extract_cookies(self, response: httpx.Response) -> None:
        pass


class _Client(httpx.Client):
    """An httpx client without a memory."""

    _jar = _NoCookies()

    @property
    def cookies(self) -> httpx.Cookies:
        return self._jar

    @cookies.setter
    def cookies(self, cookies: object) -> None:
        raise TypeError("no cookies are kept")


class Clients:
    """Hands each thread its own client, and closes them all."""

    def __init__(
        self, rule: AddressRule, read_seconds: float, *, transport: str = "curl", proxy: Proxy | None = None
    ) -> None:
        _tls()  # here, where a ConfigError is told of the source, and not in the middle of a pass
        self.rule = rule
        self.transport, self.proxy = transport, proxy
        self._timeout = httpx.Timeout(connect=CONNECT_SECONDS, read=read_seconds, write=read_seconds, pool=read_seconds)
        self._local = threading.local()
        self._lock = threading.Lock()
        self._all: list[tuple[threading.Thread, httpx.Client]] = []

    def get(self) -> httpx.Client:
        """This thread's client."""
        return self._own()[0]

    def stream(self, url: httpx.URL, headers: Headers) -> Streamed:
        """GET by this thread's transport: for media, of which there is nothing that a client would look after."""
        return self._own()[1].stream(url, headers, self._timeout)

    def _own(self) -> tuple[httpx.Client, GuardedTransport]:
        own: tuple[httpx.Client, GuardedTransport] | None = getattr(self._local, "own", None)
        if own is None:
            transport = GuardedTransport(GuardedBackend(self.rule), _tls())
            client = _Client(transport=transport, timeout=self._timeout, follow_redirects=False, trust_env=False)
            self._local.own = own = (client, transport)
            self._keep(client)
        return own

    def _keep(self, client: httpx.Client) -> None:
        """Keep a new client, and close those whose threads have ended: each pass brings threads of its own."""
        with self._lock:
            ended = [each for thread, each in self._all if not thread.is_alive()]
            self._all = [(thread, each) for thread, each in self._all if thread.is_alive()]
            self._all.append((threading.current_thread(), client))
        for each in ended:
            each.close()

    def close(self) -> None:
        """Close every thread's client; a client used again afterwards is made anew."""
        with self._lock:
            clients, self._all = self._all, []
            self._local = threading.local()
        for _, client in clients:
            client.close()
