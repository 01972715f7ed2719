"""One server's exchanges by libcurl, in sequence, over at most one connection: the only module that uses pycurl.

libcurl takes bytes that a server sends between two requests for the answer to the second. So a connection is reused
only if its socket has nothing to read. Over TLS that is not enough, because OpenSSL reads ahead: there only requests
whose sender recognises another's answer use a kept connection. Any other request connects anew, with the kept TLS
session. If a server sends such bytes only while the next answer is awaited, only the sender can detect it.

A request that was lost on a kept connection before a byte of its answer arrived is sent once more, by libcurl or here.
The server may have executed it all the same.
"""

from __future__ import annotations

import math
import os
import select
import socket
import threading
import time
from dataclasses import replace
from functools import lru_cache
from operator import add
from typing import Any
from urllib.parse import urlsplit

import pycurl

from recvault.transport.base import (
    CONTINUE_SECONDS,
    PORTS,
    PROXY_UNKNOWN,
    Cause,
    Cut,
    Enough,
    ExchangeFailed,
    Guard,
    Head,
    Headers,
    Patience,
    Proxy,
    Receiver,
    Request,
    Signing,
    Trust,
    check_written,
)
from recvault.transport.callbacks import MOST_LINES, Again, Run
from recvault.transport.driving import Driver

_DOWN, _UP = 64 * 1024, 128 * 1024  # bytes of libcurl's buffers: larger ones exceed the processor's caches
_MOST_IDLE_SECONDS = 30
_SUPPRESS_CONNECT_HEADERS, _E_PROXY = 265, 97  # libcurl's numbers, for which pycurl has no names

_CAUSES: dict[int, Cause] = {
    pycurl.E_COULDNT_RESOLVE_HOST: "name",
    pycurl.E_COULDNT_CONNECT: "connection",
    pycurl.E_OPERATION_TIMEDOUT: "late",
    pycurl.E_SSL_CONNECT_ERROR: "tls",
    pycurl.E_SSL_CACERT: "certificate",
    pycurl.E_SSL_CACERT_BADFILE: "certificate",
    pycurl.E_PEER_FAILED_VERIFICATION: "certificate",
    pycurl.E_GOT_NOTHING: "broken",
    pycurl.E_PARTIAL_FILE: "broken",
    pycurl.E_SEND_ERROR: "broken",
    pycurl.E_RECV_ERROR: "broken",
    pycurl.E_SEND_FAIL_REWIND: "broken",
    _E_PROXY: "proxy",
    pycurl.E_URL_MALFORMAT: "request",
}
_TOLD = frozenset({"certificate", "tls"})  # here libcurl's message describes the certificate, and contains nothing sent


class Handle:
    """One server's exchanges. For one thread; any thread may close it."""

    def __init__(
        self, origin: str, guard: Guard, patience: Patience, trust: Trust, proxy: Proxy | None, signs: bool
    ) -> None:
        parts = urlsplit(origin)
        self._signs = signs
        self._is_tls = parts.scheme == "https"
        try:
            self._host, self._port = parts.hostname or "", parts.port or PORTS[parts.scheme]
        except ValueError:  # an invalid port
            raise ExchangeFailed("request") from None
        self._guard, self._patience, self._trust, self._proxy = guard, patience, trust, proxy
        self._driver: Driver | None = None
        self._curl: Any = None
        self._poll = select.poll()
        self._socket = -1  # of the kept connection
        self._used_at = -math.inf
        self._run = Run(patience, is_proxied=proxy is not None)
        self._busy = threading.Lock()
        self._is_closed = False

    def close(self) -> None:
        """Close its connection permanently. A running exchange keeps it until it ends."""
        self._is_closed = True
        if self._busy.acquire(blocking=False):
            self._shut()
            self._busy.release()

    def leave(self) -> None:
        """Drop the parent's connection after a fork. One with a running exchange is left as it is."""
        if not self._busy.locked() and self._socket >= 0:
            with socket.socket() as nowhere:
                os.dup2(nowhere.fileno(), self._socket, inheritable=False)
            self._shut()

    def exchange(self, request: Request, receiver: Receiver, cut: Cut) -> Head:
        """See Transport.exchange."""
        if self._proxy is not None:
            check_written(self._guard, self._host, self._port)
        run = self._run
        with self._busy:
            try:
                head = None
                while head is None:
                    if self._socket >= 0 and not self._is_reusable():
                        self._shut()
                    run.start(request, receiver, cut)
                    try:
                        head = self._perform(request, run)
                    except Again:
                        run.rewind()
                        if run.is_unexpected:
                            request = replace(request, expects=False)
            finally:
                run.stop()
        if self._is_closed:
            self.close()
        return head

    def _perform(self, request: Request, run: Run) -> Head:
        """Run an exchange; return the complete answer's head. Raises Again if the request must be sent once more."""
        if self._driver is None:
            self._driver = Driver()
        if self._curl is None:
            self._curl = self._made()
        curl = self._curl
        try:
            self._ask(curl, request)
            code, words, descriptor = self._driver.perform(curl, run.look)
            if code == pycurl.E_OK and run.error is None:
                run.read_heads()  # if there is no body
        except Enough:
            self._shut()
            if run.head is None:
                raise
            return run.head
        except BaseException:
            self._shut()
            raise
        if code == pycurl.E_OK and run.error is None and run.head is not None:
            self._used_at = time.monotonic()
            if descriptor != self._socket:
                self._keep(descriptor)
            return run.head
        failed = self._failed(code, words, curl)
        self._shut()
        if isinstance(run.error, Enough) and run.head is not None:
            return run.head
        raise run.error or failed from None

    # -- connections ---------------------------------------------------------------------------------------------------

    def _is_reusable(self) -> bool:
        """Whether the kept connection may carry a request: see the module."""
        return time.monotonic() - self._used_at < _MOST_IDLE_SECONDS and not self._poll.poll(0)

    def _keep(self, descriptor: int) -> None:
        """Remember the connection that libcurl keeps, if any."""
        self._forget_socket()
        if descriptor >= 0:
            self._poll.register(descriptor, select.POLLIN)
            self._socket = descriptor

    def _forget_socket(self) -> None:
        if self._socket >= 0:
            self._poll.unregister(self._socket)
            self._socket = -1

    def _shut(self) -> None:
        self._forget_socket()
        if self._curl is not None:
            self._curl.close()
            self._curl = None
        if self._driver is None:
            return
        driver, self._driver = self._driver, None
        if self._run.is_resolving:
            # libcurl waits for its resolver, which may hang: close it in a thread.
            threading.Thread(target=driver.close, name="resolving", daemon=True).start()
        else:
            driver.close()

    def _open_socket(self, purpose: int, address: Any) -> Any:
        """Return a socket for an address that libcurl is about to connect to, if the guard permits it."""
        told = address.addr[0] if isinstance(address.addr, tuple) else ""
        try:
            self._run.is_resolving = False
            if self._proxy is None and not self._guard(self._host, self._port, told):
                self._run.refused.append(told)
                return pycurl.SOCKET_BAD
            self._run.permitted += 1
            return _Socket(address.family, address.socktype, address.protocol)
        except BaseException as error:  # noqa: BLE001 - C code is between here and the caller
            self._run.error = error
            return pycurl.SOCKET_BAD

    def _before_request(self, peer: str, local: str, port: int, local_port: int) -> int:
        """Called when connected, before anything is sent: the guard checks the actual peer."""
        self._run.sent_at = time.monotonic()
        self._run.is_resolving = False
        try:
            if self._proxy is None and not self._guard(self._host, self._port, peer):
                raise ExchangeFailed("address", addresses=[peer])
        except BaseException as error:  # noqa: BLE001 - as above
            self._run.error = error
            return int(pycurl.PREREQFUNC_ABORT)
        return int(pycurl.PREREQFUNC_OK)

    # -- options -------------------------------------------------------------------------------------------------------

    def _made(self) -> Any:
        """Return a handle with the options that all its exchanges share."""
        self._shape = ("", False, False)  # of the last request: method, whether it had a body, `expects`
        self._length = -1
        self._headers: Headers = ()
        self._agent = ""
        self._tells: bool | None = None
        self._signing: Signing | None = None
        curl, run = pycurl.Curl(), self._run
        options: dict[int, Any] = {
            pycurl.NOSIGNAL: 1,
            pycurl.MAXAGE_CONN: _MOST_IDLE_SECONDS,
            pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_1_1,
            pycurl.SSL_ENABLE_ALPN: 0,
            pycurl.PROTOCOLS: pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS,
            pycurl.FOLLOWLOCATION: 0,
            pycurl.HTTP_CONTENT_DECODING: 0,
            pycurl.NETRC: pycurl.NETRC_IGNORED,
            pycurl.BUFFERSIZE: _DOWN,
            pycurl.UPLOAD_BUFFERSIZE: _UP,
            pycurl.EXPECT_100_TIMEOUT_MS: int(CONTINUE_SECONDS * 1000),
            pycurl.CONNECTTIMEOUT_MS: int(self._patience.connect_seconds * 1000),
            pycurl.OPENSOCKETFUNCTION: self._open_socket,
            pycurl.PREREQFUNCTION: self._before_request,
            pycurl.READFUNCTION: run.read,
            pycurl.SEEKFUNCTION: run.seek,
            pycurl.HEADERFUNCTION: run.lines.append,  # calling Python for each line would cost more
            pycurl.PROXY: "" if self._proxy is None else self._proxy.address,
            pycurl.NOPROXY: "",
        }
        for option, value in options.items():
            curl.setopt(option, value)
        curl.setopt(pycurl.PATH_AS_IS, not self._signs)  # libcurl signs the normalised path
        curl.setopt(pycurl.WRITEFUNCTION, run.take, use_memoryview=True)
        self._set_trust(curl)
        if self._proxy is not None:
            curl.setopt(_SUPPRESS_CONNECT_HEADERS, 1)
            if self._proxy.user:
                curl.setopt(pycurl.PROXYAUTH, pycurl.HTTPAUTH_BASIC)
                curl.setopt(pycurl.PROXYUSERNAME, self._proxy.user)
                curl.setopt(pycurl.PROXYPASSWORD, self._proxy.password)
        return curl

    def _set_trust(self, curl: Any) -> None:
        for file, folder in ((pycurl.CAINFO, pycurl.CAPATH), (pycurl.PROXY_CAINFO, pycurl.PROXY_CAPATH)):
            if self._trust.folder is not None:
                curl.setopt(folder, self._trust.folder)
                curl.unsetopt(file)
            if self._trust.file is not None:
                curl.setopt(file, self._trust.file)

    def _ask(self, curl: Any, request: Request) -> None:
        """Set the options that differ from the last exchange's."""
        has_body = request.body is not None
        shape = (request.method, has_body, request.expects)
        if shape != self._shape:
            self._set_method(curl, request.method, has_body)
        if has_body and request.length != self._length:
            self._length = request.length
            curl.setopt(pycurl.INFILESIZE_LARGE, request.length)
        curl.setopt(pycurl.URL, request.url)
        if request.headers is not self._headers or shape != self._shape:
            self._shape, self._headers = shape, request.headers
            self._set_headers(curl, request)
        if request.tells_its_answer is not self._tells:
            self._tells = request.tells_its_answer
            is_alone = self._is_tls and not request.tells_its_answer
            curl.setopt(pycurl.FRESH_CONNECT, is_alone)
            curl.setopt(pycurl.FORBID_REUSE, is_alone)
        if request.signing is not self._signing:
            self._signing = request.signing
            self._sign(curl, request.signing)

    def _set_headers(self, curl: Any, request: Request) -> None:
        names, values = request.named_values
        agent, beginnings, more = _besides(names, request.body is not None, request.expects)
        lines = [*map(add, beginnings, values)]
        if "" in values:  # libcurl would leave out the header
            lines = [line if value else f"{name};" for line, name, value in zip(lines, names, values, strict=True)]
        if agent is not None:  # not signed, as proxies rewrite it
            lines.pop(agent)
            if (told := values[agent]) != self._agent:
                self._agent = told
                curl.setopt(pycurl.USERAGENT, told)
        curl.setopt(pycurl.HTTPHEADER, lines + more)

    @staticmethod
    def _set_method(curl: Any, method: str, has_body: bool) -> None:
        curl.setopt(pycurl.HTTPGET, 1)  # resets the method
        curl.unsetopt(pycurl.CUSTOMREQUEST)
        if method == "HEAD":
            curl.setopt(pycurl.NOBODY, 1)
        elif has_body:
            curl.setopt(pycurl.UPLOAD, 1)
        if method not in ("GET", "HEAD") and (method, has_body) != ("PUT", True):
            curl.setopt(pycurl.CUSTOMREQUEST, method)

    @staticmethod
    def _sign(curl: Any, signing: Signing | None) -> None:
        if signing is not None:
            curl.setopt(pycurl.AWS_SIGV4, f"aws:amz:{signing.region}:{signing.service}")
            curl.setopt(pycurl.USERNAME, signing.access_key)
            curl.setopt(pycurl.PASSWORD, signing.secret_key)

    # -- errors --------------------------------------------------------------------------------------------------------

    def _failed(self, code: int, words: str, curl: Any) -> Exception:
        """Translate libcurl's error. Its message may contain a URL, so only those about TLS are kept."""
        if self._run.refused and not self._run.permitted:
            return ExchangeFailed("address", addresses=self._run.refused)
        cause = "broken" if code == pycurl.E_OK else _CAUSES.get(code, "framing")
        is_resolving = cause == "late" and self._run.is_resolving
        if code == pycurl.E_COULDNT_RESOLVE_PROXY or (is_resolving and self._proxy is not None):
            return ExchangeFailed("proxy", PROXY_UNKNOWN)
        if is_resolving:
            return ExchangeFailed("name", "no answer in time")
        if cause == "broken" and not self._run.lines and curl.getinfo(pycurl.NUM_CONNECTS) == 0:
            return Again()  # libcurl retries by itself, but not in all such cases
        if cause == "late" and self._run.head is not None:
            cause = "slow"
        if cause == "late" and not self._run.sent_at:
            return ExchangeFailed("late", "no connection in time")
        if code == pycurl.E_RECV_ERROR and ("chunk" in words.lower() or len(self._run.lines) > MOST_LINES):
            cause = "framing"
        if self._proxy is not None:
            status = curl.getinfo(pycurl.HTTP_CONNECTCODE)
            if status >= 300:
                return ExchangeFailed("proxy", f"it answered {status}")
        if cause in _TOLD:
            return ExchangeFailed(cause, _certificate_fault(words))
        if cause == "connection":
            return ExchangeFailed("connection" if self._proxy is None else "proxy", _system_words(curl))
        return ExchangeFailed(cause)


@lru_cache(64)  # requests of one kind have the same headers
def _besides(names: tuple[str, ...], has_body: bool, expects: bool) -> tuple[int | None, list[str], list[str]]:
    """Return the user agent's index in a request's headers, the beginnings of their lines, and lines for headers that
    libcurl would add."""
    lower = [name.lower() for name in names]
    more = [f"{name}:" for name in ("Accept", "User-Agent") if name.lower() not in lower]
    if has_body:
        more.append("Expect: 100-continue" if expects else "Expect:")
    agent = lower.index("user-agent") if "user-agent" in lower else None
    return agent, [f"{name}: " for name in names], more


class _Socket(socket.socket):
    """A socket that closes itself when collected: pycurl duplicates the descriptor."""

    def __del__(self) -> None:
        self.close()


def _system_words(curl: Any) -> str:
    number = curl.getinfo(pycurl.OS_ERRNO)
    return os.strerror(number) if number else ""


def _certificate_fault(words: str) -> str:
    """Return libcurl's message about a certificate, without its prefix."""
    return words.rpartition("problem: ")[2][:200]
