"""Who called whom, for what was archived before anybody asked."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cli.commands import run
from dispatch.test_call_facts import asked, late, truth
from recvault.errors import ProtocolError, UnknownName
from recvault.models import Window
from recvault.operations.enrich import Enrich
from recvault.providers.twilio import Twilio
from recvault.simulator import SimAccount, Switches
from recvault.simulator.exchange import Request, SimulatedReply, json_reply
from recvault.simulator.twilio_video import identity
from rig import Rig

NOW = datetime(2026, 10, 5, 12, tzinfo=UTC)
OLD = NOW - timedelta(days=4)
COUNT = 12


def archived(rig: Rig, kind: Any = "twilio", api: Any = "voice", provider: str = "twilio") -> SimAccount:
    """Archive recordings without call facts, then configure them."""
    rig.simulator.set_now(NOW)
    account = rig.simulator.add_account(kind)
    rig.simulator.populate(account, api, COUNT, OLD, timedelta(hours=4), conference_share=0.0)
    rig.add_source("acme", provider, account, call_facts=False)
    assert rig.sync_at(NOW).exit_code == 0
    rig.sources[0]["call_facts"] = True
    return account


def enrich(rig: Rig, window: Window | None = None) -> dict[str, Any]:
    with rig.runtime(lambda: NOW) as runtime:
        return Enrich(runtime, "acme", window or Window()).run().document()


def counts(document: dict[str, Any]) -> dict[str, int]:
    return {name: document[name] for name in ("sidecars", "known", "told", "unknown", "unreadable", "requests")}


def test_an_archive_is_enriched_once(rig: Rig) -> None:
    """All calls are told by one object and one request; a second run asks for nothing; no other object is changed."""
    account = archived(rig)
    before = rig.objects()
    first = enrich(rig)
    assert counts(first) == {
        "sidecars": COUNT,
        "known": 0,
        "told": COUNT,
        "unknown": 0,
        "unreadable": 0,
        "requests": 1,
    }
    assert late(rig) == truth(rig.simulator, account, "voice")
    after = rig.objects()
    assert {key: after[key] for key in before} == before
    assert sorted(after.keys() - before.keys()) == first["keys"]
    assert len(first["keys"]) == 1
    again = enrich(rig)
    assert (again["known"], again["told"], again["requests"], asked(rig.simulator)) == (COUNT, 0, 0, 1)


def test_a_window_is_enriched_alone(rig: Rig) -> None:
    """With --since and --until only the recordings created between are asked for."""
    account = archived(rig)
    window = Window(OLD + timedelta(hours=6), OLD + timedelta(hours=30))
    assert enrich(rig, window)["told"] == len(late(rig))
    within = {each.recording_id for each in account.shelves["voice"] if each.created_at in window}
    assert set(late(rig)) == within
    assert 0 < len(within) < COUNT


def test_sidecars_that_tell_are_left_out(rig: Rig) -> None:
    """What a sidecar tells is known: nothing is asked or put."""
    archived(rig)
    rig.simulator.populate(rig.simulator.accounts[0], "voice", 3, NOW - timedelta(hours=20), conference_share=0.0)
    assert rig.sync_at(NOW).exit_code == 0
    told_by_sidecar = sum("call" in each for each in rig.sidecars().values())
    told_late = len(late(rig))
    assert told_by_sidecar + told_late == 3
    document = enrich(rig)
    assert (document["known"], document["told"]) == (3, COUNT)


def test_missing_calls_and_damaged_sidecars_are_counted(rig: Rig) -> None:
    """Calls that the provider does not list are unknown, a sidecar that is none is unreadable: exit code 3."""
    account = archived(rig)
    rig.simulator.switches = Switches(calls_missing_share=1.0)
    key = next(key for key in rig.objects() if key.endswith(".json") and "/account=" in key)
    rig.s3.put_object(Bucket=rig.bucket, Key=key.replace(".json", "x.json"), Body=b"{")
    with rig.runtime(lambda: NOW) as runtime:
        enriched = Enrich(runtime, "acme", Window()).run()
    assert (enriched.unknown, enriched.unreadable, enriched.told, enriched.exit_code) == (COUNT, 1, 0, 3)
    assert late(rig) == {}
    assert account is not None


def test_telnyx_is_enriched_by_its_own_rows(rig: Rig) -> None:
    """Telnyx' sidecars hold the numbers in `raw`: no provider is asked."""
    archived(rig, "telnyx", "telnyx", "telnyx")
    rig.simulator.clear_requests()
    assert enrich(rig)["told"] == COUNT
    rows = {name: each["raw"] for name, each in rig.sidecars().items()}
    assert {name: (call["from"], call["to"]) for name, call in late(rig).items()} == {
        name: (row["from"], row["to"]) for name, row in rows.items()
    }
    assert rig.simulator.requests == []


def test_video_tells_each_participant(rig: Rig) -> None:
    """Each Video track is told with its participant's identity, by one request a room."""
    account = archived(rig, "twilio", "video", "twilio-video")
    document = enrich(rig)
    rooms = {each.room_id for each in account.shelves["video"]}
    assert (document["told"], document["requests"]) == (COUNT, len(rooms))
    assert {name: call["from"] for name, call in late(rig).items()} == {
        each.recording_id: identity(rig.simulator._world, each.participant_id or "")
        for each in account.shelves["video"]
    }


def test_a_room_whose_participants_never_end_is_an_error(rig: Rig) -> None:
    """A list of participants that goes on with empty pages is given up after 20 of them, with an error."""
    archived(rig, "twilio", "video", "twilio-video")

    def empty(request: Request) -> SimulatedReply:
        following = f"{rig.simulator.base_url}{request.path}?Page={int(request.param('Page') or 0) + 1}"
        return json_reply({"participants": [], "meta": {"key": "participants", "next_page_url": following}})

    rig.simulator.switches = Switches(calls_reply=empty)
    with pytest.raises(ProtocolError, match="20 pages in succession"):
        enrich(rig)
    assert rig.simulator.count(lambda request: request.path.endswith("/Participants")) == 20


def test_calls_of_the_same_account_are_not_asked_of_video(rig: Rig) -> None:
    """A Video source leaves the account's call recordings alone: only its own list knows them."""
    account = archived(rig)
    rig.sources = []
    rig.add_source("acme", "twilio-video", account)
    assert counts(enrich(rig)) == {
        "sidecars": COUNT,
        "known": 0,
        "told": 0,
        "unknown": COUNT,
        "unreadable": 0,
        "requests": 0,
    }


def test_a_provider_without_a_list_of_calls_is_refused(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a provider that has none, such as a plug-in's, the command says so."""
    rig.add_source("acme", "twilio", rig.simulator.add_account("twilio"))
    monkeypatch.setattr(Twilio, "calls", "")
    with pytest.raises(UnknownName, match="has no list of calls"):
        enrich(rig)


def test_the_command_prints_one_document(rig: Rig) -> None:
    """`recvault enrich --json` prints its report, and without --json one line of numbers."""
    archived(rig)
    ran = run(rig, "enrich", "--source", "acme", "--json")
    assert ran.code == 0, ran.stderr
    assert json.loads(ran.stdout)["told"] == COUNT
    plain = run(rig, "enrich", "--source", "acme")
    assert (plain.code, f"{COUNT} known before" in plain.stdout) == (0, True)
    assert run(rig, "enrich", "--source", "nobody").code == 2


def test_what_was_enriched_is_not_asked_for_by_the_daemon(rig: Rig) -> None:
    """Recordings that wait for their calls wait no longer once `enrich` told them."""
    rig.simulator.set_now(NOW)
    account = rig.simulator.add_account("twilio")
    rig.simulator.populate(account, "voice", COUNT, OLD, conference_share=0.0)
    rig.add_source("acme", "twilio", account, call_facts=True)
    rig.simulator.switches = Switches(calls_status=503)
    assert rig.sync_at(NOW).exit_code == 0
    rig.simulator.switches = Switches()
    assert enrich(rig)["told"] == COUNT
    before = asked(rig.simulator)
    assert rig.sync_at(NOW + timedelta(hours=1)).exit_code == 0
    assert asked(rig.simulator) == before
    with rig.runtime(lambda: NOW) as runtime:
        assert runtime.ledger.uncalled.count() == 0
