"""A shelf for each test, closed at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from operations.manifests.shelf import Shelf

Open = Callable[..., Shelf]


@pytest.fixture
def open_shelf(tmp_path: Path) -> Iterator[Open]:
    """Open shelves: separate machines, on one bucket if given the same store."""
    opened: list[Shelf] = []

    def begin(**values: Any) -> Shelf:
        opened.append(Shelf.opened(tmp_path, **values))
        return opened[-1]

    yield begin
    for shelf in opened:
        shelf.ledger.close()


@pytest.fixture
def shelf(open_shelf: Open) -> Shelf:
    """One machine and its bucket."""
    return open_shelf()
