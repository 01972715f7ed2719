"""Custody's records are written once, below their own prefixes, and read back as they were written."""

from __future__ import annotations

import pytest

from recvault.archive import ERASURES, EVENTS, KeyTemplate
from recvault.custody import Records, RecordSchema, record_key
from recvault.errors import KeyConflict
from recvault.testing.memory import MemoryStore

PATH = record_key(ERASURES, "RE/1", provider="twilio", account="AC1")


def test_a_document_is_read_back() -> None:
    """A document comes back with its schema and hash, from below the archive's prefix."""
    store = MemoryStore()
    records = Records(store=store, prefix="in/here/")
    assert records.put(PATH, RecordSchema.TOMBSTONE, {"reference": "Fall 7, Zoë"})
    read = records.read(PATH)
    assert read is not None
    assert (read.schema, read.document["reference"]) == ("recvault/tombstone/v1", "Fall 7, Zoë")
    assert store.stored[f"in/here/{PATH}"].sha256 == read.sha256
    assert list(records.paths(ERASURES)) == [PATH]


def test_lines_are_read_back() -> None:
    """Each line of a record in JSON lines comes back, with the schema in each."""
    records = Records(store=MemoryStore())
    path = record_key(EVENTS, "run", date="2026-12-01", ext="jsonl")
    records.put_lines(path, RecordSchema.EVENTS, [{"number": 1}, {"number": 2}])
    read = records.read(path)
    assert read is not None
    assert [(each["schema"], each["number"]) for each in read.documents] == [
        ("recvault/events/v1", 1),
        ("recvault/events/v1", 2),
    ]


def test_a_record_is_never_replaced() -> None:
    """The same record again is no error; another under its key is."""
    records = Records(store=MemoryStore())
    assert records.put(PATH, RecordSchema.TOMBSTONE, {"reference": "a"})
    assert not records.put(PATH, RecordSchema.TOMBSTONE, {"reference": "a"})
    with pytest.raises(KeyConflict):
        records.put(PATH, RecordSchema.TOMBSTONE, {"reference": "b"})


def test_a_record_is_below_its_own_prefixes() -> None:
    """A name with a slash makes no further folder, and nothing is put or listed elsewhere."""
    assert PATH == "erasures/provider=twilio/account=AC1/RE%2F1.json"
    records = Records(store=MemoryStore())
    with pytest.raises(ValueError, match="not below"):
        records.put("recordings/x.json", RecordSchema.HOLD, {})
    with pytest.raises(ValueError, match="not below"):
        list(records.paths("recordings/"))


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"{", b'{"schema": 7}', b"[" * 100_000])
def test_what_is_no_record_is_told(body: bytes) -> None:
    """An object that is none of recvault's records is an error with its path."""
    store = MemoryStore()
    store.objects[PATH] = body
    with pytest.raises(ValueError, match="erasures/"):
        Records(store=store).read(PATH)


@pytest.mark.parametrize("beginning", ["erasures/", "holds/", "prunes/", "events/"])
def test_no_recording_has_a_record_s_key(beginning: str) -> None:
    """A template below a record's prefix is refused, and a record is no sidecar under any template."""
    with pytest.raises(ValueError, match="must not start with"):
        KeyTemplate(f"{beginning}{{provider}}/{{account}}/{{recording_id}}.{{ext}}")
    assert not KeyTemplate("{provider}/{account}/{recording_id}.{ext}").may_be_sidecar(f"{beginning}a/RE1.json")
