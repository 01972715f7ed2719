"""The store's contract at every kind of server: nothing is overwritten, and what was put is there."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from recvault import archive
from recvault.errors import ConfigError, KeyConflict, StoreUnavailable
from recvault.models import Phase, Recording
from recvault.store import Bucket, StoreFacts
from recvault.store.s3.options import WriteOptions
from store.places import LARGE, PART, STRICTNESS, Directory, Place, lose_replies, make_put

BODY = b"RIFF" + bytes(range(256)) * 40
KEY = "recordings/provider=twilio/account=AC1/date=2026-10-01/RE1.wav"


def described(place: Place, key: str) -> dict[str, Any]:
    found = place.client.head_object(Bucket=place.bucket, Key=key)
    return {**found, "Metadata": {name.lower(): value for name, value in found["Metadata"].items()}}


def test_put_once(anywhere: Place | Directory) -> None:
    """An object is there after a put: bytes, type, metadata and SHA-256."""
    store = anywhere.store()
    assert store.put(make_put(KEY, BODY)) is True
    found = store.head(KEY)
    assert found is not None
    assert (found.bytes, found.sha256) == (len(BODY), hashlib.sha256(BODY).hexdigest())
    assert found.metadata["recording-id"] == "%2E%2E"
    assert store.get(KEY) == BODY == b"".join(store.stream(KEY))
    assert anywhere.content_type(KEY) == "audio/wav"


def test_absent(anywhere: Place | Directory) -> None:
    """A missing object is None, not an error."""
    store = anywhere.store(asked=False)
    assert store.head(KEY) is None
    assert store.get(KEY) is None


@pytest.mark.parametrize("asked", [True, False])
def test_put_the_same_again(anywhere: Place | Directory, asked: bool) -> None:
    """Putting the same bytes again returns False, with one object."""
    if anywhere.strict is not None and anywhere.strict.strictness.refuses_sums and not asked:
        pytest.skip("a store that takes no SHA-256 has to be asked what it takes")
    store = anywhere.store(asked=asked)
    assert store.put(make_put(KEY, BODY)) is True
    assert store.put(make_put(KEY, BODY)) is False
    assert [each.key for each in store.list("recordings/")] == [KEY]
    assert anywhere.strict is None or anywhere.strict.writes[KEY] == 1


@pytest.mark.parametrize("asked", [True, False])
def test_other_bytes_are_a_conflict(anywhere: Place | Directory, asked: bool) -> None:
    """Other bytes under a key, even of equal size, are KeyConflict, and the first stay."""
    if anywhere.strict is not None and anywhere.strict.strictness.refuses_sums and not asked:
        pytest.skip("a store that takes no SHA-256 has to be asked what it takes")
    store = anywhere.store(asked=asked)
    store.put(make_put(KEY, BODY))
    for other in (BODY + b"more", BODY[::-1]):
        with pytest.raises(KeyConflict):
            store.put(make_put(KEY, other))
    assert anywhere.body(KEY) == BODY


def test_bytes_without_a_sum_are_a_conflict(place: Place) -> None:
    """An object without SHA-256 is not ours: an equal size proves nothing."""
    place.client.put_object(Bucket=place.bucket, Key=KEY, Body=BODY)
    with pytest.raises(KeyConflict):
        place.store().put(make_put(KEY, BODY))


def test_a_lost_reply_is_resolved(place: Place, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """A put whose reply is lost is retried, and ends as one object with the right bytes."""
    store = place.store()
    lost = lose_replies(monkeypatch, store, lambda request: request.method == "PUT")
    store.put(make_put(KEY, BODY))
    assert place.body(KEY) == BODY
    assert [each.bytes for each in store.list("recordings/")] == [len(BODY)]
    assert len(lost) == len(waits) == 1


def test_every_reply_lost(place: Place, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """If all replies are lost it is StoreUnavailable; the next attempt finds its bytes."""
    store = place.store()
    lost = lose_replies(monkeypatch, store, lambda request: request.method == "PUT", times=4)
    with pytest.raises(StoreUnavailable):
        store.put(make_put(KEY, BODY))
    assert store.put(make_put(KEY, BODY)) is False
    assert place.body(KEY) == BODY
    assert len(lost) == 4


def test_two_writers_of_the_same_bytes(anywhere: Place | Directory) -> None:
    """Concurrent writers of the same bytes all succeed, with one object."""
    stores = [anywhere.store() for _ in range(4)]
    gate = threading.Barrier(len(stores))

    def write(store: Bucket) -> bool:
        gate.wait()
        try:
            return store.put(make_put(KEY, BODY))
        except KeyConflict:
            if anywhere.strict is None and not store.facts.conditional:
                return False  # a real server may show an incomplete object (rclone): reported, not overwritten
            raise

    with ThreadPoolExecutor(len(stores)) as pool:
        wrote = list(pool.map(write, stores))
    assert any(wrote)
    assert anywhere.body(KEY) == BODY
    if anywhere.strict is not None and anywhere.strict.strictness.conditional:
        assert sum(wrote) == 1


SENT_AND_TOLD = {
    "aws": ("sha256", "sha256"),
    "ceph": ("sha256", "etag"),
    "ceph-versioned": ("sha256", "etag"),
    "rclone": ("sha256", "etag"),
    "careless": ("sha256", "none"),
    "backblaze": ("md5", "etag"),
    "sumless": ("none", "etag"),
    "sealed": ("none", "none"),
}


def test_facts_are_what_the_server_does(place: Place) -> None:
    """`ask_facts` agrees with the server's behaviour, and leaves the known object unchanged."""
    known = make_put("schemas/known.json", b'{"known": true}')
    facts = place.store(asked=False).ask_facts(known)
    assert place.body(known.key) == b'{"known": true}'
    sha256, md5, conditional = seen_by_a_bare_client(place)
    checks = StoreFacts(sha256=facts.sha256, md5=facts.md5, conditional=facts.conditional)
    assert checks == StoreFacts(sha256=sha256, md5=md5 and not sha256, conditional=conditional)
    if place.strict is not None:
        strictness = STRICTNESS[place.name]
        assert (sha256, md5, conditional) == (strictness.sha256, strictness.md5, strictness.conditional)
        assert (facts.sums, facts.tells) == SENT_AND_TOLD[place.name]
    assert StoreFacts.from_json(facts.to_json()) == facts


def seen_by_a_bare_client(place: Place) -> tuple[bool, bool, bool]:
    wrong = base64.b64encode(bytes(32)).decode()
    client = place.client

    def refused(**arguments: str) -> bool:
        try:
            client.put_object(Bucket=place.bucket, Key="bare", Body=b"bare", **arguments)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            return error.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 412) and code != "InvalidArgument"
        return False

    return (
        refused(ChecksumAlgorithm="SHA256", ChecksumSHA256=wrong),
        refused(ContentMD5=base64.b64encode(bytes(16)).decode()),
        not refused() and refused(IfNoneMatch="*"),
    )


def test_a_wrong_sum_is_not_stored(anywhere: Place | Directory) -> None:
    """If the server verifies SHA-256, bytes with another hash are refused, and nothing is stored."""
    store = anywhere.store()
    if not store.facts.sha256:
        pytest.skip("this server does not verify SHA-256")
    with pytest.raises(StoreUnavailable, match=r"BadDigest|XAmzContentSHA256Mismatch|other bytes than its SHA-256"):
        store.put(make_put(KEY, BODY, sha256=hashlib.sha256(b"other").hexdigest()))
    assert store.head(KEY) is None


# Parts


def test_past_the_limit_in_parts(place: Place) -> None:
    """Above the limit of one put an object is uploaded in parts, with the whole file's SHA-256 in its metadata."""
    store = place.store(single_put_most=PART, part_least=PART)
    assert store.put(make_put(KEY, LARGE)) is True
    assert place.body(KEY) == LARGE
    found = described(place, KEY)
    assert found["Metadata"]["sha256"] == hashlib.sha256(LARGE).hexdigest()
    assert found["ContentType"] == "audio/wav"
    assert store.put(make_put(KEY, LARGE)) is False


def test_parts_overwrite_nothing(place: Place) -> None:
    """Other bytes under a key are KeyConflict in parts, too, whatever the server does with the condition."""
    store = place.store(single_put_most=PART, part_least=PART)
    store.put(make_put(KEY, BODY))
    with pytest.raises(KeyConflict):
        store.put(make_put(KEY, LARGE))
    assert place.body(KEY) == BODY
    assert uploads(place) == []


def test_a_lost_completion(place: Place, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """A completion whose reply is lost is resolved, by a retry or by looking at the object."""
    store = place.store(single_put_most=PART, part_least=PART)
    lost = lose_replies(monkeypatch, store, lambda request: request.method == "POST" and "uploadId=" in request.url)
    store.put(make_put(KEY, LARGE))
    assert place.body(KEY) == LARGE
    assert len(lost) == len(waits) == 1


class Breaks:
    """A body that cannot be read after its first part."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def read(self, size: int = -1) -> bytes:
        if self._body.tell() >= PART:
            raise OSError(5, "Input/output error")
        return bytes(self._body.read(size))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)


def test_a_failure_aborts_the_upload(place: Place) -> None:
    """A failed upload in parts leaves neither object nor parts."""
    store = place.store(single_put_most=PART, part_least=PART)
    whole = make_put(KEY, LARGE)
    with pytest.raises(OSError, match="Input/output"):
        store.put(replace(whole, body=Breaks(whole.body)))  # type: ignore[arg-type]
    assert store.head(KEY) is None
    assert uploads(place) == []


def uploads(place: Place) -> list[str]:
    try:
        listed = place.client.list_multipart_uploads(Bucket=place.bucket, Prefix="recordings/")
    except ClientError as error:
        assert error.response["Error"]["Code"] in ("NotImplemented", "NoSuchUpload"), error  # rclone has none
        return list(place.strict.uploads) if place.strict else []
    return [upload["UploadId"] for upload in listed.get("Uploads", ())]


def test_stale_uploads_are_aborted(place: Place) -> None:
    """Old uploads are aborted; young ones and those outside the prefix are not."""
    store, client = place.store(), place.client
    begun = [
        client.create_multipart_upload(Bucket=place.bucket, Key=key)["UploadId"] for key in (KEY, "elsewhere/RE2.wav")
    ]
    if place.name != "moto":  # which gives every upload the same past date
        store.clear_unfinished("recordings/", datetime.now(UTC) - timedelta(days=1))
        assert uploads(place)[:1] == begun[:1]
    aborted = store.clear_unfinished("recordings/", datetime.now(UTC) + timedelta(days=1))
    assert aborted == (place.name != "careless")  # which cannot list uploads: no error
    assert place.name == "careless" or uploads(place) == []
    client.abort_multipart_upload(Bucket=place.bucket, Key="elsewhere/RE2.wav", UploadId=begun[1])


# Keys and lists


def test_hostile_ids(anywhere: Place | Directory) -> None:
    """An object with any id can be put, found, listed and read under its own key, with ASCII metadata."""
    store, keys = anywhere.store(), archive.KeyTemplate()
    ids = ["..", ".", "", "a/b", "../../etc/passwd", "Ümläut 通話", "\x00\x1f\x7f", "a b+c%20", "\u202eRE", "x" * 5000]
    made = {}
    for number, recording_id in enumerate(ids):
        recording = a_recording(recording_id)
        body = f"{number}".encode()
        put = make_put(keys(recording, "wav"), body)
        put = make_put(put.key, body, metadata=archive.object_metadata(recording, put.sha256))
        assert store.put(put) is True
        made[put.key] = body
        found = store.head(put.key)
        assert found is not None
        assert found.metadata["recording-id"] == archive.escape(recording_id)
    assert len(made) == len(ids)
    assert {each.key for each in store.list("recordings/")} == set(made)
    assert {key: store.get(key) for key in made} == made


def a_recording(recording_id: str) -> Recording:
    return Recording(
        provider="twilio",
        api="2010-04-01",
        account_id="AC1",
        recording_id=recording_id,
        created_at=datetime(2026, 10, 1, tzinfo=UTC),
        status="completed",
        phase=Phase.COMPLETE,
        formats=("wav",),
    )


def test_list(anywhere: Place | Directory) -> None:
    """A list has everything under a prefix in key order, with sizes, over several pages."""
    store = anywhere.store(asked=False)
    wanted = [f"recordings/date=2026-10-{number:02}/RE.wav" for number in range(1, 13)]
    for number, key in enumerate([*reversed(wanted), "recordings-not/RE.wav", "catalog/x"]):
        anywhere.lay(key, b"x" * number)
    with _five_a_page(anywhere):
        listed = list(store.list("recordings/"))
    assert [each.key for each in listed] == wanted
    assert [each.bytes for each in listed] == list(reversed(range(12)))
    assert list(store.list("nothing/")) == []


@contextmanager
def _five_a_page(anywhere: Place | Directory) -> Iterator[None]:
    """Let lists have short pages."""
    if isinstance(anywhere, Directory):
        yield
        return
    events, short = anywhere.client.meta.events, "before-parameter-build.s3.ListObjectsV2"
    events.register(short, _at_most_five)
    try:
        yield
    finally:
        events.unregister(short, _at_most_five)


def _at_most_five(params: dict[str, Any], **_: object) -> None:
    params["MaxKeys"] = 5


# What a put is written with


def test_options_hold_or_are_refused(place: Place) -> None:
    """Tags are stored, or refused by the store with a message, never dropped by us."""
    store = place.store(asked=False, options=WriteOptions(tags={"team": "compliance & law"}))
    try:
        store.put(make_put(KEY, BODY))
    except ConfigError as error:
        assert "tags" in error.hint
        return
    if place.strict is not None:
        assert place.strict.objects[KEY].headers["x-amz-tagging"] == "team=compliance%20%26%20law"
        return
    try:
        found = place.client.get_object_tagging(Bucket=place.bucket, Key=KEY)
    except ClientError:
        pytest.skip("this server takes tags and does not tell them")
    assert found["TagSet"] == [{"Key": "team", "Value": "compliance & law"}]


@pytest.fixture
def locked(place: Place) -> Iterator[Place]:
    """A bucket with Object Lock, if the server supports it."""
    name = f"{place.bucket}-locked"
    client = place.client
    try:
        client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
        client.get_object_lock_configuration(Bucket=name)
        client.list_object_versions(Bucket=name)
    except ClientError as error:
        pytest.skip(f"this server has no Object Lock: {error}")
    yield replace(place, bucket=name)
    for version in client.list_object_versions(Bucket=name).get("Versions", ()):
        where = {"Bucket": name, "Key": version["Key"], "VersionId": version["VersionId"]}
        client.put_object_legal_hold(**where, LegalHold={"Status": "OFF"})
        client.delete_object(**where, BypassGovernanceRetention=True)


def test_object_lock(locked: Place) -> None:
    """With Object Lock every object is locked and held as configured, whole or in parts."""
    options = WriteOptions(lock_mode="GOVERNANCE", lock_days=2, legal_hold=True)
    store = locked.store(options=options, single_put_most=PART, part_least=PART)
    for key, body in ((KEY, BODY), (f"{KEY}.large", LARGE)):
        assert store.put(make_put(key, body)) is True
        assert store.put(make_put(key, body)) is False
        found = described(locked, key)
        assert (found["ObjectLockMode"], found["ObjectLockLegalHoldStatus"]) == ("GOVERNANCE", "ON")
        assert found["ObjectLockRetainUntilDate"] > datetime.now(UTC) + timedelta(days=1)
        versions = locked.client.list_object_versions(Bucket=locked.bucket, Prefix=key)["Versions"]
        assert [version["Key"] for version in versions if version["Key"] == key] == [key]
