"""The simulator within the process: requests are answered byte for byte as on the network, without a socket.

Everything above the transport is recvault's: sessions, retries, redirects, providers. A request is an effect that may
be struck before the service sees it or after it has answered; the service's own faults truncate answers as usual.
"""

from __future__ import annotations

import http.client
import io
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, cast

import httpx

from recvault.http import AddressRule
from recvault.simulator import Simulator
from recvault.simulator.exchange import Request
from recvault.simulator.simulated_service import Logged, SimulatedService
from recvault.transport import Cut, Head, Receiver
from recvault.transport import Request as Sent
from recvault.transport.plain import hand_over

API, MEDIA = "127.0.0.1:1", "127.0.0.1:2"
Effect = Callable[[str, Callable[[], Exception]], AbstractContextManager[None]]
Honest = Callable[[], httpx.Response]
Between = Callable[[str, httpx.Request, Honest], httpx.Response]
"""What stands between a client and its provider: the kind of the request, the request, and what honestly answers it."""


class NearSimulator(Simulator):
    """A simulator that does not listen."""

    def start(self) -> None:
        self._world.base_url, self._world.media_host = f"http://{API}", MEDIA


class NearClients:
    """Replaces `Clients`: one client, for one thread."""

    def __init__(
        self, simulator: Simulator, effect: Effect, between: Between = lambda kind, request, honest: honest()
    ) -> None:
        self.rule = AddressRule.of(f"http://{API}", [MEDIA])
        self._client = httpx.Client(transport=_Near(simulator, effect, between), trust_env=False)

    @property
    def media(self) -> NearClients:
        return self

    def get(self, cut: Cut | None = None) -> httpx.Client:
        return self._client

    def exchange(self, request: Sent, receiver: Receiver, cut: Cut) -> Head:
        """See Transport.exchange."""
        sent = httpx.Request("GET", request.url, headers=list(request.headers))
        return hand_over(self._client.send(sent, stream=True), receiver)

    def close(self) -> None:
        self._client.close()


class NoLimits:
    """Replaces `Limits`: nothing is paced."""

    def turn(self, *_: Any) -> AbstractContextManager[None]:
        return nullcontext()

    def note(self, *noted: Any) -> None:
        pass


class _Near(httpx.BaseTransport):
    def __init__(self, simulator: Simulator, effect: Effect, between: Between) -> None:
        log: deque[Logged] = deque(maxlen=1)
        world, faults = simulator._world, simulator.faults
        self._services = {
            API: SimulatedService("api", world, faults, log),
            MEDIA: SimulatedService("media", world, faults, log),
        }
        self._effect = effect
        self._between = between

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        path, _, query = request.url.raw_path.decode("ascii").partition("?")
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked = Request(request.method, path, query, headers)
        service = self._services[request.url.netloc.decode()]

        def honest() -> httpx.Response:
            wire = _Wire()
            service.answer(cast("Any", wire), asked)
            return wire.response()

        kind = "download" if headers.get("accept-encoding") == "identity" else "request"
        with self._effect(kind, lambda: httpx.ReadError("planned")):
            return self._between(service._route(asked).kind, request, honest)


class _Wire:
    """Takes what a service sends, and reads it like a client."""

    def __init__(self) -> None:
        self._sent = bytearray()
        self._broken = False

    def send(self, octets: bytes) -> None:
        self._sent += octets

    def pause(self, seconds: float) -> None:
        """Does nothing: no time passes here."""

    def reset(self) -> None:
        self._broken = True

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._sent)

    def response(self) -> httpx.Response:
        answer = http.client.HTTPResponse(cast("Any", self))
        try:
            with _as_on_the_wire():
                answer.begin()
        except BaseException:
            answer.close()  # else the garbage collector would, without its file
            raise
        return httpx.Response(answer.status, headers=answer.getheaders(), stream=_Body(answer, self._broken))


class _Body(httpx.SyncByteStream):
    def __init__(self, answer: http.client.HTTPResponse, broken: bool) -> None:
        self._answer, self._broken = answer, broken

    def __iter__(self) -> Iterator[bytes]:
        with _as_on_the_wire():
            while chunk := self._answer.read1(65536):
                yield chunk
        if self._broken:
            raise httpx.ReadError("reset")
        if self._answer.length:
            raise httpx.RemoteProtocolError("the body ended before its length")

    def close(self) -> None:
        self._answer.close()


@contextmanager
def _as_on_the_wire() -> Iterator[None]:
    try:
        yield
    except http.client.HTTPException as error:
        raise httpx.RemoteProtocolError(type(error).__name__) from error
