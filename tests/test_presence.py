"""Presence: what a process remembers of the bucket's partitions, and how little."""

from __future__ import annotations

import hashlib
from io import BytesIO

import pytest

from recvault import presence
from recvault.presence import Presence
from recvault.store import Put
from recvault.testing import MemoryStore


class CountingStore(MemoryStore):
    """Remembers which partitions were listed."""

    def __init__(self) -> None:
        super().__init__()
        self.listed: list[str] = []

    def list(self, prefix: str):  # type: ignore[no-untyped-def]
        self.listed.append(prefix)
        return super().list(prefix)


def filled(*keys: str) -> CountingStore:
    store = CountingStore()
    for key in keys:
        body = key.encode()
        sha256 = hashlib.sha256(body).hexdigest()
        store.put(Put(key=key, body=BytesIO(body), bytes=len(body), sha256=sha256, content_type="", metadata={}))
    return store


def test_a_partition_is_listed_once() -> None:
    """One question a partition, and only what was listed may stand."""
    store = filled("a/1.json", "a/2.json")
    asked = Presence(store)
    assert [asked.may_stand(key) for key in ("a/1.json", "a/2.json", "a/3.json")] == [True, True, False]
    assert store.listed == ["a/"]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the bound of all partitions together, the one looked at longest ago is forgotten, and listed again."""
    monkeypatch.setattr(presence, "MOST_TOGETHER", 3)
    store = filled("a/1", "a/2", "b/1", "b/2")
    asked = Presence(store)
    for key in ("a/1", "b/1", "b/2", "a/1"):
        assert asked.may_stand(key)
    assert store.listed == ["a/", "b/", "a/"]


def test_a_partition_too_large_to_remember_may_hold_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never a wrong no: each recording of it is asked for by itself."""
    monkeypatch.setattr(presence, "MOST_KEYS", 1)
    store = filled("a/1", "a/2")
    assert Presence(store).may_stand("a/9")
