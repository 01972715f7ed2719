"""A sidecar becomes a typed row, however odd it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from catalog.conftest import Merger, line, sidecar
from recvault.catalog.columns import RECORDINGS
from recvault.catalog.flatten import Numbers, dialled, digits, facts_rows, row

HUGE = 10**400
CALL = {
    "from": "+1 (555) 010-0001",
    "to": "sip:+15550100002@1.2.3.4:5060",
    "direction": "inbound",
    "forwarded_from": "+15550100003",
    "legs": [{"call_id": "CA2", "from": "client:alice", "to": "+15550100004"}],
}
ODD: dict[str, dict[str, Any]] = {
    "nulls": dict.fromkeys(("schema", "source", "api", "media", "archive", "raw", "encryption", "call", "channels")),
    "huge numbers": {"channels": HUGE, "duration_seconds": HUGE, "price": 1e308, "media": [{"bytes": HUGE}]},
    "texts where numbers are due": {"channels": "2", "duration_seconds": "long", "price": "0.1", "archive": "yes"},
    "numbers where texts are due": {"source": 1, "call_id": 2.5, "status": True, "track": [], "recorded_by": {}},
    "lists and objects elsewhere": {"media": {"0": {}}, "call": [], "raw": [1], "encryption": []},
    "media of another kind": {"media": [None, 1, "x", {"checked": "ok", "bytes": "9", "key": 7}]},
    "times that are none": {"started_at": "yesterday", "ended_at": 5, "archive": {"archived_at": "2026-13-01T00:00Z"}},
    "first and last times": {"started_at": "0001-01-01T00:00:00Z", "ended_at": "9999-12-31T23:59:59.999999Z"},
    "times before the first": {"started_at": "0001-01-01T00:00:00+14:00"},
    "not a number": {"duration_seconds": float("nan"), "price": float("inf"), "raw": {"a": float("-inf")}},
    "half characters and NUL": {"source": "a\ud800b", "call_id": "a\0b", "raw": {"\ud800": "\0"}},
    "a text of another's syntax": {"source": "'); DROP TABLE x; --", "track": '"\\\n\r\u2028', "call_id": "{}"},
    "calls of another kind": {"call": {"from": 1, "to": None, "legs": [None, 1, {"from": []}], "direction": {}}},
}


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_value_costs_that_value_alone(merger: Merger, odd: str) -> None:
    """Whatever a sidecar holds, it makes one row, and other sidecars keep theirs."""
    assert merger.merge(line(sidecar(1, **ODD[odd]), 1), line(sidecar(2), 2)) == 2
    found = {each["recording_id"]: each for each in merger.rows()}
    assert found["RE2"]["source"] == "main"
    values = row(json.dumps(sidecar(1, **ODD[odd])).encode(), "recordings/k.json")
    texts = [each.name for each in RECORDINGS if each.type in ("VARCHAR", "BIGINT", "DOUBLE", "BOOLEAN", "VARCHAR[]")]
    assert {name: found["RE1"][name] for name in texts} == {name: values[name] for name in texts}
    if found["RE1"]["raw"] is not None:
        json.loads(found["RE1"]["raw"], parse_constant=pytest.fail)


UNUSABLE = {
    "not JSON": b"{",
    "not text": b"\xff\xfe",
    "empty": b"",
    "a list": b"[]",
    "too deep": b"[" * 100_000,
    "a number with too many digits": b'{"a": ' + b"1" * 5000 + b"}",
    "without identity": json.dumps(sidecar(1, recording_id=None)).encode(),
    "an identity that is a number": json.dumps(sidecar(1, account_id=7)).encode(),
    "without created_at": json.dumps(sidecar(1, created_at=None)).encode(),
    "created at no time": json.dumps(sidecar(1, created_at="soon")).encode(),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_cannot_be_a_row_is_an_error(name: str) -> None:
    """A body without identity or time is refused with ValueError, so that it can be reported and left out."""
    with pytest.raises(ValueError, match=r"."):
        row(UNUSABLE[name], "recordings/k.json")


def test_a_sidecar_of_an_earlier_version_makes_a_row() -> None:
    """Fields that a sidecar lacks are null."""
    old = {name: sidecar(1)[name] for name in ("provider", "account_id", "recording_id", "created_at")}
    values = row(json.dumps(old).encode(), "k")
    told = {name for name, value in values.items() if value not in (None, [])}
    assert told == {*old, "day", "encrypted", "sidecar_key", "sidecar_sha256"}


def test_numbers_are_digits_of_every_leg() -> None:
    """A call is found by the digits of any number on it."""
    values = row(json.dumps(sidecar(1, call=CALL)).encode(), "k")
    assert (values["from_number"], values["to_number"], values["direction"]) == (CALL["from"], CALL["to"], "inbound")
    assert values["numbers"] == ["15550100001", "15550100002", "15550100003", "15550100004"]
    assert [digits(text) for text in ("sip:alice@10.0.0.1", "client:bob", "")] == ["", "", ""]


def test_a_row_of_a_provider_that_tells_the_numbers_itself_needs_no_call() -> None:
    """Without call facts, from and to of the provider's own row are used."""
    values = row(json.dumps(sidecar(1, raw={"from": "+15550100001", "to": "+15550100002"})).encode(), "k")
    assert (values["from_number"], values["numbers"]) == ("+15550100001", ["15550100001", "15550100002"])


@pytest.mark.parametrize("mode", ["hmac", "none"])
def test_no_number_is_in_a_catalog_without_numbers(mode: str) -> None:
    """With hmac or none, no number is in a row, not even in the provider's own row."""
    document = sidecar(1, call=CALL, raw={"from": "+15550100001"})
    values = row(json.dumps(document).encode(), "k", numbers=Numbers(mode, b"key"))
    told = json.dumps(values)
    assert [number for each in (CALL["from"], "5550100", "client:alice") if (number := str(each)) in told] == []
    assert values["raw"] is None
    assert (values["numbers"] is None) == (mode == "none")


def test_a_hashed_number_is_found_by_whoever_has_the_key() -> None:
    """With hmac, the same number has the same hash in every notation, and another one with another key."""
    one, other = Numbers("hmac", b"key"), Numbers("hmac", b"another")
    assert one.shown("+1 555 0100") == (one.found_by(iter(["15550100"])) or [None])[0] != other.shown("+15550100")


def test_lines_of_call_facts_that_are_none_are_skipped() -> None:
    """Only lines with identity and call count, whatever stands between them."""
    good = {"provider": "twilio", "account_id": "AC1", "recording_id": "RE1", "call": CALL}
    lines = [b"", b"{", b"[]", b"\xff", b'{"call": {}}', json.dumps({**good, "call": 1}).encode()]
    found = list(facts_rows(b"\n".join([*lines, json.dumps(good).encode()])))
    assert [(each["recording_id"], each["to_number"]) for each in found] == [("RE1", CALL["to"])]


@pytest.mark.parametrize(
    ("party", "number"),
    [
        ("+1 (555) 123-4567", "15551234567"),
        ("sip:+15551234567@10.1.2.3:5060;transport=tcp", "15551234567"),
        ("sip:%2B15551234567@h1.example.com", "15551234567"),
        ('"Bob 7" <sip:+15551234567@10.1.2.3>', "15551234567"),
        ("tel:+15551234567;ext=22", "15551234567"),
        ("+15551234567;phone-context=x1", "15551234567"),
        ("+1 555 123 4567 ext. 22", "15551234567"),
        ("whatsapp:+15551234567", "15551234567"),
        ("1001", "1001"),
        ("client:alice2024", ""),
        ("sip:alice.2024@example.com", ""),
        ("anonymous", ""),
    ],
)
def test_a_party_is_found_by_its_whole_number(party: str, number: str) -> None:
    """Hosts, parameters and names around a number add no digits to it, and a name with digits is no number."""
    assert dialled(party) == number
