"""Raw servers on loopback, plain and over TLS, and clients for them: one transport over one scheme."""

from __future__ import annotations

import contextlib
import secrets
import socket
import ssl
import struct
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from recvault.transport import Head, Patience, Proxy, Request, Signing, Transport, Trust, anywhere
from recvault.transport.curl import CurlTransport
from recvault.transport.plain import PlainTransport
from transport.certificates import Authority

WAYS: dict[str, Any] = {"curl": CurlTransport, "plain": PlainTransport}
QUICK = Patience(connect_seconds=2.0, stall_seconds=1.0, least_rate=1.0)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Gone(Exception):
    """The client closed its connection."""


@dataclass(frozen=True)
class Asked:
    """A request as received."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""


class Peer:
    """One client's connection, on the server's side."""

    def __init__(self, sock: socket.socket, stopping: threading.Event, number: int) -> None:
        self.sock, self.stopping, self.number = sock, stopping, number
        self._buffer = bytearray()

    def head(self) -> Asked:
        """Read the next request's head. Raises Gone if there is none."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            self._receive()
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        method, target, _ = lines[0].split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        return Asked(method, target, headers)

    def body(self, length: int) -> bytes:
        """Read some bytes of a body."""
        while len(self._buffer) < length:
            self._receive()
        taken = bytes(self._buffer[:length])
        del self._buffer[:length]
        return taken

    def request(self) -> Asked:
        """Read the next request with its body."""
        head = self.head()
        return Asked(head.method, head.target, head.headers, self.body(int(head.headers.get("content-length", "0"))))

    def skip(self, length: int) -> None:
        """Read some bytes and discard them."""
        length -= len(self.body(min(length, len(self._buffer))))
        while length:
            chunk = self.sock.recv(min(length, 1 << 18))
            if not chunk:
                raise Gone
            length -= len(chunk)

    def _receive(self) -> None:
        chunk = self.sock.recv(1 << 16)
        if not chunk:
            raise Gone
        self._buffer += chunk

    def send(self, octets: bytes) -> None:
        self.sock.sendall(octets)

    def pause(self, seconds: float = 60.0) -> None:
        """Wait, but no longer than the server runs."""
        if self.stopping.wait(seconds):
            raise Gone

    def finish(self) -> None:
        """Close properly: sent data arrives, and TLS announces the end."""
        if isinstance(self.sock, ssl.SSLSocket):
            self.sock.settimeout(0)
            with contextlib.suppress(OSError, ValueError):
                self.sock.unwrap()
        with contextlib.suppress(OSError, ValueError):
            self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close with RST: data in flight is lost."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


Behave = Callable[[Peer], None]


class Server:
    """Accepts connections and runs the behaviour for each in a thread, then closes it properly."""

    def __init__(self, behave: Behave, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self._behave, self._tls = behave, tls
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=256)
        self.port = int(self._listener.getsockname()[1])
        self.accepted = 0
        self._stopping = threading.Event()
        self._open: dict[socket.socket, threading.Thread] = {}
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def stop(self) -> None:
        self._stopping.set()
        with contextlib.suppress(OSError, ValueError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join()
        for sock, thread in list(self._open.items()):
            with contextlib.suppress(OSError, ValueError):
                sock.shutdown(socket.SHUT_RDWR)
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._converse, args=(sock, self.accepted), daemon=True)
            self._open[sock] = thread
            thread.start()

    def _converse(self, bare: socket.socket, number: int) -> None:
        sock = bare
        try:
            with contextlib.suppress(OSError, Gone):
                if self._tls is not None:
                    sock = self._tls.wrap_socket(bare, server_side=True)  # detaches the bare socket
                    self._open[sock] = threading.current_thread()
                peer = Peer(sock, self._stopping, number)
                self._behave(peer)
                peer.finish()
        finally:
            sock.close()
            bare.close()
            self._open.pop(bare, None)
            self._open.pop(sock, None)


@dataclass
class Taken:
    """Receives a complete answer."""

    heads: list[Head] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    pieces: int = 0

    @property
    def head(self) -> Head:
        return self.heads[0]

    def begin(self, head: Head) -> None:
        self.heads.append(head)

    def write(self, piece: memoryview | bytes) -> None:
        self.body += piece
        self.pieces += 1


@dataclass
class Line:
    """One transport over one scheme; closes what it opened, and keeps each error."""

    way: str
    scheme: str
    authority: Authority
    tls: ssl.SSLContext
    opened: ExitStack
    errors: list[BaseException] = field(default_factory=list)
    secret: str = field(default_factory=lambda: secrets.token_hex(8))
    _by: Transport | None = None

    def server(
        self, behave: Behave, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None, bare: bool = False
    ) -> Server:
        """Start a server; a bare one never speaks TLS."""
        server = Server(behave, None if bare else tls or (self.tls if self.scheme == "https" else None), host)
        self.opened.callback(server.stop)
        return server

    def serve(self, behave: Behave, *, name: str = "127.0.0.1") -> str:
        """Start a server; return its origin."""
        return f"{self.scheme}://{name}:{self.server(behave).port}"

    def answers(self, octets: bytes, *, then: Behave | None = None) -> str:
        """Start a server that gives each request the same bytes; return its origin."""

        def behave(peer: Peer) -> None:
            peer.request()
            peer.send(octets)
            if then is not None:
                then(peer)

        return self.serve(behave)

    def transport(self, **changes: Any) -> Transport:
        """Make a new transport."""
        settings = {"guard": anywhere, "patience": QUICK, "trust": Trust(file=self.authority.file)} | changes
        made: Transport = WAYS[self.way](**settings)
        self.opened.callback(made.close)
        return made

    @property
    def by(self) -> Transport:
        """Return the default transport."""
        self._by = self._by or self.transport()
        return self._by

    def patience(self, stall_seconds: float) -> Patience:
        return replace(QUICK, connect_seconds=stall_seconds, stall_seconds=stall_seconds)

    @contextlib.contextmanager
    def closed_port(self) -> Iterator[int]:
        """Return a port on which nothing listens."""
        with socket.socket() as taken:  # bound, so that nothing else gets it
            taken.bind(("127.0.0.1", 0))
            yield taken.getsockname()[1]

    def proxy(self, address: str) -> Proxy:
        return Proxy(address, "someone", self.secret)

    def request(self, url: str, method: str = "GET", **changes: Any) -> Request:
        """Return a request full of secrets."""
        body = changes.get("body")
        if isinstance(body, bytes):
            changes |= {"body": memoryview(body)}
        if body is not None and "length" not in changes:
            changes["length"] = len(body)
        headers = [("Authorization", f"Bearer {self.secret}"), *changes.pop("headers", ())]
        if self.way == "curl" and changes.pop("signed", False):
            headers = headers[1:]
            changes["signing"] = Signing(f"AK{self.secret}", self.secret, "us-east-1")
        return Request(method, f"{url}{'&' if '?' in url else '?'}token={self.secret}", headers, **changes)

    def ask(
        self,
        url: str,
        method: str = "GET",
        *,
        by: Transport | None = None,
        cut: Callable[[], None] = lambda: None,
        to: Any = None,
        **changes: Any,
    ) -> Taken:
        """Run an exchange; return what it received."""
        taken = to if to is not None else Taken()
        try:
            (by or self.by).exchange(self.request(url, method, **changes), taken, cut)
        except BaseException as error:
            self.errors.append(error)
            raise
        return taken

    def fails(self, *asked: Any, **changes: Any) -> Any:
        """Return the error of an exchange that must fail."""
        try:
            taken = self.ask(*asked, **changes)
        except Exception as error:  # noqa: BLE001 - is what was asked for
            return error
        raise AssertionError(f"no error: {taken}")

    def check_secrets(self) -> None:
        """Check that no error contains anything that was sent."""
        for error in self.errors:
            text = "".join(traceback.format_exception(error)) + repr(error) + str(error) + repr(vars(error))
            assert self.secret not in text

    def at_once(self, calls: Iterable[Callable[[], Any]]) -> list[Any]:
        """Run calls in concurrent threads; return their results."""
        found: dict[int, Any] = {}

        def run(number: int, call: Callable[[], Any]) -> None:
            try:
                found[number] = call()
            except BaseException as error:  # noqa: BLE001 - is what it came to
                found[number] = error

        threads = [threading.Thread(target=run, args=each) for each in enumerate(calls)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        return [found[number] for number in range(len(threads))]


def asked_in_child(way: str, origin: str, file: str) -> bytes:
    """Return what a process of the fork server receives."""
    taken = Taken()
    by = WAYS[way](anywhere, QUICK, Trust(file=file))
    by.exchange(Request("GET", origin), taken, lambda: None)
    return bytes(taken.body)
