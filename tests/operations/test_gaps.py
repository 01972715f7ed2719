"""Calls that were never recorded, and recordings that are too short: all named, no false one, and no number told."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cli.commands import run
from recvault.errors import UnknownName
from recvault.models import Window
from recvault.operations.gaps import Gaps
from recvault.simulator import SimAccount, Switches
from recvault.simulator.recording import Api
from rig import Rig

NOW = datetime(2026, 10, 5, 12, tzinfo=UTC)
OLD = NOW - timedelta(days=4)
COUNT, SECONDS, CUT = 40, 60.0, 300.0
FIND = {"min_seconds": 30, "tolerance": "5s", "late_start": "10s"}


def recorded(rig: Rig, provider: str = "twilio", api: Api = "voice", **rule: Any) -> SimAccount:
    """Archive recordings of 40 calls, of which every tenth was never made, and every eighth stopped too early."""
    rig.simulator.set_now(NOW)
    account = rig.simulator.add_account("twilio" if provider == "twilio" else "signalwire")
    for number in range(COUNT):
        details: dict[str, Any] = {"created_at": OLD + number * timedelta(hours=2), "duration_seconds": SECONDS}
        if number % 10 == 3:
            details["lost"] = True
        elif number % 8 == 5:
            details["cut_seconds"] = CUT
        rig.simulator.add(account, api, **details)
    rig.add_source("acme", provider, account, call_facts=False, formats=["mp3"], gaps=FIND | rule)
    assert rig.sync_at(NOW).exit_code == 0
    return account


def found(rig: Rig, window: Window | None = None) -> dict[str, Any]:
    with rig.runtime(lambda: NOW) as runtime:
        return Gaps(runtime, "acme", window or Window()).run().document()


def truth(rig: Rig, account: SimAccount, api: Api) -> set[tuple[str, str]]:
    """Return what must be told: the calls without a recording, but for legs of others, and those that went on."""
    calls = rig.simulator.calls(account, api)
    missing = {("no_recording", each.call_id) for each in calls if not each.has_recording and not each.parent_call_id}
    kept = [each for each in account.shelves[api] if each.cut_seconds]
    return missing | {("short", each.call_id or "") for each in kept}


@pytest.mark.parametrize(("provider", "api"), [("twilio", "voice"), ("signalwire", "signalwire")])
def test_all_are_named_and_no_other(rig: Rig, provider: str, api: Api) -> None:
    """Each call without a recording, and each recording that stopped early, is named once."""
    account = recorded(rig, provider, api)
    document = found(rig)
    named = [(each["kind"], each["call_id"]) for each in document["gaps"]]
    expected = truth(rig, account, api)
    assert sorted(named) == sorted(expected)
    assert {kind for kind, _ in expected} == {"no_recording", "short"}
    assert len(expected) >= 4 + 5
    assert (document["calls"], document["waiting"]) == (len(rig.simulator.calls(account, api)), 0)


def test_what_is_told_of_one(rig: Rig) -> None:
    """A gap has its call's time, direction, length and numbers; a short one its recording and what was recorded."""
    account = recorded(rig)
    calls = {each.call_id: each for each in rig.simulator.calls(account, "voice")}
    short = next(each for each in found(rig)["gaps"] if each["kind"] == "short")
    call = calls[short["call_id"]]
    [recording] = [each for each in account.shelves["voice"] if each.call_id == call.call_id]
    assert short == {
        "account_id": account.account_id,
        "kind": "short",
        "call_id": call.call_id,
        "started_at": f"{call.started_at:%Y-%m-%dT%H:%M:%S}Z",
        "direction": call.direction,
        "call_seconds": (call.ended_at - call.started_at).total_seconds(),
        "recorded_seconds": pytest.approx(SECONDS, abs=1),
        "recordings": [recording.recording_id],
        "legs": [],
        "from": call.from_,
        "to": call.to,
    }


def test_the_rule_says_which_calls_ought_to_be_recorded(rig: Rig) -> None:
    """By direction, number and length: what it leaves out is no gap."""
    account = recorded(rig)
    everything = {each["call_id"] for each in found(rig)["gaps"]}
    calls = {each.call_id: each for each in rig.simulator.calls(account, "voice")}
    one = calls[next(iter(sorted(everything)))]
    for rule, expected in (
        ({"numbers": [one.to]}, {one.call_id}),
        ({"numbers": [f"{one.from_[:3]} {one.from_[3:]}"]}, {one.call_id}),
        ({"min_seconds": 1000}, set()),
        ({"direction": "outbound", "min_seconds": 30, "numbers": [one.to]}, set()),
    ):
        if rule.get("direction") and not one.direction.startswith("inbound"):
            continue
        rig.sources[0]["gaps"] = FIND | rule
        assert {each["call_id"] for each in found(rig)["gaps"]} == expected


def test_a_window_and_what_is_too_recent(rig: Rig) -> None:
    """Only calls of the window are judged; one that ended within the last hour waits."""
    account = recorded(rig)
    rig.simulator.add(account, "voice", created_at=NOW - timedelta(minutes=50), duration_seconds=SECONDS, lost=True)
    document = found(rig)
    assert document["waiting"] > 0
    assert sorted((each["kind"], each["call_id"]) for each in document["gaps"]) == sorted(
        each
        for each in truth(rig, account, "voice")
        if each[1]
        in {call.call_id for call in rig.simulator.calls(account, "voice") if call.ended_at < NOW - timedelta(hours=1)}
    )
    window = Window(OLD, OLD + timedelta(hours=10))
    inside = found(rig, window)
    assert 0 < len(inside["gaps"]) < len(document["gaps"])
    assert all(each["started_at"] < "2026-10-01T22" for each in inside["gaps"])


def test_the_command_leaves_a_record_and_no_number(rig: Rig) -> None:
    """Exit code 3 with gaps, and 0 without; the record has them; numbers are in the JSON on stdout alone."""
    account = recorded(rig)
    window = ["--since", "2026-10-01", "--until", "2026-10-04"]
    ran = run(rig, "gaps", "--source", "acme", "--json", *window)
    gaps = ran.document["gaps"]
    assert (ran.code, bool(gaps)) == (3, True)
    assert any(each["from"] for each in gaps)
    plain = run(rig, "gaps", "--source", "acme", *window)
    assert plain.code == 3
    assert all(each["call_id"] in plain.stdout for each in gaps)
    told = [body.decode() for key, body in rig.objects().items() if key.startswith("events/")]
    assert len(told) == 2
    lines = [json.loads(line) for line in told[0].splitlines()]
    assert [each["call_id"] for each in lines[1:]] == [each["call_id"] for each in gaps]
    assert (lines[0]["act"], lines[0]["found"], lines[0]["source"]) == ("gaps", len(gaps), "acme")
    written = [plain.stdout, plain.stderr, ran.stderr, *told, *rig.objects()]
    for call in rig.simulator.calls(account, "voice"):
        assert not any(number.lstrip("+") in text for text in written for number in (call.from_, call.to))
    rig.sources[0]["gaps"] = FIND | {"min_seconds": 1000}
    assert run(rig, "gaps", "--source", "acme", *window).code == 0


def test_a_provider_without_a_list_of_calls_is_told_plainly(rig: Rig) -> None:
    """Telnyx and Video: exit code 2, and what tells silence there."""
    account = rig.simulator.add_account("telnyx")
    rig.add_source("acme", "telnyx", account)
    ran = run(rig, "gaps", "--source", "acme")
    assert ran.code == 2
    assert "telnyx has no list of calls" in ran.stderr


def test_the_call_of_an_erased_recording_is_not_told(rig: Rig) -> None:
    """An erased recording's call is known no more: calls of its time are counted, and others are told as before."""
    account = recorded(rig)
    before = found(rig)
    kept = next(each for each in account.shelves["voice"] if each.cut_seconds == 0 and each.visible_at <= NOW)
    with rig.runtime(lambda: NOW) as runtime, runtime.ledger._connection.write() as db:
        erase = "UPDATE recordings SET state='erased', call_id=NULL, media=NULL, sidecar_key=NULL WHERE recording_id=?"
        db.execute(erase, [kept.recording_id])
    after = found(rig)
    at_its_time = {call.call_id for call in rig.simulator.calls(account, "voice") if call.ended_at == kept.ended_at}
    assert after["erased"] >= 1
    assert [each for each in before["gaps"] if each["call_id"] not in at_its_time] == after["gaps"]


def test_what_cannot_be_judged_is_an_error(rig: Rig) -> None:
    """A source that was never scanned, a list that is refused, calls that the ledger does not know: no gap is told."""
    account = rig.simulator.add_account("twilio")
    rig.add_source("acme", "twilio", account, call_facts=False)
    rig.simulator.add(account, "voice", created_at=OLD, duration_seconds=SECONDS, lost=True)
    rig.simulator.set_now(NOW)
    document = found(rig)
    assert ("never listed" in document["errors"][0]["message"], document["gaps"]) == (True, [])
    recording = rig.simulator.add(account, "voice", created_at=OLD, duration_seconds=SECONDS)
    assert rig.sync_at(NOW).exit_code == 0
    assert found(rig)["gaps"] != []
    rig.simulator.switches = Switches(calls_status=403)
    with rig.runtime(lambda: NOW) as runtime:
        report = Gaps(runtime, "acme", Window()).run()
        assert (report.exit_code, report.found) == (77, [])
    rig.simulator.switches = Switches()
    with rig.runtime(lambda: NOW) as runtime:
        runtime.ledger.remember("calls.incomplete", "yes")
        with runtime.ledger._connection.write() as db:
            db.execute("UPDATE recordings SET call_id = NULL WHERE recording_id = ?", [recording.recording_id])
        report = Gaps(runtime, "acme", Window()).run()
        assert (report.exit_code, report.found) == (UnknownName.exit_code, [])
