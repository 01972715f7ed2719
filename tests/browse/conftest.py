"""A small archive in a directory, and its pages on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from browse.catalogs import write_archive
from recvault.browse.holdings import Holdings
from recvault.browse.serving import Served, served
from recvault.shutdown import Stop
from recvault.store.local.local_store import LocalStore


@dataclass(frozen=True)
class Small:
    """An archive in a directory."""

    root: Path
    rows: list[dict[str, Any]]

    def holdings(self) -> Holdings:
        store = LocalStore(self.root, stop=Stop())
        return Holdings(store.reader(), where="file:///archive", directory=self.root)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """Eight recordings of two months, not to be changed."""
    root = tmp_path_factory.mktemp("small")
    return Small(root, write_archive(root))


@pytest.fixture
def fresh(tmp_path: Path) -> Small:
    """The same, to be changed."""
    return Small(tmp_path, write_archive(tmp_path))


@pytest.fixture
def pages(small: Small) -> Iterator[Served]:
    """The pages of the small archive, not opened yet."""
    yield from serve(small)


@pytest.fixture
def fresh_pages(fresh: Small) -> Iterator[Served]:
    """The pages of the one that may be changed."""
    yield from serve(fresh)


def serve(archive: Small) -> Iterator[Served]:
    """Serve an archive."""
    holdings = archive.holdings()
    with served(holdings, port=0, who="ada") as running:
        yield running
    holdings.close()


@pytest.fixture
def browser(pages: Served) -> Iterator[httpx.Client]:
    """A client that has opened the link."""
    with opened(pages) as client:
        yield client


@contextmanager
def opened(pages: Served) -> Iterator[httpx.Client]:
    """Open the link with a new client."""
    with httpx.Client(base_url=pages.url, trust_env=False) as client:
        assert client.get(pages.link).status_code == 303
        yield client


class Lines:
    """A log that keeps its events."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def info(self, event: str, **keys: Any) -> None:
        self.events.append({"event": event, **keys})


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the pages logged, as data."""
    lines = Lines()
    monkeypatch.setattr("recvault.browse.playing.log", lines)
    return lines.events
