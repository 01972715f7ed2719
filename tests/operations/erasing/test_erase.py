"""An erased recording is gone from bucket, catalog and ledger with all versions, and nothing brings it back."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cli.commands import finish, run, start, until
from operations.erasing.conftest import OTHER, Vault
from recvault.app.runtime import Runtime
from recvault.archive.late_calls import LateCall, read_calls
from recvault.custody import tombstone_path
from recvault.dispatch.calls_writer import LateCalls
from recvault.models import Window
from recvault.operations.catalog import Catalog
from recvault.operations.erasing import Criteria, Erase
from recvault.operations.reconcile import reconcile
from recvault.reading import Archive
from rig import START, Rig


def archived(vault: Vault) -> tuple[str, str, str]:
    """Archive two recordings of the number's call, and one of another."""
    one, two, other = vault.add(), vault.add(), vault.add(OTHER)
    vault.sync()
    assert vault.where(vault.number) != []
    return one, two, other


def outcomes(erased: Any) -> dict[str, str]:
    return {each.recording_id: each.outcome for each in erased.recordings}


def test_nothing_is_left_of_a_number(vault: Vault) -> None:
    """After an erasure by number no version of any object, and no file of the ledger, holds the number."""
    one, two, other = archived(vault)
    erased = vault.erase(number=vault.number)
    assert (outcomes(erased), erased.exit_code) == ({one: "erased", two: "erased"}, 0)
    assert vault.where(vault.number) == []
    assert (vault.versions(one), vault.versions(two)) == ([], [])
    assert len(vault.versions(other)) == 2


def test_the_tombstone_says_what_and_why(vault: Vault) -> None:
    """A tombstone names each deleted object with its SHA-256 and size, and the reference, and no number."""
    one, *_ = archived(vault)
    objects = vault.rig.objects()
    vault.erase(recordings=(one,))
    path = tombstone_path("twilio", vault.account.account_id, one)
    stone, done = (json.loads(vault.rig.objects()[key]) for key in (path, path.replace(".json", ".done.json")))
    named = {each["key"]: each["bytes"] for each in stone["erased"]}
    assert named == {key: len(body) for key, body in objects.items() if one in key}
    assert (stone["schema"], stone["reference"], stone["refused"]) == ("recvault/tombstone/v1", "case 7", [])
    assert (done["schema"], done["versions"]) == ("recvault/erased/v1", 2)


def test_older_versions_and_markers_go_too(vault: Vault) -> None:
    """Versions that somebody wrote over, and delete markers, are deleted like the current objects."""
    one, *_ = archived(vault)
    key = next(key for key in vault.rig.objects() if key.endswith(f"{one}.json"))
    vault.s3.put_object(Bucket=vault.rig.bucket, Key=key, Body=vault.number.encode())
    vault.s3.delete_object(Bucket=vault.rig.bucket, Key=key)
    assert outcomes(vault.erase(recordings=(one,)))[one] == "erased"
    assert vault.versions(one) == []


def test_a_document_does_not_choose_what_is_deleted(vault: Vault) -> None:
    """A sidecar, or a tombstone, that names another recording's object or one of recvault's own deletes neither."""
    one, two, _ = archived(vault)
    objects = vault.rig.objects()
    [theirs] = [key for key in objects if key.endswith(f"{two}.wav")]
    [mine] = [key for key in objects if key.endswith(f"{one}.json")]
    document = json.loads(objects[mine])
    document["media"] += [{**document["media"][0], "key": key} for key in (theirs, "schemas/sidecar-v1.json")]
    vault.s3.put_object(Bucket=vault.rig.bucket, Key=mine, Body=json.dumps(document).encode())
    assert outcomes(vault.erase(recordings=(one,)))[one] == "erased"
    left = vault.rig.objects()
    assert (left[theirs], "schemas/sidecar-v1.json" in left) == (objects[theirs], True)
    stone = json.loads(left[tombstone_path("twilio", vault.account.account_id, one)])
    assert all(one in each["key"] for each in stone["erased"])


WAYS: dict[str, Callable[[Vault, Runtime, str], object]] = {
    "sync": lambda vault, runtime, one: runtime.sync("sync", ["voice"]),
    "reconcile": lambda vault, runtime, one: reconcile(runtime, ["voice"], Window(since=vault.now - timedelta(days=9))),
    "retry": lambda vault, runtime, one: runtime.ledger.retry(None, vault.now),
}


@pytest.mark.parametrize("lost", [False, True], ids=["ledger", "lost ledger"])
@pytest.mark.parametrize("way", WAYS)
def test_nothing_brings_it_back(vault: Vault, way: str, lost: bool) -> None:
    """A pass, a reconcile and a retry, with the ledger or a new one, leave no object of an erased recording."""
    one, two, other = archived(vault)
    vault.erase(number=vault.number)
    if lost:
        (vault.rig.root / "ledger.db").unlink()
    vault.now += timedelta(hours=1)
    vault.rig.simulator.set_now(vault.now)
    with vault.rig.runtime(lambda: vault.now) as runtime:
        WAYS[way](vault, runtime, one)
        runtime.sync("sync", ["voice"])
    assert (vault.versions(one), vault.versions(two), vault.where(vault.number)) == ([], [], [])
    assert len(set(vault.versions(other))) == 2


def test_a_listed_recording_that_is_not_archived_is_erased_too(vault: Vault) -> None:
    """One that is only listed so far is found by its number in the ledger, and is never archived."""
    one = vault.add()
    vault.s3.put_object(Bucket=vault.rig.bucket, Key="schemas/x", Body=b"")
    vault.rig.simulator.set_now(vault.now + timedelta(hours=1))
    with vault.rig.runtime(lambda: vault.now) as runtime:
        reconcile(runtime, ["voice"], Window(since=vault.now - timedelta(days=1)))
        raw = runtime.ledger.ask.find(one)
    assert raw[0]["state"] == "pending"
    assert outcomes(vault.erase(recordings=(one,))) == {one: "erased"}
    vault.sync()
    assert vault.versions(one) == []


@pytest.mark.parametrize("number", ["2026", "1000", "0100", "2010"])
def test_part_of_a_date_or_an_id_is_no_number(vault: Vault, number: str) -> None:
    """A short number that stands in a listed recording's dates, ids or prices selects nothing: it is archived."""
    one = vault.add(OTHER)
    vault.s3.put_object(Bucket=vault.rig.bucket, Key="schemas/x", Body=b"")
    vault.rig.simulator.set_now(vault.now + timedelta(hours=1))
    with vault.rig.runtime(lambda: vault.now) as runtime:
        reconcile(runtime, ["voice"], Window(since=vault.now - timedelta(days=1)))
    assert outcomes(vault.erase(number=number)) == {}
    vault.sync()
    assert len(set(vault.versions(one))) == 2


def test_a_dry_run_changes_nothing(vault: Vault) -> None:
    """A dry run says what would be erased, and puts and deletes nothing."""
    one, two, _ = archived(vault)
    before = vault.rig.objects()
    erased = vault.erase(number=vault.number, dry_run=True)
    assert outcomes(erased) == {one: "would_erase", two: "would_erase"}
    assert vault.rig.objects() == before


def test_what_is_locked_is_refused_and_due_again(vault: Vault) -> None:
    """A locked recording stays whole, is told with the time, and is erased by --due once the lock has ended."""
    vault.rig.archive["object_lock"] = {"mode": "none", "legal_hold": True}
    one = vault.add()
    vault.sync()
    vault.rig.archive = {}
    erased = vault.erase(recordings=(one,))
    [told] = erased.recordings
    assert (told.outcome, {each["why"] for each in told.refused}, erased.exit_code) == ("refused", {"legal hold"}, 3)
    assert len(vault.versions(one)) == 2
    vault.sync()
    status = run(vault.rig, "status", "--json").document
    assert [each["why"] for each in status["open_erasures"]] == ["legal hold"]
    assert "1 erasure is not complete (legal hold)" in run(vault.rig, "status").stderr
    assert run(vault.rig, "verify", "--json").document["counts"]["ok"] == 1
    assert vault.erase(due=True).exit_code == 3
    for key in vault.versions(one):
        vault.s3.put_object_legal_hold(Bucket=vault.rig.bucket, Key=key, LegalHold={"Status": "OFF"})
    again = vault.erase(due=True)
    assert run(vault.rig, "status", "--json").document["open_erasures"] == []
    assert (outcomes(again), again.exit_code, vault.versions(one)) == ({one: "erased"}, 0, [])


def call_lines(vault: Vault, *recordings: str, number: str = "") -> str:
    """Put an object of call facts with the number, a line a recording, as a later pass does."""
    late = [
        LateCall(
            provider="twilio",
            account_id=vault.account.account_id,
            recording_id=each,
            call={"from": f"+{number or vault.number}", "to": "+15550100000"},
        )
        for each in recordings
    ]
    with vault.rig.runtime(lambda: vault.now) as runtime:
        [key] = LateCalls(store=runtime.store, prefix="", clock=lambda: vault.now).put(late)
    return key


def test_call_facts_are_written_again_without_it(vault: Vault) -> None:
    """An object with call facts keeps the lines of others; of the old object no version is left."""
    one, _, other = archived(vault)
    key = call_lines(vault, one, other)
    vault.erase(recordings=(one,))
    [left] = [each for each in vault.rig.objects() if each.startswith("calls/")]
    assert [each.recording_id for each in read_calls(vault.rig.objects()[left])] == [other]
    assert vault.versions("calls/") == [left] != [key]


def test_a_number_in_call_facts_alone_is_found(vault: Vault) -> None:
    """A recording is found by a number that came after its sidecar; an object without other lines is deleted."""
    _, _, other = archived(vault)
    call_lines(vault, other)
    erased = vault.erase(number=vault.number)
    assert outcomes(erased)[other] == "erased"
    assert (vault.where(vault.number), vault.versions("calls/")) == ([], [])


def test_the_catalog_forgets_it(vault: Vault) -> None:
    """Its month is written again without it, and no older version of the month is left."""
    pytest.importorskip("duckdb")
    vault.rig.catalog["enabled"] = True
    one, two, other = archived(vault)
    with vault.rig.runtime(lambda: vault.now) as runtime:
        Catalog.of(runtime, threads=1).write()
    erased = vault.erase(number=vault.number)
    assert (outcomes(erased), erased.months) == ({one: "erased", two: "erased"}, ["2026-10"])
    with vault.rig.runtime(lambda: vault.now) as runtime:
        archive = Archive.over(runtime.store, runtime.keys, stop=runtime.stop)
        assert [each.recording_id for each in archive.recordings()] == [other]
        archive.catalog.close()
    assert len(vault.versions("month=2026-10")) == 1


class Struck(BaseException):
    """The process ends here."""


def steps(number: int) -> Callable[[Any, str], None]:
    """Return what makes the nth act on the bucket or the ledger the last."""
    count = itertools.count(1)

    def strike(thing: Any, name: str) -> None:
        act = getattr(thing, name)

        def acted(*arguments: Any, **named: Any) -> Any:
            if next(count) == number:
                raise Struck
            return act(*arguments, **named)

        setattr(thing, name, acted)

    return strike


@pytest.mark.parametrize("number", range(1, 14))
def test_a_kill_at_any_act_is_made_good_by_the_same_command(vault: Vault, number: int) -> None:
    """Killed before its nth act, the same command again leaves nothing; meanwhile a pass brings nothing back."""
    one, two, other = archived(vault)
    call_lines(vault, one, other, number="15550100001")
    asked = Criteria(numbers=(vault.number,))
    with contextlib.suppress(Struck), vault.rig.runtime(lambda: vault.now) as runtime:
        remover = runtime.store.remover()
        runtime.store.remover = lambda: remover  # type: ignore[method-assign]
        strike = steps(number)
        for thing, name in ((runtime.store, "put"), (remover, "delete"), (runtime.ledger.custody, "bury")):
            strike(thing, name)
        strike(runtime.ledger.custody, "scrub")
        Erase(runtime=runtime, criteria=asked, reference="case 7").run()
    before = set(vault.versions(one))
    vault.sync()
    assert set(vault.versions(one)) <= before
    again = vault.erase(number=vault.number)
    assert again.exit_code == 0
    assert (vault.where(vault.number), vault.versions(one), vault.versions(two)) == ([], [], [])
    assert len(set(vault.versions(other))) == 2
    paths = [tombstone_path("twilio", vault.account.account_id, each) for each in (one, two)]
    done = {path.replace(".json", ".done.json") for path in paths}
    assert done <= vault.rig.objects().keys()


def test_verify_counts_it_and_exits_0(vault: Vault) -> None:
    """`verify` counts what is erased, expects nothing of it, and repairs nothing; manifests of before stay valid."""
    archived(vault)
    vault.erase(number=vault.number)
    ran = run(vault.rig, "verify", "--repair", "--json")
    assert (ran.code, ran.document["counts"]["erased"], ran.document["counts"]["missing"]) == (0, 2, 0)
    assert ran.document["made_due"] == 0


def test_a_rebuilt_ledger_honours_tombstones(vault: Vault) -> None:
    """A ledger rebuilt from the sidecars, even of an erasure that was killed, brings nothing back."""
    one, *_ = archived(vault)
    vault.erase(number=vault.number)
    for each in vault.rig.root.glob("ledger.db*"):
        if each.is_file():
            each.unlink()
    assert run(vault.rig, "rebuild").code == 0
    vault.sync()
    ran = run(vault.rig, "verify", "--json")
    assert (ran.code, ran.document["counts"]["erased"], vault.versions(one)) == (0, 2, [])


def test_by_the_command(vault: Vault) -> None:
    """The command erases by number, prints a document, and no log line holds the number."""
    one, two, _ = archived(vault)
    ran = run(vault.rig, "-v", "erase", "--number", f"+{vault.number}", "--reference", "case 7", "--json")
    assert (ran.code, ran.document["counts"]["erased"]) == (0, 2)
    assert {each["recording_id"] for each in ran.document["recordings"]} == {one, two}
    assert vault.number not in ran.stderr
    again = run(vault.rig, "erase", "--number", f"+{vault.number}", "--reference", "case 7")
    assert (again.code, "nothing to erase" in again.stderr) == (0, True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--recording", "RE1"], "--reference"),
        (["--reference", "x"], "say what to erase"),
        (["--number", "+1555010", "--reference", "call of 1-555-010"], "contains the number"),
        (["--number", "12", "--reference", "x"], "four digits"),
        (["--due", "--recording", "RE1", "--reference", "x"], "--due alone"),
    ],
)
def test_what_is_not_clear_is_refused(rig: Rig, words: list[str], told: str) -> None:
    """A request that is not clear, or whose reference would keep the number, is refused with what to do."""
    ran = run(rig, "erase", *words)
    assert (ran.code, told in ran.stderr) == (2, True)


def test_a_directory_is_erased_too(rig: Rig, tmp_path: Path) -> None:
    """An archive in a directory, which has no versions and no locks, is erased by the same command."""
    (tmp_path / "recordings").mkdir()
    rig.bucket, rig.s3_url = f"file://{tmp_path / 'recordings'}", ""
    account = rig.simulator.add_account("twilio")
    rig.add_source("voice", "twilio", account)
    made = rig.simulator.add(account, "voice", created_at=START, completed_at=START, visible_at=START)
    assert run(rig, "check").code == 0
    rig.sync_at(START + timedelta(hours=1))
    ran = run(rig, "erase", "--recording", made.recording_id, "--reference", "case 7")
    assert ran.code == 0
    assert [key for key in rig.objects() if made.recording_id in key and not key.startswith("erasures/")] == []
    rig.sync_at(START + timedelta(hours=2))
    assert [key for key in rig.objects() if made.recording_id in key and not key.startswith("erasures/")] == []


def test_kill_9_in_the_midst_is_made_good_by_the_same_command(vault: Vault) -> None:
    """A command that is killed once its first tombstone is there leaves nothing when it is given again."""
    one, two, other = archived(vault)
    words = ("erase", "--number", f"+{vault.number}", "--reference", "case 7")
    begun = start(vault.rig, *words)
    path = tombstone_path("twilio", vault.account.account_id, min(one, two))
    until(lambda: begun.poll() is not None or path in keys(vault))
    begun.kill()
    finish(begun)
    assert run(vault.rig, *words).code == 0
    vault.sync()
    assert (vault.where(vault.number), vault.versions(one), vault.versions(two)) == ([], [], [])
    assert len(set(vault.versions(other))) == 2


def keys(vault: Vault) -> set[str]:
    """Return all keys in the bucket."""
    return {each["Key"] for each in vault.s3.list_objects_v2(Bucket=vault.rig.bucket)["Contents"]}


ODD = [{"refused": True}, {"erased": [1]}, {"erased": 5}, {"erased": [{}]}, {"created_at": "x"}, {"sidecar_key": 5}]


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_an_odd_tombstone_is_in_force(vault: Vault, odd: dict[str, Any]) -> None:
    """A tombstone with values that recvault never writes stops no pass, and its recording is erased."""
    one, *_ = archived(vault)
    path = tombstone_path("twilio", vault.account.account_id, one)
    body = json.dumps({"schema": "recvault/tombstone/v1", **odd}).encode()
    vault.s3.put_object(Bucket=vault.rig.bucket, Key=path, Body=body)
    vault.sync()
    assert outcomes(vault.erase(due=True)) == {one: "erased"}
    assert vault.versions(one) == []


def test_anothers_objects_are_not_deleted(vault: Vault) -> None:
    """Objects of another recording, and records of custody, stay although a tombstone names them."""
    one, _, other = archived(vault)
    vault.s3.put_object(Bucket=vault.rig.bucket, Key="holds/x/y.json.txt", Body=b"")
    keys = [key for key in vault.rig.objects() if other in key or key.startswith(("holds/", "schemas/"))]
    body = json.dumps({"schema": "recvault/tombstone/v1", "erased": [{"key": key} for key in keys]}).encode()
    path = tombstone_path("twilio", vault.account.account_id, one)
    vault.s3.put_object(Bucket=vault.rig.bucket, Key=path, Body=body)
    vault.s3.delete_object(Bucket=vault.rig.bucket, Key="holds/x/y.json.txt")  # else it holds everything
    vault.erase(due=True)
    assert len(set(vault.versions(other))) == 2
    assert {key for key in keys if key.startswith("schemas/")} <= vault.rig.objects().keys()


def test_a_number_that_only_an_earlier_edition_knows(vault: Vault) -> None:
    """A recording is found by the number in the sidecar of any edition, and all editions are deleted."""
    one, *_ = archived(vault)
    key = next(key for key in vault.rig.objects() if key.endswith(f"{one}.json"))
    later = {**json.loads(vault.rig.objects()[key]), "raw": {}, "call": {"from": None}}
    body = json.dumps(later).encode()
    vault.s3.put_object(Bucket=vault.rig.bucket, Key=key.replace(".json", "~2.json"), Body=body)
    assert outcomes(vault.erase(number=vault.number))[one] == "erased"
    assert (vault.versions(one), vault.where(vault.number)) == ([], [])


def test_late_facts_are_found_whatever_the_sidecar_knew(vault: Vault) -> None:
    """A leg that is told only after the sidecar is found by its number."""
    one, *_ = archived(vault)
    identity = {"provider": "twilio", "account_id": vault.account.account_id, "recording_id": one}
    line = json.dumps({**identity, "call": {"legs": [{"to": "+4999999999"}]}}).encode()
    root = f"calls/provider=twilio/account={vault.account.account_id}/date=2026-10-02"
    vault.s3.put_object(Bucket=vault.rig.bucket, Key=f"{root}/x-0123456789abcdef.jsonl", Body=line)
    vault.s3.put_object(Bucket=vault.rig.bucket, Key=f"{root}/y-0123456789abcdef.jsonl", Body=b"{}\n" * (2 << 20))
    with vault.rig.runtime(lambda: vault.now) as runtime:
        archive = Archive.over(runtime.store, runtime.keys, catalog=False, stop=runtime.stop)
        assert [each.recording_id for each in archive.recordings(number="4999999999")] == [one]
        assert [each.key for each in archive.unreadable] == [f"{root}/y-0123456789abcdef.jsonl"]
