"""Custody's records are in the chain of manifests, whoever put them, and a copy is checked against them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from operations.manifests.conftest import Open
from operations.manifests.shelf import Killed, Shelf, files, listed_in, manifest_key, place, remove, sha256sum, struck
from recvault.archive import EVENTS
from recvault.custody import Records, RecordSchema, record_key, tombstone_path
from recvault.operations.manifests import check

CUSTODY = "manifests/provider=recvault/account=custody"


def put_event(shelf: Shelf, name: str) -> str:
    """Put a record as another command does, without this ledger."""
    path = record_key(EVENTS, name, ext="jsonl", date="2026-10-01")
    Records(store=shelf.store).put_lines(path, RecordSchema.EVENTS, [{"what": name}])
    return path


def chain(shelf: Shelf) -> list[list[str]]:
    """Return what each manifest of the custody chain lists, its link first."""
    return [listed_in(shelf.objects[key]) for key in shelf.manifests if key.startswith(CUSTODY)]


def test_a_record_that_another_command_put_enters_the_chain(shelf: Shelf) -> None:
    """Each run lists the records that no manifest lists, once, with the previous manifest's hash."""
    first, _ = put_event(shelf, "a"), shelf.write()
    second, _ = put_event(shelf, "b"), shelf.write()
    shelf.write()
    assert chain(shelf) == [[first], [manifest_key(1, CUSTODY), second]]
    assert sha256sum(shelf.copy()).returncode == 0


def test_accounts_keep_their_own_chain(shelf: Shelf) -> None:
    """Records change nothing in an account's manifests."""
    shelf.archive(1)
    put_event(shelf, "a")
    shelf.next_day()
    summary = shelf.write()
    assert [path for path in listed_in(shelf.objects[manifest_key(1)]) if path.startswith("events/")] == []
    assert [each.recordings for each in summary.written] == [1, 0]


@pytest.mark.parametrize("survey", [False, True])
def test_another_ledger_lists_no_record_again(open_shelf: Open, survey: bool) -> None:
    """A new ledger takes over the chain, and lists only what is new."""
    shelf = open_shelf()
    first, _ = put_event(shelf, "a"), shelf.write()
    new = open_shelf(name="new.db", store=shelf.store)
    second, _ = put_event(new, "b"), new.write(survey=survey)
    assert chain(new) == [[first], [manifest_key(1, CUSTODY), second]]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("effect", [1, 2])
def test_a_kill_leaves_each_record_listed_once(open_shelf: Open, effect: int, when: str) -> None:
    """A run killed at its put or its note is continued: each record is listed exactly once."""
    shelf = open_shelf()
    first = put_event(shelf, "a")
    with pytest.raises(Killed):
        struck(shelf, effect, when).write()
    shelf.ledger.close()
    again = open_shelf(store=shelf.store)
    again.write()
    second, _ = put_event(again, "b"), again.write()
    assert chain(again) == [[first], [manifest_key(1, CUSTODY), second]]


def test_a_changed_record_is_found_in_a_copy(shelf: Shelf) -> None:
    """A listed record that was changed or removed is a difference; one that is not listed yet is none."""
    changed, removed, _ = put_event(shelf, "a"), put_event(shelf, "b"), shelf.write()
    put_event(shelf, "c")
    root = shelf.copy()
    assert (check(root).counts["not_covered"], check(root).counts["ok"], check(root).differences) == (1, 2, [])
    Path(root, changed).write_text('{"schema": "recvault/events/v1", "what": "nothing"}')
    Path(root, removed).unlink()
    assert {(each.kind, each.path) for each in check(root).differences} == {
        ("different", changed),
        ("missing", removed),
    }


def test_an_object_among_records_that_is_none_is_told(shelf: Shelf) -> None:
    """An object below a record's prefix that recvault did not write is unknown in a copy."""
    place(shelf, "holds/x.json", b"nothing")
    shelf.archive(1)
    shelf.next_day()
    shelf.write()
    assert [(each.kind, each.path) for each in check(shelf.copy()).differences] == [("unknown", "holds/x.json")]


def test_what_a_tombstone_names_may_be_missing_from_a_copy(shelf: Shelf) -> None:
    """Objects that a tombstone names with their SHA-256 count as erased; any other missing one is a difference."""
    shelf.archive(1, 2)
    shelf.next_day()
    shelf.write()
    sums = {key: hashlib.sha256(body).hexdigest() for key, body in shelf.objects.items()}
    gone, lost = [key for key in files(shelf) if "RE1" in key], [key for key in files(shelf) if "RE2.wav" in key]
    named = [{"key": f"some/prefix/{key}", "sha256": sums[key], "bytes": 1} for key in gone]
    wrong = [{"key": key, "sha256": "0" * 64, "bytes": 1} for key in lost]
    path = tombstone_path("twilio", "AC1", "RE1")
    Records(store=shelf.store).put(path, RecordSchema.TOMBSTONE, {"erased": [*named, *wrong]})
    for key in (*gone, *lost):
        remove(shelf, key)
    checked = check(shelf.copy())
    assert (checked.counts["erased"], checked.counts["orphan_media"]) == (2, 0)
    assert [(each.kind, each.path) for each in checked.differences] == [("missing", lost[0])]
