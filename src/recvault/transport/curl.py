"""Exchanges by libcurl: the one owner of pycurl.

A thread has a handle for each server, and a handle one connection at most. libcurl takes what a server sends between
two requests for the answer to the second one. So a connection is used again only where nothing is there to be read on
its socket. Over TLS that is not enough, for OpenSSL reads ahead: there a kept connection carries none but requests
whose sender can tell another's answer from its own; any other connects anew, by a TLS session that is kept.
"""

from __future__ import annotations

import contextlib
import ipaddress
import math
import os
import select
import socket
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import pycurl

from recvault.transport.base import (
    CONTINUE_SECONDS,
    Cause,
    Cut,
    Enough,
    ExchangeFailed,
    Guard,
    Head,
    Patience,
    Proxy,
    Receiver,
    Request,
    Signing,
    Trust,
)
from recvault.transport.callbacks import NOTHING, Run

_BUFFER = 256 * 1024
_MOST_IDLE_SECONDS = 30
_MOST_HANDLES = 8  # of a thread: media may lie on many hosts
_SUPPRESS_CONNECT_HEADERS, _E_PROXY = 265, 97  # of libcurl; pycurl has no names for them
_PORTS = {"http": 80, "https": 443}

_CAUSES: dict[int, Cause] = {
    pycurl.E_COULDNT_RESOLVE_PROXY: "proxy",
    pycurl.E_COULDNT_RESOLVE_HOST: "name",
    pycurl.E_COULDNT_CONNECT: "connection",
    pycurl.E_OPERATION_TIMEDOUT: "late",
    pycurl.E_SSL_CONNECT_ERROR: "tls",
    pycurl.E_SSL_CACERT: "certificate",
    pycurl.E_PEER_FAILED_VERIFICATION: "certificate",
    pycurl.E_GOT_NOTHING: "broken",
    pycurl.E_PARTIAL_FILE: "broken",
    pycurl.E_SEND_ERROR: "broken",
    pycurl.E_RECV_ERROR: "broken",
    pycurl.E_SEND_FAIL_REWIND: "broken",
    _E_PROXY: "proxy",
    pycurl.E_URL_MALFORMAT: "request",
}
_TOLD = frozenset({"certificate", "tls"})  # of which libcurl's words name the certificate's fault, and nothing sent


_Key = tuple[str, bool]  # an origin, and whether requests are signed: what signs is not taken back


class CurlTransport:
    """See Transport. One guard, one proxy and one set of trusted certificates: connections are never shared."""

    def __init__(self, guard: Guard, patience: Patience, trust: Trust, proxy: Proxy | None = None) -> None:
        self._guard, self._patience, self._trust, self._proxy = guard, patience, trust, proxy
        self._local = threading.local()
        self._lock = threading.Lock()
        self._all: list[tuple[threading.Thread, dict[_Key, _Handle]]] = []

    def exchange(self, request: Request, receiver: Receiver, cut: Cut) -> Head:
        """See Transport.exchange."""
        request.check()
        return self._handle(request).exchange(request, receiver, cut)

    def renew(self) -> None:
        """See Transport.renew."""
        _close(getattr(self._local, "handles", {}))

    def close(self) -> None:
        """See Transport.close. An exchange of another thread that is under way ends by itself."""
        with self._lock:
            handles, self._all, self._local = self._all, [], threading.local()
        for _, each in handles:
            _close(each)

    def _handle(self, request: Request) -> _Handle:
        """This thread's handle for a server; the one that was used longest ago makes way."""
        end = request.url.find("/", len("https://"))
        origin = request.url if end < 0 else request.url[:end]
        signs = request.signing is not None
        handles: dict[_Key, _Handle] | None = getattr(self._local, "handles", None)
        if handles is None:
            handles = self._local.handles = {}
            self._keep(handles)
        found = handles.pop((origin, signs), None)
        if found is None:
            if len(handles) >= _MOST_HANDLES:
                handles.pop(next(iter(handles))).close()
            found = _Handle(origin, self._guard, self._patience, self._trust, self._proxy)
        handles[origin, signs] = found
        return found

    def _keep(self, handles: dict[_Key, _Handle]) -> None:
        """Keep a new thread's handles, and close those of threads that have ended."""
        with self._lock:
            ended = [each for thread, each in self._all if not thread.is_alive()]
            self._all = [(thread, each) for thread, each in self._all if thread.is_alive()]
            self._all.append((threading.current_thread(), handles))
        for each in ended:
            _close(each)


def _close(handles: dict[_Key, _Handle]) -> None:
    for each in list(handles.values()):
        each.close()


class _Handle:
    """One server's exchanges, one after the other, over one connection at most."""

    def __init__(self, origin: str, guard: Guard, patience: Patience, trust: Trust, proxy: Proxy | None) -> None:
        parts = urlsplit(origin)
        self._is_tls = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
        self._guard, self._patience, self._trust, self._proxy = guard, patience, trust, proxy
        self._sessions = pycurl.CurlShare()
        self._sessions.setopt(pycurl.SH_SHARE, pycurl.LOCK_DATA_SSL_SESSION)
        self._curl: Any = None
        self._poll = select.poll()
        self._socket = -1  # of the connection that is kept
        self._used_at = -math.inf
        self._run = NOTHING

    def close(self) -> None:
        """Close its connection. An exchange that is under way keeps it until it is over."""
        self._forget_socket()
        if self._curl is not None:
            with contextlib.suppress(pycurl.error):
                self._curl.close()
                self._curl = None

    def exchange(self, request: Request, receiver: Receiver, cut: Cut) -> Head:
        self._check_proxied()
        if not self._is_reusable(request):
            self.close()
        curl = self._curl = self._curl or self._made()
        run = self._run = Run(request, receiver, cut)
        self._ask(curl, request)
        try:
            curl.perform()
        except pycurl.error as error:
            self.close()
            if run.error is not None:
                if isinstance(run.error, Enough) and run.head is not None:
                    return run.head
                raise run.error from None
            raise self._failed(error.args[0], error.args[1], curl) from None
        except BaseException:
            self.close()
            raise
        finally:
            self._run = NOTHING
        if run.head is None:
            self.close()
            raise ExchangeFailed("framing")
        self._keep(curl)
        return run.head

    # -- connections ---------------------------------------------------------------------------------------------------

    def _is_reusable(self, request: Request) -> bool:
        """Whether a request may go on the connection that is kept: see the module."""
        if self._socket < 0 or time.monotonic() - self._used_at > _MOST_IDLE_SECONDS:
            return False
        return (request.tells_its_answer or not self._is_tls) and not self._poll.poll(0)

    def _keep(self, curl: Any) -> None:
        """Remember the connection that libcurl keeps, if it does."""
        descriptor = curl.getinfo(pycurl.ACTIVESOCKET)
        self._used_at = time.monotonic()
        if descriptor == self._socket:
            return
        self._forget_socket()
        if descriptor >= 0:
            self._poll.register(descriptor, select.POLLIN)
            self._socket = descriptor

    def _forget_socket(self) -> None:
        if self._socket >= 0:
            self._poll.unregister(self._socket)
            self._socket = -1

    def _open_socket(self, purpose: int, address: Any) -> Any:
        """A socket for an address that libcurl is about to connect to."""
        told = address.addr[0] if isinstance(address.addr, tuple) else ""
        try:
            if self._proxy is None and not self._guard(self._host, self._port, told):
                self._run.refused.append(told)
                return pycurl.SOCKET_BAD
            return socket.socket(address.family, address.socktype, address.protocol)
        except BaseException as error:  # noqa: BLE001 - libcurl's C lies between here and whoever asked
            self._run.error = error
            return pycurl.SOCKET_BAD

    def _before_request(self, peer: str, local: str, port: int, local_port: int) -> int:
        """Called where the connection stands and nothing is sent yet: the guard sees where it really leads."""
        self._run.sent_at = time.monotonic()
        if self._proxy is None and not self._guard(self._host, self._port, peer):
            self._run.refused.append(peer)
            return int(pycurl.PREREQFUNC_ABORT)
        return int(pycurl.PREREQFUNC_OK)

    def _check_proxied(self) -> None:
        """A proxy resolves names, so a guard sees none of its addresses: what is written as one it does see."""
        if self._proxy is None:
            return
        try:
            written = str(ipaddress.ip_address(self._host))
        except ValueError:
            written = "127.0.0.1" if self._host == "localhost" or self._host.endswith(".localhost") else ""
        if written and not self._guard(self._host, self._port, written):
            raise ExchangeFailed("address", addresses=[written])

    # -- options -------------------------------------------------------------------------------------------------------

    def _made(self) -> Any:
        """A handle with all that is the same for each of its exchanges."""
        curl = pycurl.Curl()
        options: dict[int, Any] = {
            pycurl.SHARE: self._sessions,
            pycurl.NOSIGNAL: 1,
            pycurl.NOPROGRESS: 0,
            pycurl.MAXCONNECTS: 1,
            pycurl.MAXAGE_CONN: _MOST_IDLE_SECONDS,
            pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_1_1,
            pycurl.SSL_ENABLE_ALPN: 0,
            pycurl.PROTOCOLS: pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS,
            pycurl.FOLLOWLOCATION: 0,
            pycurl.HTTP_CONTENT_DECODING: 0,
            pycurl.NETRC: pycurl.NETRC_IGNORED,
            pycurl.BUFFERSIZE: _BUFFER,
            pycurl.UPLOAD_BUFFERSIZE: _BUFFER,
            pycurl.EXPECT_100_TIMEOUT_MS: int(CONTINUE_SECONDS * 1000),
            pycurl.CONNECTTIMEOUT_MS: int(self._patience.connect_seconds * 1000),
            pycurl.LOW_SPEED_TIME: max(1, math.ceil(self._patience.stall_seconds)),
            pycurl.LOW_SPEED_LIMIT: max(1, math.ceil(self._patience.least_rate)),
            pycurl.OPENSOCKETFUNCTION: self._open_socket,
            pycurl.PREREQFUNCTION: self._before_request,
            pycurl.HEADERFUNCTION: lambda line: self._run.take_line(line),
            pycurl.XFERINFOFUNCTION: lambda *_: self._run.look(),
            pycurl.READFUNCTION: lambda size: self._run.read(size),
            pycurl.SEEKFUNCTION: lambda offset, origin: self._run.seek(offset, origin),
            pycurl.PROXY: "" if self._proxy is None else self._proxy.address,
            pycurl.NOPROXY: "",
        }
        for option, value in options.items():
            curl.setopt(option, value)
        curl.setopt(pycurl.WRITEFUNCTION, lambda piece: self._run.take(piece), use_memoryview=True)
        self._set_trust(curl)
        if self._proxy is not None:
            curl.setopt(_SUPPRESS_CONNECT_HEADERS, 1)
            if self._proxy.user:
                curl.setopt(pycurl.PROXYAUTH, pycurl.HTTPAUTH_BASIC)
                curl.setopt(pycurl.PROXYUSERNAME, self._proxy.user)
                curl.setopt(pycurl.PROXYPASSWORD, self._proxy.password)
        return curl

    def _set_trust(self, curl: Any) -> None:
        if self._trust.file is not None:
            curl.setopt(pycurl.CAINFO, self._trust.file)
            curl.setopt(pycurl.PROXY_CAINFO, self._trust.file)
        if self._trust.folder is not None:
            curl.setopt(pycurl.CAPATH, self._trust.folder)
            if self._trust.file is None:
                curl.unsetopt(pycurl.CAINFO)

    def _ask(self, curl: Any, request: Request) -> None:
        """Set what is this exchange's own."""
        curl.setopt(pycurl.HTTPGET, 1)  # takes back what the last one was
        curl.unsetopt(pycurl.CUSTOMREQUEST)
        if request.method == "HEAD":
            curl.setopt(pycurl.NOBODY, 1)
        elif request.body is not None:
            curl.setopt(pycurl.UPLOAD, 1)
            curl.setopt(pycurl.INFILESIZE_LARGE, request.length)
        if request.method not in ("GET", "HEAD") and not (request.method == "PUT" and request.body is not None):
            curl.setopt(pycurl.CUSTOMREQUEST, request.method)
        curl.setopt(pycurl.URL, request.url)
        lines = [f"{name}: {value}" if value else f"{name};" for name, value in request.headers]
        named = {name.lower() for name, _ in request.headers}
        lines += [f"{name}:" for name in ("Accept", "User-Agent") if name.lower() not in named]  # libcurl's own
        if request.body is not None:
            lines.append("Expect: 100-continue" if request.expects else "Expect:")
        curl.setopt(pycurl.HTTPHEADER, lines)
        self._sign(curl, request.signing)

    @staticmethod
    def _sign(curl: Any, signing: Signing | None) -> None:
        if signing is None:
            curl.setopt(pycurl.PATH_AS_IS, 1)
        else:
            curl.setopt(pycurl.AWS_SIGV4, f"aws:amz:{signing.region}:{signing.service}")
            curl.setopt(pycurl.USERNAME, signing.access_key)
            curl.setopt(pycurl.PASSWORD, signing.secret_key)

    # -- errors --------------------------------------------------------------------------------------------------------

    def _failed(self, code: int, words: str, curl: Any) -> ExchangeFailed:
        """libcurl's error as ours. Its own words may hold a URL, so only those of TLS are told."""
        if self._run.refused:
            return ExchangeFailed("address", addresses=self._run.refused)
        cause = _CAUSES.get(code, "framing")
        if code == pycurl.E_OPERATION_TIMEDOUT and self._run.head is not None:
            cause = "slow"
        if cause in _TOLD:
            return ExchangeFailed(cause, _certificate_fault(words))
        return ExchangeFailed(cause, _system_words(curl) if cause == "connection" else "")


def _system_words(curl: Any) -> str:
    number = curl.getinfo(pycurl.OS_ERRNO)
    return os.strerror(number) if number else ""


def _certificate_fault(words: str) -> str:
    """What libcurl says of a certificate, without its prefix."""
    return words.rpartition("problem: ")[2][:200]
