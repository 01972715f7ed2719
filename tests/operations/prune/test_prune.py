"""What is proven is deleted at the provider once, recorded, and stays archived."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from operations.prune.lab import (
    KINDS,
    NOW,
    OLD,
    archived,
    away,
    confirmed,
    listed,
    prune,
    pruned,
    recorded,
    records,
    verified,
)
from recvault.errors import LedgerLocked, UnknownName
from recvault.ledger import alone_pruning
from recvault.providers.rest import Rest
from recvault.providers.twilio import Twilio
from rig import Rig


@pytest.mark.parametrize("provider", KINDS)
def test_proven_recordings_are_deleted_once(rig: Rig, provider: str) -> None:
    """Each provider's recordings are deleted by one request each; ledger and records say so; a second run has
    nothing."""
    account = archived(rig, 4, provider)
    ids = {each.recording_id for each in rig.simulator.recordings(account)}
    report = prune(rig)
    assert (report["outcome"], report["deleted"], report["skipped"], report["requests"]) == ("ok", 4, {}, 4)
    assert ids == away(rig.simulator, account) == recorded(rig) == pruned(rig) == set(confirmed(rig.simulator))
    assert {each["recording_id"]: each["media"][0]["proof"] for each in records(rig, "intent")} == dict.fromkeys(
        ids, "store"
    )
    again = prune(rig)
    assert (again["checked"], again["deleted"], again["requests"]) == (0, 0, 0)


def test_the_report_says_how_much(rig: Rig) -> None:
    """Bytes and seconds are those of the sidecars."""
    archived(rig)
    media = [medium for each in rig.sidecars().values() for medium in each["media"]]
    report = prune(rig)
    assert report["bytes"] == sum(each["bytes"] for each in media)
    assert report["seconds"] == pytest.approx(sum(each["duration_seconds"] for each in media))


def test_a_dry_run_deletes_nothing(rig: Rig) -> None:
    """A dry run proves and counts the same, sends no request to the provider, and writes nothing."""
    archived(rig)
    before = rig.objects()
    report = prune(rig, dry_run=True, limit=3)
    assert (report["eligible"], report["limit_reached"], report["deleted"], report["requests"]) == (3, True, 0, 0)
    assert rig.objects() == before
    assert rig.simulator.requests == []
    assert prune(rig, dry_run=True)["bytes"] == prune(rig)["bytes"]


def test_a_limit_is_kept(rig: Rig) -> None:
    """A run deletes no more than its limit; the next one goes on."""
    account = archived(rig, 5)
    reports = [prune(rig, limit=2) for _ in range(3)]
    assert [each["deleted"] for each in reports] == [2, 2, 1]
    assert [each["limit_reached"] for each in reports] == [True, True, False]
    assert len(away(rig.simulator, account)) == 5


def test_a_store_without_sums_is_read_back(rig: Rig, strict_bucket: object) -> None:
    """Where the store keeps no SHA-256 of its own, each medium's bytes are read before it is deleted."""
    rig.archive = {"checksums": "md5"}
    archived(rig)
    assert prune(rig)["deleted"] == 4
    assert {each["media"][0]["proof"] for each in records(rig, "intent")} == {"read"}


def test_nothing_pruned_is_fetched_or_moved_again(rig: Rig) -> None:
    """Passes, reconcile and retry after a prune fetch nothing, though the provider still lists the recordings."""
    account = archived(rig)
    assert prune(rig)["deleted"] == 4
    shelf = account.shelves["voice"]
    for each in list(shelf):  # a list that lags behind
        shelf._recordings[each.recording_id] = replace(each, deleted_at=None)
    rig.simulator.clear_requests()
    objects = rig.objects()
    assert rig.sync_at(NOW).exit_code == 0
    with rig.runtime(lambda: NOW) as runtime:
        ids = [
            row["id"]
            for each in rig.simulator.recordings(account)
            for row in runtime.ledger.ask.find(each.recording_id)
        ]
        assert runtime.ledger.reopen(ids, NOW) == 0
        assert runtime.ledger.retry(ids, NOW) == 0
        assert runtime.ledger.ask_again(None, NOW) == 0
        assert runtime.ledger.ask_again(ids, NOW) == 0
    assert rig.sync_at(NOW).exit_code == 0
    assert [each.path for each in rig.simulator.requests if each.path.endswith(".wav")] == []
    assert rig.objects() == objects
    assert len(pruned(rig)) == 4


def test_a_pruned_one_that_is_lost_stays_a_difference(rig: Rig) -> None:
    """If the copy of a pruned recording is lost, verify says that the provider cannot serve it; a repair moves
    nothing."""
    archived(rig)
    assert prune(rig)["deleted"] == 4
    key = next(key for key in rig.objects() if key.endswith(".wav"))
    rig.s3.delete_object(Bucket=rig.bucket, Key=key)
    result = verified(rig)
    [difference] = [each for each in result.document()["differences"] if each["key"] == key]
    assert "recvault deleted it at its provider" in difference["hint"]
    assert (difference["made_due"], result.exit_code) == (False, 3)
    assert len(pruned(rig)) == 4


def test_a_provider_that_cannot_delete_is_refused(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prune says so, and sends nothing."""
    archived(rig)
    monkeypatch.setattr(Twilio, "deletes", Rest.deletes)
    with pytest.raises(UnknownName, match="cannot delete recordings"):
        prune(rig)
    assert rig.simulator.requests == []


def test_two_prunes_at_once_are_refused(rig: Rig) -> None:
    """A second prune with the same ledger is refused, and may run once the first has ended."""
    archived(rig)
    with alone_pruning(rig.root / "ledger.db"), pytest.raises(LedgerLocked):
        prune(rig)
    assert prune(rig)["deleted"] == 4


def test_new_ones_are_pruned_once_a_manifest_lists_them(rig: Rig) -> None:
    """What was archived after the last manifest stays until the next one lists it."""
    account = archived(rig)
    rig.simulator.set_now(OLD + timedelta(hours=1))
    new = rig.simulator.add(account, "voice", created_at=OLD - timedelta(hours=1), duration_seconds=0.2).recording_id
    assert rig.sync_at(OLD + timedelta(days=3)).exit_code == 0
    report = prune(rig)
    assert (report["deleted"], report["skipped"]) == (4, {"unlisted": 1})
    assert new not in away(rig.simulator, account)
    listed(rig, OLD + timedelta(days=5))
    assert prune(rig)["deleted"] == 1
