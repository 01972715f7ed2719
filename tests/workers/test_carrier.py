"""A carrier matches its planner or is refused; and what a provider's refusal does to a running batch."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace

import pytest

from recvault import config
from recvault.app.runtime import Runtime
from recvault.app.transfer_setup import Equipment
from recvault.config import NotifySettings
from recvault.errors import WorkerBug
from recvault.models import ACCOUNT, Failure, Job, Window
from recvault.simulator import Simulator
from recvault.workers import carrier
from recvault.workers.carrier import Batch, BucketQuestionsBatch, Carriage, carry
from recvault.workers.equality import Inspected, inspect
from recvault.workers.spec import Spec
from recvault.workers.turns import ASKED, Begin
from rig import Rig, now


@pytest.fixture
def planner(rig: Rig, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Runtime, list[Job]]]:
    """A runtime, and due jobs of a source whose token is in the environment."""
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=6, conference_share=0)
    rig.add_source("voice", "twilio", account, auth_token={"env": "TOKEN"})
    rig.transfer["workers"] = 1
    monkeypatch.setenv("TOKEN", account.credentials["auth_token"])
    with Runtime(config.load(rig.config_path), clock=now) as runtime:
        runtime.prepare_store()
        source = runtime.listed("voice")
        line = source.line(source.account_id)
        page, _ = next(line.session.pages(line.provider, line.provider.list_request(Window(), ACCOUNT)))
        jobs = [Job(source="voice", recording=each, attempt=1, maybe_archived=False) for each in page.recordings]
        yield runtime, jobs


def spec_of(runtime: Runtime) -> Spec:
    return Spec.of(runtime.settings, runtime.store.facts)


def batch_of(runtime: Runtime, jobs: list[Job]) -> Batch:
    begun = tuple(Begin(number, each.source, pickle.dumps(each)) for number, each in enumerate(jobs))
    return Batch(runtime.lender.key("voice"), begun, (0.0,) * len(jobs))


def test_a_spec_holds_no_secret_and_a_batch_shows_nothing(
    planner: tuple[Runtime, list[Job]], simulator: Simulator
) -> None:
    """A spec contains no secret, and neither spec nor batch shows content in an engine's log."""
    runtime, jobs = planner
    spec, batch = spec_of(runtime), batch_of(runtime, jobs)
    [secret] = runtime.settings.sources[0].secrets.values()
    assert secret.resolve().encode() not in pickle.dumps((spec, batch))
    assert (repr(spec), repr(batch)) == (f"<run {spec.run[:8]}>", "<6 jobs>")


def test_a_carrier_of_another_version_begins_nothing(planner: tuple[Runtime, list[Job]], simulator: Simulator) -> None:
    """It returns the reason, and raises nothing that an engine would log."""
    runtime, jobs = planner
    before = len(simulator.requests)
    spec = replace(spec_of(runtime), version="0.0.1", packed=b"of another version")
    found = carry(spec, batch_of(runtime, jobs))
    assert found.refused is not None and "the command 0.0.1" in found.refused
    assert (found.done, len(simulator.requests)) == ((), before)
    assert inspect(spec, False) == Inspected(version=found.refused.split()[3].rstrip(","), config="", prints={})


@pytest.mark.parametrize("theirs", ["another one", None], ids=["another", "none"])
def test_a_carrier_with_another_secret_begins_nothing(
    planner: tuple[Runtime, list[Job]], simulator: Simulator, monkeypatch: pytest.MonkeyPatch, theirs: str | None
) -> None:
    """It names the secret, without any value."""
    runtime, jobs = planner
    spec, before = spec_of(runtime), len(simulator.requests)
    if theirs is None:
        monkeypatch.delenv("TOKEN")
    else:
        monkeypatch.setenv("TOKEN", theirs)
    found = carry(spec, batch_of(runtime, jobs))
    words = "has another secret for" if theirs else "does not have the secret"
    assert found.refused is not None and f"it {words} sources.voice.auth_token" in found.refused
    assert "another one" not in found.refused
    assert len(simulator.requests) == before


def test_a_refusal_ends_a_batch_early(planner: tuple[Runtime, list[Job]], simulator: Simulator) -> None:
    """Unstarted jobs come back at once, so that the planner learns of the requested pause."""
    runtime, jobs = planner
    spec = spec_of(runtime)
    simulator.faults.plan("http_429", kind="media", times=1)
    found = carry(spec, batch_of(runtime, jobs))
    carrier.let_go(spec.run)
    ended, unbegun = {each.number for each in found.done}, set(found.unbegun)
    assert found.refused is None and unbegun
    assert (ended | unbegun, ended & unbegun) == ({0, 1, 2, 3, 4, 5}, set())
    [used] = found.used.values()
    assert 429 in {noted.status for noted in used.noted}


def test_a_carrier_puts_a_probe_object_and_removes_it(planner: tuple[Runtime, list[Job]], rig: Rig) -> None:
    """It puts a probe object and removes it, so that `check` knows that its bucket credentials work."""
    runtime, _ = planner
    spec, before = spec_of(runtime), rig.objects()
    inspect(spec, True).check(spec)
    assert rig.objects() == before
    runtime.settings.archive.__dict__["bucket"] = "nobodys-bucket"
    assert "nobodys-bucket" in inspect(spec_of(runtime), True).put


def test_no_notification_address_travels(planner: tuple[Runtime, list[Job]]) -> None:
    """A webhook's URL often contains its secret, and no worker notifies anyone: it is not sent."""
    runtime, _ = planner
    told = {"webhook": "https://hooks.example.com/services/T000/HIDDEN", "webhook_secret": {"env": "SIGNS"}}
    notify = NotifySettings.model_validate(told)
    settings = runtime.settings.model_copy(update={"notify": notify})
    spec = Spec.of(settings, runtime.store.facts)
    assert b"HIDDEN" not in spec.packed
    assert spec.unpacked()[0].notify == NotifySettings()


def test_a_stop_during_the_building_of_clients_is_followed(
    planner: tuple[Runtime, list[Job]], simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A planner's stop reaches a batch whose clients are still being built: no job of it starts."""
    runtime, jobs = planner
    spec, before = spec_of(runtime), len(simulator.requests)

    def built_meanwhile(spec: Spec) -> Carriage:
        carrier.tell(spec.run, ASKED)
        return Carriage(spec)

    monkeypatch.setattr(carrier, "Carriage", built_meanwhile)
    found = carry(spec, batch_of(runtime, jobs))
    carrier.let_go(spec.run)
    outcomes = [done.outcome(job) for done, job in zip(found.done, jobs, strict=True)]
    assert {each.reason for each in outcomes if isinstance(each, Failure)} == {"drained"}
    assert len(simulator.requests) == before


def test_orders_are_remembered_of_the_latest_planners(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that serves many planners does not remember the stops of all."""
    monkeypatch.setattr(carrier, "_orders", {})
    for number in range(carrier._MOST_ORDERED + 3):
        carrier.tell(f"run {number}", ASKED)
    assert (len(carrier._orders), next(iter(carrier._orders))) == (carrier._MOST_ORDERED, "run 3")


def test_clients_that_are_about_to_be_used_are_not_closed(
    planner: tuple[Runtime, list[Job]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another planner's first batch closes idle clients, but never those that a batch has just been given."""
    runtime, jobs = planner
    monkeypatch.setattr(carrier, "_IDLE_SECONDS", -1.0)
    specs = [spec_of(runtime) for _ in range(3)]
    given = carrier._carriage(specs[0])
    carrier._carriage(specs[1])
    assert not given.stop.asked.is_set()
    assert len(given.carry(batch_of(runtime, jobs)).done) == 6
    carrier._carriage(specs[2])
    assert given.stop.asked.is_set()
    for spec in specs:
        carrier.let_go(spec.run)


@pytest.mark.parametrize("broken", ["budget_at", "spending"])
def test_a_bug_around_a_batch_is_a_result(
    planner: tuple[Runtime, list[Job]], monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """Nothing is raised, because an engine logs it: the bug is the result of each job that has not ended."""
    runtime, jobs = planner
    spec = spec_of(runtime)

    def bug(*_: object) -> None:
        raise KeyError("of a recording")

    monkeypatch.setattr(Equipment, broken, bug)
    found = carry(spec, batch_of(runtime, jobs))
    carrier.let_go(spec.run)
    outcomes = [each.outcome(job) for each, job in zip(found.done, jobs, strict=True)]
    bugs = [each.kind for each in outcomes if isinstance(each, WorkerBug)]
    assert bugs == (["KeyError"] * 6 if broken == "budget_at" else [])
    assert found.refused is None


def test_a_bug_around_questions_is_an_answer(
    planner: tuple[Runtime, list[Job]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is raised where no reader of the bucket can be made."""
    runtime, _ = planner
    spec = spec_of(runtime)

    def bug(*_: object) -> None:
        raise KeyError("no reader")

    monkeypatch.setattr(type(runtime.store), "reader", bug)
    told = carrier.read(spec, BucketQuestionsBatch(b"", b""))
    carrier.let_go(spec.run)
    [found] = pickle.loads(told.packed)
    assert (type(found), found.kind) == (WorkerBug, "KeyError")
