"""Connections to a store for puts that are signed already: straight, and kept, where nothing stands in between.

What the environment says of the way there is asked of botocore: its certificates and timeouts are used here too, and
where it would go through a proxy or show a certificate of its own, it goes itself.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from botocore.awsrequest import HeadersDict
from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
    SSLError,
)
from botocore.httpsession import get_cert_path

from recvault.errors import Translation
from recvault.store.bounds import MOST_ERROR, limited
from recvault.wire import Answer, Wire, WireError

_IDLE_SECONDS = 30.0
_MOST_IDLE = 256
_PORTS = {"http": 80, "https": 443}
_CONTINUE_SECONDS = 1.0  # that a store may take to say whether it wants a body, as long as botocore waits
_LAST_WORDS_SECONDS = 1.0  # that its refusal may take, once it has closed in mid-body


@dataclass(frozen=True, slots=True)
class PreparedPut:
    """A signed PUT, with the names that botocore's session looks for.

    Its body is bytes, or pieces that are sent once the store has agreed to take them.
    """

    url: str
    headers: Mapping[str, Any]  # text; bytes where botocore sends it
    body: bytes | memoryview | Iterable[bytes | memoryview]
    method: str = "PUT"
    stream_output: bool = False
    context: None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, read whole, as botocore's parsers take it."""

    answer: Answer
    content: bytes

    @property
    def status_code(self) -> int:
        return self.answer.status

    @property
    def headers(self) -> HeadersDict:
        return HeadersDict(self.answer.headers)


@dataclass(frozen=True, slots=True)
class Place:
    """A server that is spoken to straight."""

    host: str
    port: int
    tls: ssl.SSLContext | None


class Connections:
    """botocore's HTTP session, but for a PreparedPut that needs nothing of it. Thread-safe."""

    @classmethod
    def of(cls, client: Any) -> Self:
        """A client's connections. AttributeError where its botocore keeps elsewhere what is asked for here."""
        endpoint = client._endpoint
        if not isinstance(endpoint.http_session, cls):
            endpoint.http_session = cls(endpoint.http_session, client.meta.config)
        found: Self = endpoint.http_session
        return found

    def __init__(self, session: Any, config: Any) -> None:
        self._session = session
        self._verify, self._own_certificate = session._verify, session._cert_file
        self._proxy_for = session._proxy_config.proxy_url_for
        self._connect_seconds, self._read_seconds = config.connect_timeout, config.read_timeout
        self._places: dict[str, Place | None] = {}
        self._idle: deque[tuple[Place, Wire]] = deque()

    def send(self, request: Any) -> Any:
        """Send and read the answer. Raises as botocore's own session does."""
        if not isinstance(request, PreparedPut):
            return self._session.send(request)
        scheme, _, rest = request.url.partition("://")
        authority, _, path = rest.partition("/")
        place = self.place(f"{scheme}://{authority}", request.url)
        if place is not None:
            return self._exchange(place, f"/{path}", request)
        own = bytes(request.body) if isinstance(request.body, memoryview) else request.body
        headers = {name: value.encode("ascii") for name, value in request.headers.items()}  # as botocore keeps them
        return self._session.send(replace(request, body=own, headers=headers))

    def close(self) -> None:
        """Close what is idle, and botocore's own."""
        while self._idle:
            self._idle.pop()[1].close()
        self._session.close()

    def place(self, base: str, url: str) -> Place | None:
        """Where requests below `base` go; None where they do not go straight."""
        if base not in self._places:
            straight = not (self._proxy_for(url) or self._own_certificate or self._verify is False)
            self._places[base] = self._straight(base) if straight else None
        return self._places[base]

    def _straight(self, base: str) -> Place:
        parts = urlsplit(base)
        tls = _trusting(str(get_cert_path(self._verify))) if parts.scheme == "https" else None
        return Place(str(parts.hostname), parts.port or _PORTS[parts.scheme], tls)

    def _exchange(self, place: Place, path: str, request: PreparedPut) -> Reply:
        with self.wire(place, request.url) as wire:
            answer = _sent(wire, path, request.headers.items(), request.body)
            content = limited(answer.chunks(), MOST_ERROR)
        self.keep(place, wire, answer)
        return Reply(answer, content)

    def wire(self, place: Place, url: str) -> _Lent:
        """A connection for one exchange, kept or new; what goes wrong on it is botocore's error, and its end."""
        return _Lent(self._idle_wire(place) or self._connected(place, url), url)

    def _idle_wire(self, place: Place) -> Wire | None:
        """The connection that was used last, if it is usable still."""
        for _ in range(len(self._idle)):
            try:
                to, wire = self._idle.pop()
            except IndexError:  # another thread was faster
                return None
            if to != place:
                self._idle.appendleft((to, wire))
            elif wire.is_usable(_IDLE_SECONDS):
                return wire
            else:
                wire.close()
        return None

    def _connected(self, place: Place, url: str) -> Wire:
        try:
            sock = socket.create_connection((place.host, place.port), self._connect_seconds)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if place.tls is not None:
                sock = place.tls.wrap_socket(sock, server_hostname=place.host)
        except TimeoutError as error:
            raise ConnectTimeoutError(endpoint_url=url, error=error) from error
        except ssl.SSLError as error:
            raise SSLError(endpoint_url=url, error=error) from error
        except OSError as error:
            raise EndpointConnectionError(endpoint_url=url, error=error) from error
        sock.settimeout(self._read_seconds)
        return Wire(sock)

    def keep(self, place: Place, wire: Wire, answer: Answer) -> None:
        """Take back a connection whose exchange is over."""
        if answer.leaves_usable and len(self._idle) < _MOST_IDLE:
            wire.idle_since = time.monotonic()
            self._idle.append((place, wire))
        else:
            wire.close()


class _Lent(Translation):
    __slots__ = ("_url", "_wire")

    def __init__(self, wire: Wire, url: str) -> None:
        self._wire, self._url = wire, url

    def __enter__(self) -> Wire:
        return self._wire

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._wire.close()
        super().__exit__(kind, error, trace)

    def translated(self, error: BaseException) -> Exception | None:
        if isinstance(error, TimeoutError):
            return ReadTimeoutError(endpoint_url=self._url, error=error)
        if isinstance(error, WireError | OSError):
            return ConnectionClosedError(endpoint_url=self._url, error=error)
        return None


def _sent(
    wire: Wire,
    target: str,
    headers: Iterable[tuple[str, str]],
    body: bytes | memoryview | Iterable[bytes | memoryview],
) -> Answer:
    """Send a request and read its answer's head. A body in pieces is sent when the store asks for it."""
    if isinstance(body, bytes | memoryview):
        wire.send("PUT", target, headers, body)
        return wire.answer("PUT")
    wire.send("PUT", target, headers)
    if wire.answers_within(_CONTINUE_SECONDS) and not wire.is_told_to_go_on():
        answer = wire.answer("PUT")
        answer.is_last = True  # the body that was announced never comes
        return answer
    try:
        wire.send_rest(body)
    except (BrokenPipeError, ConnectionResetError):
        if not wire.answers_within(_LAST_WORDS_SECONDS):
            raise
        answer = wire.answer("PUT")
        answer.is_last = True
        return answer
    return wire.answer("PUT")


def _trusting(certificates: str) -> ssl.SSLContext:
    """A context that trusts a file of certificates, or a folder of them."""
    if Path(certificates).is_dir():
        return ssl.create_default_context(capath=certificates)
    return ssl.create_default_context(cafile=certificates)
