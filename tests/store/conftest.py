"""Places to store in, one per test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from recvault.store.s3 import retries
from store import real
from store.places import PLACES, SENDERS, STRICTNESS, Directory, Place, close_clients, real_place
from strict_s3 import StrictS3


@pytest.fixture(scope="session", autouse=True)
def _closed_clients() -> Iterator[None]:
    """Clients are shared by tests and closed after the last."""
    yield
    close_clients()


@pytest.fixture
def make_place(
    strict_s3: StrictS3, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Place]]:
    """Make a place by its name."""
    made = []

    def make(name: str) -> Place:
        if name in STRICTNESS:
            made.append(bucket := strict_s3.bucket(strictness=STRICTNESS[name]))
            return Place(name, strict_s3.url, bucket.name, bucket)
        if name == "moto":
            return Place(name, request.getfixturevalue("moto_url"), request.getfixturevalue("moto_bucket"))
        get_server = request.getfixturevalue("real_server")
        return real_place(name, real.way(name, get_server, monkeypatch))

    yield make
    for bucket in made:
        strict_s3.forget(bucket)


@pytest.fixture(
    params=[
        pytest.param(each, id="-".join(each), marks=[pytest.mark.real_s3] if each[0].startswith("real") else [])
        for each in real.thinned(PLACES)
    ]
)
def place(request: pytest.FixtureRequest, make_place: Callable[[str], Place]) -> Place:
    """Each place in turn, with an empty bucket."""
    name, sent_by = real.taken(request.param, request.node.originalname, PLACES)
    return replace(make_place(name), sender=sent_by)


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    """An empty directory."""
    root = tmp_path / "recordings"
    root.mkdir()
    return Directory(root)


@pytest.fixture(params=[*real.thinned(PLACES), ("directory", "files")], ids="-".join)
def anywhere(request: pytest.FixtureRequest, make_place: Callable[[str], Place]) -> Place | Directory:
    """Each kind of store and server: every one keeps the contract."""
    name, sent_by = real.taken(request.param, request.node.originalname, PLACES)
    if name == "directory":
        found: Directory = request.getfixturevalue("directory")
        return found
    return replace(make_place(name), sender=sent_by)


@pytest.fixture(params=SENDERS)
def aws(request: pytest.FixtureRequest, make_place: Callable[[str], Place]) -> Place:
    """The strict server at its strictest, with each sender."""
    return replace(make_place("aws"), sender=request.param)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record waits before retries instead of waiting."""
    noted: list[float] = []
    monkeypatch.setattr(retries, "pause", lambda seconds, check: noted.append(seconds))
    return noted
