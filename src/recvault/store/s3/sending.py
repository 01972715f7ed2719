"""Send boto3's requests by our own transport: its waits can be cut short, and its responses are bounded.

botocore calls handlers of the event `before-send` before it sends a request, and uses the response they return;
handlers of `needs-retry` decide first whether to retry a request.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

from botocore import exceptions
from botocore.awsrequest import AWSResponse
from botocore.exceptions import BotoCoreError, ClientError

from recvault.shutdown import Stop
from recvault.store.s3 import retries
from recvault.store.s3.bounds import Answer, Sink
from recvault.store.s3.endings import Ending, asked
from recvault.store.s3.routes import Routes
from recvault.transport import ExchangeFailed, Request, Transport

_OF_THE_TRANSPORT = frozenset({"connection", "content-length", "expect", "host", "transfer-encoding"})


class CannotBeSent(BotoCoreError):
    """A request that is not valid HTTP."""

    fmt = "the request cannot be sent as HTTP"


class _Current(threading.local):
    """Settings of this thread's requests."""

    ending: Ending | None = None
    sink: Sink | None = None
    held: bool = False


class _Held(Exception):
    """A request that botocore was about to send."""

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self.request = request


class Sending:
    """Sends requests signed by botocore. Thread-safe. Raises botocore's errors, and Interrupted."""

    def __init__(self, routes: Routes) -> None:
        self.transport: Transport = routes
        self.routes = routes
        self.stop = Stop()
        self._current = _Current()

    @contextmanager
    def during(self, ending: Ending, sink: Sink | None = None) -> Iterator[None]:
        """Apply an ending and a sink for object bodies to this thread's requests. Default: as questions, no sink."""
        current = self._current
        before = current.ending, current.sink
        current.ending, current.sink = ending, sink
        try:
            yield
        finally:
            current.ending, current.sink = before

    def held(self, ask: Callable[[], object]) -> Request:
        """Return the signed request that botocore makes for an operation, without sending it."""
        self._current.held = True
        try:
            ask()
        except _Held as held:
            return held.request
        finally:
            self._current.held = False
        raise AssertionError("whatever is asked is sent first")

    def send(self, request: Any, **_: Any) -> AWSResponse:
        """Handle before-send."""
        if self._current.held:
            raise _Held(_asked(request))
        ending = self._ending
        ending.beat()
        answer = Answer(self._current.sink if request.stream_output else None)
        try:
            self.transport.exchange(_asked(request), answer, ending.cut())
        except ExchangeFailed as failed:
            raise as_botocores(failed, request.url) from failed
        return AWSResponse(
            request.url, answer.head.status, cast("Any", dict(answer.head.headers)), _Raw(bytes(answer.content))
        )

    def retry(
        self,
        response: tuple[Any, Mapping[str, Any]] | None,
        attempts: int,
        caught_exception: Exception | None,
        operation: Any,
        **_: Any,
    ) -> int | None:
        """Handle needs-retry. Returns 0, after the wait, to retry the request."""
        failure = caught_exception
        if response is not None:
            failure = ClientError(cast("Any", response[1]), operation.name)
        return 0 if failure is not None and retries.waited(failure, attempts, self._ending) else None

    @property
    def _ending(self) -> Ending:
        return self._current.ending or asked(self.stop)


class _Raw:
    """A response body as botocore expects it."""

    def __init__(self, content: bytes) -> None:
        self._left = memoryview(content)

    def read(self, size: int | None = None) -> bytes:
        """See io.RawIOBase.read."""
        end = len(self._left) if size is None or size < 0 else size
        piece, self._left = bytes(self._left[:end]), self._left[end:]
        return piece

    def stream(self) -> Iterator[bytes]:
        """Yield the rest."""
        yield self.read()

    def close(self) -> None:
        """Do nothing: nothing is held open."""


def as_botocores(failed: ExchangeFailed, url: str) -> BotoCoreError:
    """Return the error that boto3 raises for the same failure."""
    match failed.cause:
        case "certificate" | "tls":
            return exceptions.SSLError(endpoint_url=url, error=failed)
        case "late" | "slow":
            return exceptions.ReadTimeoutError(endpoint_url=url, error=failed)
        case "broken" | "framing":
            return exceptions.ConnectionClosedError(endpoint_url=url, error=failed)
        case "proxy":
            return exceptions.ProxyConnectionError(proxy_url="", endpoint_url=url, error=failed)
        case "request":
            return CannotBeSent()
        case _:
            return exceptions.EndpointConnectionError(endpoint_url=url, error=failed)


def _asked(request: Any) -> Request:
    """Convert botocore's request for the transport. CannotBeSent if a header is not ASCII."""
    texts = {name: v.decode("latin-1") if isinstance(v, bytes) else str(v) for name, v in request.headers.items()}
    named = {name.lower(): value for name, value in texts.items()}
    if not all(name.isascii() and value.isascii() for name, value in named.items()):
        raise CannotBeSent
    body, length = _body(request, named.get("content-length"))
    headers = [(name, value) for name, value in texts.items() if name.lower() not in _OF_THE_TRANSPORT]
    return Request(request.method, request.url, headers, body, length, expects="expect" in named)


def _body(request: Any, told: str | None) -> tuple[memoryview | BinaryIO | None, int]:
    body = request.body
    if body is None or isinstance(body, str):
        body = (body or "").encode()
    if isinstance(body, bytes | bytearray | memoryview):
        view = memoryview(body)
        return (view, len(view)) if view or request.method in ("POST", "PUT") else (None, 0)
    return body, int(told or 0)
