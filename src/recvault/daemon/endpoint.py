"""The daemon's HTTP servers: GET a few fixed paths, or POST to a receiver.

waitress serves them, which reads slow clients without a thread.

Invariant: a client that is silent, slow or many costs no other client its answer for more than a few seconds.
"""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from waitress import create_server, wasyncore

from recvault.errors import ConfigError
from recvault.log.lines import get_logger

log = get_logger("recvault.daemon.endpoint")

TEXT = "text/plain; charset=utf-8"
MOST_CONNECTIONS = 200  # beyond it clients wait to be accepted: the daemon needs file descriptors itself
MOST_BODY = 64 * 1024  # bytes; a larger one is answered 413 before it is read
_SILENT_SECONDS = 3  # a client that sends nothing for so long is cut off
_LONGEST_SECONDS = 10.0  # a client that has not sent a complete request by then is cut off, even if it is sending
_LOOK_SECONDS = 0.2  # how often the server checks whether to close
_CLOSING_SECONDS = 2.0  # how long answers in progress may take when the endpoint closes
_THREADS = 4


@dataclass(frozen=True, slots=True)
class EndpointAnswer:
    """The answer of a route."""

    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Posted:
    """A request with a body, read completely."""

    path: str
    query: str
    headers: Mapping[str, str]  # lower-case names
    body: bytes


Routes = Mapping[str, Callable[[], EndpointAnswer]]
Receiver = Callable[[Posted], EndpointAnswer]


class Endpoint:
    """Serves routes on `host:port` in its own threads until `close`.

    Raises ConfigError if it cannot listen. Port 0 takes a free port.
    """

    def __init__(
        self, listen: str, routes: Routes, *, receiver: Receiver | None = None, key: str = "daemon.metrics_listen"
    ) -> None:
        listener = _listening(listen, key)
        self.port: int = listener.getsockname()[1]
        self._open: dict[int, Any] = {}
        self._closing = threading.Event()
        self._server = create_server(
            _application(routes, receiver),
            map=self._open,
            sockets=[listener],
            threads=_THREADS,
            ident="recvault",
            connection_limit=MOST_CONNECTIONS,
            channel_timeout=_SILENT_SECONDS,
            cleanup_interval=1,
            max_request_header_size=16 * 1024,
            max_request_body_size=MOST_BODY,
            asyncore_use_poll=True,
            log_socket_errors=False,
        )
        self._thread = threading.Thread(target=self._serve, name="recvault-endpoint", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Free the port; answers in progress get a moment to end."""
        self._server.task_dispatcher.shutdown(timeout=_CLOSING_SECONDS)
        self._closing.set()
        self._thread.join()

    def _serve(self) -> None:
        while not self._closing.is_set():
            wasyncore.loop(timeout=_LOOK_SECONDS, use_poll=True, map=self._open, count=1)
            self._cut_the_endless()
        wasyncore.close_all(self._open)

    def _cut_the_endless(self) -> None:
        """Cut clients that send a byte now and then: waitress itself cuts only silent ones."""
        oldest = time.time() - _LONGEST_SECONDS
        for channel in list(self._server.active_channels.values()):
            if not channel.requests and channel.creation_time < oldest:
                channel.will_close = True


def _application(
    routes: Routes, receiver: Receiver | None
) -> Callable[[Mapping[str, Any], Callable[..., Any]], Iterable[bytes]]:
    """Make the WSGI application that answers by these routes."""

    def application(environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        answer, headers = _answered(routes, receiver, environ)
        headers |= {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        if answer.status != _NO_CONTENT:
            headers |= {"Content-Type": answer.content_type, "Content-Length": str(len(answer.body))}
        start_response(f"{answer.status} {_PHRASES.get(answer.status, 'Answer')}", list(headers.items()))
        return [] if environ["REQUEST_METHOD"] == "HEAD" or answer.status == _NO_CONTENT else [answer.body]

    return application


def _answered(
    routes: Routes, receiver: Receiver | None, environ: Mapping[str, Any]
) -> tuple[EndpointAnswer, dict[str, str]]:
    """Answer a request, with extra headers. The Host header is never read."""
    method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")
    try:
        if method == "POST" and receiver is not None:
            return receiver(_posted(environ)), {}
        if method not in ("GET", "HEAD"):
            return EndpointAnswer(405, TEXT, b"only GET and HEAD are served here\n"), {"Allow": "GET, HEAD"}
        route = routes.get(path)
        if route is None:
            available = f"; available: {', '.join(routes)}" if routes else ""
            return EndpointAnswer(404, TEXT, f"not found{available}\n".encode()), {}
        return route(), {}
    except Exception as error:  # the server continues; the client does not learn why
        log.error("endpoint.failed", path=path, error=str(error), exc_info=True)
        return EndpointAnswer(500, TEXT, b"this could not be answered; the log says why\n"), {}


def _posted(environ: Mapping[str, Any]) -> Posted:
    """A request as it was received; waitress has read its body, and limited it."""
    headers = {
        name.removeprefix("HTTP_").replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_") or name == "CONTENT_TYPE"
    }
    body = environ["wsgi.input"].read(MOST_BODY)
    return Posted(environ.get("PATH_INFO", ""), environ.get("QUERY_STRING", ""), headers, body)


_NO_CONTENT = 204
_PHRASES = {
    200: "OK",
    204: "No Content",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
_HINTS = {
    errno.EADDRINUSE: 'another program listens there: stop it, set another port, or "" to disable it',
    errno.EACCES: "a port below 1024 needs privileges: set a higher one",
    errno.EADDRNOTAVAIL: 'this machine does not have that address: set one of its own, such as "127.0.0.1:9464"',
}


def _listening(listen: str, key: str) -> socket.socket:
    """Return a bound socket. SO_REUSEPORT is not set: a second daemon would silently share the port."""
    host, _, port = listen.rpartition(":")
    try:
        found = socket.getaddrinfo(
            host.removeprefix("[").removesuffix("]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        # A name such as localhost may mean both: IPv4 is what scrapers are commonly pointed at.
        family, _, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
        return _bound(family, address)
    except OSError as error:
        hint = _HINTS.get(error.errno or 0, 'set a host and port of this machine, such as "127.0.0.1:9464"')
        raise ConfigError(f"{key}: nothing can listen on {listen}: {error.strerror}", hint) from error


def _bound(family: int, address: Any) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(16)  # tested here too, so that a port in use is reported now
    except OSError:
        listener.close()
        raise
    return listener
