"""The records of deletions: read back, forged, and what a new ledger learns from them."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from cli.commands import run
from operations.prune.lab import archived, away, prune, pruned, records
from recvault.errors import NotFound
from recvault.operations.prune.deleting import Deleter
from recvault.operations.prune.deletion_records import Deletion
from recvault.providers.bandwidth import Bandwidth
from recvault.simulator import SimAccount
from rig import Rig


def forged(rig: Rig, account: SimAccount, name: str, body: bytes) -> str:
    key = f"prunes/provider=twilio/account={account.account_id}/date=2024-06-22/20240622T000000Z-00-{name}.jsonl"
    rig.s3.put_object(Bucket=rig.bucket, Key=key, Body=body)
    return key


def line(account: SimAccount, recording_id: str, **more: str) -> bytes:
    identity = {"provider": "twilio", "account_id": account.account_id, "recording_id": recording_id}
    return json.dumps({"schema": "recvault/prunes/v1", **identity, **more}).encode() + b"\n"


def test_a_record_says_what_and_why(rig: Rig) -> None:
    """The intent names the objects with size, SHA-256 and proof, and the manifests' head; neither has a number."""
    archived(rig, 1)
    prune(rig)
    [sidecar] = rig.sidecars().values()
    [medium] = sidecar["media"]
    [intent], [done] = records(rig, "intent"), records(rig, "done")
    assert intent["media"] == [{**{name: medium[name] for name in ("key", "bytes", "sha256")}, "proof": "store"}]
    assert (intent["recording_id"], intent["created_at"][:19]) == (sidecar["recording_id"], sidecar["created_at"][:19])
    assert intent["manifests"]["number"] == 1
    assert (done["recording_id"], done["deletion"], done["message"]) == (sidecar["recording_id"], "deleted", None)
    assert {"from", "to"} & (intent.keys() | done.keys()) == set()


def test_a_forged_intent_deletes_nothing(rig: Rig) -> None:
    """A record that somebody put there makes prune ask the provider, and delete nothing."""
    account = archived(rig, 2)
    names = [each.recording_id for each in rig.simulator.recordings(account)]
    key = next(key for key in rig.objects() if names[0] in key and key.endswith(".wav"))
    rig.s3.delete_object(Bucket=rig.bucket, Key=key)  # so that it may not be deleted
    forged(rig, account, "intent", line(account, names[0], act="intent"))
    assert prune(rig)["deleted"] == 1
    assert away(rig.simulator, account) == {names[1]} == pruned(rig)
    outcome = next(each for each in records(rig, "done") if each["recording_id"] == names[0])
    assert outcome["deletion"] == "kept"


def test_an_unreadable_intent_stops_nothing(rig: Rig) -> None:
    """A record that is none of recvault's is left alone; the others are deleted."""
    account = archived(rig, 2)
    forged(rig, account, "intent", b"{")
    assert prune(rig)["deleted"] == 2


def test_a_new_ledger_knows_what_was_pruned(rig: Rig) -> None:
    """After the ledger is lost, a rebuild reads the records: nothing pruned is asked for again, and damage is named."""
    account = archived(rig, 3)
    assert prune(rig, limit=2)["deleted"] == 2
    gone = pruned(rig)
    forged(rig, account, "done", b"{")
    for each in rig.root.glob("ledger.db*"):
        if each.is_file():
            each.unlink()
    rebuilt = run(rig, "rebuild", "--json")
    assert (rebuilt.code, rebuilt.document["pruned"], len(rebuilt.document["problems"])) == (0, 2, 1)
    assert pruned(rig) == gone
    with rig.runtime() as runtime:
        [so_far] = runtime.ledger.pruned.so_far()
    assert (so_far.source, so_far.account_id, so_far.recordings) == ("acme", account.account_id, 2)
    rig.simulator.clear_requests()
    assert prune(rig)["skipped"] == {"unlisted": 1}  # until the new ledger's next manifest
    assert rig.simulator.requests == []


def test_an_open_intent_is_asked_about_by_its_call() -> None:
    """Where a provider reads a recording by its call, the intent's call is used; without one it stays unknown."""
    provider = Bandwidth(base_url="https://x.test", account_id="7")
    asked: list[str] = []

    def send(request: Any) -> Any:
        asked.append(str(request.url))
        raise NotFound("gone")

    deleter = Deleter(provider, SimpleNamespace(send=send, own_list=None))  # type: ignore[arg-type]
    identity = (provider.provider, "7", "r-1")
    assert deleter.ask(identity, "c-1").deletion is Deletion.GONE
    assert "/calls/c-1/recordings/r-1" in asked[0]
    assert deleter.ask(identity).deletion is Deletion.UNKNOWN


def test_an_intent_says_its_call(rig: Rig) -> None:
    """The record of what is to be deleted has the call's id, which some providers need to be asked by."""
    archived(rig, 1)
    prune(rig)
    [sidecar], [intent] = rig.sidecars().values(), records(rig, "intent")
    assert intent["call_id"] == sidecar["call_id"]
