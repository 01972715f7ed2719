"""boto3's requests, sent by a transport of ours: its waits can be cut, its answers are bounded.

botocore asks whoever registered for its event `before-send` before it would send a request itself, and takes what that
answers; whoever registered for `needs-retry` decides first whether a request is made again.
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
    """A request that is none of HTTP's."""

    fmt = "the request cannot be sent as HTTP"


class _Current(threading.local):
    """What this thread's requests are made for."""

    ending: Ending | None = None
    sink: Sink | None = None
    held: bool = False


class _Held(Exception):
    """A request that botocore was about to send."""

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self.request = request


class Sending:
    """Sends what botocore signed. Thread-safe. Raises what botocore would raise, and Interrupted."""

    def __init__(self, routes: Routes) -> None:
        self.transport: Transport = routes
        self.routes = routes
        self.stop = Stop()
        self._current = _Current()

    @contextmanager
    def during(self, ending: Ending, sink: Sink | None = None) -> Iterator[None]:
        """End this thread's requests so, and have an object's body go there. Without it: as questions, and nowhere."""
        current = self._current
        before = current.ending, current.sink
        current.ending, current.sink = ending, sink
        try:
            yield
        finally:
            current.ending, current.sink = before

    def held(self, ask: Callable[[], object]) -> Request:
        """The request that botocore makes of an operation, signed, and not sent."""
        self._current.held = True
        try:
            ask()
        except _Held as held:
            return held.request
        finally:
            self._current.held = False
        raise AssertionError("whatever is asked is sent first")

    def send(self, request: Any, **_: Any) -> AWSResponse:
        """A handler of before-send."""
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
        """A handler of needs-retry. 0: the wait is over, and it is made again."""
        failure = caught_exception
        if response is not None:
            failure = ClientError(cast("Any", response[1]), operation.name)
        return 0 if failure is not None and retries.waited(failure, attempts, self._ending) else None

    @property
    def _ending(self) -> Ending:
        return self._current.ending or asked(self.stop)


class _Raw:
    """An answer's body where botocore looks for it."""

    def __init__(self, content: bytes) -> None:
        self._left = memoryview(content)

    def read(self, size: int | None = None) -> bytes:
        """As a file does."""
        end = len(self._left) if size is None or size < 0 else size
        piece, self._left = bytes(self._left[:end]), self._left[end:]
        return piece

    def stream(self) -> Iterator[bytes]:
        """All that is left."""
        yield self.read()

    def close(self) -> None:
        """Nothing is held open."""


def as_botocores(failed: ExchangeFailed, url: str) -> BotoCoreError:
    """The error that boto3 raises for the same trouble."""
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
    """botocore's request as the transport takes it. CannotBeSent where it holds what no header can."""
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
