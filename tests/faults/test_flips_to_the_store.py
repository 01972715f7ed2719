"""Single bits flipped between recvault and the bucket, over plain http: hashes refuse them, and the retry succeeds.

A real proxy flips them, at places chosen by a seed. The stores: the strict server, with SHA-256 and with only MD5,
and real ones, which also check signatures.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from faults.proxy import Flip, Proxy
from pairs import pairs
from real_s3.fixtures import LACKS, NAMES, lacking
from real_s3.servers import RealServer
from recvault.errors import KeyConflict, RecvaultError
from recvault.simulator import Simulator
from recvault.store import Put
from recvault.store.s3.s3_store import S3Store
from rig import Rig, sha256
from store import real
from store.places import PART, SENDERS, STRICTNESS, Place, make_put, real_place
from strict_s3 import StrictS3

KEY = "recordings/provider=twilio/account=AC1/date=2026-10-01/RE"
BODIES = {
    "small": random.Random(1).randbytes(10_000),
    "streamed": random.Random(2).randbytes(2 * 1024**2),
    "parts": random.Random(3).randbytes(PART + 4321),
}
WHERE = (0.0, *(round(random.Random(4).random(), 6) for _ in range(2)), 0.9999999)
_HERE = [name for name in NAMES if lacking(name) is None]
STORES = ("aws", "ceph", "careless", *(f"real-{name}" for name in _HERE))


@pytest.fixture(params=STORES)
def place(
    request: pytest.FixtureRequest,
    strict_s3: StrictS3,
    real_server: Callable[[str], RealServer],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Place]:
    """A bucket of each kind, at its own URL."""
    name = request.param
    if name in STRICTNESS:
        bucket = strict_s3.bucket(strictness=STRICTNESS[name])
        yield Place(name, strict_s3.url, bucket.name, bucket)
        strict_s3.forget(bucket)
        return
    yield real_place(name, real.way(name, real_server, monkeypatch))


@pytest.fixture
def line(place: Place) -> Iterator[Proxy]:
    """The connection to it, on which bits flip."""
    with Proxy(place.url) as proxy:
        yield proxy


def over(line: Proxy, place: Place, sender: str = "fast", **options: int) -> S3Store:
    """A store over that connection, which knows what it enforces."""
    known = place.store()
    store = replace(place, url=line.url, sender=sender).store(asked=False, **options)
    store.facts = known.facts
    return store


@pytest.mark.parametrize(*pairs(place=STORES, size=BODIES, sender=SENDERS), indirect=["place"])
def test_a_flip_in_a_body_is_refused(place: Place, line: Proxy, size: str, sender: str) -> None:
    """Wherever a bit flips in a body, it is refused, and the same put then stores the right bytes."""
    store, body = over(line, place, sender, single_put_most=PART, part_least=PART), BODIES[size]
    for number, where in enumerate(WHERE if size == "small" else WHERE[-2:]):
        key, before = f"{KEY}{number}.wav", line.requests
        flip = line.flip(Flip("request", "body", where, match=b"PUT "))
        assert store.put(make_put(key, body)) is True
        assert flip.done
        assert line.requests > before + 1
        assert place.body(key) == body


def test_a_flip_in_a_head_writes_nothing_else(place: Place, line: Proxy) -> None:
    """Wherever a bit flips in a put's head, no other key, bytes or metadata are stored."""
    if place.strict is not None:
        pytest.skip("the strict server does not verify signatures: a real one does")
    store, body = over(line, place), BODIES["small"]
    puts = {f"{KEY}{number}.wav": make_put(f"{KEY}{number}.wav", body) for number in range(12)}
    for where, put in zip(_seeded(12), puts.values(), strict=True):
        flip = line.flip(Flip("request", "head", where, match=b"PUT "))
        written(store, put)
        assert flip.done
        store.put(put)
    listed = {each.key for each in place.store(asked=False).list("")}
    assert {key for key in listed if not key.startswith("schemas/")} == set(puts)
    for key, put in puts.items():
        found = store.head(key)
        assert found is not None
        assert (found.bytes, found.metadata) == (len(body), put.metadata)


def written(store: S3Store, put: Put) -> bool | None:
    """Return whether the put says that the bytes are stored now; None: unknown."""
    try:
        store.put(put)
    except KeyConflict:
        raise
    except RecvaultError:
        return None
    return True


@pytest.mark.parametrize(*pairs(place=STORES, part=["head", "body"], sender=SENDERS), indirect=["place"])
def test_a_flip_in_an_answer_is_not_believed(place: Place, line: Proxy, sender: str, part: str) -> None:
    """Whatever bit of an answer flips, a put that reports success did write, and the next finds its bytes."""
    store, body = over(line, place, sender), BODIES["small"]
    for number, where in enumerate(_seeded(6)):
        put = make_put(f"{KEY}{number}.wav", body)
        if part == "body":
            store.put(put)  # so that there is something to answer
        flip = line.flip(Flip("answer", part, where, match=b"PUT "))  # type: ignore[arg-type]
        stands = written(store, put)
        flip.done = True  # an empty answer has no bit to flip
        assert store.put(put) is not stands
        assert place.body(put.key) == body


def test_a_pass_over_a_bad_line_archives_the_truth(tmp_path: Path, simulator: Simulator, strict_s3: StrictS3) -> None:
    """A pass with one flipped bit for every recording and sidecar ends with the right bucket."""
    account, bucket = simulator.add_account("twilio"), strict_s3.bucket()
    made = simulator.populate(account, "voice", count=12, conference_share=0)
    with Proxy(strict_s3.url) as line:
        rig = Rig(root=tmp_path, simulator=simulator, s3_url=line.url, bucket=bucket.name)
        rig.add_source("voice", "twilio", account)
        chance = random.Random(6)
        flips = [
            line.flip(Flip("request", "body", chance.random(), match=f"{each.recording_id}.{ext} ".encode()))
            for each in made
            for ext in ("wav", "json")
        ]
        report = rig.sync()
    assert report.outcome == "ok"
    assert all(flip.done for flip in flips)
    assert archived(bucket.objects) == {each.recording_id: sha256(simulator.media(each, "wav").read()) for each in made}


def archived(objects: dict[str, object]) -> dict[str, str]:
    """Return the SHA-256 of each recording in the bucket, by id."""
    return {
        key.rpartition("/")[2].removesuffix(".wav"): kept.sha256  # type: ignore[attr-defined]
        for key, kept in objects.items()
        if key.endswith(".wav")
    }


@pytest.mark.parametrize("name", NAMES)
def test_flips_meet_a_real_server(name: str) -> None:
    """The same is tested with a real server, which checks signatures; if there is none, the summary says so."""
    if reason := lacking(name):
        pytest.skip(LACKS + reason)
    assert f"real-{name}" in STORES


def _seeded(count: int) -> list[float]:
    chance = random.Random(5)
    return [chance.random() for _ in range(count)]
