"""A running simulator, and clients for any number of accounts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from recvault.simulator import Simulator, Switches

from .client import Client


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(seed=7) as running:
        running.set_now(datetime(2026, 3, 10, 12, tzinfo=UTC))
        yield running


@pytest.fixture
def connect(simulator: Simulator) -> Iterator[Callable[..., Client]]:
    """Create an account and a client for it; both are closed at the end."""
    opened: list[Client] = []

    def open_one(kind: str = "twilio", *, switches: Switches | None = None, **options: Any) -> Client:
        if switches is not None:
            simulator.switches = switches
        opened.append(Client(simulator, simulator.add_account(kind, **options)))
        return opened[-1]

    yield open_one
    for client in opened:
        client.http.close()
