"""A refusal for one key is that key's problem if an object that recvault keeps there can be read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from recvault.errors import Cold, ConfigError, KeyRefused, RecvaultError, StoreRefused
from recvault.shutdown import Stop
from recvault.store.s3.reader import S3Reader
from recvault.store.s3.s3_store import S3Store
from store.places import Place, make_put

KEY = "recordings/RE1.json"
KNOWN = "schemas/known.json"


@pytest.fixture
def place(make_place: Callable[[str], Place]) -> Place:
    return make_place("aws")


@pytest.fixture
def store(place: Place) -> S3Store:
    """A store with a known object."""
    made = place.store(known=lambda: make_put(KNOWN, b"{}"))
    made.put(make_put(KEY, b"{}"))
    return made


ASKS: dict[str, tuple[str, Callable[[S3Store], object]]] = {
    "put": ("PUT", lambda store: store.put(make_put(KEY, b"{} "))),
    "get": ("GET", lambda store: store.get(KEY)),
    "stream": ("GET", lambda store: list(store.stream(KEY))),
    "head": ("HEAD", lambda store: store.head(KEY)),
    "read": ("GET", lambda store: S3Reader(store, Stop()).get(KEY)),
    "described": ("HEAD", lambda store: S3Reader(store, Stop()).describe(KEY)),
    "digest": ("GET", lambda store: S3Reader(store, Stop()).digest(KEY)),
}


@pytest.mark.parametrize("ask", ASKS)
def test_a_refusal_of_one_key(place: Place, store: S3Store, ask: str) -> None:
    """A 403 for one key, while the bucket accepts others, is KeyRefused, which pauses nothing."""
    op, act = ASKS[ask]
    assert place.strict is not None
    place.strict.denied_keys.add((op, "RE1.json"))
    with pytest.raises(KeyRefused, match=KEY) as raised:
        act(store)
    assert not isinstance(raised.value, Cold)
    assert (raised.value.exit_code, raised.value.status) == (3, 403)


@pytest.mark.parametrize("ask", ASKS)
def test_a_refusal_of_all_keys(place: Place, store: S3Store, ask: str) -> None:
    """A 403 for all such requests is the bucket's."""
    op, act = ASKS[ask]
    assert place.strict is not None
    place.strict.denied |= {op, "GET"} if op == "HEAD" else {op}
    with pytest.raises(StoreRefused):
        act(store)


def test_no_right_to_list_is_the_buckets(place: Place, store: S3Store) -> None:
    """Without permission to list, S3 answers 403 for missing keys: that is not the key's problem."""
    assert place.strict is not None
    place.strict.denied.add("LIST")
    place.strict.denied_keys.add(("HEAD", "RE9.json"))
    with pytest.raises(StoreRefused):
        store.head("recordings/RE9.json")


def test_without_anything_to_compare_with_it_is_the_buckets(place: Place) -> None:
    """Without a known object a refusal counts as the bucket's."""
    assert place.strict is not None
    place.strict.denied_keys.add(("GET", "RE1.json"))
    with pytest.raises(StoreRefused):
        place.store().get(KEY)


def test_the_bucket_is_asked_once_for_many_keys(place: Place, store: S3Store) -> None:
    """Many refused keys cause one check in half a minute."""
    assert place.strict is not None
    place.strict.denied_keys = {("GET", f"RE{number}.json") for number in range(20)}
    place.strict.clear_counts()
    for number in range(20):
        with pytest.raises(KeyRefused):
            store.get(f"recordings/RE{number}.json")
    assert dict(place.strict.counts) == {"GET": 21, "LIST": 1}


@pytest.mark.parametrize("ask", ["get", "stream", "read", "digest"])
def test_an_archive_class(place: Place, store: S3Store, ask: str) -> None:
    """InvalidObjectState is Cold, only for this key; a HEAD still describes the object."""
    assert place.strict is not None
    place.strict.cold.add(KEY)
    with pytest.raises(Cold) as raised:
        ASKS[ask][1](store)
    assert "restore" in raised.value.hint
    found = store.head(KEY)
    assert found is not None and found.bytes == 2


def test_a_key_that_is_too_long(store: S3Store) -> None:
    """A too long key is its own problem if others are accepted."""
    with pytest.raises(KeyRefused, match="KeyTooLong"):
        store.put(make_put("k" * 1025, b"{}"))


def test_no_such_bucket_is_never_a_keys(place: Place) -> None:
    """NoSuchBucket is never a key's problem."""
    other = S3Store(place.client, "no-such-bucket", known=lambda: make_put(KNOWN, b"{}"))
    with pytest.raises(ConfigError):
        other.get(KEY)


def test_every_kind_has_an_exit_code() -> None:
    """Every such error exits 3, like other problems with single recordings."""
    assert {kind("x").exit_code for kind in (KeyRefused, Cold)} == {3}
    assert issubclass(KeyRefused, RecvaultError)
