"""What is on hold is neither erased nor lost, and is erased once the hold has ended, without being asked for again."""

from __future__ import annotations

from cli.commands import run
from operations.erasing.conftest import CALL, Vault
from operations.erasing.test_erase import archived, outcomes
from recvault.models import Window
from recvault.operations.erasing import Criteria
from recvault.operations.holding import Holding, HoldReport


def hold(vault: Vault, name: str = "case", **values: object) -> HoldReport:
    criteria = Criteria(calls=(CALL,), window=Window())
    with vault.rig.runtime(lambda: vault.now) as runtime:
        return Holding(runtime).add(name, criteria, "court 9")


def locks(vault: Vault, wanted: str) -> list[str]:
    """Return the store's legal hold of each version."""
    found = vault.s3.list_object_versions(Bucket=vault.rig.bucket).get("Versions", ())
    told = []
    for each in found:
        if wanted in each["Key"] and each["Key"].startswith("recordings/"):
            head = vault.s3.head_object(Bucket=vault.rig.bucket, Key=each["Key"], VersionId=each["VersionId"])
            told.append(head.get("ObjectLockLegalHoldStatus", "OFF"))
    return told


def test_what_is_held_survives_and_is_erased_after_its_release(vault: Vault) -> None:
    """An erasure of a held recording is refused whole, stays open, and is done by --due after the release."""
    one, two, other = archived(vault)
    assert (hold(vault).recordings, locks(vault, one), locks(vault, other)) == (2, ["ON", "ON"], ["OFF", "OFF"])
    erased = vault.erase(number=vault.number)
    assert outcomes(erased) == {one: "refused", two: "refused"}
    assert {each["why"] for each in erased.recordings[0].refused} == {"hold case", "legal hold"}
    assert len(vault.versions(one)) == 2
    with vault.rig.runtime(lambda: vault.now) as runtime:
        Holding(runtime).release("case", "closed")
    assert locks(vault, one) == ["OFF", "OFF"]
    assert outcomes(vault.erase(due=True)) == {one: "erased", two: "erased"}
    assert vault.where(vault.number) == []


def test_the_record_holds_where_the_store_does_not(vault: Vault) -> None:
    """A hold is obeyed although the store's own legal hold was ended, or never set."""
    one, *_ = archived(vault)
    hold(vault)
    for key in vault.versions(one):
        vault.s3.put_object_legal_hold(Bucket=vault.rig.bucket, Key=key, LegalHold={"Status": "OFF"})
    [told] = vault.erase(recordings=(one,)).recordings
    assert (told.outcome, [each["why"] for each in told.refused]) == ("refused", ["hold case"])


def test_two_holds_of_one_recording_both_count(vault: Vault) -> None:
    """A release ends its own hold alone: what another hold names stays locked in the store."""
    one, *_ = archived(vault)
    hold(vault, "a")
    hold(vault, "b")
    with vault.rig.runtime(lambda: vault.now) as runtime:
        Holding(runtime).release("a", "closed")
    assert locks(vault, one) == ["ON", "ON"]
    assert outcomes(vault.erase(recordings=(one,))) == {one: "refused"}


def test_the_same_command_again_sets_what_is_missing(vault: Vault) -> None:
    """After a kill between record and store, the same command sets the legal holds, and puts no second record."""
    one, *_ = archived(vault)
    hold(vault)
    for key in vault.versions(one):
        vault.s3.put_object_legal_hold(Bucket=vault.rig.bucket, Key=key, LegalHold={"Status": "OFF"})
    hold(vault)
    assert (locks(vault, one), len(vault.versions("holds/"))) == (["ON", "ON"], 1)


def test_a_marker_over_a_held_object_is_named(vault: Vault) -> None:
    """A plain DELETE of a held object leaves a marker: `verify` says so, and makes nothing due."""
    one, *_ = archived(vault)
    hold(vault)
    key = next(key for key in vault.versions(one) if key.endswith(".wav"))
    vault.s3.delete_object(Bucket=vault.rig.bucket, Key=key)
    ran = run(vault.rig, "verify", "--repair", "--json")
    [told] = ran.document["differences"]
    assert (ran.code, told["key"], told["reason"], told["made_due"]) == (3, key, "held.marker", False)
    assert "delete the marker" in told["hint"]


def test_by_the_commands(vault: Vault) -> None:
    """`hold add`, `list` and `release` do what they say, and no record or log line has the number."""
    one, *_ = archived(vault)
    number = f"+{vault.number}"
    added = run(vault.rig, "hold", "add", "case 7", "--number", number, "--reference", "court", "--json")
    assert (added.code, added.document["recordings"], vault.number in added.stderr) == (0, 2, False)
    told = run(vault.rig, "hold", "list", "--json").document["holds"]
    assert [(each["name"], each["recordings"], each["reference"]) for each in told] == [("case 7", 2, "court")]
    [record] = [body for key, body in vault.rig.objects().items() if key.startswith("holds/")]
    assert (vault.number.encode() in record, one.encode() in record) == (False, True)
    assert run(vault.rig, "hold", "release", "case 7", "--reference", "closed").code == 0
    assert run(vault.rig, "hold", "list").stderr.strip() == "no holds"
    assert run(vault.rig, "hold", "release", "nothing", "--reference", "closed").code == 2
    assert run(vault.rig, "hold", "add", "x", "--recording", "RE0", "--reference", "none").code == 2
