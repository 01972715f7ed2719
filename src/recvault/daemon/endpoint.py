"""A small HTTP server for monitoring: GET a few fixed paths, bounded in connections, time and size."""

from __future__ import annotations

import errno
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from recvault.errors import ConfigError
from recvault.observe import get_logger

log = get_logger("recvault.daemon.endpoint")

TEXT = "text/plain; charset=utf-8"
MOST_CONNECTIONS = 8
_READ_SECONDS = 10.0  # how long a client may be silent
_LONGEST_SECONDS = 30.0  # how long a connection may last, however busy it looks
_LOOK_SECONDS = 0.2  # how often the server looks for what to cut, and whether to close
_CLOSING_SECONDS = 2.0  # what answers at work are given when the endpoint closes
_BUSY = (
    b"HTTP/1.0 503 Service Unavailable\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\ntoo many connections\n"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a route says."""

    status: int
    content_type: str
    body: bytes


Routes = Mapping[str, Callable[[], Answer]]


class Endpoint:
    """Serves routes on `host:port` in a thread of its own, from the moment it is made until `close`.

    ConfigError where nothing can listen there. Port 0 takes a free one.
    """

    def __init__(self, listen: str, routes: Routes) -> None:
        self._server = _listening(listen, routes)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=[_LOOK_SECONDS], name="recvault-endpoint", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Free the port; answers at work have a moment to end."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server.end_connections()


class _Server(ThreadingHTTPServer):
    """One thread a connection, and not more than a few of them."""

    allow_reuse_port = False  # else a second daemon would silently share the port
    request_queue_size = 16

    def __init__(self, family: socket.AddressFamily, address: Any, routes: Routes) -> None:
        self.address_family = family
        self.routes = routes
        self._places = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._open: dict[socket.socket, float] = {}  # and when it must have ended
        self._lock = threading.Lock()
        super().__init__(address, _Request)

    def server_bind(self) -> None:
        """Bind only: HTTPServer's own asks the DNS for a name, which may take long, and nobody needs it."""
        socketserver.TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the connection a thread, or turn it away where there are too many."""
        if not self._places.acquire(blocking=False):
            log.debug("endpoint.busy")
            request.settimeout(0)
            request.send(_BUSY)
            self.shutdown_request(request)
            return
        with self._lock:
            self._open[request] = time.monotonic() + _LONGEST_SECONDS
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # there is no thread to be had
            self._leave(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection and free its place."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._leave(request)

    def service_actions(self) -> None:
        """Cut what has lasted too long: a client that sends a byte now and then is never silent."""
        now = time.monotonic()
        self._cut(socket.SHUT_RDWR, lambda ends: now > ends)

    def end_connections(self) -> None:
        """Read nothing more, so that silent clients are gone at once, and wait a moment for answers at work."""
        self._cut(socket.SHUT_RD, lambda ends: True)
        until = time.monotonic() + _CLOSING_SECONDS
        for _ in range(MOST_CONNECTIONS):
            if not self._places.acquire(timeout=max(0.0, until - time.monotonic())):
                return

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no event for an operator, and never a traceback on stderr."""
        log.debug("endpoint.broken_off", error=repr(sys.exc_info()[1]))

    def _leave(self, request: socket.socket) -> None:
        with self._lock:
            self._open.pop(request, None)
        self._places.release()

    def _cut(self, how: int, over: Callable[[float], bool]) -> None:
        with self._lock:  # a socket is closed after it has left the table, or just now: then there is nothing to cut
            for request, ends in self._open.items():
                if over(ends):
                    try:
                        request.shutdown(how)
                    except OSError:
                        continue


class _Request(BaseHTTPRequestHandler):
    """One request, answered once: HTTP/1.0, so that no idle client holds a place. The Host header is never read."""

    timeout = _READ_SECONDS
    default_request_version = "HTTP/1.0"  # else what is no HTTP at all is answered without a status line
    error_message_format = "%(code)d %(message)s\n"
    error_content_type = TEXT
    server: _Server

    def parse_request(self) -> bool:
        """Read the head; refuse what does not merely ask."""
        if not super().parse_request():
            return False
        if self.command in ("GET", "HEAD"):
            return True
        self._answer(Answer(405, TEXT, b"only GET and HEAD are served here\n"), Allow="GET, HEAD")
        return False

    def do_GET(self) -> None:
        """Answer by the path's route."""
        path = self.path.partition("?")[0]
        route = self.server.routes.get(path)
        if route is None:
            known = ", ".join(self.server.routes)
            self._answer(Answer(404, TEXT, f"nothing is served here; there are {known}\n".encode()))
            return
        try:
            answer = route()
        except Exception as error:  # the server goes on, and the client is not told why
            log.error("endpoint.failed", path=path, error=str(error), exc_info=True)
            answer = Answer(500, TEXT, b"this could not be answered; the log says why\n")
        self._answer(answer)

    do_HEAD = do_GET  # noqa: N815 - http.server's own name

    def version_string(self) -> str:
        """Whose server it is, and not of which version."""
        return "recvault"

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are no events."""
        log.debug("endpoint.request", said=format % args)

    def _answer(self, answer: Answer, **headers: str) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)


_HINTS = {
    errno.EADDRINUSE: 'another program listens there: stop it, set another port, or "" for none',
    errno.EACCES: "a port below 1024 needs a right: set one above",
    errno.EADDRNOTAVAIL: 'this machine has no such address: set one that it has, such as "127.0.0.1:9464"',
}


def _listening(listen: str, routes: Routes) -> _Server:
    host, _, port = listen.rpartition(":")
    try:
        found = socket.getaddrinfo(
            host.removeprefix("[").removesuffix("]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        # A name such as localhost may mean both: IPv4 is what scrapers are commonly pointed at.
        family, _, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
        return _Server(family, address, routes)
    except OSError as error:
        hint = _HINTS.get(error.errno or 0, 'set a host and port of this machine, such as "127.0.0.1:9464"')
        raise ConfigError(f"daemon.metrics_listen: nothing can listen on {listen}: {error.strerror}", hint) from error
