"""Who called whom: in the sidecar where it is known by then, under `calls/` where it is not, and nowhere else."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from recvault.app.runtime import Runtime
from recvault.archive import Sidecar
from recvault.discovery.call_facts import Wanted, ask_calls
from recvault.dispatch import call_desk
from recvault.errors import Unavailable
from recvault.models import Job, Outcome, State
from recvault.monitoring.observer import Observer
from recvault.monitoring.report import Report
from recvault.simulator import SimAccount, Simulator, Switches
from recvault.simulator.calls import SimCall
from recvault.simulator.recording import Api
from rig import Rig

NOW = datetime(2026, 10, 5, 12, tzinfo=UTC)
OLD = NOW - timedelta(days=4)
COUNT = 24


def expected(calls: list[SimCall], call_id: str) -> dict[str, Any]:
    """Return what must be told of a call, by the simulator's truth."""
    by_id = {call.call_id: call for call in calls}
    call = by_id[call_id]
    parent = [by_id[call.parent_call_id]] if call.parent_call_id else []
    legs = [*parent, *(each for each in calls if each.parent_call_id == call_id)]
    return {
        "from": call.from_,
        "to": call.to,
        "direction": call.direction,
        "status": "completed",
        "started_at": f"{call.started_at:%Y-%m-%dT%H:%M:%SZ}",
        "ended_at": f"{call.ended_at:%Y-%m-%dT%H:%M:%SZ}",
        "parent_call_id": call.parent_call_id,
        "forwarded_from": None,
        "legs": [{"call_id": leg.call_id, "from": leg.from_, "to": leg.to} for leg in legs],
    }


def truth(simulator: Simulator, account: SimAccount, api: Api) -> dict[str, dict[str, Any]]:
    """Return what must be told, by recording."""
    calls = simulator.calls(account, api)
    return {each.recording_id: expected(calls, each.call_id) for each in account.shelves[api] if each.call_id}


def without_time(call: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in call.items() if name != "told_at"}


def in_sidecars(rig: Rig) -> dict[str, dict[str, Any]]:
    """Return the facts in sidecars, by recording."""
    return {name: without_time(each["call"]) for name, each in rig.sidecars().items() if "call" in each}


def late(rig: Rig) -> dict[str, dict[str, Any]]:
    """Return the facts under `calls/`, by recording."""
    bodies = [body for key, body in rig.objects().items() if key.startswith("calls/")]
    lines = [json.loads(line) for body in bodies for line in body.splitlines()]
    return {line["recording_id"]: without_time(line["call"]) for line in lines}


def asked(simulator: Simulator) -> int:
    """Return how often a list of calls was asked for."""
    return simulator.count(lambda request: request.path.endswith("Calls.json"))


def sync(rig: Rig, moment: datetime, observer: Observer | None = None) -> Report:
    """Run a pass at a time, with an observer."""
    rig.simulator.set_now(moment)
    with rig.runtime(lambda: moment) as runtime:
        return runtime.sync("sync", [source["name"] for source in rig.sources], observer)


@pytest.fixture
def account(rig: Rig) -> SimAccount:
    """A Twilio account with recordings that are four days old, and its source."""
    rig.transfer = {"stall_timeout": "60s"}  # no second request because of load
    rig.simulator.set_now(NOW)
    account = rig.simulator.add_account("twilio")
    rig.simulator.populate(account, "voice", COUNT, OLD, conference_share=0.0)
    rig.add_source("acme", "twilio", account, call_facts=True)
    return account


class Gate(Observer):
    """Lets the list of calls answer once so many recordings are settled."""

    def __init__(self, count: int) -> None:
        self.event, self.left = threading.Event(), count

    def settled(self, job: Job, outcome: Outcome, state: State) -> None:
        self.left -= 1
        if self.left == 0:
            self.event.set()


def test_the_sidecar_tells_who_called_whom(rig: Rig, account: SimAccount) -> None:
    """One request to the list of calls, and each sidecar holds its call, the parent and the legs, by the schema."""
    assert sync(rig, NOW, None).exit_code == 0
    everything = in_sidecars(rig) | late(rig)
    assert everything == truth(rig.simulator, account, "voice")
    assert asked(rig.simulator) == 1
    faults = [Sidecar(each, "").fault for each in rig.sidecars().values()]
    assert faults == [None] * COUNT


def test_no_medium_waits_for_the_list_of_calls(rig: Rig, account: SimAccount) -> None:
    """With a list of calls that does not answer, all is archived; what it says afterwards is put under `calls/`."""
    gate = Gate(COUNT)
    rig.simulator.switches = Switches(calls_gate=gate.event)
    assert sync(rig, NOW, gate).exit_code == 0
    assert gate.left == 0
    assert in_sidecars(rig) == {}
    assert late(rig) == truth(rig.simulator, account, "voice")
    assert asked(rig.simulator) == 1


def test_a_list_of_calls_that_never_answers_does_not_keep_a_pass(
    rig: Rig, account: SimAccount, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A pass ends soon after its last recording, with new ones and with those of earlier passes; later all is told."""
    monkeypatch.setattr(call_desk, "_SILENCE_SECONDS", 0.4)
    gate = threading.Event()
    rig.simulator.switches = Switches(calls_gate=gate)
    assert sync(rig, NOW).exit_code == 0
    assert sync(rig, NOW + timedelta(hours=1)).exit_code == 0
    assert "calls.failed" not in caplog.text, "a pass waited for the whole time that an answer may take"
    assert (len(rig.sidecars()), late(rig)) == (COUNT, {})
    gate.set()
    monkeypatch.setattr(call_desk, "_SILENCE_SECONDS", 60.0)
    assert sync(rig, NOW + timedelta(hours=2)).exit_code == 0
    assert late(rig) == truth(rig.simulator, account, "voice")


def test_a_list_of_calls_that_fails_delays_nothing(
    rig: Rig, account: SimAccount, capsys: pytest.CaptureFixture[str]
) -> None:
    """While it fails, all is archived and the log says so; a later pass asks once more and puts all under `calls/`."""
    rig.simulator.switches = Switches(calls_status=503)
    assert sync(rig, NOW).exit_code == 0
    assert len(rig.sidecars()) == COUNT
    assert late(rig) == {}
    rig.simulator.switches = Switches()
    assert sync(rig, NOW + timedelta(minutes=5)).exit_code == 0
    assert late(rig) == {}, "before the time for what came late"
    before = asked(rig.simulator)
    assert sync(rig, NOW + timedelta(hours=1)).exit_code == 0
    assert late(rig) == truth(rig.simulator, account, "voice")
    assert asked(rig.simulator) == before + 1
    assert sync(rig, NOW + timedelta(hours=2)).exit_code == 0
    assert asked(rig.simulator) == before + 1


def test_a_rest_that_the_list_of_calls_asks_for_is_its_own(rig: Rig, account: SimAccount) -> None:
    """If the list of calls answers 503 with a long Retry-After, recordings are requested as before."""
    rig.simulator.switches = Switches(calls_status=503, retry_after="seconds", retry_after_seconds=250)
    assert sync(rig, NOW).exit_code == 0
    assert len(rig.sidecars()) == COUNT
    with rig.runtime(lambda: NOW) as runtime:
        session = runtime.lines("acme")(account.account_id).session
        calls = runtime.lines("acme").calls(account.account_id, 100_000, runtime.stop)
        with pytest.raises(Unavailable):
            _ask_one(runtime, calls, account)
        assert runtime.lines("acme").limits.standing.held_by is None
        assert session.limits is not calls.limits


def _ask_one(runtime: Runtime, session: Any, account: SimAccount) -> None:
    ask_calls(runtime.lines("acme").provider, session, _wanted(account)[:1], NOW)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_credentials_that_may_not_read_calls_archive_as_before(rig: Rig, account: SimAccount, status: int) -> None:
    """If the list of calls is refused, each recording is archived, and the source has no error."""
    rig.simulator.switches = Switches(calls_status=status)
    report = sync(rig, NOW)
    assert (report.exit_code, len(rig.sidecars()), in_sidecars(rig)) == (0, COUNT, {})
    assert [row["error"] for row in report.document()["sources"]] == [None]


def test_a_pass_with_nothing_new_asks_for_no_calls(rig: Rig, account: SimAccount) -> None:
    """Where nothing was registered and nothing waits, the list of calls is not read."""
    sync(rig, NOW)
    before = asked(rig.simulator)
    sync(rig, NOW + timedelta(hours=1))
    assert asked(rig.simulator) == before


def test_call_facts_can_be_turned_off(rig: Rig) -> None:
    """With `call_facts = false` no list of calls is read, and no sidecar names a number outside `raw`."""
    rig.simulator.set_now(NOW)
    for kind, provider, api in (("twilio", "twilio", "voice"), ("telnyx", "telnyx", "telnyx")):
        account = rig.simulator.add_account(kind)  # type: ignore[arg-type]
        rig.simulator.populate(account, api, 3, OLD, conference_share=0.0)  # type: ignore[arg-type]
        rig.add_source(provider, provider, account, call_facts=False)
    assert sync(rig, NOW).exit_code == 0
    assert (asked(rig.simulator), in_sidecars(rig), late(rig)) == (0, {}, {})
    assert len(rig.sidecars()) == 6


def test_a_call_that_is_not_listed_is_given_up(rig: Rig, account: SimAccount) -> None:
    """The call of an old recording that the list does not have is asked for once, and never again."""
    rig.simulator.switches = Switches(calls_missing_share=0.3)
    sync(rig, NOW)
    wanted = truth(rig.simulator, account, "voice")
    listed = {call.call_id for call in rig.simulator.calls(account, "voice") if call.is_listed}
    of = {each.recording_id: each.call_id for each in account.shelves["voice"]}
    known = {name: call for name, call in wanted.items() if of[name] in listed}
    assert 0 < len(known) < COUNT
    assert in_sidecars(rig) | late(rig) == known
    for days in (0.1, 1, 3):
        sync(rig, NOW + timedelta(days=days))
    assert asked(rig.simulator) == 1


def test_a_call_that_is_listed_late_is_told_later(rig: Rig, account: SimAccount) -> None:
    """The call of a young recording that is not listed yet is asked for again, and put under `calls/`."""
    rig.simulator.add(account, "voice", created_at=NOW - timedelta(minutes=10), conference_id=None)
    rig.simulator.switches = Switches(calls_list_delay_seconds=3600.0)
    [young] = [each for each in account.shelves["voice"] if each.created_at > OLD + timedelta(days=1)]
    sync(rig, NOW)
    assert young.recording_id in rig.sidecars()
    for hours in (0.5, 1.6, 3.0):
        sync(rig, NOW + timedelta(hours=hours))
    assert late(rig)[young.recording_id] == truth(rig.simulator, account, "voice")[young.recording_id]


def test_sub_accounts_have_their_own_list_of_calls(rig: Rig) -> None:
    """Each sub-account's recordings are joined with its own calls."""
    rig.simulator.set_now(NOW)
    main = rig.simulator.add_account("twilio")
    below = [rig.simulator.add_account("twilio", parent=main) for _ in range(2)]
    for account in (main, *below):
        rig.simulator.populate(account, "voice", 4, OLD, conference_share=0.0)
    rig.add_source("acme", "twilio", main, call_facts=True, subaccounts=True)
    assert sync(rig, NOW).exit_code == 0
    wanted = [truth(rig.simulator, account, "voice") for account in (main, *below)]
    assert in_sidecars(rig) | late(rig) == wanted[0] | wanted[1] | wanted[2]
    assert asked(rig.simulator) == 3


@pytest.mark.parametrize(
    ("provider", "kind", "api"), [("twilio-legacy", "twilio", "voice"), ("signalwire", "signalwire", "signalwire")]
)
def test_other_lists_of_calls(rig: Rig, provider: str, kind: Any, api: Api) -> None:
    """SignalWire's calls, and those of the 2008 API by the list of 2010, are told as Twilio's are."""
    rig.simulator.set_now(NOW)
    account = rig.simulator.add_account(kind)
    rig.simulator.populate(account, api, 6, OLD, conference_share=0.0)
    rig.add_source("acme", provider, account, call_facts=True)
    assert sync(rig, NOW).exit_code == 0
    assert in_sidecars(rig) | late(rig) == truth(rig.simulator, account, api)
    assert asked(rig.simulator) == 1


def test_telnyx_names_the_numbers_in_its_own_rows(rig: Rig) -> None:
    """Telnyx' sidecars tell who called whom without a further request."""
    rig.simulator.set_now(NOW)
    account = rig.simulator.add_account("telnyx")
    rig.simulator.populate(account, "telnyx", 4, OLD, conference_share=0.0)
    rig.add_source("tx", "telnyx", account, call_facts=True)
    assert sync(rig, NOW).exit_code == 0
    told = {(each["call"]["from"], each["call"]["to"]) for each in rig.sidecars().values()}
    assert told == {(each["raw"]["from"], each["raw"]["to"]) for each in rig.sidecars().values()}
    assert len(told) == 4
    assert asked(rig.simulator) == 0


def test_numbers_are_in_no_key_tag_log_manifest_or_ledger(
    rig: Rig, account: SimAccount, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Numbers are in sidecars and under `calls/`; not in keys, metadata, logs, manifests or the ledger."""
    from recvault.operations.manifests import Manifests

    gate = Gate(COUNT)
    rig.simulator.switches = Switches(calls_gate=gate.event)
    sync(rig, NOW, gate)  # all of it is late: the queue in the ledger is used
    rig.simulator.switches = Switches()
    later = NOW + timedelta(days=2)
    with rig.runtime(lambda: later) as runtime:
        Manifests.of(runtime, threads=1).write()
    calls = rig.simulator.calls(account, "voice")
    numbers = [number.lstrip("+") for call in calls for number in (call.from_, call.to)]
    objects = rig.objects()
    heads = [rig.s3.head_object(Bucket=rig.bucket, Key=key) for key in objects]
    read, written = capsys.readouterr(), [each.getMessage() for each in caplog.records]
    texts = [
        *objects,
        *(json.dumps(head["Metadata"]) for head in heads),
        *(body.decode() for key, body in objects.items() if key.startswith("manifests/")),
        read.out,
        read.err,
        *written,
        *(path.read_bytes().decode("latin-1") for path in rig.root.glob("ledger.db*") if path.is_file()),
    ]
    assert [number for number in numbers if any(number in text for text in texts)] == []
    assert all(number in "".join(json.dumps(each) for each in late(rig).values()) for number in numbers[:2])


def test_requests_are_at_most_a_thousandth_of_the_calls(rig: Rig) -> None:
    """A month of recordings asks for at most one page for each 1000 calls, and five percent more."""
    rig.transfer = {"stall_timeout": "60s"}  # no second request because of load
    rig.simulator.set_now(NOW)
    account = rig.simulator.add_account("twilio")
    count, every = 20_000, timedelta(minutes=2)
    rig.simulator.populate(account, "voice", count, NOW - timedelta(days=29), every, conference_share=0.0)
    rig.add_source("acme", "twilio", account, call_facts=True)
    with rig.runtime(lambda: NOW) as runtime:
        told, wanted = _asked_directly(runtime, account)
    assert len(told) == len(wanted) == count
    assert asked(rig.simulator) <= len(rig.simulator.calls(account, "voice")) / 1000 * 1.05


def _asked_directly(runtime: Runtime, account: SimAccount) -> tuple[Any, list[Wanted]]:
    wanted = _wanted(account)
    lines = runtime.lines("acme")
    session = lines.calls(account.account_id, 100_000, runtime.stop)
    return ask_calls(lines.provider, session, wanted, NOW).facts, wanted


def _wanted(account: SimAccount) -> list[Wanted]:
    return [
        Wanted(
            identity=("twilio", account.account_id, each.recording_id),
            call_id=each.call_id or "",
            created_at=each.created_at,
            began_at=each.started_at,
        )
        for each in account.shelves["voice"]
    ]


def test_a_poll_reads_no_further_than_its_new_recordings(rig: Rig) -> None:
    """For the newest recording of a busy day one page of calls is read, not the whole day."""
    rig.simulator.set_now(NOW)
    account = rig.simulator.add_account("twilio")
    rig.simulator.populate(
        account, "voice", 3_000, NOW - timedelta(hours=10), timedelta(seconds=10), conference_share=0.0
    )
    rig.add_source("acme", "twilio", account, call_facts=True)
    newest = max(account.shelves["voice"], key=lambda each: each.created_at)
    with rig.runtime(lambda: NOW) as runtime:
        lines = runtime.lines("acme")
        identity = ("twilio", account.account_id, newest.recording_id)
        one = Wanted(
            identity=identity, call_id=newest.call_id or "", created_at=newest.created_at, began_at=newest.started_at
        )
        session = lines.calls(account.account_id, 100_000, runtime.stop)
        told = ask_calls(lines.provider, session, [one], NOW)
    assert {identity: without_time(told.facts[identity])} == {
        identity: truth(rig.simulator, account, "voice")[newest.recording_id]
    }
    assert (told.requests, asked(rig.simulator)) == (1, 1)


@pytest.fixture
def refusing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A bucket that takes nothing under `calls/` while the list is empty."""
    from recvault.dispatch import calls_writer
    from recvault.errors import StoreUnavailable

    allowed: list[str] = []
    whole = calls_writer.LateCalls.put

    def put(self: calls_writer.LateCalls, late: Any) -> list[str]:
        if not allowed:
            raise StoreUnavailable("the bucket takes nothing")
        return whole(self, late)

    monkeypatch.setattr(calls_writer.LateCalls, "put", put)
    yield allowed


def test_late_facts_wait_for_the_bucket(rig: Rig, account: SimAccount, refusing: list[str]) -> None:
    """Facts that the bucket did not take stay queued, and are put by a later pass."""
    gate = Gate(COUNT)
    rig.simulator.switches = Switches(calls_gate=gate.event)
    assert sync(rig, NOW, gate).exit_code == 0
    assert late(rig) == {}
    refusing.append("now")
    assert sync(rig, NOW + timedelta(hours=1)).exit_code == 0
    assert late(rig) == truth(rig.simulator, account, "voice")


def test_worker_processes_get_the_facts_too(rig: Rig, account: SimAccount) -> None:
    """With worker processes, each recording's facts are in its sidecar or under `calls/` at the end of the pass."""
    from recvault.workers.executors import executor

    rig.transfer |= {"workers": 2, "processes": 2}
    rig.simulator.set_now(NOW)
    runtime = rig.runtime(lambda: NOW)
    runtime._executor = executor
    with runtime:
        assert runtime.sync("sync", ["acme"]).exit_code == 0
    assert in_sidecars(rig) | late(rig) == truth(rig.simulator, account, "voice")


def test_rebuild_and_verify_read_sidecars_with_and_without_a_call(rig: Rig, account: SimAccount) -> None:
    """A receipt read from a sidecar says whether the sidecar tells of the call."""
    sync(rig, NOW)
    documents = list(rig.sidecars().values())
    with_call = Sidecar({**documents[0], "call": {"from": None}}, "")
    without = Sidecar({key: value for key, value in documents[0].items() if key != "call"}, "")
    assert (with_call.has_call, without.has_call, without.fault) == (True, False, None)
    assert replace(with_call.receipt(with_call.recording, "k"), has_call=False) == without.receipt(
        without.recording, "k"
    )


def _job(rig: Rig, account: SimAccount, runtime: Runtime) -> Job:
    """Return the job of the account's first recording, read by its id."""
    from recvault.discovery.scan import by_id

    line = runtime.lines("acme")(account.account_id)
    first = next(iter(account.shelves["voice"]))
    recording = by_id(line.provider, line.session, first.recording_id)
    return Job(source="acme", recording=recording, attempt=1, maybe_archived=False)


def test_what_is_known_when_the_sidecar_is_written_is_in_it(rig: Rig, account: SimAccount) -> None:
    """Facts that came after the job began are in the sidecar, and the receipt says so."""
    call = truth(rig.simulator, account, "voice")
    with rig.runtime(lambda: NOW) as runtime:
        job = _job(rig, account, runtime)
        runtime.calls.note({job.recording.identity: call[job.recording.recording_id]})
        runtime.prepare_store()
        receipt = runtime.transfer()(job)
    assert getattr(receipt, "has_call", None) is True
    assert in_sidecars(rig) == {job.recording.recording_id: call[job.recording.recording_id]}


def test_a_job_takes_the_facts_along(rig: Rig, account: SimAccount) -> None:
    """A worker that knows no facts writes those that its job brought."""
    call = truth(rig.simulator, account, "voice")
    with rig.runtime(lambda: NOW) as runtime, rig.runtime(lambda: NOW) as other:
        job = _job(rig, account, runtime)
        desk = runtime.call_desk([runtime.listed("acme")])
        assert desk is not None
        assert desk.lend(job) is job
        runtime.calls.note({job.recording.identity: call[job.recording.recording_id]})
        other.prepare_store()
        receipt = other.transfer()(desk.lend(job))
        desk.settled(receipt)
        assert runtime.calls(job.recording) is None, "it is in the sidecar: no longer needed"
    assert in_sidecars(rig) == {job.recording.recording_id: call[job.recording.recording_id]}


def test_a_list_of_calls_that_failed_is_left_alone_for_a_while(rig: Rig, account: SimAccount) -> None:
    """After a failure it is not asked for ten minutes, then again."""
    moments = [NOW]
    with rig.runtime(lambda: moments[-1]) as runtime:
        desk = runtime.call_desk([runtime.listed("acme")])
        assert desk is not None
        place, wanted = ("acme", account.account_id), _wanted(account)[:1]
        rig.simulator.switches = Switches(calls_status=500)
        assert desk._ask(place, wanted) is None
        before = asked(rig.simulator)
        rig.simulator.switches = Switches()
        moments.append(NOW + timedelta(minutes=9))
        assert (desk._ask(place, wanted), asked(rig.simulator)) == (None, before)
        moments.append(NOW + timedelta(minutes=11))
        told = desk._ask(place, wanted)
        assert (told is not None, asked(rig.simulator)) == (True, before + 1)


def test_a_bucket_with_an_earlier_schema_goes_on(rig: Rig, account: SimAccount) -> None:
    """An archive whose bucket holds the schema of an earlier version is continued."""
    rig.s3.put_object(Bucket=rig.bucket, Key="schemas/sidecar-v1.json", Body=b"{}")
    assert sync(rig, NOW).exit_code == 0
    assert len(rig.sidecars()) == COUNT
