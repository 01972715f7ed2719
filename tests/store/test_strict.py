"""The cost of puts and the store's refusals, at the strict server: requests are counted, headers inspected."""

from __future__ import annotations

import base64
import hashlib
import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from recvault.errors import ConfigError, KeyConflict, RecvaultError, StoreRefused, StoreUnavailable
from recvault.store import StoreFacts
from recvault.store.s3.botocore_errors import botocore_errors
from recvault.store.s3.clients import make_client
from recvault.store.s3.options import WriteOptions
from recvault.store.s3.s3_store import S3Store
from store.places import LARGE, PART, Place, client_of, make_put
from strict_s3 import StrictS3

BODY = b"RIFF" + bytes(range(256)) * 40
KEY = "recordings/RE1.wav"


def ready(place: Place, **options: Any) -> S3Store:
    """A store that knows its facts, and a bucket with counts at zero."""
    store = place.store(**options)
    assert place.strict is not None
    place.strict.clear_counts()
    return store


def spent(place: Place) -> dict[str, int]:
    assert place.strict is not None
    return dict(place.strict.counts)


# The cheapest proof


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("aws", {"PUT": 1}),
        ("ceph", {"PUT": 1}),
        ("ceph-versioned", {"HEAD": 1, "PUT": 1}),
        ("rclone", {"HEAD": 1, "PUT": 1}),
        ("careless", {"HEAD": 2, "PUT": 1}),
        ("backblaze", {"HEAD": 1, "PUT": 1}),
        ("sumless", {"PUT": 1}),
        ("sealed", {"HEAD": 1, "PUT": 1}),
    ],
)
def test_the_cheapest_proof(make_place: Callable[[str], Place], name: str, wanted: dict[str, int]) -> None:
    """One put if the store proves it; a look before if it might overwrite, one after if it proves nothing."""
    place = make_place(name)
    store = ready(place)
    store.put(make_put(KEY, BODY))
    assert spent(place) == wanted


@pytest.mark.parametrize("name", ["backblaze", "sumless", "sealed"])
def test_parts_without_sums(make_place: Callable[[str], Place], name: str) -> None:
    """If SHA-256 is refused, parts are sent without it, and the object is checked by its size."""
    place = make_place(name)
    store = ready(place, single_put_most=PART, part_least=PART)
    assert store.put(make_put(KEY, LARGE)) is True
    assert place.strict is not None
    assert place.strict.body(KEY) == LARGE
    assert not [name for each in place.strict.log for name in each.headers if "checksum" in name]


@pytest.mark.parametrize(
    ("checksums", "sums"), [("auto", "md5"), ("md5", "md5"), ("none", "none"), ("sha256", ConfigError)]
)
def test_which_sums_are_sent_may_be_said(make_place: Callable[[str], Place], checksums: str, sums: Any) -> None:
    """The configured checksums are sent even if the store refuses them, which is reported."""
    place = make_place("backblaze")
    known, store = make_put("schemas/known.json", b"{}"), place.store(asked=False)
    if isinstance(sums, str):
        assert store.ask_facts(known, checksums).sums == sums
        return
    with pytest.raises(ConfigError, match="Unsupported header") as raised:
        store.ask_facts(known, checksums)
    assert "checksums" in raised.value.hint


def test_what_is_refused_with_any_sums_is_not_laid_to_them(make_place: Callable[[str], Place]) -> None:
    """If every put is refused, the first refusal is reported, not that of a checksum."""
    place = make_place("aws")
    store = S3Store(place.client, place.bucket)
    with pytest.raises(ConfigError, match="KeyTooLong"):
        store.ask_facts(make_put("k" * 1025, b"{}"))


def test_bytes_that_turn_are_seen_by_the_etag(make_place: Callable[[str], Place]) -> None:
    """Without checksums, other stored bytes are detected by the ETag, whole or in a part."""
    for limit, op in ((PART * 9, "PUT"), (PART, "PART")):
        place = make_place("sumless")
        store = ready(place, single_put_most=limit, part_least=PART)
        assert place.strict is not None
        place.strict.faults.plan("flip", op, KEY)
        with pytest.raises(StoreUnavailable, match="says that it stored"):
            store.put(make_put(KEY, LARGE))
        assert not place.strict.faults.unfired


def test_md5_only_where_it_is_needed(make_place: Callable[[str], Place]) -> None:
    """SHA-256 is sent with every put; MD5 only if the store does not verify SHA-256."""
    sha256 = base64.b64encode(hashlib.sha256(BODY).digest()).decode()
    for name, needs_md5, needs_sha256 in (
        ("aws", False, True),
        ("ceph", True, True),
        ("careless", True, True),
        ("backblaze", True, False),
        ("sumless", False, False),
    ):
        place = make_place(name)
        ready(place).put(make_put(KEY, BODY))
        assert place.strict is not None
        headers = next(each.headers for each in place.strict.log if each.op == "PUT")
        assert headers.get("x-amz-checksum-sha256") == (sha256 if needs_sha256 else None)
        assert ("x-amz-sdk-checksum-algorithm" in headers) is needs_sha256
        assert ("content-md5" in headers) is needs_md5
        assert "x-amz-trailer" not in headers


def test_what_stands_already_costs_no_second_body(aws: Place) -> None:
    """The same object again costs one refused put and one look, and writes nothing."""
    store = ready(aws)
    store.put(make_put(KEY, BODY))
    store.put(make_put(KEY, BODY))
    assert spent(aws) == {"PUT": 2, "HEAD": 1}
    assert aws.strict is not None
    assert aws.strict.writes == {KEY: 1}


def test_a_store_that_loses_bytes_is_noticed(make_place: Callable[[str], Place]) -> None:
    """If the store verifies nothing, an object that reads back shorter is StoreUnavailable."""
    place = make_place("careless")
    store = ready(place)
    assert place.strict is not None
    place.strict.faults.plan("cut", "PUT", KEY)
    with pytest.raises(StoreUnavailable, match="reads back"):
        store.put(make_put(KEY, BODY))
    assert not place.strict.faults.unfired


# Trouble on the way


@pytest.mark.parametrize("fault", ["error", "slow_down", "reset_before", "reset_after", "conflict", "slow"])
def test_passing_trouble_is_not_seen(aws: Place, waits: list[float], fault: str) -> None:
    """A put with temporary errors is retried, and ends as one object, written once."""
    store = ready(aws)
    assert aws.strict is not None
    aws.strict.faults.plan(fault, "PUT", KEY, seconds=0.1)
    store.put(make_put(KEY, BODY))
    assert aws.strict.body(KEY) == BODY
    assert aws.strict.writes == {KEY: 1}
    assert not aws.strict.faults.unfired


@pytest.mark.parametrize("fault", ["error", "slow_down", "reset_before", "conflict"])
def test_lasting_trouble_is_unavailable(aws: Place, waits: list[float], fault: str) -> None:
    """A lasting error is StoreUnavailable, exit 75, after a few tries with waits."""
    store = ready(aws)
    assert aws.strict is not None
    aws.strict.faults.plan(fault, "PUT", KEY, times=100)
    with pytest.raises(StoreUnavailable) as raised:
        store.put(make_put(KEY, BODY))
    assert raised.value.exit_code == 75
    assert spent(aws)["PUT"] in (3, 4)
    assert KEY not in aws.strict.objects


def test_a_turned_bit_is_refused(make_place: Callable[[str], Place]) -> None:
    """A bit flipped on the way is refused by SHA-256 or MD5, whichever the store verifies."""
    for name in ("aws", "ceph"):
        place = make_place(name)
        store = ready(place)
        assert place.strict is not None
        place.strict.faults.plan("flip", "PUT", KEY, times=4)  # as often as it is tried
        with pytest.raises(StoreUnavailable, match="BadDigest"):
            store.put(make_put(KEY, BODY))
        assert KEY not in place.strict.objects
        assert store.put(make_put(KEY, BODY)) is True


def test_a_turned_bit_in_a_part_is_refused(aws: Place) -> None:
    """A bit flipped in a part is refused, and the upload is aborted."""
    store = ready(aws, single_put_most=PART, part_least=PART)
    assert aws.strict is not None
    aws.strict.faults.plan("flip", "PART", KEY, skip=1, times=100)
    with pytest.raises(StoreUnavailable, match="BadDigest"):
        store.put(make_put(KEY, LARGE))
    assert (aws.strict.uploads, KEY in aws.strict.objects) == ({}, False)
    assert spent(aws)["ABORT"] == spent(aws)["CREATE"] == 3  # as often as it is tried


def test_an_abort_that_fails_hides_nothing(aws: Place, waits: list[float]) -> None:
    """If an upload and its abort fail, the first error is reported; a later pass aborts it."""
    store = ready(aws, single_put_most=PART, part_least=PART)
    assert aws.strict is not None
    aws.strict.faults.plan("flip", "PART", KEY, times=100)
    aws.strict.denied.add("ABORT")
    with pytest.raises(StoreUnavailable, match="BadDigest"):
        store.put(make_put(KEY, LARGE))
    left = len(aws.strict.uploads)
    assert left == 3  # one per try
    aws.strict.denied.clear()
    assert store.clear_unfinished("recordings/", datetime.now(UTC) + timedelta(days=1)) == left


def test_parts_are_proven_each(aws: Place) -> None:
    """Every part has its own SHA-256, and the completion is conditional."""
    store = ready(aws, single_put_most=PART, part_least=PART)
    store.put(make_put(KEY, LARGE))
    assert spent(aws) == {"HEAD": 2, "CREATE": 1, "PART": 3, "COMPLETE": 1}  # the last HEAD checks the object
    assert aws.strict is not None
    seen = {entry.op: entry.headers for entry in aws.strict.log}
    assert seen["COMPLETE"]["if-none-match"] == "*"
    assert seen["CREATE"]["x-amz-checksum-algorithm"] == "SHA256"
    sums = [entry.headers["x-amz-checksum-sha256"] for entry in aws.strict.log if entry.op == "PART"]
    parts = [LARGE[start : start + PART] for start in range(0, len(LARGE), PART)]
    assert sums == [base64.b64encode(hashlib.sha256(part).digest()).decode() for part in parts]


@pytest.mark.parametrize("named", [True, False])
def test_a_completed_upload_without_an_etag(aws: Place, named: bool) -> None:
    """A completion without ETag but with its key (Ceph) is checked; one with neither is no answer."""
    store = ready(aws, single_put_most=PART, part_least=PART)
    events, name = aws.client.meta.events, "after-call.s3.CompleteMultipartUpload"

    def unnamed(parsed: dict[str, Any], **_: object) -> None:
        parsed |= {"ETag": "", "Key": KEY if named else ""}

    events.register(name, unnamed)
    try:
        if named:
            assert store.put(make_put(KEY, LARGE)) is True
            assert spent(aws)["HEAD"] == 2
        else:
            with pytest.raises(StoreUnavailable, match="no ETag"):
                store.put(make_put(KEY, LARGE))
    finally:
        events.unregister(name, unnamed)


def test_parts_met_by_another_writer(aws: Place) -> None:
    """An object that another writer completed meanwhile is compared: equal is False, else KeyConflict."""
    for body, other in ((LARGE, LARGE), (LARGE, BODY)):
        place_by = make_put(KEY, other)
        store = ready(aws, single_put_most=PART, part_least=PART)
        assert aws.strict is not None
        aws.strict.objects.pop(KEY, None)
        _on_create(aws, lambda put=place_by: aws.strict.place(KEY, put.body.read(), sha256=put.sha256))  # type: ignore[union-attr, misc]
        if other is body:
            assert store.put(make_put(KEY, body)) is False
        else:
            with pytest.raises(KeyConflict):
                store.put(make_put(KEY, body))
        assert aws.strict.body(KEY) == other
        assert aws.strict.uploads == {}


def _on_create(place: Place, act: Callable[[], None]) -> None:
    """Run something once, right after the next upload in parts has begun."""
    events, name = place.client.meta.events, "after-call.s3.CreateMultipartUpload"

    def once(**_: object) -> None:
        events.unregister(name, once)
        act()

    events.register(name, once)


# What a put is written with

EVERY_OPTION = WriteOptions(
    storage_class="STANDARD_IA",
    sse="aws:kms",
    kms_key_id="alias/recordings",
    lock_mode="COMPLIANCE",
    lock_days=365,
    legal_hold=True,
    tags={"team": "compliance & law", "über": "ja"},
    acl="bucket-owner-full-control",
)
EVERY_HEADER = {
    "x-amz-storage-class": "STANDARD_IA",
    "x-amz-server-side-encryption": "aws:kms",
    "x-amz-server-side-encryption-aws-kms-key-id": "alias/recordings",
    "x-amz-object-lock-mode": "COMPLIANCE",
    "x-amz-object-lock-legal-hold": "ON",
    "x-amz-tagging": "team=compliance%20%26%20law&%C3%BCber=ja",
    "x-amz-acl": "bucket-owner-full-control",
}


@pytest.mark.parametrize("body", [BODY, LARGE], ids=["whole", "in parts"])
def test_every_option_is_passed_on(aws: Place, body: bytes) -> None:
    """Class, encryption, lock, hold and tags are sent with every object, whole or in parts."""
    store = ready(aws, options=EVERY_OPTION, single_put_most=PART, part_least=PART)
    store.put(make_put(KEY, body))
    assert aws.strict is not None
    kept = aws.strict.objects[KEY]
    assert {name: kept.headers.get(name) for name in EVERY_HEADER} == EVERY_HEADER
    until = datetime.fromisoformat(kept.headers["x-amz-object-lock-retain-until-date"])
    assert timedelta(days=364, hours=23) < until - datetime.now(UTC) < timedelta(days=365, hours=1)
    assert kept.metadata == {"sha256": hashlib.sha256(body).hexdigest(), "recording-id": "%2E%2E"}


@pytest.mark.parametrize(
    ("name", "sums"),
    [
        ("aws", {"x-amz-checksum-sha256"}),
        ("ceph", {"x-amz-checksum-sha256", "content-md5"}),
        ("backblaze", {"content-md5"}),
        ("sumless", set()),
    ],
)
def test_a_lock_that_is_made_up_for_has_the_sums_that_the_store_takes(
    make_place: Callable[[str], Place], name: str, sums: set[str]
) -> None:
    """If a store forgets the lock of parts, it is set again, without a refused checksum."""
    place = make_place(name)
    assert place.strict is not None
    place.strict.strictness = replace(place.strict.strictness, locks_parts=False)
    store = ready(place, options=EVERY_OPTION, single_put_most=PART, part_least=PART)
    assert store.put(make_put(KEY, LARGE)) is True
    kept = place.strict.objects[KEY].headers
    lock = {name: value for name, value in EVERY_HEADER.items() if "-object-lock-" in name}
    assert {name: kept.get(name) for name in lock} == lock
    asked = [entry for entry in place.strict.log if entry.op in ("RETENTION", "LEGAL_HOLD")]
    sent = [{each for each in entry.headers if each.startswith(("x-amz-checksum-", "content-md5"))} for entry in asked]
    assert ([entry.status for entry in asked], sent) == ([200, 200], [sums, sums])


# Several hosts on one bucket


def test_two_hosts_on_a_store_without_conditions(make_place: Callable[[str], Place]) -> None:
    """Two hosts at a store without conditions look first, and overwrite nothing."""
    place = make_place("careless")
    assert place.strict is not None
    first, second = ready(place), ready(place)
    assert not first.facts.conditional
    for number in range(6):
        one, other = (first, second) if number % 2 else (second, first)
        key, theirs = f"recordings/RE{number}.wav", BODY + bytes([number])
        assert one.put(make_put(key, theirs)) is True
        assert other.put(make_put(key, theirs)) is False
        with pytest.raises(KeyConflict, match="nothing was overwritten"):
            other.put(make_put(key, BODY + b"else"))
        with pytest.raises(KeyConflict, match="nothing was overwritten"):
            other.put(make_put(key, BODY))
        assert (place.strict.body(key), place.strict.writes[key]) == (theirs, 1)


@pytest.mark.parametrize(("name", "writes"), [("careless", 2), ("aws", 1)])
def test_two_hosts_within_one_moment(make_place: Callable[[str], Place], name: str, writes: int) -> None:
    """If another host writes between look and put, only a store with conditions refuses."""
    place = make_place(name)
    assert place.strict is not None
    other = ready(place)
    client = make_client(region="us-east-1", endpoint_url=place.url, addressing_style="path", pool=1)
    try:
        here = S3Store(client, place.bucket, facts=other.facts)
        met: list[bool] = []
        client.meta.events.register(
            "before-call.s3.PutObject", lambda **_: met.append(other.put(make_put(KEY, BODY + b"theirs")))
        )
        if writes == 1:
            with pytest.raises(KeyConflict):
                here.put(make_put(KEY, BODY))
        else:
            assert here.put(make_put(KEY, BODY)) is True  # as the README says about such stores
    finally:
        client.close()
    assert (met, place.strict.writes[KEY]) == ([True], writes)
    assert place.strict.body(KEY) == (BODY if writes == 2 else BODY + b"theirs")


def test_no_option_no_header(aws: Place) -> None:
    """Without options none is sent: the bucket's defaults apply."""
    ready(aws).put(make_put(KEY, BODY))
    assert aws.strict is not None
    sent = aws.strict.objects[KEY].headers
    assert not [name for name in EVERY_HEADER if name in sent]


def test_path_style(aws: Place) -> None:
    """Path style has the bucket in the path, as servers without wildcard DNS need."""
    ready(aws).put(make_put(KEY, BODY))
    assert aws.strict is not None
    assert aws.strict.log[-1].headers["host"] == aws.url.removeprefix("http://")


# Refusals


def raised_by(store: S3Store) -> RecvaultError:
    with pytest.raises(RecvaultError) as raised:
        store.put(make_put(KEY, BODY))
    assert KEY in raised.value.message
    return raised.value


def test_refused_credentials(strict_s3: StrictS3, aws: Place) -> None:
    """An unknown access key is StoreRefused, exit 77."""
    strict_s3.refused_keys.add("test")
    try:
        error = raised_by(aws.store(asked=False))
    finally:
        strict_s3.refused_keys.clear()
    assert isinstance(error, StoreRefused)
    assert error.exit_code == 77


@pytest.mark.parametrize("op", ["PUT", "HEAD"])
def test_a_missing_right(aws: Place, op: str) -> None:
    """A permission that the bucket's policy withholds is StoreRefused, with a hint at the policy."""
    assert aws.strict is not None
    aws.strict.denied.add(op)
    error = raised_by(aws.store(asked=False))
    assert isinstance(error, StoreRefused)
    assert "policy" in error.hint


def test_no_right_to_list_uploads(aws: Place) -> None:
    """Without permission to list uploads, aborting old ones is StoreRefused, which the caller may ignore."""
    assert aws.strict is not None
    aws.strict.denied.add("UPLOADS")
    with pytest.raises(StoreRefused):
        aws.store(asked=False).clear_unfinished("", datetime.now(UTC))


def test_no_such_bucket(aws: Place) -> None:
    """A missing bucket is ConfigError, exit 78, for every request."""
    store = S3Store(aws.client, "no-such-bucket", facts=StoreFacts(sha256=True, conditional=True))
    error = raised_by(store)
    assert isinstance(error, ConfigError)
    assert (error.exit_code, "archive.bucket" in error.hint) == (78, True)
    for ask in (
        lambda: store.get(KEY),
        lambda: list(store.list("")),
        lambda: list(store.stream(KEY)),
        lambda: store.clear_unfinished("", datetime.now(UTC)),
        lambda: store.ask_facts(make_put(KEY, BODY)),
    ):
        with pytest.raises(ConfigError):
            ask()


@pytest.mark.parametrize("conditional", [True, False])
def test_another_region(strict_s3: StrictS3, conditional: bool) -> None:
    """A bucket in another region is ConfigError with a hint, or is found there; nothing is lost."""
    bucket = strict_s3.bucket(region="eu-central-1")
    store = S3Store(client_of(strict_s3.url), bucket.name, facts=StoreFacts(sha256=True, conditional=conditional))
    try:
        assert store.put(make_put(KEY, BODY)) is True
    except ConfigError as error:
        assert "archive.region" in error.hint
    else:
        assert bucket.body(KEY) == BODY
    right = S3Store(client_of(strict_s3.url, region="eu-central-1"), bucket.name)
    right.put(make_put(KEY, BODY))
    assert bucket.body(KEY) == BODY


def test_unreachable(waits: list[float]) -> None:
    """An unreachable store is StoreUnavailable, exit 75."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    error = raised_by(S3Store(client_of(url), "bucket"))
    assert isinstance(error, StoreUnavailable)
    assert error.exit_code == 75


def test_no_credentials(aws: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials it is StoreRefused, with where they may come from."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    error = raised_by(S3Store(client_of(aws.url), aws.bucket))
    assert isinstance(error, StoreRefused)
    assert "AWS_ACCESS_KEY_ID" in error.hint


def test_an_unknown_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown profile is StoreRefused, not a traceback."""
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StoreRefused, match="nobody"):
        make_client(region="us-east-1", endpoint_url=None, addressing_style="auto", pool=1)


def test_an_endpoint_that_is_no_url() -> None:
    """An invalid endpoint URL is ConfigError."""
    with pytest.raises(ConfigError, match="Invalid endpoint"):
        make_client(region="us-east-1", endpoint_url="not a url", addressing_style="auto", pool=1)


def test_what_boto_refuses_itself(aws: Place) -> None:
    """What boto3 refuses to send is ConfigError, as a retry is useless."""
    error = raised_by(S3Store(aws.client, "not/a/bucket"))
    assert isinstance(error, ConfigError)
    with pytest.raises(ConfigError, match="ascii"), botocore_errors("s3://b/k"):
        aws.client.put_object(Bucket=aws.bucket, Key=KEY, Body=b"", Metadata={"sha256": "ü"})


def test_an_overlong_key(aws: Place) -> None:
    """A key over 1,024 bytes is ConfigError: prefix or template is too long."""
    with pytest.raises(ConfigError) as raised:
        aws.store(asked=False).put(make_put("k" * 1025, BODY))
    assert "prefix" in raised.value.hint


def test_facts_do_not_rest_on_a_refusal_for_another_reason(make_place: Callable[[str], Place]) -> None:
    """An unrelated 400 proves nothing about checksums, and lasting errors are reported, not remembered."""
    place = make_place("careless")
    assert place.strict is not None
    events, seen = place.client.meta.events, []

    def other_400(http_response: Any, parsed: dict[str, Any], **_: object) -> None:
        if not seen:
            seen.append(parsed)
            http_response.status_code = 400
            parsed["Error"] = {"Code": "RequestTimeout", "Message": "Your socket was idle"}
            parsed["ResponseMetadata"]["HTTPStatusCode"] = 400

    events.register("after-call.s3.PutObject", other_400)
    try:
        facts = place.store(asked=False).ask_facts(make_put("schemas/known.json", b"{}"))
    finally:
        events.unregister("after-call.s3.PutObject", other_400)
    assert seen
    assert facts == StoreFacts()


@pytest.mark.parametrize(
    ("code", "status"), [("SlowDown", 503), ("AccessDenied", 403), ("InvalidTag", 400), ("InvalidObjectState", 403)]
)
def test_a_refusal_names_the_request(code: str, status: int) -> None:
    """Every refusal ends with the store's request id, plain and short."""
    for said, told in (("4442587FB7D0A2F9", "4442587FB7D0A2F9"), ("a b]\n<" + "c" * 99, "ab" + "c" * 62)):
        response: Any = {
            "Error": {"Code": code, "Message": "why"},
            "ResponseMetadata": {"HTTPStatusCode": status, "RequestId": said},
        }
        with pytest.raises(RecvaultError) as raised, botocore_errors("s3://b/k"):
            raise ClientError(response, "PutObject")
        assert raised.value.message == f"the store answered {code} for s3://b/k: why [request {told}]"


def test_a_refusal_without_a_name() -> None:
    """A refusal without a request id is quoted as it is."""
    with pytest.raises(StoreUnavailable) as raised, botocore_errors("s3://b/k"):
        raise ClientError({"Error": {"Code": "SlowDown"}, "ResponseMetadata": {"RequestId": ""}}, "PutObject")  # type: ignore[typeddict-item]
    assert raised.value.message == "the store answered SlowDown for s3://b/k"


# The server itself


@pytest.mark.parametrize(
    ("asked", "served"),
    [("bytes=0-3", BODY[:4]), ("bytes=4-", BODY[4:]), ("bytes=-8", BODY[-8:]), ("bytes=9-99999", BODY[9:])],
)
def test_the_server_serves_ranges(make_place: Callable[[str], Place], asked: str, served: bytes) -> None:
    """A range of an object is served as S3 serves it, with its place in the whole."""
    place = make_place("aws")
    place.store().put(make_put(KEY, BODY))
    answer = client_of(place.url).get_object(Bucket=place.bucket, Key=KEY, Range=asked)
    assert (answer["ResponseMetadata"]["HTTPStatusCode"], answer["Body"].read()) == (206, served)
    assert answer["ContentRange"].endswith(f"/{len(BODY)}")
    with pytest.raises(ClientError, match="InvalidRange"):
        client_of(place.url).get_object(Bucket=place.bucket, Key=KEY, Range=f"bytes={len(BODY)}-")
