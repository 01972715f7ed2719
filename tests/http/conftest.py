"""Shared by the tests of `recvault.http`: servers on loopback, and sessions that reach them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import httpx
import pytest

from recvault.http import AddressRule, Clients, Limits, MediaHead, Session, Timing
from recvault.shutdown import Stop
from recvault.simulator.exchange import Request
from recvault.simulator.wire import Server, Wire
from recvault.testing import Answer, Front
from recvault.transport import CURL

QUICK = Timing(tries=1, backoff_base=0.001, stall_timeout=2.0)
AUTHORIZATION = "Basic c2VjcmV0OnNlY3JldA=="


class Wired:
    """Opens what a test requests, and closes it at the end."""

    authorization = AUTHORIZATION

    def __init__(self, opened: ExitStack, transport: str = CURL) -> None:
        self._opened, self.transport = opened, transport

    def front(self, answer: Answer | Callable[[Request], Answer] = Answer()) -> Front:  # noqa: B008 - frozen
        """Start a server of regular HTTP."""
        return self._opened.enter_context(Front(answer if callable(answer) else lambda request: answer))

    def raw(self, answer: Callable[[Wire, Request], bool]) -> str:
        """Start a server that writes arbitrary bytes; return its origin."""
        server = Server(0, answer)
        server.start()
        self._opened.callback(server.stop)
        return f"http://127.0.0.1:{server.port}"

    def limits(self, requests_per_second: float = 100_000, max_concurrency: int = 32) -> Limits:
        return Limits(requests_per_second, max_concurrency)

    def clients(
        self, base_url: str, media_hosts: tuple[str, ...] = (), read_seconds: float = 2.0, least_rate: float = 1.0
    ) -> Clients:
        clients = Clients(
            AddressRule.of(base_url, media_hosts), read_seconds, least_rate=least_rate, transport=self.transport
        )
        self._opened.callback(clients.close)
        return clients

    def session(
        self,
        base_url: str,
        *,
        hosts: tuple[str, ...] = (),
        stop: Any = None,
        limits: Limits | None = None,
        own_list: Any = None,
        **timing: Any,
    ) -> Session:
        chosen = replace(QUICK, **timing)
        clients = self.clients(base_url, hosts, chosen.stall_timeout, chosen.min_rate)
        return Session(base_url, AUTHORIZATION, clients, limits or self.limits(), stop or Stop(), chosen, own_list)


def get(url: str) -> httpx.Request:
    return httpx.Request("GET", url)


class Taken:
    """A sink that keeps all bytes, for `Session.download`."""

    def __init__(self, head: MediaHead) -> None:
        self.head, self.body, self.is_closed = head, b"", False

    @property
    def size(self) -> int:
        return len(self.body)

    def write(self, piece: bytes | memoryview) -> None:
        self.body += bytes(piece)

    def finish(self) -> Any:
        return self.body

    def close(self) -> None:
        self.is_closed = True


read = Taken


@pytest.fixture
def wired() -> Iterator[Wired]:
    with ExitStack() as opened:
        yield Wired(opened)
