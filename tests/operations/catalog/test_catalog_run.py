"""The catalog equals what the sidecars say: whatever is killed, repeated, or written by two at once."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

import strict_s3
from operations.catalog.conftest import CREATED, KEYS, Between, Killed, Machine, MakeMachine, Requests, stopped
from recvault.errors import Interrupted, StoreUnavailable
from recvault.models import stamp
from recvault.store.local.local_store import LocalStore
from store.places import make_put

OCTOBER = "p/catalog/recordings/month=2026-10/recordings.parquet"


def killed() -> None:
    raise Killed


def test_the_catalog_equals_the_sidecars(machine: Machine) -> None:
    """Each archived recording is in its month's file once, with its sidecar's key and hash, and in the days."""
    receipts = machine.archive(1, 2, 3) + machine.archive(4, 5, month="11")
    summary = machine.write()
    assert (summary.exit_code, summary.sidecars, machine.days()) == (0, 5, {"10": 3, "11": 2})
    told = {each.recording.recording_id: (each.sidecar_key, each.sidecar_sha256) for each in receipts}
    rows = machine.rows("10") + machine.rows("11")
    assert {row["recording_id"]: (row["sidecar_key"], row["sidecar_sha256"]) for row in rows} == told
    assert [row["media_key"] for row in rows] == [each.media[0].key for each in receipts]


def test_a_directory_has_a_catalog_too(machine_of: MakeMachine, tmp_path: Path) -> None:
    """An archive in a directory gets the same files, and a second run replaces them."""
    (tmp_path / "archive" / ".recvault").mkdir(parents=True)
    machine = machine_of(LocalStore(tmp_path / "archive"))
    machine.archive(1)
    machine.write()
    machine.archive(2)
    machine.write()
    assert (machine.ids("10"), machine.days()) == (["RE1", "RE2"], {"10": 2})


def test_a_second_run_with_nothing_new_reads_and_writes_nothing(
    machine: Machine, strict_bucket: strict_s3.Bucket
) -> None:
    """If nothing was archived since, no object is read or put."""
    machine.archive(1, 2)
    machine.tell("1", "RE1", to="+15550100001")
    machine.write()
    requests = Requests(strict_bucket)
    assert machine.write().written == []
    assert requests.counts() == {}


def test_a_hundred_new_recordings_cost_a_hundred_gets_and_one_swap_a_month(
    machine: Machine, strict_bucket: strict_s3.Bucket
) -> None:
    """New sidecars are read once each; a month's file that they touch is read and put once, and so are the days."""
    machine.archive(1, 2)
    machine.archive(3, month="11")
    machine.write()
    machine.archive(*range(10, 110))
    requests = Requests(strict_bucket)
    assert machine.write().sidecars == 100
    assert requests.counts("p/recordings/") == {"GET": 100}
    assert requests.counts("p/catalog/recordings/") == requests.counts(OCTOBER) == {"GET": 1, "PUT": 1}
    assert requests.counts("p/catalog/days") == {"GET": 1, "PUT": 1}
    assert (len(machine.ids("10")), machine.ids("11")) == (102, ["RE3"])


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("rebuild", [False, True])
def test_a_kill_between_put_and_clearing_costs_a_repetition(machine: Machine, when: str, rebuild: bool) -> None:
    """Killed before or after the put, the next run has every row once, and the days with it."""
    machine.archive(1)
    machine.write()
    machine.archive(2, 3)
    with pytest.raises(Killed):
        machine.write(rebuild=rebuild, replacer=Between(machine.store, **{when: killed}))
    machine.write()
    assert (machine.ids("10"), machine.days()) == (["RE1", "RE2", "RE3"], {"10": 3})
    assert machine.write().written == []


@pytest.mark.parametrize("rebuild", [False, True])
@pytest.mark.parametrize("new", [False, True])
def test_two_writers_at_once_lose_nothing(machine_of: MakeMachine, machine: Machine, rebuild: bool, new: bool) -> None:
    """If another machine swaps a file between our read and our put, ours is refused, and both are merged."""
    other = machine_of(machine.store)
    if not new:
        machine.archive(1)
        machine.write()
    machine.archive(2)

    def meanwhile() -> None:
        other.archive(3)
        other.write()

    machine.write(rebuild=rebuild, replacer=Between(machine.store, before=meanwhile))
    expected = ["RE2", "RE3"] if new else ["RE1", "RE2", "RE3"]
    assert (machine.ids("10"), machine.days()) == (expected, {"10": len(expected)})


def test_days_are_computed_again_if_another_writer_put_them(machine_of: MakeMachine, machine: Machine) -> None:
    """If another machine swaps month and days after our month is put, the days hold both."""
    other = machine_of(machine.store)
    machine.archive(1)
    replacer = Between(machine.store)

    def after_the_month() -> None:
        replacer._after = None
        other.archive(2)
        other.write()

    replacer._after = after_the_month
    machine.write(replacer=replacer)
    assert (machine.ids("10"), machine.days()) == (["RE1", "RE2"], {"10": 2})


def test_a_rebuild_keeps_the_days_of_a_month_that_another_writer_began(
    machine_of: MakeMachine, machine: Machine
) -> None:
    """If another machine begins a month while ours makes everything again, its days stay."""
    other = machine_of(machine.store)
    machine.archive(1)
    replacer = Between(machine.store)

    def after_the_month() -> None:
        replacer._after = None
        other.archive(2, month="11")
        other.write()

    replacer._after = after_the_month
    machine.write(rebuild=True, replacer=replacer)
    assert (machine.ids("10"), machine.ids("11"), machine.days()) == (["RE1"], ["RE2"], {"10": 1, "11": 1})


def test_a_recording_whose_date_changed_is_in_one_month(machine: Machine) -> None:
    """A second edition with another date leaves the month of the first, in a run and in a rebuild."""
    [first] = machine.archive(1)
    machine.write()
    moved = replace(first.recording, created_at=CREATED["11"])
    body = json.loads(machine.store.get(first.sidecar_key) or b"")
    body |= {"created_at": stamp(moved.created_at)}
    body["archive"] |= {"archived_at": "2026-12-02T00:00:00Z", "earlier": {"sidecar_key": first.sidecar_key}}
    key = KEYS(moved, "json", 2)
    machine.store.put(make_put(key, json.dumps(body).encode()))
    with machine.ledger._connection.write() as db:
        db.execute("UPDATE recordings SET sidecar_key = ?, created_at = ?", [key, stamp(moved.created_at)])
        db.execute("INSERT INTO uncatalogued (id) SELECT id FROM recordings")
    machine.write()
    for _ in range(2):
        assert (machine.ids("10"), machine.ids("11"), machine.days()) == ([], ["RE1"], {"11": 1})
        machine.write(rebuild=True)


def test_a_file_that_others_keep_replacing_is_an_error(machine: Machine) -> None:
    """A put that is refused again and again ends with an error, and the queue keeps everything."""
    machine.archive(1)
    replacer = Between(machine.store)
    replacer.replace = lambda put, version: False  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable, match="was replaced by other writers"):
        machine.write(replacer=replacer)
    machine.write()
    assert machine.ids("10") == ["RE1"]


def test_a_rebuild_needs_no_ledger(machine_of: MakeMachine, machine: Machine) -> None:
    """With an empty ledger, the catalog is made from the bucket alone, as it was."""
    machine.archive(1, 2)
    machine.archive(3, month="11")
    machine.tell("1", "RE2", **{"from": "+15550100001"})
    machine.manifests()
    machine.write()
    before = machine.rows("10"), machine.rows("11"), machine.days()
    assert [row["manifest_number"] for row in before[0]] == [1, 1]
    assert [row["from_number"] for row in before[0]] == [None, "+15550100001"]
    other = machine_of(machine.store)
    other.write(rebuild=True)
    assert (other.rows("10"), other.rows("11"), other.days()) == before


def test_a_rebuild_drops_what_is_no_longer_in_the_bucket(machine: Machine) -> None:
    """Rows without a sidecar are gone after a rebuild, even the last of a month."""
    [receipt] = machine.archive(1)
    machine.archive(2, month="11")
    machine.write()
    machine.store.delete(receipt.sidecar_key)
    summary = machine.write(rebuild=True)
    assert (summary.exit_code, machine.rows("10"), machine.ids("11")) == (0, [], ["RE2"])
    assert machine.days() == {"11": 1}


@pytest.mark.parametrize("rebuild", [False, True])
def test_an_empty_archive_has_an_empty_catalog(
    machine: Machine, strict_bucket: strict_s3.Bucket, rebuild: bool
) -> None:
    """Before the first recording there is a file of this month without rows, once; recordings then join it."""
    summary = machine.write(rebuild=rebuild)
    assert [(each.key, each.rows) for each in summary.written] == [
        ("p/catalog/recordings/month=2026-12/recordings.parquet", 0),
        ("p/catalog/days.parquet", 0),
    ]
    assert (machine.rows("12"), machine.days()) == ([], {})
    requests = Requests(strict_bucket)
    assert machine.write().written == []
    assert "PUT" not in requests.counts()
    machine.archive(1)
    machine.write()
    assert (machine.ids("10"), machine.days()) == (["RE1"], {"10": 1})


def test_a_ledger_that_knows_nothing_writes_no_empty_catalog(machine_of: MakeMachine, machine: Machine) -> None:
    """With recordings in the bucket, a new ledger does not say that there are none."""
    machine.archive(1)
    assert machine_of(machine.store).write().written == []


def test_what_was_queued_before_a_rebuild_is_in_it(machine: Machine) -> None:
    """A rebuild clears the queue, and no entry that came meanwhile."""
    machine.archive(1)
    machine.write(rebuild=True, replacer=Between(machine.store, before=lambda: machine.archive(2) and None))
    summary = machine.write()
    assert (summary.sidecars, machine.ids("10")) == (1, ["RE1", "RE2"])


def test_a_manifest_that_lists_a_recording_later_gives_it_its_number(machine: Machine) -> None:
    """A recording in the catalog gets the number of its manifest by the run after it."""
    machine.archive(1)
    machine.write()
    assert [row["manifest_number"] for row in machine.rows("10")] == [None]
    machine.manifests()
    machine.write()
    assert [row["manifest_number"] for row in machine.rows("10")] == [1]
    assert machine.write().written == []


def test_call_facts_that_came_late_are_joined_once(machine: Machine, strict_bucket: strict_s3.Bucket) -> None:
    """An object under calls/ is read once, and its facts are in the row of its recording, in its month."""
    machine.archive(1)
    machine.archive(2, month="11")
    machine.write()
    machine.tell("1", "RE1", to="+15550100001", direction="outbound-api")
    machine.tell("2", "RE9", to="+15550100009")
    summary = machine.write()
    assert (summary.calls, summary.written[0].key) == (2, OCTOBER)
    assert [(row["to_number"], row["numbers"], row["direction"]) for row in machine.rows("10")] == [
        ("+15550100001", ["15550100001"], "outbound-api")
    ]
    assert machine.rows("11")[0]["to_number"] is None
    requests = Requests(strict_bucket)
    machine.write()
    assert requests.counts() == {}


def test_a_page_at_a_time(machine: Machine) -> None:
    """A queue longer than a page is merged page by page, and each is cleared."""
    machine.archive(*range(1, 6))
    summary = machine.write(most=2)
    assert (machine.ids("10"), summary.sidecars) == ([f"RE{n}" for n in range(1, 6)], 5)


def test_an_odd_sidecar_is_reported_and_costs_no_other(machine: Machine) -> None:
    """Missing, unreadable and cold sidecars are problems; they stay queued, and the others are in the catalog."""
    first, second, _ = machine.archive(1, 2, 3)
    machine.store.delete(first.sidecar_key)
    machine.store.delete(second.sidecar_key)
    machine.store.put(make_put(second.sidecar_key, b"[]"))
    summary = machine.write()
    assert (summary.exit_code, dict(summary.counts)) == (3, {"missing": 1, "unreadable": 1})
    assert machine.ids("10") == ["RE3"]
    document = summary.document()
    assert (document["outcome"], document["errors_total"]) == ("partial", 2)
    assert {each["key"] for each in document["errors"]} == {first.sidecar_key, second.sidecar_key}
    again = machine.write()
    assert (again.sidecars, again.counts, again.written) == (1, summary.counts, [])


def test_a_stop_ends_a_run_and_loses_nothing(machine: Machine) -> None:
    """A stop interrupts the run; the next one continues."""
    machine.archive(1)
    with pytest.raises(Interrupted):
        machine.write(stop=stopped())
    machine.write()
    assert machine.ids("10") == ["RE1"]


def test_nothing_is_left_in_the_temporary_folder(machine: Machine) -> None:
    """After a run, and after one that failed, no temporary file is left."""
    machine.archive(1)
    with pytest.raises(Killed):
        machine.write(replacer=Between(machine.store, before=killed))
    machine.write()
    assert [each.name for each in machine.folder.iterdir() if "catalog" in each.name] == []


def test_the_data_package_is_put_once(machine: Machine, strict_bucket: strict_s3.Bucket) -> None:
    """The description is beside the files; another version's is replaced, the same is left."""
    key = "p/catalog/datapackage.json"
    machine.store.put(make_put(key, b"{}"))
    machine.archive(1)
    machine.write()
    document = json.loads(machine.store.get(key) or b"")
    assert {each["name"] for each in document["resources"]} == {"recordings", "days"}
    machine.archive(2)
    requests = Requests(strict_bucket)
    machine.write()
    assert requests.counts(key) == {"GET": 1}


def test_sidecars_are_the_only_ones_that_are_read(machine: Machine) -> None:
    """A rebuild reads no object of the catalog, the schemas or the calls as a sidecar."""
    machine.archive(1)
    machine.tell("1", "RE1", to="+15550100001")
    machine.store.put(make_put("p/schemas/sidecar-v1.json", b"{}"))
    machine.write()
    summary = machine.write(rebuild=True)
    assert (summary.exit_code, summary.sidecars, machine.rows("10")[0]["to_number"]) == (0, 1, "+15550100001")
    assert KEYS.prefix == "p/"


def test_what_killed_runs_left_is_removed_when_it_is_old(machine: Machine) -> None:
    """Temporary files of a killed run are removed a day later; those of a run that goes on are left."""
    old, young = machine.folder / "catalog-old", machine.folder / "catalog-young"
    for each in (old, young):
        each.mkdir()
        (each / "rows.jsonl.gz").write_bytes(b"x")
    os.utime(old, (1, 1))
    machine.write()
    assert (old.exists(), young.exists()) == (False, True)
