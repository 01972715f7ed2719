"""Manifests are written once a day and account, chained, for everything archived, whatever happens."""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from ledger.rows import recording
from operations.manifests.conftest import Open
from operations.manifests.shelf import (
    DAY,
    MORNING,
    Counted,
    Killed,
    Overtaken,
    Shelf,
    commit,
    covered,
    files,
    found,
    listed_in,
    manifest_key,
    place,
    remove,
    sha256sum,
    struck,
    undo_migration,
)
from recvault.archive import KeyTemplate
from recvault.errors import Interrupted
from recvault.ledger import EVER, Ledger
from recvault.operations.manifests import last_ended, text
from recvault.shutdown import Stop
from recvault.store import SMALL_MOST
from recvault.testing.memory import MemoryStore


def test_a_day_that_has_not_ended_has_no_manifest(shelf: Shelf) -> None:
    """Before the day has ended and settled nothing is requested or written."""
    shelf.archive(1, 2)
    assert (shelf.write().written, shelf.manifests) == ([], [])
    shelf.now = datetime(2026, 10, 2, 0, 14, tzinfo=UTC)
    assert (shelf.write().written, last_ended(shelf.now).day) == ([], 30)
    shelf.now += timedelta(minutes=1)
    assert (len(shelf.write().written), last_ended(shelf.now).day) == (1, 1)


def test_a_manifest_is_text_that_sha256sum_reads(shelf: Shelf) -> None:
    """A manifest has comments, the previous manifest's line, then each sidecar with its media."""
    shelf.archive(1, 2)
    shelf.next_day()
    shelf.write()
    shelf.archive(3)
    shelf.next_day()
    shelf.write()
    first, second = (shelf.objects[key] for key in shelf.manifests)
    place = "recordings/provider=twilio/account=AC1/date=2026-10-01"
    lines = first.decode().splitlines()
    assert lines[:2] == [
        "# recvault manifest v1: sha256sum -c this file at the root of a copy",
        "# provider=twilio account=AC1 number=00000001 through=2026-10-01",
    ]
    assert listed_in(first) == [f"{place}/RE1.json", f"{place}/RE1.wav", f"{place}/RE2.json", f"{place}/RE2.wav"]
    assert second.decode().splitlines()[2] == f"{hashlib.sha256(first).hexdigest()}  {manifest_key(1)}"
    assert listed_in(second)[1:] == [f"{place}/RE3.json", f"{place}/RE3.wav"]
    done = sha256sum(shelf.copy())
    assert (done.returncode, done.stderr, done.stdout.count(": OK\n")) == (0, "", 7)


def test_a_second_run_writes_and_asks_nothing(shelf: Shelf) -> None:
    """A second run writes nothing and only lists the four prefixes of custody's records."""
    shelf.archive(1)
    shelf.next_day()
    shelf.write()
    shelf.store = Counted(shelf.store)
    assert (shelf.write().written, shelf.store.asked) == ([], {"list": 4})


def test_the_cost_is_a_request_a_recording_and_three_an_account(shelf: Shelf) -> None:
    """A run needs one request per recording, three per account, and four for custody's records."""
    shelf.archive(1)
    shelf.next_day()
    shelf.write()
    shelf.archive(*range(2, 12))
    shelf.next_day()
    shelf.store = counted = Counted(shelf.store)
    shelf.write()
    assert counted.asked == {"get": 10 + 1, "head": 1, "put": 1, "list": 4}


def test_a_late_recording_stands_in_the_manifest_of_the_day_it_was_archived_on(shelf: Shelf) -> None:
    """A late recording is in the manifest of the day it was archived on, and old manifests stay unchanged."""
    shelf.archive(1)
    shelf.next_day()
    shelf.write()
    first = shelf.objects[manifest_key(1)]
    late = recording(2, created_at=MORNING - 21 * DAY)
    receipt = commit(shelf.store, shelf.keys, late, shelf.now)
    shelf.claimed([2])
    shelf.settle([receipt])
    shelf.next_day()
    shelf.write()
    assert shelf.objects[manifest_key(1)] == first
    assert [path for path in listed_in(shelf.objects[manifest_key(2)]) if "date=2026-09-10" in path] == [
        "recordings/provider=twilio/account=AC1/date=2026-09-10/RE2.json",
        "recordings/provider=twilio/account=AC1/date=2026-09-10/RE2.wav",
    ]


def test_each_account_has_a_chain_of_its_own(shelf: Shelf) -> None:
    """Each account has its own chain, and all heads are reported."""
    shelf.archive(1, account="AC1")
    shelf.archive(2, account="AC2")
    shelf.next_day()
    shelf.write()
    shelf.archive(3, account="AC2")
    shelf.next_day()
    summary = shelf.write()
    other = "manifests/provider=twilio/account=AC2"
    assert shelf.manifests == [manifest_key(1), manifest_key(1, other), manifest_key(2, other)]
    heads = {(each.account_id, each.number, each.sha256) for each in summary.chains}
    bodies = {"AC1": shelf.objects[manifest_key(1)], "AC2": shelf.objects[manifest_key(2, other)]}
    assert heads == {
        ("AC1", 1, hashlib.sha256(bodies["AC1"]).hexdigest()),
        ("AC2", 2, hashlib.sha256(bodies["AC2"]).hexdigest()),
    }


def test_many_recordings_stand_in_several_manifests(shelf: Shelf) -> None:
    """Many recordings are in several manifests, so that memory is limited and a kill costs only one."""
    shelf.archive(*range(1, 8))
    shelf.next_day()
    summary = shelf.write(most=3)
    assert [each.recordings for each in summary.written] == [3, 3, 1]
    assert covered(shelf) == Counter(files(shelf))
    assert sha256sum(shelf.copy()).returncode == 0


def test_a_prefix_is_no_part_of_the_paths(open_shelf: Open) -> None:
    """A copy of what is under archive.prefix checks at its own root."""
    shelf = open_shelf(keys=KeyTemplate(prefix="calls/2026"))
    shelf.archive(1)
    shelf.next_day()
    shelf.write()
    assert shelf.manifests == [f"calls/2026/{manifest_key(1)}"]
    assert sha256sum(shelf.copy() / "calls/2026").returncode == 0


def test_odd_names_are_written_as_sha256sum_writes_them(open_shelf: Open) -> None:
    """Backslashes and line breaks are escaped as sha256sum does."""
    shelf = open_shelf(keys=KeyTemplate("re\\cord\nings/{provider}/{account}/{recording_id}.{ext}"))
    shelf.archive(1)
    shelf.next_day()
    shelf.write()
    done = sha256sum(shelf.copy())
    assert (done.returncode, done.stdout.count(": OK\n")) == (0, 2)


@pytest.mark.parametrize("hours", [-30, -3, 3, 30])
def test_a_clock_that_jumps_leaves_nothing_out(shelf: Shelf, hours: int) -> None:
    """Whatever the clock does, each object is listed in the end, and the chain is valid."""
    shelf.archive(1, 2)
    shelf.now += timedelta(hours=hours)
    shelf.archive(3)
    shelf.write()
    shelf.now += timedelta(hours=-hours)
    shelf.archive(4)
    for _ in range(4):
        shelf.next_day()
        shelf.write()
    assert covered(shelf) == Counter(files(shelf))
    assert sha256sum(shelf.copy()).returncode == 0


def test_what_was_archived_after_midnight_waits_a_day(shelf: Shelf) -> None:
    """What was archived between midnight and the manifest waits a day, by the sidecar's time."""
    shelf.now = datetime(2026, 10, 2, 0, 1, tzinfo=UTC)
    shelf.archive(1, at=datetime(2026, 10, 1, 23, 59, tzinfo=UTC))
    shelf.archive(2)
    shelf.now = datetime(2026, 10, 2, 0, 20, tzinfo=UTC)
    shelf.write()
    assert [path.rpartition("/")[2] for path in covered(shelf)] == ["RE1.json", "RE1.wav"]
    shelf.next_day()
    shelf.write()
    assert covered(shelf) == Counter(files(shelf))


# -- what is not as it should be ---------------------------------------------------------------------------------------


def test_a_sidecar_that_is_gone_is_told_each_day_until_it_is_back(shelf: Shelf) -> None:
    """A missing sidecar is reported each day and stays due; the others are listed."""
    shelf.archive(1, 2)
    key = files(shelf)[0]
    body = shelf.objects.pop(key)
    shelf.next_day()
    for _ in range(2):
        summary = shelf.write()
        assert (summary.troubles, summary.exit_code) == ([("missing", key)], 3)
        shelf.next_day()
    shelf.objects[key] = body
    assert (shelf.write().troubles, covered(shelf)) == ([], Counter(files(shelf)))


def test_what_is_archived_again_is_listed_again(shelf: Shelf) -> None:
    """A recording archived again, even during the run, is listed again with its new sidecar."""
    [job] = shelf.claimed([1])
    receipt = commit(shelf.store, shelf.keys, job.recording, shelf.now)
    shelf.settle([receipt])
    [before] = shelf.ledger.unlisted.page(0, EVER, 10)
    with sqlite3.connect(shelf.root / "ledger.db") as plain:
        plain.execute("UPDATE recordings SET state = 'pending'")
    plain.close()
    shelf.now += timedelta(minutes=1)
    shelf.settle([receipt])
    shelf.ledger.unlisted.note([before], ())
    [after] = shelf.ledger.unlisted.page(0, EVER, 10)
    shelf.ledger.unlisted.note([after], ())
    assert (after.id, shelf.ledger.unlisted.page(0, EVER, 10)) == (before.id, [])


@pytest.mark.parametrize("body", [None, b'{"schema": "recvault/sidecar/v1"}', b"not even JSON", b"[]", b"\xff"])
def test_files_are_listed_by_the_hashes_that_the_ledger_has(shelf: Shelf, body: bytes | None) -> None:
    """Listed hashes are the ledger's, so that a sidecar changed before its manifest hides nothing."""
    shelf.archive(1)
    sidecar, medium = files(shelf)
    true, other = (hashlib.sha256(each).hexdigest().encode() for each in (shelf.objects[medium], b"another sound"))
    shelf.objects[sidecar] = body or shelf.objects[sidecar].replace(true, other)
    shelf.objects[medium] = b"another sound"
    shelf.next_day()
    assert shelf.write().troubles == [("different", sidecar)]
    done = sha256sum(shelf.copy())
    failed = [line for line in done.stdout.splitlines() if "FAILED" in line]
    assert (done.returncode, failed) == (1, [f"{sidecar}: FAILED", f"{medium}: FAILED"])


@pytest.mark.parametrize(("instead", "kind"), [(None, "manifest_missing"), (b"forged", "manifest_changed")])
def test_a_head_that_was_changed_or_removed_is_told_and_the_chain_names_what_it_was(
    shelf: Shelf, instead: bytes | None, kind: str
) -> None:
    """A changed or removed head is reported, and the next manifest names the original."""
    shelf.archive(1)
    shelf.next_day()
    shelf.write()
    genuine = remove(shelf, manifest_key(1))
    if instead is not None:
        place(shelf, manifest_key(1), instead)
    shelf.archive(2)
    shelf.next_day()
    assert shelf.write().troubles == [(kind, manifest_key(1))]
    link = shelf.objects[manifest_key(2)].decode().splitlines()[2]
    assert link == f"{hashlib.sha256(genuine).hexdigest()}  {manifest_key(1)}"


# -- kills, races, losses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("effect", range(1, 12))
def test_killed_at_any_put_or_note_the_next_run_goes_on(open_shelf: Open, effect: int, when: str) -> None:
    """After a kill at any effect nothing is left out, listed twice or overwritten."""
    shelf = open_shelf()
    shelf.archive(*range(1, 6), account="AC1")
    shelf.archive(6, 7, account="AC2")
    shelf.next_day()
    with pytest.raises(Killed):
        struck(shelf, effect, when).write(most=2)
    shelf.ledger.close()
    again = open_shelf(store=shelf.store, now=shelf.now)
    assert again.write(most=2).troubles == []
    assert covered(again) == Counter(files(again))
    assert sha256sum(again.copy()).returncode == 0
    again.archive(8)
    again.next_day()
    assert [each.recordings for each in again.write().written] == [1]


def test_two_machines_make_one_chain(open_shelf: Open) -> None:
    """Two machines that archive and write in any order list every object in one chain."""
    one = open_shelf(name="one.db")
    two = open_shelf(name="two.db", store=one.store)
    for day in range(3):
        mine, theirs = one.claimed([day * 4, day * 4 + 1, day * 4 + 2]), two.claimed([day * 4 + 2, day * 4 + 3])
        receipts = [commit(one.store, one.keys, job.recording, one.now) for job in mine]
        one.settle(receipts)
        two.settle([*map(found, receipts[2:]), commit(two.store, two.keys, theirs[1].recording, two.now)])
        for shelf in (one, two):
            shelf.next_day()
        for shelf in (one, two) if day % 2 else (two, one):
            assert shelf.write().troubles == []
    assert covered(one) == Counter(files(one))
    assert sha256sum(one.copy()).returncode == 0


def test_who_is_second_by_a_moment_takes_over_and_goes_on(open_shelf: Open) -> None:
    """If another machine puts the next manifest first, it is taken over, and the chain continues."""
    one = open_shelf(name="one.db")
    two = open_shelf(name="two.db", store=one.store)
    shared = one.claimed([1, 2])
    two.claimed([1])
    receipts = [commit(one.store, one.keys, job.recording, one.now) for job in shared]
    one.settle(receipts)
    two.settle([found(receipts[0])])
    one.next_day()
    two.next_day()
    two.ledger.unlisted.note_surveyed(True)
    one.ledger.unlisted.note_surveyed(True)
    one.store = Overtaken(one.store, two.write)
    summary = one.write()
    assert ([each.chain.number for each in summary.written], summary.troubles) == ([2], [])
    assert covered(two) == Counter(files(two))
    assert sha256sum(two.copy()).returncode == 0


def test_a_lost_ledger_costs_a_survey(open_shelf: Open) -> None:
    """A new ledger finds the chains, and lists what neither they nor it know, even of today."""
    shelf = open_shelf()
    shelf.archive(1, 2)
    shelf.next_day()
    shelf.write()
    shelf.archive(3)
    shelf.next_day()
    shelf.archive(4)
    new = open_shelf(name="new.db", store=shelf.store, now=shelf.now + timedelta(hours=1))
    new.archive(5)
    summary = new.write()
    assert ([each.chain.number for each in summary.written], summary.troubles) == ([2], [])
    assert [path.rpartition("/")[2] for path in listed_in(new.objects[manifest_key(2)])[1:]] == ["RE3.json", "RE3.wav"]
    new.next_day()
    new.write()
    new.archive(6)
    new.next_day()
    new.store = counted = Counted(new.store)
    new.write()
    assert counted.asked["list"] == 4
    new.store = shelf.store
    assert covered(new) == Counter(files(new))
    assert sha256sum(new.copy()).returncode == 0


def test_a_ledger_that_was_rebuilt_lists_nothing_again(open_shelf: Open) -> None:
    """A rebuilt ledger drops what the chain lists, without a request per recording."""
    shelf = open_shelf()
    shelf.archive(*range(1, 6))
    shelf.next_day()
    shelf.write()
    new = open_shelf(name="new.db", store=shelf.store, now=shelf.now)
    jobs = new.claimed(range(1, 6))
    new.settle([found(commit(MemoryStore(), new.keys, job.recording, MORNING)) for job in jobs])
    new.next_day()
    new.store = counted = Counted(new.store)
    assert new.write().written == []
    assert counted.asked == {"list": 2 + 4, "get": 1}
    assert new.ledger.unlisted.page(0, EVER, 1) == []


def test_a_forged_manifest_covers_nothing_that_the_ledger_knows_better(open_shelf: Open) -> None:
    """After a foreign manifest with other hashes, ours lists the true ones."""
    shelf = open_shelf()
    shelf.archive(1)
    shelf.next_day()
    sidecar, medium = files(shelf)
    forged = f"# through=2026-10-01\n{'0' * 64}  {sidecar}\n{'1' * 64}  {medium}\n"
    place(shelf, manifest_key(1), forged.encode())
    summary = shelf.write()
    assert [each.chain.number for each in summary.written] == [2]
    true = hashlib.sha256(shelf.objects[medium]).hexdigest()
    assert f"{true}  {medium}" in shelf.objects[manifest_key(2)].decode().splitlines()


def test_a_survey_that_is_asked_for_finds_what_was_never_written_down(shelf: Shelf) -> None:
    """A requested survey finds what a restored ledger does not know."""
    shelf.archive(1)
    shelf.next_day()
    shelf.write()
    commit(shelf.store, shelf.keys, recording(2), shelf.now)
    shelf.next_day()
    assert shelf.write().written == []
    assert [each.recordings for each in shelf.write(survey=True).written] == [1]
    assert covered(shelf) == Counter(files(shelf))


def test_a_survey_tells_what_is_no_sidecar(shelf: Shelf) -> None:
    """Other objects among the recordings are not listed, and stop nothing."""
    place(shelf, "recordings/provider=twilio/notes.json", b"{}")
    place(shelf, "schemas/sidecar-v1.json", b"{}")
    shelf.archive(1)
    shelf.next_day()
    summary = shelf.write()
    assert summary.troubles == [("unreadable", "recordings/provider=twilio/notes.json")]
    assert [each.recordings for each in summary.written] == [1]
    assert shelf.ledger.unlisted.is_surveyed


def test_a_survey_lists_nothing_that_is_not_in_its_own_place(open_shelf: Open) -> None:
    """A foreign sidecar, or one that names another's media, is reported and not listed."""
    writer = open_shelf()
    writer.archive(1, 2)
    (writer.root / "lost").mkdir()
    shelf = Shelf.opened(writer.root / "lost", store=writer.store, now=writer.now)
    first, second = [key for key in files(writer) if key.endswith(".json")]
    elsewhere = first.replace("RE1", "RE7")
    body = remove(writer, first)
    place(writer, elsewhere, body)
    place(writer, second, remove(writer, second).replace(b"RE2.wav", b"RE1.wav"))
    shelf.next_day()
    try:
        assert sorted(shelf.write().troubles) == [("foreign", second), ("foreign", elsewhere)]
        assert covered(shelf) == {}
    finally:
        shelf.ledger.close()


def test_a_storage_class_that_cannot_be_read_is_asked_for_its_metadata(shelf: Shelf) -> None:
    """In an archive class sidecars are listed by the hash in their metadata, without a read."""
    shelf.archive(1, 2)
    shelf.next_day()
    shelf.write()
    shelf.archive(3)
    shelf.next_day()
    shelf.store = counted = Counted(shelf.store)
    assert shelf.write(by_metadata=True).troubles == []
    assert counted.asked == {"get": 1, "head": 2, "put": 1, "list": 4}
    shelf.store = counted.store
    assert sha256sum(shelf.copy()).returncode == 0


HUGE = b" " * (SMALL_MOST + 1)


def test_what_is_too_large_to_be_a_sidecar_is_told_and_not_vouched_for(open_shelf: Open) -> None:
    """If a sidecar is too large, only a hash that the ledger has is listed."""
    shelf = open_shelf()
    shelf.archive(1, 2)
    [one, two] = [key for key in files(shelf) if key.endswith(".json")]
    for key in (one, two):
        shelf.objects[key] = HUGE
    with closing(sqlite3.connect(shelf.root / "ledger.db")) as plain, plain:
        plain.execute("UPDATE recordings SET sidecar_sha256=NULL WHERE sidecar_key=?", [two])
    stranger = one.replace("RE1", "RE9")
    place(shelf, stranger, HUGE)
    shelf.next_day()
    assert sorted(shelf.write(survey=True).troubles) == [
        ("different", one),
        ("unreadable", two),
        ("unreadable", stranger),
    ]
    assert covered(shelf) == {one: 1, one.replace(".json", ".wav"): 1}


def test_what_is_too_large_to_be_a_manifest_is_told_as_changed(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """A too large manifest is reported as changed without loading it, and the chain continues with its hash."""
    monkeypatch.setattr(text, "LARGEST", 1000)
    place(shelf, manifest_key(1), b" " * 1001)
    shelf.archive(1)
    shelf.next_day()
    summary = shelf.write()
    assert summary.troubles == [("manifest_changed", manifest_key(1))]
    assert hashlib.sha256(b" " * 1001).hexdigest().encode() in shelf.objects[manifest_key(2)]


def test_a_stop_ends_it_between_two_looks(shelf: Shelf) -> None:
    """A stop ends a run; nothing is lost."""
    shelf.archive(1)
    shelf.next_day()
    stop = Stop()
    stop.asked.set()
    with pytest.raises(Interrupted):
        shelf.write(stop=stop)
    assert shelf.manifests == []
    assert len(shelf.write().written) == 1


def test_recordings_that_were_archived_before_manifests_were_kept_are_listed(shelf: Shelf) -> None:
    """After the migration of an older ledger all its recordings are due."""
    shelf.archive(1, 2)
    path = shelf.root / "ledger.db"
    shelf.ledger.close()
    undo_migration(path)
    shelf.ledger = Ledger.open(path, shelf.now)
    shelf.next_day()
    assert [each.recordings for each in shelf.write().written] == [2]
