"""The bucket in memory keeps the contract of an ObjectStore."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from io import BytesIO

import pytest

from recvault.errors import KeyConflict, StoreUnavailable
from recvault.store import Put, Stored
from recvault.testing import MemoryStore


def put_of(key: str, body: bytes) -> Put:
    sha256 = hashlib.sha256(body).hexdigest()
    metadata = {"sha256": sha256, "provider": "toy"}
    return Put(key=key, body=BytesIO(body), bytes=len(body), sha256=sha256, content_type="audio/wav", metadata=metadata)


def test_what_is_put_is_there() -> None:
    """An object reads back byte for byte, with size, hash and metadata; another key is empty."""
    store, body = MemoryStore(), b"media" * 50_000
    put = put_of("a/b.wav", body)
    put.body.read()
    assert store.put(put)
    assert body == store.get("a/b.wav") == b"".join(store.stream("a/b.wav"))
    expected = Stored(key="a/b.wav", bytes=len(body), sha256=put.sha256, metadata=put.metadata)
    assert expected == store.head("a/b.wav")
    assert store.get("a") is store.head("a") is None


def test_nothing_is_overwritten() -> None:
    """Putting the same bytes again returns False, other bytes are a KeyConflict, and the first stay."""
    store = MemoryStore()
    assert [store.put(put_of("a", b"one")), store.put(put_of("a", b"one"))] == [True, False]
    with pytest.raises(KeyConflict):
        store.put(put_of("a", b"two"))
    assert store.get("a") == b"one"


def test_bytes_that_differ_from_their_sum_are_refused() -> None:
    """A put with a wrong hash or length stores nothing."""
    store, good = MemoryStore(), put_of("a", b"one")
    for wrong in (replace(good, sha256=put_of("a", b"two").sha256), replace(good, bytes=4)):
        with pytest.raises(StoreUnavailable):
            store.put(wrong)
    assert store.objects == {}


def test_a_list_is_in_key_order() -> None:
    """A list has all objects under its prefix, and no others, in key order."""
    store = MemoryStore()
    for key in ("b/2", "a/1", "b/1"):
        store.put(put_of(key, key.encode()))
    assert [each.key for each in store.list("b/")] == ["b/1", "b/2"]
