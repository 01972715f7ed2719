"""Each guard by itself: what is not proven, or must be kept, stays at the provider; the others are deleted."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from operations.prune.lab import NOW, OLD, archived, away, prune, pruned, records
from recvault.archive import Sidecar
from recvault.custody import Records
from recvault.custody.holds import add_hold, release_hold
from recvault.operations.prune.deleting import Deleter
from recvault.operations.prune.prune_rule import PruneRule
from recvault.providers.twilio import Twilio
from recvault.simulator import SimAccount
from rig import Rig
from strict_s3 import Bucket

Spoil = Callable[[Rig, Bucket, dict[str, Any]], None]


def ledger(rig: Rig, statement: str, *values: object) -> None:
    with sqlite3.connect(rig.root / "ledger.db") as db:
        assert db.execute(statement, values).rowcount == 1
    db.close()


def put(rig: Rig, key: str, body: bytes = b"{}") -> None:
    rig.s3.put_object(Bucket=rig.bucket, Key=key, Body=body)


def key_of(sidecar: dict[str, Any]) -> str:
    return f"{sidecar['media'][0]['key'].rpartition('.')[0]}.json"


def due(rig: Rig, bucket: Bucket, sidecar: dict[str, Any]) -> None:
    ledger(rig, "UPDATE recordings SET next_attempt_at='2025' WHERE recording_id=?", sidecar["recording_id"])


def other_api(rig: Rig, bucket: Bucket, sidecar: dict[str, Any]) -> None:
    ledger(rig, "UPDATE recordings SET api='video-v1' WHERE recording_id=?", sidecar["recording_id"])


def suspect(rig: Rig, bucket: Bucket, sidecar: dict[str, Any]) -> None:
    ledger(rig, "UPDATE recordings SET reason='media.suspect' WHERE recording_id=?", sidecar["recording_id"])


def erasure(rig: Rig, bucket: Bucket, sidecar: dict[str, Any]) -> None:
    account = f"provider={sidecar['provider']}/account={sidecar['account_id']}"
    put(rig, f"erasures/{account}/{sidecar['recording_id']}.json")


def no_medium(rig: Rig, bucket: Bucket, sidecar: dict[str, Any]) -> None:
    del bucket.objects[sidecar["media"][0]["key"]]


def no_sidecar(rig: Rig, bucket: Bucket, sidecar: dict[str, Any]) -> None:
    del bucket.objects[key_of(sidecar)]


def other_size(rig: Rig, bucket: Bucket, sidecar: dict[str, Any]) -> None:
    put(rig, sidecar["media"][0]["key"], b"RIFF")


def other_bytes(rig: Rig, bucket: Bucket, sidecar: dict[str, Any]) -> None:
    kept = bucket.objects[key := sidecar["media"][0]["key"]]
    put(rig, key, bytes(kept.bytes))


def other_sidecar(rig: Rig, bucket: Bucket, sidecar: dict[str, Any]) -> None:
    put(rig, key_of(sidecar), json.dumps(sidecar | {"status": "other"}).encode())


def not_as_listed(rig: Rig, bucket: Bucket, sidecar: dict[str, Any]) -> None:
    """A forged sidecar that the ledger cannot tell: an earlier version stored no hash."""
    ledger(rig, "UPDATE recordings SET sidecar_sha256=NULL WHERE recording_id=?", sidecar["recording_id"])
    other_sidecar(rig, bucket, sidecar)


def cold(rig: Rig, bucket: Bucket, sidecar: dict[str, Any]) -> None:
    bucket.cold.add(key_of(sidecar))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (due, "due"),
        (other_api, "other_api"),
        (suspect, "suspect"),
        (erasure, "erasure"),
        (no_medium, "missing"),
        (no_sidecar, "missing"),
        (other_size, "different"),
        (other_bytes, "different"),
        (other_sidecar, "different"),
        (not_as_listed, "unlisted"),
        (cold, "cold"),
    ],
)
def test_one_that_is_not_proven_stays(rig: Rig, strict_bucket: Bucket, spoil: Spoil, reason: str) -> None:
    """One recording is spoiled: it stays and is counted by its reason, the other three are deleted."""
    account = archived(rig)
    chosen = rig.sidecars()[_ids(rig, account)[1]]
    spoil(rig, strict_bucket, chosen)
    report = prune(rig)
    assert (report["deleted"], report["skipped"]) == (3, {reason: 1})
    expected = set(_ids(rig, account)) - {chosen["recording_id"]}
    assert expected == away(rig.simulator, account) == pruned(rig)
    assert chosen["recording_id"] not in {each["recording_id"] for each in records(rig, "intent")}


def test_bytes_that_rotted_unseen_stay(rig: Rig, strict_bucket: Bucket) -> None:
    """Where the store has no SHA-256 of its own, changed bytes of the right size are found by reading them."""
    rig.archive = {"checksums": "md5"}
    account = archived(rig)
    key = rig.sidecars()[_ids(rig, account)[0]]["media"][0]["key"]
    kept = strict_bucket.objects[key]
    strict_bucket.objects[key] = replace(kept, body=bytes(kept.bytes))
    report = prune(rig)
    assert (report["deleted"], report["skipped"]) == (3, {"different": 1})
    assert _ids(rig, account)[0] not in away(rig.simulator, account)


def hold(rig: Rig, *recordings: str) -> None:
    with rig.runtime(lambda: NOW) as runtime:
        records = Records(store=runtime.store, prefix=runtime.keys.prefix)
        account = rig.simulator.accounts[0].account_id
        add_hold(
            records,
            "case",
            [("twilio", account, each) for each in recordings],
            reference="R1",
            selection={},
            now=NOW,
        )


def test_held_ones_stay(rig: Rig) -> None:
    """While a hold stands, none of its recordings is deleted; the others are, and it is once the hold is released."""
    account = archived(rig)
    chosen = _ids(rig, account)[2]
    hold(rig, chosen)
    report = prune(rig)
    assert (report["deleted"], report["skipped"]) == (3, {"held": 1})
    assert away(rig.simulator, account) == set(_ids(rig, account)) - {chosen}
    with rig.runtime(lambda: NOW) as runtime:
        records = Records(store=runtime.store, prefix=runtime.keys.prefix)
        release_hold(records, "case", reference="R2", now=NOW + timedelta(hours=1))
    assert prune(rig)["deleted"] == 1


def test_a_hold_that_cannot_be_read_stops_all(rig: Rig) -> None:
    """What an unreadable hold holds is unknown: nothing is deleted, and the error says so."""
    account = archived(rig)
    put(rig, "holds/case/1.json")
    report = prune(rig)
    assert (report["deleted"], report["outcome"]) == (0, "partial")
    assert "nothing is deleted" in report["errors"][0]["message"]
    assert away(rig.simulator, account) == set()


def test_a_hold_that_comes_during_a_run_is_kept(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Holds are read again before each batch."""
    account = archived(rig)
    monkeypatch.setattr("recvault.operations.prune.run._TOGETHER", 2)
    delete, held = Deleter.delete, list[int]()

    def held_now(self: Deleter, recording: Any) -> Any:
        if not held:
            held.append(1)
            hold(rig, *_ids(rig, account))
        return delete(self, recording)

    monkeypatch.setattr(Deleter, "delete", held_now)
    report = prune(rig)
    assert (report["deleted"], report["skipped"]) == (2, {"held": 2})
    assert len(away(rig.simulator, account)) == 2


@pytest.mark.parametrize("age", [timedelta(days=41), timedelta(days=39, hours=23)])
def test_young_ones_stay(rig: Rig, age: timedelta) -> None:
    """What was archived within the age stays, however old the recording itself is."""
    account = archived(rig)
    rig.simulator.set_now(OLD)
    report = prune(rig, older_than=age)
    is_young = NOW - age < OLD
    assert (report["checked"], report["deleted"]) == ((0, 0) if is_young else (4, 4))
    assert len(away(rig.simulator, account)) == (0 if is_young else 4)


def test_one_created_within_the_age_stays(rig: Rig) -> None:
    """The recording's own date counts too: a clock that was wrong while it was archived makes none older."""
    account = archived(rig)
    chosen = _ids(rig, account)[0]
    ledger(rig, "UPDATE recordings SET created_at='2030-01-01T00:00:00.000000Z' WHERE recording_id=?", chosen)
    assert prune(rig)["deleted"] == 3
    assert chosen not in away(rig.simulator, account)


def test_wanted_formats_must_be_there(rig: Rig) -> None:
    """A format that the configuration wants now, but did not want when it was archived, keeps it at the provider."""
    account = archived(rig, formats=["wav"])
    rig.sources[0]["formats"] = ["wav", "mp3"]
    report = prune(rig)
    assert (report["deleted"], report["skipped"]) == (0, {"formats": 4})
    assert away(rig.simulator, account) == set()


@pytest.mark.parametrize("harm", ["removed", "changed"])
def test_a_manifest_that_is_not_the_ledgers_lists_nothing(rig: Rig, strict_bucket: Bucket, harm: str) -> None:
    """A chain whose end is not the one that the ledger knows proves nothing."""
    account = archived(rig)
    [key] = [key for key in strict_bucket.objects if key.startswith("manifests/")]
    body = strict_bucket.body(key)
    del strict_bucket.objects[key]
    if harm == "changed":
        put(rig, key, body.replace(b"through=2024", b"through=2023"))
    report = prune(rig)
    assert (report["deleted"], report["skipped"]) == (0, {"unlisted": 4})
    assert away(rig.simulator, account) == set()


def _lacking(rig: Rig, **changes: Any) -> str | None:
    """Return what a sidecar with these changes lacks."""
    document = next(iter(rig.sidecars().values()))
    document = json.loads(json.dumps(document))
    document["archive"].update(changes.pop("archive", {}))
    document["media"][0]["checked"].update(changes.pop("checked", {}))
    selection = SimpleNamespace(
        before=changes.pop("before", NOW), formats=("wav",), provider=Twilio("https://api.twilio.com", "AC1")
    )
    selection._has_formats = lambda sidecar: PruneRule._has_formats(selection, sidecar)  # type: ignore[arg-type]
    sidecar = Sidecar.read(json.dumps(document | changes).encode())
    return PruneRule._lacking(selection, sidecar)  # type: ignore[arg-type]


def test_the_sidecar_itself_must_say_so(rig: Rig) -> None:
    """Flagged, restored, incomplete or young by its own sidecar: it stays, whatever the ledger says."""
    archived(rig, 1)
    assert _lacking(rig) is None
    assert _lacking(rig, checked={"status": "suspect"}) == "suspect"
    assert _lacking(rig, archive={"restored_from": "ledger"}) == "restored"
    for method, reason in (("samples", "sampled"), ("named by the provider", "sampled"), ("whole", None)):
        assert _lacking(rig, archive={"adopted": {"proof": [{"method": "whole"}, {"method": method}]}}) == reason
    assert _lacking(rig, archive={"formats_missing": [{"media_format": "mp3", "reason": "x"}]}) == "formats"
    assert _lacking(rig, media=[]) == "formats"
    assert _lacking(rig, before=OLD) == "young"
    assert _lacking(rig, created_at="2030-01-01T00:00:00Z") == "young"


def _ids(rig: Rig, account: SimAccount) -> list[str]:
    return sorted(each.recording_id for each in rig.simulator.recordings(account))


@pytest.mark.parametrize("comes", ["held", "erasure"])
def test_one_that_comes_while_a_batch_is_proven_is_kept(
    rig: Rig, strict_bucket: Bucket, monkeypatch: pytest.MonkeyPatch, comes: str
) -> None:
    """Holds and erasures are read again after a batch is proven, which may take hours, and before it is deleted."""
    account = archived(rig)
    chosen = rig.sidecars()[_ids(rig, account)[1]]
    proven, done = PruneRule.proven, list[int]()

    def slow(self: PruneRule, candidate: Any) -> Any:
        if not done:
            done.append(1)
            hold(rig, chosen["recording_id"]) if comes == "held" else erasure(rig, strict_bucket, chosen)
        return proven(self, candidate)

    monkeypatch.setattr(PruneRule, "proven", slow)
    report = prune(rig)
    assert (report["deleted"], report["skipped"]) == (3, {comes: 1})
    assert chosen["recording_id"] not in away(rig.simulator, account)
