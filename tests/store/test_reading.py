"""Reading a bucket at every S3: listings by range, hashes, bodies; directly and by boto3."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from recvault.errors import StoreUnavailable
from recvault.shutdown import Stop
from recvault.store import ObjectPart, Reader
from recvault.store.s3.reader import S3Reader
from store import real
from store.places import PLACES, Directory, Place, make_put

NAMES = ["a/1.json", "a/1.wav", "a/2.json", "a/é ü+&=%.wav", "b/1.json", "b/1.json.json"]


_PUT = [place for place in PLACES if place[1] == "fast"]  # how it is put does not matter
WHERE = real.thinned(_PUT)


@pytest.fixture(params=WHERE, ids=[name for name, _ in WHERE])
def place(request: pytest.FixtureRequest, make_place: Callable[[str], Place]) -> Place:
    """Each place in turn."""
    return make_place(real.taken(request.param, request.node.originalname, _PUT)[0])


@pytest.fixture(params=[*WHERE, None], ids=[*(name for name, _ in WHERE), "directory"])
def anywhere(request: pytest.FixtureRequest, make_place: Callable[[str], Place]) -> Place | Directory:
    """Each kind of store, too."""
    if request.param is None:
        found: Directory = request.getfixturevalue("directory")
        return found
    return make_place(real.taken(request.param, request.node.originalname, _PUT)[0])


def fill(place: Place | Directory) -> None:
    store = place.store()
    for name in NAMES:
        store.put(make_put(f"kept/{name}", name.encode()))


@pytest.fixture(params=["straight", "boto3"])
def reader(request: pytest.FixtureRequest, anywhere: Place | Directory) -> Reader:
    """Each kind of reader."""
    if isinstance(anywhere, Directory):
        return anywhere.store().reader()
    return S3Reader(anywhere.store(), Stop(), straight=request.param == "straight")


def test_a_part_is_the_bytes_that_were_asked_for(anywhere: Place | Directory, reader: Reader) -> None:
    """A part has the bytes of its range and the whole's size, fewer at the end, none behind it; None without an
    object."""
    anywhere.store().put(make_put("kept/a.wav", bytes(range(100))))
    asked = [(0, 10), (40, 20), (95, 20), (100, 5), (0, 1000)]
    found = [reader.part("kept/a.wav", *each) for each in asked]
    assert found == [ObjectPart(bytes(range(100))[start : start + size], 100) for start, size in asked]
    assert reader.part("kept/none.wav", 0, 10) is None


def test_listings_by_range(anywhere: Place | Directory, reader: Reader) -> None:
    """Each range has the keys after its start and before its end; together they are all, in key order."""
    fill(anywhere)
    whole = [each.key for each in reader.listed("kept/")]
    assert whole == sorted(f"kept/{name}" for name in NAMES)
    bounds = ["kept/", "kept/a/1.", "kept/a/2.json", "kept/a/zzz", "kept/b/1.json", "kept/\U0010ffff"]
    ranges = [
        [each.key for each in reader.listed("kept/", after, until)] for after, until in itertools.pairwise(bounds)
    ]
    left_out = {"kept/a/2.json", "kept/b/1.json"}  # bounds are in no range
    assert [key for found in ranges for key in found] == [key for key in whole if key not in left_out]
    assert [each.bytes for each in reader.listed("kept/a/1.json")] == [len("a/1.json")]
    now = datetime.now(UTC)
    assert all(abs(now - each.modified) < timedelta(hours=1) for each in reader.listed("kept/"))


@pytest.mark.parametrize("straight", [True, False])
def test_pages_of_a_listing(place: Place, straight: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A range of many pages is complete, and begins where requested."""
    reader = S3Reader(place.store(), Stop(), straight=straight)
    fill(place)
    ask = place.client.list_objects_v2
    monkeypatch.setattr(place.client.boto3, "list_objects_v2", lambda **asked: ask(**{**asked, "MaxKeys": 2}))
    found = [each.key for each in reader.listed("kept/", "kept/a/1.json")]
    assert found == sorted(f"kept/{name}" for name in NAMES)[1:]
    assert reader.requests["LIST"] == 3


def test_each_object(anywhere: Place | Directory, reader: Reader) -> None:
    """Size, hashes and bytes are as they were put."""
    fill(anywhere)
    for name in NAMES[:4]:
        body, key = name.encode(), f"kept/{name}"
        sha256 = hashlib.sha256(body).hexdigest()
        described, got = reader.describe(key), reader.get(key)
        assert described and got, key
        assert (described.bytes, described.noted) == (len(body), sha256)
        assert described.kept in (None, sha256)
        assert (got.content, got.noted, reader.digest(key)) == (body, sha256, (len(body), sha256))


def test_what_is_not_there(reader: Reader) -> None:
    """A missing object is None."""
    assert [reader.describe("kept/none"), reader.get("kept/none"), reader.digest("kept/none")] == [
        None,
        None,
        None,
    ]
    assert list(reader.listed("kept/")) == []


def test_questions_are_counted(anywhere: Place | Directory, reader: Reader) -> None:
    """Requests are counted by kind."""
    fill(anywhere)
    reader.describe("kept/a/1.json")
    reader.get("kept/a/1.json")
    reader.digest("kept/a/1.wav")
    list(reader.listed("kept/"))
    assert dict(reader.requests) == {"HEAD": 1, "GET": 2, "LIST": 1}


def test_a_body_that_breaks_off(aws: Place, waits: list[float]) -> None:
    """A broken body is read again from its start a few times, then it is StoreUnavailable."""
    reader, store = S3Reader(aws.store(), Stop()), aws.store()
    store.put(make_put("kept/a", b"x" * 100_000))
    assert aws.strict
    plan = aws.strict.faults.plan("reset_after", "GET", "kept/a", times=2)
    assert reader.digest("kept/a") == (100_000, hashlib.sha256(b"x" * 100_000).hexdigest())
    assert plan.fired == 2
    aws.strict.faults.plan("reset_after", "GET", "kept/a", times=99)
    with pytest.raises(StoreUnavailable):
        reader.digest("kept/a")


def test_the_stores_own_sum(make_place: Callable[[str], Place]) -> None:
    """The store's own SHA-256 is reported, whatever the metadata say."""
    place = make_place("moto")
    body = b"whole"
    place.store().put(make_put("kept/a", body))
    described = S3Reader(place.store(), Stop()).describe("kept/a")
    assert described
    assert described.kept == hashlib.sha256(body).hexdigest()
