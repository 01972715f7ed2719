"""Direct puts are sent exactly as boto3 sends them; anything unusual is left to boto3."""

from __future__ import annotations

import hashlib
import json
import random
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from recvault.errors import ConfigError, Interrupted, RecvaultError, StoreRefused, StoreUnavailable
from recvault.shutdown import Pulse, Stop
from recvault.simulator import Simulator
from recvault.store import StoreFacts
from recvault.store.s3 import retries
from recvault.store.s3.clients import Client, make_client
from recvault.store.s3.object_urls import address
from recvault.store.s3.options import WriteOptions
from recvault.store.s3.s3_store import S3Store
from recvault.transport import Cut, ExchangeFailed, Head, Receiver, Request
from rig import START, Rig
from store.places import SENDERS, Place, make_put, store_with, transport_of
from strict_s3 import StrictS3

BODY = b"RIFF" + bytes(range(256)) * 40
LARGE = random.Random(8).randbytes(3 * 1024**2 + 17)
KEY = "recordings/RE1.wav"
FACTS = StoreFacts(sha256=True, conditional=True)
NOT_ALIKE = {"authorization", "x-amz-date", "amz-sdk-invocation-id", "amz-sdk-request"}
XML = "<Error><Code>{code}</Code><Message>why</Message></Error>"


@pytest.fixture
def own_client() -> Iterator[Callable[..., Any]]:
    """Make clients of their own, as each remembers what it learns about a bucket."""
    clients = []

    def make(**options: Any) -> Client:
        values = {"region": "us-east-1", "endpoint_url": None, "addressing_style": "auto", "pool": 4, **options}
        clients.append(make_client(**values))
        return clients[-1]

    yield make
    for each in clients:
        each.close()


class Sent:
    """A transport that records requests and sends nothing. `answers` are given in turn, then 200."""

    def __init__(self, client: Client, patch: pytest.MonkeyPatch) -> None:
        self.client = client
        self.requests: list[tuple[Request, dict[str, str], bytes]] = []
        self.answers: list[Exception | tuple[int, str]] = []
        self.renewed = 0
        patch.setattr(client.sending.routes, "exchange", self.exchange)
        patch.setattr(client.sending.routes, "renew", self.renew)

    def exchange(self, request: Request, receiver: Receiver, cut: Cut) -> Head:
        """See Transport."""
        body = request.body
        whole = b"" if body is None else bytes(body) if isinstance(body, memoryview) else body.read()
        headers = {name.lower(): value for name, value in request.headers}
        self.requests.append((request, headers, whole))
        answer = self.answers.pop(0) if self.answers else (200, "")
        if isinstance(answer, Exception):
            raise answer
        status, code = answer
        told = [("content-type", "application/xml"), ("x-amz-request-id", "4442587FB7D0A2F9")]
        if status == 200:
            told += [("etag", '"e"'), ("x-amz-checksum-sha256", code or headers.get("x-amz-checksum-sha256", ""))]
        head = Head(status, told)
        receiver.begin(head)
        receiver.write(XML.format(code=code).encode() if code else b"")
        return head

    def renew(self) -> None:
        """See Transport."""
        self.renewed += 1

    def signed_for(self) -> list[tuple[str, str]]:
        """Return region and service of each signature."""
        return [
            (request.signing.region, request.signing.service)
            if request.signing
            else tuple(headers["authorization"].split("Credential=")[1].split("/")[2:4])
            for request, headers, _ in self.requests
        ]


@pytest.fixture
def sent(own_client: Callable[..., Client], monkeypatch: pytest.MonkeyPatch) -> Sent:
    """Record a client's requests."""
    return Sent(own_client(), monkeypatch)


def fast(found: Sent, **options: Any) -> S3Store:
    return store_with("fast", found.client, "bucket", facts=FACTS, **options)


# As boto3


def raw_requests(place: Place, put: Callable[[S3Store], object], **options: Any) -> list[tuple[str, dict[str, str]]]:
    """Return a put's request by each sender, as received by a server."""
    assert place.strict is not None
    seen = []
    for name in SENDERS[:2]:
        place.strict.clear_counts()
        place.strict.objects.clear()
        put(store_with(name, place.client, place.bucket, **options))
        entry = next(each for each in place.strict.log if each.op == "PUT")
        seen.append((entry.key, {n: v for n, v in entry.headers.items() if n not in NOT_ALIKE}))
    return seen


LOCK = {"lock_mode": "COMPLIANCE", "lock_days": 365}
OPTIONS = {
    "none": WriteOptions(),
    "class": WriteOptions(storage_class="STANDARD_IA"),
    "sse": WriteOptions(sse="AES256"),
    "kms": WriteOptions(sse="aws:kms", kms_key_id="arn:aws:kms:eu-central-1:1:key/ab"),
    "lock": WriteOptions(**LOCK),
    "hold": WriteOptions(legal_hold=True),
    "acl": WriteOptions(acl="bucket-owner-full-control"),
    "tags": WriteOptions(tags={"team": "compliance & law", "über": "a+b = c/d"}),
    "all": WriteOptions(
        storage_class="GLACIER_IR", sse="aws:kms", kms_key_id="k", legal_hold=True, tags={"a": "b"}, **LOCK
    ),
}


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store's clock is frozen, so that two puts are locked until the same time."""

    class Still(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime(2026, 10, 1, 9, 0, 0, 123400, tzinfo=tz)

    monkeypatch.setattr("recvault.store.s3.object_writer.datetime", Still)


@pytest.mark.usefixtures("now")
@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize("facts", [FACTS, StoreFacts(md5=True)], ids=["conditional", "md5"])
@pytest.mark.parametrize("name", OPTIONS)
def test_the_same_headers(make_place: Callable[[str], Place], name: str, facts: StoreFacts, size: str) -> None:
    """Every header of a put equals boto3's, except the signature, with all options."""
    body = BODY if size == "small" else LARGE
    by_us, by_boto3 = raw_requests(
        make_place("aws"), lambda store: store.put(make_put(KEY, body)), facts=facts, options=OPTIONS[name]
    )
    assert by_boto3[1].pop("expect") == "100-continue"  # a small body is sent without it
    assert by_us[1].pop("expect", None) == {"small": None, "large": "100-continue"}[size]
    assert by_us == by_boto3
    assert by_us[1]["x-amz-content-sha256"] == hashlib.sha256(body).hexdigest()


def test_each_object_is_locked_from_the_moment_of_its_put(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock's end is computed at each put, also in a process that runs for weeks."""
    moments = [datetime(2026, 10, day, 9, tzinfo=UTC) for day in (1, 21)]

    class Moving(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return moments[0]

    monkeypatch.setattr("recvault.store.s3.object_writer.datetime", Moving)
    store = fast(sent, options=WriteOptions(lock_mode="COMPLIANCE", lock_days=30))
    store.put(make_put(KEY, BODY))
    moments.pop(0)
    store.put(make_put(f"{KEY}~2", BODY))
    until = [
        headers["x-amz-object-lock-retain-until-date"]
        for _, headers, _ in sent.requests
        if "x-amz-object-lock-mode" in headers
    ]
    assert until == ["2026-10-31T09:00:00Z", "2026-11-20T09:00:00Z"]


KEYS = ["a b+c%20/ü通話.wav", "a//b/../c/./d", "/leading", "~-._!*'();:@&=$,[]?#", "key", "k" * 900, "\U0001f4de"]


@pytest.mark.parametrize("key", KEYS, ids=map(str, range(len(KEYS))))
def test_the_same_urls(sent: Sent, key: str) -> None:
    """Keys are written into URLs like boto3 does."""
    fast(sent).put(make_put(key, BODY))
    store_with("boto3", sent.client, "bucket", facts=FACTS).put(make_put(key, BODY))
    by_us, by_boto3 = sent.requests
    assert by_us[0].url == by_boto3[0].url


FIPS, DUAL = {"AWS_USE_FIPS_ENDPOINT": "true"}, {"AWS_USE_DUALSTACK_ENDPOINT": "true"}
WHERE: dict[str, tuple[dict[str, str], dict[str, str]]] = {  # arguments and environment of a client
    "us": ({}, {}),
    "path": ({"addressing_style": "path"}, {}),
    "region": ({"region": "eu-central-1"}, {}),
    "china": ({"region": "cn-north-1"}, {}),
    "fips": ({"region": "us-west-2"}, FIPS),
    "dual": ({"region": "eu-central-1"}, DUAL),
    "fips-dual": ({"region": "us-west-2"}, FIPS | DUAL),
    "compatible": ({"endpoint_url": "https://s3.example.com:9000"}, {}),
    "virtual": ({"endpoint_url": "http://s3.example.com", "addressing_style": "virtual"}, {}),
    "below": ({"endpoint_url": "http://example.com/s3/", "addressing_style": "path"}, {}),
}
BUCKETS = ("bucket", "with.dots", "arn:aws:s3:us-west-2:123456789012:accesspoint/mine")


@pytest.mark.parametrize("where", WHERE)
def test_the_same_address(own_client: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """URL and signing follow boto3 for style, endpoint, region, dots, ARNs, FIPS and dual stack."""
    options, environment = WHERE[where]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    client = own_client(**options)
    found = Sent(client, monkeypatch)
    for bucket in BUCKETS:
        ours, theirs = (_outcome(store_with(name, client, bucket, facts=FACTS)) for name in SENDERS[:2])
        assert ours == theirs
    urls = [request.url for request, _, _ in found.requests]
    assert urls[::2] == urls[1::2]
    assert found.signed_for()[::2] == found.signed_for()[1::2]
    assert by_boto3(found) == [False, True] * (len(urls) // 2)
    assert len(urls) >= 4


def _outcome(store: S3Store) -> bool | str:
    try:
        return store.put(make_put(KEY, BODY))
    except RecvaultError as error:  # boto3 accepts no ARN there
        return str(error)


def test_the_body_is_signed_over_https_too(sent: Sent) -> None:
    """The payload's hash is the recording's also over https, so that other bodies are refused."""
    fast(sent).put(make_put(KEY, BODY))
    request, headers, body = sent.requests[0]
    assert request.url.startswith("https://")
    assert (headers["x-amz-content-sha256"], body) == (hashlib.sha256(BODY).hexdigest(), BODY)


def test_a_wrong_body_is_refused_by_the_careless(make_place: Callable[[str], Place]) -> None:
    """A store without checksums refuses bytes that do not match the signed SHA-256."""
    place = make_place("careless")
    with pytest.raises(StoreUnavailable, match="XAmzContentSHA256Mismatch"):
        place.store(asked=False).put(make_put(KEY, BODY, sha256=hashlib.sha256(b"other").hexdigest()))
    assert place.strict is not None
    assert KEY not in place.strict.objects


SIGNED = {
    "plain": (KEY, {}),
    "odd": ("a b/ü~(1)*'!=+&@:$,;?#%41//x.wav", {"note": "two  spaces , a comma;semicolon"}),
    "many": (KEY, {name: name.upper() for name in ("b", "a", "a-b", "a1", "z")}),
}


class Heard:
    """A server that takes one put, records it, and answers as if stored."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.target, self.headers = "", dict[str, str]()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with self._listener, self._listener.accept()[0] as taken, taken.makefile("rb") as lines:
            self.target = lines.readline().split(b" ")[1].decode()
            while line := lines.readline().decode().rstrip():
                name, _, value = line.partition(":")
                self.headers[name.lower()] = value.strip()
            lines.read(int(self.headers["content-length"]))
            told = f'ETag: "e"\r\nx-amz-checksum-sha256: {self.headers["x-amz-checksum-sha256"]}\r\n'
            taken.sendall(f"HTTP/1.1 200 OK\r\n{told}Content-Length: 0\r\n\r\n".encode())

    def close(self) -> None:
        """Close it once it has answered."""
        self._thread.join()


@pytest.fixture
def heard() -> Iterator[Heard]:
    """A listening Heard."""
    server = Heard()
    yield server
    server.close()


@pytest.mark.parametrize("token", [None, "session+token/=="])
@pytest.mark.parametrize("name", SIGNED)
def test_the_signature_is_botocores(
    heard: Heard, own_client: Callable[..., Client], monkeypatch: pytest.MonkeyPatch, name: str, token: str | None
) -> None:
    """libcurl's signature equals botocore's, for any key, headers and credentials."""
    if token is not None:
        monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    client = own_client(region="eu-central-1", endpoint_url=heard.url, addressing_style="path")
    key, metadata = SIGNED[name]
    put = make_put(key, BODY, metadata={"sha256": hashlib.sha256(BODY).hexdigest(), **metadata})
    store_with("fast", client, "bucket", facts=FACTS).put(put)
    assert heard.target == address(client, "bucket").url(key).removeprefix(heard.url)  # type: ignore[union-attr]
    theirs = heard.headers["authorization"]
    signed = theirs.split("SignedHeaders=")[1].split(",")[0].split(";")
    assert ("x-amz-security-token" in signed, "content-type" in signed) == (token is not None, True)
    request = AWSRequest("PUT", heard.url + heard.target, {each: heard.headers[each] for each in signed})
    moment = datetime.strptime(heard.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: moment)
    monkeypatch.setattr(S3SigV4Auth, "payload", lambda self, request: hashlib.sha256(BODY).hexdigest())
    keys = client.credentials().get_frozen_credentials()
    S3SigV4Auth(Credentials(*keys[:3]), "s3", "eu-central-1").add_auth(request)
    assert theirs.replace(", ", ",") == request.headers["Authorization"].replace(", ", ",")
    assert abs(datetime.now(UTC) - moment) < timedelta(minutes=1)  # in UTC, whatever the machine's zone


ROTATES = """
echo "$(cat $1/answer), \\"AccessKeyId\\": \\"$(cat $1/key)\\"}"
"""


def test_credentials_that_rotate(
    make_place: Callable[[str], Place], own_client: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each put is signed with the current credentials and session token."""
    place = make_place("aws")
    answer = {"Version": 1, "SecretAccessKey": "s", "SessionToken": "token"}
    answer["Expiration"] = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()  # so soon that it is refreshed
    (tmp_path / "answer").write_text(json.dumps(answer)[:-1])
    (tmp_path / "script").write_text(ROTATES)
    (tmp_path / "config").write_text(f"[default]\ncredential_process = sh {tmp_path}/script {tmp_path}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    client = own_client(endpoint_url=place.url, addressing_style="path")
    store = store_with("fast", client, place.bucket, facts=FACTS)
    for number in range(2):
        (tmp_path / "key").write_text(f"KEY{number}")
        store.put(make_put(f"{KEY}{number}", BODY))
    assert place.strict is not None
    keys = [each.headers["authorization"].split("Credential=")[1].split("/")[0] for each in place.strict.log]
    assert keys == ["KEY0", "KEY1"]
    assert not any("amz-sdk-invocation-id" in each.headers for each in place.strict.log)  # boto3 adds it
    assert {each.headers["x-amz-security-token"] for each in place.strict.log} == {"token"}


# Trouble


def a_timeout() -> Exception:
    return ExchangeFailed("late")


@pytest.mark.parametrize("body", [BODY, LARGE], ids=["small", "large"])
def test_tried_again_whole(sent: Sent, waits: list[float], body: bytes) -> None:
    """After a temporary error the same bytes are sent again from the start, with growing waits."""
    sent.answers = [a_timeout(), (503, "SlowDown"), (400, "RequestTimeout")]
    assert fast(sent).put(make_put(KEY, body)) is True
    assert [each[2] for each in sent.requests] == [body] * 4
    assert [wait <= most for wait, most in zip(waits, (0.05, 2.0, 0.2), strict=True)] == [True] * 3


def test_tried_four_times(sent: Sent, waits: list[float]) -> None:
    """A lasting error is reported after four tries, with the store's message and request id."""
    sent.answers = [(500, "InternalError")] * 9
    with pytest.raises(StoreUnavailable, match=r"InternalError.*why \[request 4442587FB7D0A2F9\]"):
        fast(sent).put(make_put(KEY, BODY))
    assert (len(sent.requests), len(waits)) == (4, 3)


@pytest.mark.parametrize("answer", [(200, "of another put"), (403, "AccessDenied")])
def test_an_answer_that_may_be_anothers_ends_its_connection(sent: Sent, answer: tuple[int, str]) -> None:
    """An answer with another hash, or a refusal, closes the connection, as it may be another put's."""
    sent.answers = [answer]
    with pytest.raises((StoreUnavailable, StoreRefused)):
        fast(sent).put(make_put(KEY, BODY))
    assert (len(sent.requests), sent.renewed) == (1, 1)


@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (400, "InvalidTag"), (404, "NoSuchBucket")])
def test_a_refusal_is_not_tried_again(sent: Sent, status: int, code: str) -> None:
    """A permanent refusal is not retried."""
    sent.answers = [(status, code)]
    with pytest.raises((StoreRefused, ConfigError), match=code):
        fast(sent).put(make_put(KEY, BODY))
    assert len(sent.requests) == 1


def test_a_pause_is_cut_short() -> None:
    """A wait before a retry ends with its request."""
    stop = Stop()
    retries.pause(0.0, stop.check_enforced)
    stop.enforced.set()
    with pytest.raises(Interrupted):
        retries.pause(60.0, stop.check_enforced)


def test_each_try_is_a_sign_of_life(sent: Sent, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each try counts as a sign of life."""
    now = [0.0]
    stop, quiet = Stop(pulse=Pulse(lambda: now[0])), []
    store = fast(sent, stop=stop)
    send = sent.exchange

    def slowly(request: Request, receiver: Receiver, cut: Cut) -> Head:
        quiet.append(stop.pulse.quiet_seconds())
        now[0] += 60
        return send(request, receiver, cut)

    monkeypatch.setattr(sent.client.sending.routes, "exchange", slowly)
    sent.answers = [(503, "SlowDown")] * 2
    with stop.pulse.working():
        now[0] += 60
        store.put(make_put(KEY, BODY))
    assert quiet == [0.0] * 3


# What is left to boto3


def by_boto3(found: Sent) -> list[bool]:
    return [request.signing is None for request, _, _ in found.requests]


@pytest.mark.parametrize("body", [BODY, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("code", ["RequestExpired", "RequestTimeTooSkewed"])
def test_a_signature_out_of_time_is_made_anew(sent: Sent, code: str, body: bytes) -> None:
    """A put refused for an old signature is signed and sent again."""
    store = fast(sent)
    sent.answers = [(400, code)]
    assert store.put(make_put(KEY, body)) is True
    assert by_boto3(sent) == [False, False]
    assert [each[2] for each in sent.requests] == [body] * 2


def test_a_clock_that_is_wrong_is_told(sent: Sent) -> None:
    """That is retried once; then the clock is reported as wrong."""
    sent.answers = [(400, "RequestTimeTooSkewed")] * 9
    with pytest.raises(StoreUnavailable, match="RequestTimeTooSkewed") as caught:
        fast(sent).put(make_put(KEY, BODY))
    assert ("clock" in caught.value.hint, len(sent.requests)) == (True, 2)


@pytest.mark.parametrize(("key", "op"), [("a/../b.wav", "put"), ("./a", "put"), ("a/.", "get"), ("..", "get")])
def test_keys_that_urls_do_not_keep_are_left_to_boto3(sent: Sent, key: str, op: str) -> None:
    """Keys with dot segments are left to boto3, as libcurl would resolve them."""
    store = fast(sent)
    getattr(store, op)(make_put(key, BODY) if op == "put" else key)
    assert by_boto3(sent) == [True]
    assert sent.requests[0][0].url.endswith(f"/{key}")


def test_a_bucket_elsewhere_is_left_to_boto3(strict_s3: StrictS3, own_client: Callable[..., Any]) -> None:
    """A bucket in another region is found by boto3, and further puts are left to it."""
    bucket = strict_s3.bucket(region="eu-central-1")
    client = own_client(endpoint_url=strict_s3.url, addressing_style="path")
    store = store_with("fast", client, bucket.name, facts=FACTS)
    for number in range(2):
        assert store.put(make_put(f"{KEY}{number}", BODY)) is True
    assert [each.status for each in bucket.log if each.op == "PUT"] == [301, 301, 200, 200]  # ours, boto3's, …


@pytest.mark.parametrize(
    ("key", "metadata", "words"), [("", {}, "Key"), (KEY, {"sha256": "ü"}, "ascii"), (KEY, {"a": "b\r\nc"}, None)]
)
def test_what_needs_boto3s_judgement(sent: Sent, key: str, metadata: dict[str, str], words: str | None) -> None:
    """An argument that needs checks is left to boto3."""
    put = make_put(key, BODY, metadata=metadata)
    if words:
        with pytest.raises(ConfigError, match=words):
            fast(sent).put(put)
    else:
        fast(sent).put(put)
        assert by_boto3(sent) == [True]


def test_no_credentials(sent: Sent, monkeypatch: pytest.MonkeyPatch, own_client: Callable[..., Any]) -> None:
    """Without credentials it is StoreRefused, and nothing is sent."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    client = own_client()
    with pytest.raises(StoreRefused, match="no credentials"):
        store_with("fast", client, "bucket", facts=FACTS).put(make_put(KEY, BODY))


@pytest.mark.parametrize("name", SENDERS)
def test_the_configuration_chooses(rig: Rig, simulator: Simulator, strict_s3: StrictS3, name: str) -> None:
    """`archive.sender` and `transfer.transport` choose the sender of media and sidecars."""
    bucket = strict_s3.bucket()
    rig.s3_url, rig.bucket = strict_s3.url, bucket.name
    rig.archive = {"sender": "boto3"} if name == "boto3" else {}
    rig.transfer = {"transport": transport_of(name)}
    account = simulator.add_account("twilio")
    rig.add_source("main", "twilio", account)
    simulator.add(account, "voice", created_at=START)
    rig.sync_at(START + timedelta(hours=1))
    sent = [each for each in bucket.log if each.op == "PUT" and each.key.startswith("recordings/")]
    assert ["amz-sdk-request" in each.headers for each in sent] == [name != "fast"] * 2


@pytest.mark.parametrize("access_key", ["test:tester", "a%3Ab", "a@b"])
def test_access_keys_that_libcurl_writes_otherwise_are_left_to_boto3(
    sent: Sent, monkeypatch: pytest.MonkeyPatch, access_key: str
) -> None:
    """Access keys with colons, such as OpenStack's, are left to boto3, as libcurl would escape them."""
    found = Credentials(access_key, "secret")
    monkeypatch.setattr(sent.client, "credentials", lambda: found)
    fast(sent).put(make_put(KEY, BODY))
    assert by_boto3(sent) == [True]
