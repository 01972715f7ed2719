"""One configuration at work, in this process: its jobs, and whether it notices a hang."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cli.commands import until
from daemon.conftest import Told
from daemon.started import archived, ids, lists
from dispatch.test_call_facts import late, truth
from recvault import config
from recvault.app import wiring
from recvault.daemon import schedule as schedule_module
from recvault.daemon import service as service_module
from recvault.daemon.service import DaemonService
from recvault.http import Timing
from recvault.ledger import Ledger
from recvault.monitoring.metrics import Metrics
from recvault.monitoring.report import Report
from recvault.monitoring.risks import Reason, Risk
from recvault.simulator import SimAccount, Simulator
from rig import Rig, now
from strict_s3 import Bucket

Open = Callable[[], DaemonService]


@pytest.fixture
def opened(rig: Rig, told: Told) -> Iterator[Open]:
    """Open the rig's service; it is stopped when the test ends."""
    services: list[DaemonService] = []

    def begin() -> DaemonService:
        report = Report(command="run", started_at=now())
        services.append(DaemonService(config.load(rig.config_path), clock=now, report=report, metrics=Metrics()))
        services[-1].open()
        return services[-1]

    yield begin
    for service in services:
        service.ask_stop()
        service.join()
        service.close()


@pytest.fixture
def root(rig: Rig, simulator: Simulator) -> SimAccount:
    """An account with two sub-accounts, polled often."""
    root = simulator.add_account("twilio")
    for account in (root, *(simulator.add_account("twilio", parent=root) for _ in range(2))):
        simulator.populate(account, "voice", count=2, conference_share=0)
    rig.add_source("voice", "twilio", root, subaccounts=True, poll_every="0.4s")
    return root


def jobs(service: DaemonService) -> dict[str, set[str]]:
    """Return the accounts that have a job of this kind."""
    names = [name.split(":") for name in service._schedule.names()]
    kinds = ("poll", "reconcile")
    return {kind: {name[2] for name in names if name[0] == kind and len(name) > 2} for kind in kinds}


def test_each_sub_account_has_jobs_of_its_own(
    simulator: Simulator, root: SimAccount, strict_bucket: Bucket, opened: Open
) -> None:
    """A new sub-account is polled at once; a closed one until it was read and its list is refused."""
    first, second = [each for each in simulator._world.accounts.values() if each.parent is root]
    service = opened()
    service.start()
    until(lambda: jobs(service)["poll"] == {first.account_id, second.account_id})
    assert jobs(service)["reconcile"] == {root.account_id, first.account_id, second.account_id}
    until(lambda: archived(strict_bucket) == ids(simulator, root, first, second))

    third = simulator.add_account("twilio", parent=root)
    simulator.populate(third, "voice", count=2, conference_share=0)
    object.__setattr__(first, "status", "closed")
    until(lambda: "closed" in (service.runtime.ledger.fact("closing:voice") or ""))
    asked = lists(simulator, first.account_id)
    until(lambda: lists(simulator, first.account_id) >= asked + 2)
    simulator.switches = replace(simulator.switches, inactive_accounts="refused")
    until(lambda: jobs(service)["poll"] == {second.account_id, third.account_id})
    assert jobs(service)["reconcile"] == {root.account_id, second.account_id, third.account_id}
    until(lambda: ids(simulator, third) <= archived(strict_bucket))
    asked, others = lists(simulator, first.account_id), lists(simulator, third.account_id)
    until(lambda: lists(simulator, third.account_id) >= others + 2)
    assert lists(simulator, first.account_id) - asked <= 1  # one may have been running
    assert len(archived(strict_bucket)) == 8


def test_an_enumeration_that_fails_drops_none(
    simulator: Simulator,
    root: SimAccount,
    strict_bucket: Bucket,
    opened: Open,
    told: Told,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While sub-accounts cannot be listed, the known ones are still polled."""
    monkeypatch.setattr(wiring, "Timing", functools.partial(Timing, tries=1))
    children = [each for each in simulator._world.accounts.values() if each.parent is root]
    service = opened()
    service.start()
    until(lambda: len(jobs(service)["poll"]) == 2 and len(archived(strict_bucket)) == 6)
    simulator.faults.plan("http_500", match="Accounts.json", times=10_000)
    until(lambda: [each["list"] for each in told("discover.failed")].count("accounts") >= 2)
    assert jobs(service)["poll"] == {child.account_id for child in children}
    seen = {child.account_id: lists(simulator, child.account_id) for child in children}
    until(lambda: all(lists(simulator, name) >= count + 2 for name, count in seen.items()))
    words = [health.words for status, health in service.judged() if status.feed.account_id == root.account_id]
    assert any("the list of sub-accounts" in each for each in words), words


def test_an_enumeration_that_fails_at_first_takes_those_met_before(
    simulator: Simulator, root: SimAccount, strict_bucket: Bucket, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the first enumeration after a start fails, the sub-accounts in the ledger are polled."""
    children = {each.account_id for each in simulator._world.accounts.values() if each.parent is root}
    before = opened()
    before.start()
    until(lambda: len(archived(strict_bucket)) == 6)
    before.ask_stop()
    assert before.join()
    simulator.faults.plan("http_500", match="Accounts.json", times=10_000)
    monkeypatch.setattr(wiring, "Timing", functools.partial(Timing, tries=1))
    service = opened()
    service.start()
    until(lambda: jobs(service)["poll"] == children)


def test_all_goes_on(rig: Rig, simulator: Simulator, opened: Open) -> None:
    """A service that works or waits for work is never reported as hanging."""
    rig.add_source("voice", "twilio", simulator.add_account("twilio"), poll_every="0.4s")
    service = opened()
    service.start()
    until(lambda: simulator.count(lambda each: True) >= 3)
    assert (service.silent(10), service.troubles()) == (None, [])


def test_a_scheduler_that_stands_still_is_named(
    rig: Rig, simulator: Simulator, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hanging scheduler is detected by its missing beat, whatever its jobs' threads do."""
    monkeypatch.setattr(schedule_module, "_BEAT_SECONDS", 0.1)
    rig.add_source("voice", "twilio", simulator.add_account("twilio"), poll_every="0.4s")
    service = opened()
    service.start()
    service._schedule._scheduler.pause()
    until(lambda: "the scheduler has been stuck" in (service.silent(2.5) or ""))
    service._schedule._scheduler.resume()
    until(lambda: service.silent(2.5) is None)


def test_a_dispatch_that_hangs_is_named(
    rig: Rig, simulator: Simulator, root: SimAccount, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim that does not return is detected, and so is its return."""
    goes_on = threading.Event()
    claim = Ledger.claim

    def hangs(self: Ledger, *asked: Any) -> Any:
        goes_on.wait(20)
        return claim(self, *asked)

    monkeypatch.setattr(Ledger, "claim", hangs)
    monkeypatch.setattr(schedule_module, "_BEAT_SECONDS", 0.1)
    service = opened()
    service.start()
    until(lambda: "the dispatcher has been stuck" in (service.silent(2.5) or ""))
    goes_on.set()
    until(lambda: service.silent(2.5) is None)


def test_a_transfer_that_hangs_is_named(
    rig: Rig, simulator: Simulator, root: SimAccount, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker thread without signs of life is detected, even if scheduler and dispatcher continue."""
    monkeypatch.setattr(service_module, "_SILENT_SECONDS", 0.5)
    simulator.faults.plan("stall", kind="media", times=100)
    rig.transfer["stall_timeout"] = "2s"
    service = opened()
    service.start()
    until(lambda: service.work.dispatch.running > 0)
    service.runtime.stop.pulse.beat()
    monkeypatch.setattr(type(service.runtime.stop.pulse), "beat", lambda self: None)
    until(lambda: "a thread has made no progress" in (service.silent(60) or ""))


def test_a_clock_that_was_set_makes_all_due(
    rig: Rig, simulator: Simulator, strict_bucket: Bucket, opened: Open
) -> None:
    """After a jump of the clock, sources that are polled hourly are polled at once."""
    account = simulator.add_account("twilio")
    rig.add_source("voice", "twilio", account, poll_every="1h")
    service = opened()
    service.start()
    until(lambda: lists(simulator, account.account_id) == 1)
    moment = simulator.now
    simulator.add(account, "voice", created_at=moment - timedelta(minutes=5), visible_at=moment)

    def is_polled_again() -> bool:
        service.clock_was_set()  # a turn during the first poll is skipped
        return lists(simulator, account.account_id) >= 2

    until(is_polled_again)
    until(lambda: archived(strict_bucket) == ids(simulator, account) != set())


def test_a_bug_in_the_dispatch_ends_one_turn(
    rig: Rig,
    simulator: Simulator,
    root: SimAccount,
    strict_bucket: Bucket,
    opened: Open,
    told: Told,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An unexpected error is logged with its traceback, counted and told, and the next turn archives all."""
    claim, broken, bugs = Ledger.claim, [ZeroDivisionError("a bug")] * 2, list[Reason]()

    def claims(self: Ledger, *asked: Any) -> Any:
        bugs.extend(service.bugs())
        if broken:
            raise broken.pop()
        return claim(self, *asked)

    monkeypatch.setattr(Ledger, "claim", claims)
    service = opened()
    service.start()
    until(lambda: len(archived(strict_bucket)) == 6)
    assert {(each.risk, each.message.split(" ended")[0]) for each in bugs} == {(Risk.BUG, "the last turn of dispatch")}
    until(lambda: service.bugs() == [])  # its turn may not have ended yet
    failed = told("job.failed")
    assert [each["job"] for each in failed] == ["dispatch"] * 2
    assert "ZeroDivisionError" in failed[0]["exception"]
    lines = service._metrics.text().decode().splitlines()
    counted = [line.split() for line in lines if line.startswith("recvault_job_errors_total{")]
    errors = {name: float(count) for name, count in counted}
    assert errors.pop('recvault_job_errors_total{task="dispatch"}') == 2
    assert errors and set(errors.values()) == {0}, "each of the other tasks is there from the start"


def test_a_bug_of_a_job_is_told_until_its_next_turn_goes_well(rig: Rig, root: SimAccount, opened: Open) -> None:
    """A scheduled job that failed unexpectedly is a risk; once its next turn has ended, it is none."""
    service, broken, told = opened(), [ZeroDivisionError("a bug")], list[list[str]]()

    def work() -> None:
        if broken:
            raise broken.pop()
        told.append([each.message for each in service.bugs()])

    service.look_in("probe", timedelta(seconds=0.1), work)
    service.start()
    until(lambda: len(told) >= 2)
    assert [message.split(" ended")[0] for message in told[0]] == ["the last turn of probe"]
    assert told[1] == []


def test_calls_are_told_after_their_list_was_down(
    rig: Rig, simulator: Simulator, strict_bucket: Bucket, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the list of calls fails, all is archived; once it answers, the daemon puts the facts under `calls/`."""
    monkeypatch.setattr(service_module, "SOON", timedelta(seconds=0.2))
    account, later = simulator.add_account("twilio"), [timedelta()]
    simulator.populate(account, "voice", count=4, conference_share=0)
    rig.add_source("voice", "twilio", account, call_facts=True)
    simulator.switches = replace(simulator.switches, calls_status=503)
    report = Report(command="run", started_at=now())
    service = DaemonService(
        config.load(rig.config_path), clock=lambda: now() + later[0], report=report, metrics=Metrics()
    )
    try:
        service.open()
        service.start()
        until(lambda: archived(strict_bucket) == ids(simulator, account))
        until(lambda: bool(told("calls.failed")))
        assert late(rig) == {}
        simulator.switches = replace(simulator.switches, calls_status=200)
        later[0] = timedelta(hours=1)
        until(lambda: late(rig) == truth(simulator, account, "voice"))
    finally:
        service.ask_stop()
        service.join()
        service.close()
    assert service.work.calls is not None and service.work.calls._thread is not None
    assert not service.work.calls._thread.is_alive()
