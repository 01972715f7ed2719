"""An object of another bucket is copied inside the store, confirmed like a put, and never over another object."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from recvault.errors import KeyConflict, StoreUnavailable
from recvault.store import Origin, Put
from store.places import Place, make_put
from strict_s3 import Body, Bucket, StrictS3

BODY = b"RIFF" + bytes(range(256)) * 400
KEY, THEIRS = "recordings/RE1.wav", "out put/agent+7/RE1 (copy).wav"
SERVERS = ["aws", "ceph", "ceph-versioned", "careless", "backblaze", "sumless", "sealed"]


@pytest.fixture
def theirs(strict_s3: StrictS3) -> Iterator[Bucket]:
    """The other bucket, with one object."""
    bucket = strict_s3.bucket()
    bucket.objects[THEIRS] = Body(BODY, md5=True).kept({})
    yield bucket
    strict_s3.forget(bucket)


def put_of(theirs: Bucket, **changes: str) -> Put:
    """A put whose bytes are also in the other bucket."""
    origin = Origin(theirs.name, THEIRS, theirs.objects[THEIRS].etag.strip('"'))
    return replace(make_put(KEY, BODY), origin=replace(origin, **changes))


def written(place: Place) -> list[str]:
    """Return how the key was written."""
    assert place.strict is not None
    seen = [each for each in place.strict.log if each.key == KEY and each.status == 200]
    return [each.op for each in seen if each.op in ("PUT", "COPY")]


@pytest.mark.parametrize("name", SERVERS)
def test_it_is_copied_without_its_bytes(make_place: Callable[[str], Place], theirs: Bucket, name: str) -> None:
    """Each kind of store copies it, with our metadata and type; a second put finds it."""
    place, put = make_place(name), put_of(theirs)
    store = place.store()
    assert store.put(put)
    assert written(place) == ["COPY"]
    assert place.body(KEY) == BODY
    assert place.content_type(KEY) == put.content_type
    found = store.head(KEY)
    assert found is not None
    assert (found.sha256, dict(found.metadata)) == (put.sha256, dict(put.metadata))
    assert not store.put(put)
    assert written(place) == ["COPY"]


@pytest.mark.parametrize(("name", "reads"), [("aws", 0), ("ceph", 0), ("careless", 1), ("sealed", 1)])
def test_a_copy_is_read_back_only_if_nothing_else_shows_it(
    make_place: Callable[[str], Place], theirs: Bucket, name: str, reads: int
) -> None:
    """A checksum or an ETag confirms a copy; a store that tells neither is read."""
    place = make_place(name)
    store = place.store()
    assert place.strict is not None
    place.strict.clear_counts()
    assert store.put(put_of(theirs))
    assert (place.strict.counts["GET"], place.strict.counts["COPY"]) == (reads, 1)


def test_an_etag_of_parts_is_no_fault(make_place: Callable[[str], Place], theirs: Bucket) -> None:
    """The ETag of an origin that was put in parts is not its MD5: the copy is read back."""
    theirs.objects[THEIRS] = replace(theirs.objects[THEIRS], etag='"0123-2"')
    place = make_place("ceph")
    assert place.store().put(put_of(theirs))
    assert place.body(KEY) == BODY


@pytest.mark.parametrize("name", SERVERS)
def test_other_bytes_are_not_overwritten(make_place: Callable[[str], Place], theirs: Bucket, name: str) -> None:
    """A key with other bytes is a conflict, and keeps them."""
    place = make_place(name)
    place.lay(KEY, b"theirs")
    with pytest.raises(KeyConflict):
        place.store().put(put_of(theirs))
    assert place.body(KEY) == b"theirs"


def test_a_writer_in_between_is_not_overwritten(make_place: Callable[[str], Place], theirs: Bucket) -> None:
    """The copy is conditional: an object that came after the look is kept."""
    place = make_place("aws")
    store = place.store()
    look = store.head

    def late(key: str) -> object:
        found = look(key)
        place.lay(key, b"theirs")
        return found

    store.head = late  # type: ignore[method-assign,assignment]
    with pytest.raises(KeyConflict):
        store.put(put_of(theirs))
    assert place.body(KEY) == b"theirs"


@pytest.mark.parametrize("changes", [{"etag": "0" * 32}, {"bucket": "elsewhere"}, {"key": "gone.wav"}])
def test_what_cannot_be_copied_is_sent(
    make_place: Callable[[str], Place], theirs: Bucket, changes: dict[str, str]
) -> None:
    """An origin that was changed, deleted, or is in no bucket of the store: the proven bytes are sent."""
    place = make_place("aws")
    assert place.store().put(put_of(theirs, **changes))
    assert (written(place), place.body(KEY)) == (["PUT"], BODY)


def test_a_store_without_copies_is_sent_the_bytes(make_place: Callable[[str], Place], theirs: Bucket) -> None:
    """A store that does not implement copies gets the bytes."""
    place = make_place("aws")
    assert place.strict is not None
    place.strict.strictness = replace(place.strict.strictness, copies=False)
    assert place.store().put(put_of(theirs))
    assert (written(place), place.body(KEY)) == (["PUT"], BODY)


@pytest.mark.parametrize("name", ["aws", "ceph", "careless"])
def test_a_copy_of_other_bytes_is_noticed(make_place: Callable[[str], Place], theirs: Bucket, name: str) -> None:
    """A store that copies an origin that was changed meanwhile: its checksum, its ETag or its bytes show it."""
    place = make_place(name)
    assert place.strict is not None
    place.strict.strictness = replace(place.strict.strictness, checks_origin=False)
    put = put_of(theirs)
    theirs.place(THEIRS, BODY[::-1])
    with pytest.raises(StoreUnavailable, match="other bytes"):
        place.store().put(put)
