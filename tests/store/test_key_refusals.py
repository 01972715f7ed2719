"""What is refused for one key is that key's trouble; the bucket's is what an object that recvault keeps there shows."""

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
    """A store that has something to compare with."""
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
    """403 for one key, while the bucket takes and gives others: KeyRefused, which pauses nothing."""
    op, act = ASKS[ask]
    assert place.strict is not None
    place.strict.denied_keys.add((op, "RE1.json"))
    with pytest.raises(KeyRefused, match=KEY) as raised:
        act(store)
    assert not isinstance(raised.value, Cold)
    assert (raised.value.exit_code, raised.value.status) == (3, 403)


@pytest.mark.parametrize("ask", ASKS)
def test_a_refusal_of_all_keys(place: Place, store: S3Store, ask: str) -> None:
    """403 for whatever is asked so: the bucket's, as ever."""
    op, act = ASKS[ask]
    assert place.strict is not None
    place.strict.denied |= {op, "GET"} if op == "HEAD" else {op}
    with pytest.raises(StoreRefused):
        act(store)


def test_no_right_to_list_is_the_buckets(place: Place, store: S3Store) -> None:
    """Without it S3 answers 403 for each key that is not there: that is no key's own."""
    assert place.strict is not None
    place.strict.denied.add("LIST")
    place.strict.denied_keys.add(("HEAD", "RE9.json"))
    with pytest.raises(StoreRefused):
        store.head("recordings/RE9.json")


def test_without_anything_to_compare_with_it_is_the_buckets(place: Place) -> None:
    """A store that knows no object of its own there cannot tell the two apart."""
    assert place.strict is not None
    place.strict.denied_keys.add(("GET", "RE1.json"))
    with pytest.raises(StoreRefused):
        place.store().get(KEY)


def test_the_bucket_is_asked_once_for_many_keys(place: Place, store: S3Store) -> None:
    """However many keys are refused: what was found counts for half a minute."""
    assert place.strict is not None
    place.strict.denied_keys = {("GET", f"RE{number}.json") for number in range(20)}
    place.strict.clear_counts()
    for number in range(20):
        with pytest.raises(KeyRefused):
            store.get(f"recordings/RE{number}.json")
    assert dict(place.strict.counts) == {"GET": 21, "LIST": 1}


@pytest.mark.parametrize("ask", ["get", "stream", "read", "digest"])
def test_an_archive_class(place: Place, store: S3Store, ask: str) -> None:
    """InvalidObjectState is Cold, of this key alone; a HEAD still tells what stands there."""
    assert place.strict is not None
    place.strict.cold.add(KEY)
    with pytest.raises(Cold) as raised:
        ASKS[ask][1](store)
    assert "restore" in raised.value.hint
    found = store.head(KEY)
    assert found is not None and found.bytes == 2


def test_a_key_that_is_too_long(store: S3Store) -> None:
    """One long key is its own trouble, where others are taken."""
    with pytest.raises(KeyRefused, match="KeyTooLong"):
        store.put(make_put("k" * 1025, b"{}"))


def test_no_such_bucket_is_never_a_keys(place: Place) -> None:
    """What the store says of the bucket is not compared with anything."""
    other = S3Store(place.client, "no-such-bucket", known=lambda: make_put(KNOWN, b"{}"))
    with pytest.raises(ConfigError):
        other.get(KEY)


def test_every_kind_has_an_exit_code() -> None:
    """3, as of whatever is wrong with single recordings."""
    assert {kind("x").exit_code for kind in (KeyRefused, Cold)} == {3}
    assert issubclass(KeyRefused, RecvaultError)
