"""A simulator whose clock is frozen at NOW, and scans over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from discovery.scans import NOW, Scans, scans_of
from recvault.simulator import Simulator


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """The five providers, empty, with a frozen clock."""
    with Simulator(seed=11) as running:
        running.set_now(NOW)
        yield running


@pytest.fixture
def scans(simulator: Simulator, tmp_path: Path) -> Iterator[Callable[..., Scans]]:
    """Make scans of a new account; all are closed at the end."""
    made: list[Scans] = []

    def make(name: str, **options: int) -> Scans:
        made.append(scans_of(name, simulator, tmp_path, **options))
        return made[-1]

    yield make
    for each in made:
        each.ledger.close()
        each.close()
