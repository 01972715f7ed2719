"""The bucket's contract: no two recordings share a key, and any reader can rely on the sidecars."""

from __future__ import annotations

import hashlib
import json
import string
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import jsonschema
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from examples import examples
from recvault import archive
from recvault.archive import DEFAULT_TEMPLATE, KeyTemplate, escape
from recvault.models import Check, Earlier, MediaObject, MissingFormat, Phase, Receipt, Recording, Requested

CREATED = datetime(2026, 10, 1, 23, 59, 59, tzinfo=UTC)
SAFE = set(string.ascii_letters + string.digits + "_.-%~")

HOSTILE = ["", ".", "..", "../x", "a/b", "a%2Fb", "%", "%~", "%2E", "\x00", "\n", " ", "é", "e\u0301", "\ud800", "𝄞"]
TEMPLATES = [
    DEFAULT_TEMPLATE,
    "{provider}/{account}/{recording_id}.{ext}",
    "r/{account}={provider}+{recording_id}.{ext}",
]
ids = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(max_size=40),
    st.text(alphabet="./%~=a", max_size=12),  # characters of keys themselves
    st.text(alphabet="a/é", min_size=60, max_size=300),  # around the longest segment
    st.integers(0, 9).map(lambda number: "x" * 5000 + str(number)),
)


def a_recording(**changes: Any) -> Recording:
    values: dict[str, Any] = {
        "provider": "twilio",
        "api": "2010-04-01",
        "account_id": "AC1",
        "recording_id": "RE1",
        "created_at": CREATED,
        "status": "completed",
        "phase": Phase.COMPLETE,
        "formats": ("wav",),
    }
    return Recording(**{**values, **changes})


def a_receipt(recording: Recording | None = None, **changes: Any) -> Receipt:
    medium = MediaObject(
        key="recordings/RE1.wav",
        media_format="wav",
        bytes=44,
        sha256="ab" * 32,
        content_type="audio/wav",
        codec="pcm_s16le",
        sample_rate=8000,
        channels=1,
        duration_seconds=1.5,
        check=Check(status="ok", method="wav sizes"),
    )
    values: dict[str, Any] = {
        "source": "main",
        "recording": recording or a_recording(),
        "sidecar_key": "recordings/RE1.json",
        "media": (medium, replace(medium, media_format="mp3", check=Check(status="suspect", method="m", reason="r"))),
        "archived_at": datetime(2026, 10, 2, 1, 2, 3, 456789, tzinfo=UTC),
    }
    return Receipt(**{**values, **changes})


def written(receipt: Receipt) -> bytes:
    url = "https://api.example/RE1.wav"
    return archive.sidecar_bytes(receipt, attempts=2, fetched_from=url, formats_wanted=("wav", "mp3"))


def read_back(receipt: Receipt) -> Receipt:
    """Return the receipt that a sidecar describes."""
    return replace(receipt, already_archived=True, sidecar_sha256=hashlib.sha256(written(receipt)).hexdigest())


# Keys


def test_a_key_as_documented() -> None:
    """A key has the documented form."""
    assert (
        KeyTemplate(prefix="acme")(a_recording(), "wav")
        == "acme/recordings/provider=twilio/account=AC1/date=2026-10-01/RE1.wav"
    )


def test_the_date_is_the_utc_day() -> None:
    """`date=` is the UTC day of creation, whatever the time zone of the input."""
    late = datetime(2026, 10, 1, 20, 0, tzinfo=timezone(timedelta(hours=-7)))
    assert "/date=2026-10-02/" in KeyTemplate()(a_recording(created_at=late), "wav")


def test_a_further_edition_as_documented() -> None:
    """A further edition has the documented key, which reads back as the same recording."""
    keys = KeyTemplate(prefix="acme")
    key = keys(a_recording(), "wav", 2)
    assert key == "acme/recordings/provider=twilio/account=AC1/date=2026-10-01/RE1~2.wav"
    parts = keys.read(key)
    assert parts is not None
    assert (parts.recording_id, parts.edition, parts.sidecar_key) == ("RE1", 2, key.replace(".wav", ".json"))
    assert keys.is_of(a_recording(), key)
    assert not keys.is_of(a_recording(recording_id="RE2"), key)


@pytest.mark.parametrize("template", [*TEMPLATES, "r/{recording_id}/{provider}/x={account}/m~2.{ext}"])
@examples(100)
@given(one=ids, other=ids, first=st.integers(1, 99), second=st.integers(1, 99))
@example("RE1.2", "RE1", 1, 2)
@example("RE1~2", "RE1", 1, 2)
@example("", "%", 2, 1)
@example("x" * 5000, "x", 1, 2)
def test_editions_share_no_key(template: str, one: str, other: str, first: int, second: int) -> None:
    """No edition of a recording has a key of another recording, and each key reads back as its parts."""
    keys = KeyTemplate(template)
    mine, theirs = a_recording(recording_id=one), a_recording(recording_id=other)
    assert (keys(mine, "wav", first) == keys(theirs, "wav", second)) is ((one, first) == (other, second))
    parts = keys.read(keys(mine, "wav", first))
    assert parts is not None
    assert (parts.recording_id, parts.edition, parts.ext) == (escape(one), first, "wav")


@examples(200)
@given(one=ids, other=ids)
@example("a/b", "a%2Fb")
@example("..", "%2E.")
@example("", "%")
@example("x" * 5000, "x" * 5001)
@example("é", "e\u0301")
def test_escape_is_injective(one: str, other: str) -> None:
    """Two texts are never escaped alike, and one text always the same."""
    assert (escape(one) == escape(other)) is (one == other)


@examples(200)
@given(text=ids)
def test_an_escaped_text_is_one_safe_segment(text: str) -> None:
    """An escaped text is one short path segment of plain ASCII: never empty, `.` or `..`, never with a separator."""
    segment = escape(text)
    assert segment
    assert set(segment) <= SAFE
    assert not segment.startswith(".")
    assert len(segment) <= 200
    assert escape(segment) != segment or "%" not in segment  # a text that looks escaped is a different text


@examples(200)
@given(one=st.tuples(ids, ids, ids), other=st.tuples(ids, ids, ids))
@example(("a", "b", "c"), ("a", "b/c", ""))
@example(("twilio", "AC1/date=2026-10-01", "RE1"), ("twilio", "AC1", "date=2026-10-01/RE1"))
@pytest.mark.parametrize("template", TEMPLATES)
def test_two_recordings_never_share_a_key(
    template: str, one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    """Recordings that differ in provider, account or id have different keys for media and sidecar."""
    keys = KeyTemplate(template)
    made = [
        {keys(a_recording(provider=provider, account_id=account, recording_id=name), ext) for ext in ("wav", "json")}
        for provider, account, name in (one, other)
    ]
    assert bool(made[0] & made[1]) is (one == other)


@examples(150)
@given(provider=ids, account=ids, name=ids)
def test_a_key_never_leaves_its_partition(provider: str, account: str, name: str) -> None:
    """A key stays under its prefix and partition, has its template's depth, and fits S3's 1,024 bytes."""
    keys = KeyTemplate(prefix="acme/calls")
    key = keys(a_recording(provider=provider, account_id=account, recording_id=name), "json")
    start = f"acme/calls/recordings/provider={escape(provider)}/account={escape(account)}/date=2026-10-01/"
    assert key.startswith(start)
    assert key.startswith(keys.root)
    assert "/" not in key.removeprefix(start)
    assert not {"", ".", ".."} & set(key.split("/"))
    assert len(key.encode("ascii")) <= 1024


def test_the_key_depends_on_the_recording_alone() -> None:
    """Other values of a row, and their later changes, do not change a recording's key."""
    keys = KeyTemplate()
    later = a_recording(status="deleted", phase=Phase.GONE, duration_seconds=9.0, raw={"x": 1}, price=1.0, track="a")
    assert keys(later, "wav") == keys(a_recording(), "wav")


def test_the_schema_stands_outside_the_recordings() -> None:
    """The schema's key has the prefix, and is no recording's key."""
    keys = KeyTemplate(prefix="acme")
    assert (keys.schema_key, keys.root) == ("acme/schemas/sidecar-v1.json", "acme/recordings/provider=")
    assert KeyTemplate().schema_key == "schemas/sidecar-v1.json"


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{provider}/{account}/{ext}", "recording_id"),
        ("{provider}/{recording_id}.{ext}", "account"),
        ("{account}/{recording_id}.{ext}", "provider"),
        ("{provider}/{account}/{recording_id}", "ext"),
        ("{provider}/{account}/{recording_id}/{recording_id}.{ext}", "once"),
        ("{provider}/{account}/{recording_id}.{ext}/x", "end in"),
        ("{provider}/{account}/{recording_id}{ext}", "end in"),
        ("{provider}{account}/{recording_id}.{ext}", "separator"),
        ("{provider}-{account}/{recording_id}.{ext}", "separator"),
        ("{provider}/{account}.{recording_id}.{ext}", "separator"),
        ("{provider}/{account}/{date}{recording_id}.{ext}", "separator"),
        ("/{provider}/{account}/{recording_id}.{ext}", "start"),
        ("catalog/{provider}/{account}/{recording_id}.{ext}", "start"),
        ("manifests/{provider}/{account}/{recording_id}.{ext}", "start"),
        ("schemas/{provider}/{account}/{recording_id}.{ext}", "start"),
        ("../{provider}/{account}/{recording_id}.{ext}", ".."),
        ("r//{provider}/{account}/{recording_id}.{ext}", "//"),
        ("{provider}/{account}/{call_id}/{recording_id}.{ext}", "call_id"),
        ("{provider!r}/{account}/{recording_id}.{ext}", "provider"),
        ("{provider:>9}/{account}/{recording_id}.{ext}", "provider"),
        ("{provider.__class__}/{account}/{recording_id}.{ext}", "__class__"),
        ("{}/{account}/{recording_id}.{ext}", "is unknown; use"),
        ("{provider/{account}/{recording_id}.{ext}", ""),
        ("provider}/{account}/{recording_id}.{ext}", "not a template"),
        ("", "provider"),
    ],
)
def test_a_template_that_could_mix_recordings_up_is_refused(template: str, why: str) -> None:
    """A template is refused with a reason if two recordings could share a key, or a key could be reserved."""
    with pytest.raises(ValueError, match=r".+") as refused:
        KeyTemplate(template)
    assert why in str(refused.value)


# Metadata and sidecar


@given(name=ids, provider=ids)
def test_metadata_are_ascii(name: str, provider: str) -> None:
    """Object metadata are small and printable ASCII, whatever the ids contain."""
    metadata = archive.object_metadata(a_recording(recording_id=name, provider=provider), "ab" * 32)
    assert set(metadata) == {"sha256", "recording-id", "provider", "schema"}
    assert all(value.isascii() and value.isprintable() for value in metadata.values())
    assert sum(len(key) + len(value) for key, value in metadata.items()) < 2048


SCHEMA = jsonschema.Draft202012Validator(json.loads(archive.schema_bytes()))

FULL = a_recording(
    call_id="CA1",
    conference_id="CF1",
    room_id="RM1",
    participant_id="PA1",
    leg_id="L1",
    session_id="S1",
    started_at=CREATED,
    ended_at=CREATED + timedelta(seconds=1.5),
    duration_seconds=1.5,
    channels=2,
    recorded_by="DialVerb",
    track="both",
    price=-0.0025,
    price_unit="USD",
    encryption={"public_key_sid": "CR1", "iv": "AA=="},
    raw={"sid": "RE1", "uri": "/x.json", "list": [1, None, {"a": "b"}]},
)


@pytest.mark.parametrize("recording", [a_recording(), FULL, a_recording(status=None)], ids=["bare", "full", "2008"])
def test_a_sidecar_meets_its_schema(recording: Recording) -> None:
    """Every sidecar matches the schema stored in the bucket, which is itself valid."""
    SCHEMA.check_schema(SCHEMA.schema)
    SCHEMA.validate(json.loads(written(a_receipt(recording))))


texts = st.text(max_size=30)
rows = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def check_fields(document: Any, schema: dict[str, Any], where: str = "sidecar") -> None:
    defs = json.loads(archive.schema_bytes())["$defs"]
    schema = defs[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    if isinstance(document, list) and "items" in schema:
        for each in document:
            check_fields(each, schema["items"], f"{where}[]")
    elif isinstance(document, dict) and "properties" in schema:
        known = schema["properties"]
        assert set(document) <= set(known), f"{where} has fields that its schema lacks"
        assert set(schema["required"]) <= set(document), f"{where} lacks fields that its schema requires"
        for name, value in document.items():
            check_fields(value, known[name], f"{where}.{name}")


@pytest.mark.parametrize("recording", [a_recording(), FULL], ids=["bare", "full"])
def test_the_schema_names_every_field_of_a_sidecar(recording: Recording) -> None:
    """Written fields and the schema's are the same, including a medium's."""
    receipt = a_receipt(recording)
    asked = Requested(media_format="wav", channels=2, refused="2 channels: answered 400")
    media = tuple(replace(each, requested=asked) for each in receipt.media)
    for each in (receipt, replace(receipt, media=media)):
        check_fields(json.loads(written(each)), SCHEMA.schema)


def test_what_was_asked_for_reads_back() -> None:
    """What was requested of a medium is kept; a sidecar of an earlier version has none."""
    asked = Requested(media_format="wav", channels=2, refused="2 channels: answered 400")
    receipt = a_receipt()
    document = json.loads(written(replace(receipt, media=(replace(receipt.media[0], requested=asked),))))
    assert read(document).media[0].requested == asked
    del document["media"][0]["requested"]
    assert read(document).media[0].requested is None


def read(document: dict[str, Any]) -> Receipt:
    return archive.Sidecar.read(json.dumps(document).encode()).receipt(a_recording(), "k")


@examples(100)
@given(name=ids.filter(bool), call=st.none() | texts, raw=st.dictionaries(texts, rows, max_size=4))
@example("RE1", "a\u2028b\u2029c\x85d\n", {"\r\n": "\x0b\x0c\x1c"})
def test_a_sidecar_is_one_line(name: str, call: str | None, raw: dict[str, Any]) -> None:
    """A sidecar is UTF-8 on one line that ends with a newline, so that query engines read it directly."""
    recording = a_recording(recording_id=name, call_id=call, raw=raw)
    body = written(a_receipt(recording))
    assert body.count(b"\n") == 1
    assert body.endswith(b"}\n")
    assert b"\r" not in body
    document = json.loads(body.decode("utf-8"))
    SCHEMA.validate(document)
    if not any("\ud800" <= char <= "\udfff" for char in json.dumps(raw, ensure_ascii=False) + name + (call or "")):
        assert (document["recording_id"], document["call_id"], document["raw"]) == (name, call, raw)


def test_a_sidecar_holds_what_it_must() -> None:
    """Times are UTC with Z, numbers are numbers, and unknown values are null, not omitted."""
    document = json.loads(written(a_receipt(FULL)))
    assert document["created_at"] == "2026-10-01T23:59:59Z"
    assert document["ended_at"] == "2026-10-02T00:00:00.500000Z"
    assert document["price"] == -0.0025
    assert document["media"][1]["checked"] == {"status": "suspect", "method": "m", "reason": "r"}
    assert document["archive"]["attempts"] == 2
    bare = json.loads(written(a_receipt()))
    assert bare.keys() == document.keys()
    assert bare["call_id"] is None


BESIDE: dict[str, Any] = {
    "missing": (MissingFormat(media_format="mp3", reason="provider.unavailable"),),
    "taken": ("recordings/RE1.wav",),
    "earlier": Earlier(sidecar_key="recordings/RE1.json", sidecar_sha256="ab" * 32, replaced=True),
}


@pytest.mark.parametrize("recording", [a_recording(), FULL], ids=["bare", "full"])
@pytest.mark.parametrize("beside", [{}, BESIDE], ids=["first", "a later edition"])
def test_a_sidecar_reads_back(recording: Recording, beside: dict[str, Any]) -> None:
    """A sidecar reads back as the receipt that wrote it."""
    receipt = a_receipt(recording, **beside)
    assert archive.Sidecar.read(written(receipt)).fault is None
    found = archive.Sidecar.read(written(receipt)).receipt(recording, receipt.sidecar_key)
    assert found == read_back(receipt)


whole_characters = ids.filter(lambda text: text != "\ud800")


@examples(100)
@given(name=whole_characters, account=whole_characters)
def test_every_sidecar_reads_back(name: str, account: str) -> None:
    """A sidecar is recognised whatever its ids contain; otherwise its recording would never be settled."""
    receipt = a_receipt(a_recording(recording_id=name, account_id=account))
    found = archive.Sidecar.read(written(receipt)).receipt(receipt.recording, receipt.sidecar_key)
    assert found == read_back(receipt)


def test_half_a_character_reads_back() -> None:
    """A sidecar is recognised although an id contains half of a UTF-16 pair, as JSON may."""
    receipt = a_receipt(a_recording(recording_id="RE\ud800"))
    found = archive.Sidecar.read(written(receipt)).receipt(receipt.recording, receipt.sidecar_key)
    assert found == read_back(receipt)


def test_later_additions_are_ignored() -> None:
    """A reader ignores unknown fields, since v1 may add some."""
    document = json.loads(written(a_receipt()))
    document["added"] = 1
    document["media"][0]["added"] = 2
    receipt = a_receipt()
    found = archive.Sidecar.read(json.dumps(document).encode()).receipt(receipt.recording, receipt.sidecar_key)
    assert found.media == receipt.media


def changed(**changes: Any) -> bytes:
    return json.dumps({**json.loads(written(a_receipt())), **changes}).encode()


def without(name: str) -> bytes:
    document = json.loads(written(a_receipt()))
    del document[name]
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not JSON",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        changed(schema="recvault/sidecar/v2"),
        changed(recording_id="RE2"),
        changed(account_id="AC2"),
        changed(provider="telnyx"),
        changed(media=None),
        changed(media=[{}]),
        changed(media=["RE1.wav"]),
        changed(archive={}),
        changed(archive=None),
        changed(archive={"archived_at": "yesterday"}),
        changed(archive={"archived_at": 5}),
        changed(archive={"archived_at": "2026-10-02T10:00:00"}),
        changed(archive={"archived_at": "0001-01-01T00:00:00+23:59"}),
        changed(source=5),
        changed(media=[{**json.loads(written(a_receipt()))["media"][0], "key": 5}]),
        changed(media=[{**json.loads(written(a_receipt()))["media"][0], "bytes": float("inf")}]),
        changed(media=[{**json.loads(written(a_receipt()))["media"][0], "sha256": None}]),
        without("source"),
        without("media"),
        without("archive"),
        written(a_receipt())[:-20],
    ],
)
def test_what_is_no_sidecar_of_this_recording(body: bytes) -> None:
    """A sidecar that is incomplete, not v1 or another recording's is a ValueError; no receipt is made of it."""
    with pytest.raises(ValueError, match=r".+"):
        archive.Sidecar.read(body).receipt(a_recording(), "recordings/RE1.json")


@pytest.mark.parametrize("name", ["created_at", "call_id", "channels", "encryption"])
def test_a_sidecar_that_tells_otherwise_of_a_recording(name: str) -> None:
    """Facts in both the sidecar and the row must agree; one that either lacks proves nothing."""
    others = {"created_at": FULL.created_at + timedelta(seconds=1), "call_id": "other", "channels": 7, "encryption": {}}
    sidecar = archive.Sidecar.read(written(a_receipt(FULL)))
    assert not sidecar.contradicts(FULL)
    assert sidecar.contradicts(replace(FULL, **{name: others[name]}))
    if name != "created_at":
        assert not sidecar.contradicts(replace(FULL, **{name: None}))


def test_the_keys_of_an_archive_by_kind() -> None:
    """Reserved keys are under the prefix, and no recording's sidecar is among them."""
    keys = archive.KeyTemplate(prefix="team/a")
    assert [keys.is_reserved(each) for each in ("team/a/schemas/x.json", "team/a/manifests/x", "team/a/catalog/x")] == [
        True
    ] * 3
    assert not keys.is_reserved("schemas/x.json")
    assert keys.may_be_sidecar(keys(FULL, "json"))
    assert not keys.may_be_sidecar(keys.schema_key)
    assert not keys.may_be_sidecar(keys(FULL, "wav"))
