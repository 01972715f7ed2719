"""Faults and deaths while recordings are deleted: nothing twice, nothing unproven, no record that is wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from cli.commands import run
from operations.prune.lab import NOW, archived, away, confirmed, prune, pruned, recorded, records, verified
from recvault.errors import Interrupted, NotFound
from recvault.http import Session
from recvault.ledger.pruned import Pruned
from recvault.operations.prune.deletion_records import PruneRecords
from recvault.providers.base import Reply
from recvault.providers.twilio import Twilio
from recvault.shutdown import Stop
from recvault.simulator import SimAccount, Switches, simulated_service
from recvault.simulator.exchange import error
from rig import Rig

RECORDINGS = int(os.environ.get("RECVAULT_TEST_RECORDINGS", "120"))
PROVIDERS = ("twilio", "twilio-video", "telnyx", "signalwire")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back off without waiting."""
    monkeypatch.setattr(Stop, "sleep", lambda self, seconds: self.check())


def prune_all(rig: Rig, most: int = 60) -> list[dict[str, Any]]:
    """Run it again and again until nothing is left."""
    reports = []
    for _ in range(most):
        reports.append(prune(rig, limit=50))
        if reports[-1]["outcome"] == "ok" and not reports[-1]["limit_reached"]:
            return reports
    raise AssertionError(f"not done after {most} runs: {reports[-1]}")


def check(rig: Rig, account: SimAccount) -> None:
    """Ledger, records and provider agree; each was deleted once, after its proof was recorded; nothing was fetched."""
    gone = away(rig.simulator, account)
    assert gone == recorded(rig) == pruned(rig)
    assert set(confirmed(rig.simulator).values()) <= {1}
    assert gone <= {each["recording_id"] for each in records(rig, "intent")}
    fetched = [each.path for each in rig.simulator.requests if each.path.endswith((".wav", "/Media"))]
    assert fetched == []


@pytest.mark.parametrize("provider", PROVIDERS)
def test_with_one_request_in_ten_failing(rig: Rig, provider: str) -> None:
    """With faults on one request in ten, each recording is deleted once, and records, ledger and provider agree."""
    rig.simulator.switches = Switches(retry_after="absent")
    account = archived(rig, RECORDINGS // len(PROVIDERS), provider)
    held_back = sorted(each.recording_id for each in rig.simulator.recordings(account))[0]
    key = next(key for key in rig.objects() if held_back in key and not key.endswith(".json"))
    rig.s3.delete_object(Bucket=rig.bucket, Key=key)  # not proven
    for name, share in (("http_500", 0.04), ("http_429", 0.03), ("reset", 0.03)):
        rig.simulator.faults.share(name, share)
    reports = prune_all(rig)
    rig.simulator.faults.off()
    check(rig, account)
    everything = {each.recording_id for each in rig.simulator.recordings(account)}
    assert away(rig.simulator, account) == everything - {held_back}
    assert sum(each["deleted"] + each["gone"] for each in reports) == len(everything) - 1


def test_a_lost_answer_is_asked_about(rig: Rig) -> None:
    """If the deletion took place and its answer is lost, it counts as gone, and is not reported as failed."""
    account = archived(rig, 2)
    rig.simulator.faults.plan("reset", kind="delete", times=1)
    report = prune(rig)
    assert (report["deleted"], report["gone"], report["outcome"]) == (1, 1, "ok")
    assert not rig.simulator.faults.unfired()
    check(rig, account)


def test_what_stays_uncertain_is_recorded_so(rig: Rig) -> None:
    """If the provider says neither, the record says unknown, the exit code is 3, and the next run finds out."""
    account = archived(rig, 2)
    rig.simulator.faults.plan("http_500", kind="delete", times=3)
    rig.simulator.faults.plan("http_500", kind="instance", times=3)
    report = prune(rig)
    assert (report["deleted"], report["unknown"], report["outcome"]) == (1, 1, "partial")
    assert sorted(each["deletion"] for each in records(rig, "done")) == ["deleted", "unknown"]
    check(rig, account)
    assert prune(rig)["deleted"] == 1
    check(rig, account)


def test_a_failed_one_stays_and_is_named(rig: Rig) -> None:
    """If the provider still has it after a failed deletion, it is kept, named, and tried again by the next run."""
    account = archived(rig, 2)
    rig.simulator.faults.plan("http_500", kind="delete", times=3)
    report = prune(rig)
    assert (report["deleted"], report["kept"], report["outcome"]) == (1, 1, "partial")
    assert len(report["failures"]) == 1
    check(rig, account)
    assert prune(rig)["deleted"] == 1
    check(rig, account)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_what_others_deleted_counts_as_gone(rig: Rig, provider: str) -> None:
    """A recording that somebody deleted before is gone: the provider answers 404 and has it no longer."""
    account = archived(rig, 2, provider)
    rig.simulator.set_now(NOW)
    rig.simulator.delete(rig.simulator.recordings(account)[0])
    report = prune(rig)
    assert (report["deleted"], report["gone"], report["outcome"]) == (1, 1, "ok")
    check(rig, account)


def test_a_404_alone_is_no_proof(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a deletion is answered 404 but the recording is still there, it is not recorded as deleted."""
    archived(rig, 2)
    monkeypatch.setattr(Twilio, "deleted", "/Nowhere/{recording}.json")
    report = prune(rig)
    assert (report["deleted"], report["gone"], report["kept"]) == (0, 0, 2)
    assert (recorded(rig), pruned(rig)) == (set(), set())


@pytest.mark.parametrize(("recordings", "kept"), [(6, 2), (2, 2)])
def test_credentials_that_may_not_delete_end_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, recordings: int, kept: int
) -> None:
    """After three refusals in a row nothing more is asked: exit code 77; fewer are failures of their recordings."""
    account = archived(rig, recordings)
    answered = simulated_service.SimulatedService._reply

    def refused(self: Any, request: Any, route: Any, shot: Any) -> Any:
        if request.method == "DELETE":
            return error("json", 403, 20003, "Permission denied"), None
        return answered(self, request, route, shot)

    monkeypatch.setattr(simulated_service.SimulatedService, "_reply", refused)
    report = prune(rig)
    assert (report["deleted"], report["kept"], len(report["errors"])) == (0, kept, int(recordings > 2))
    assert (away(rig.simulator, account), recorded(rig), pruned(rig)) == (set(), set(), set())
    asked = [each for each in rig.simulator.requests if each.method == "DELETE"]
    assert len(asked) == min(recordings, 3)
    assert run(rig, "prune", "--source", "acme", "--older-than", "30d").code == (77 if recordings > 2 else 3)


class Death(BaseException):
    """The process dies: nothing is caught or cleaned up."""


@dataclass
class Steps:
    """Counts the effects of a run, and dies before or after one of them."""

    dies_at: int = -1
    seen: list[str] = field(default_factory=list)

    def step(self, name: str) -> None:
        self.seen.append(name)
        if len(self.seen) - 1 == self.dies_at:
            raise Death(name)

    def around(self, kind: type, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = getattr(kind, name)

        def stepped(this: Any, *args: Any, **more: Any) -> Any:
            self.step(f"before {name}")
            result = whole(this, *args, **more)
            self.step(f"after {name}")
            return result

        monkeypatch.setattr(kind, name, stepped)


EFFECTS = ((PruneRecords, "_put"), (Session, "send"), (Pruned, "mark"))


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[Steps]:
    steps = Steps()
    for kind, name in EFFECTS:
        steps.around(kind, name, monkeypatch)
    monkeypatch.setattr("recvault.operations.prune.run._TOGETHER", 2)
    yield steps


@pytest.mark.parametrize("place", range(20))
def test_killed_at_any_step_it_is_resumed(rig: Rig, steps: Steps, place: int) -> None:
    """Killed before or after any effect, the next run ends it: each deleted once, each recorded, none wrongly."""
    account = archived(rig, 3)
    steps.dies_at = place
    try:
        prune(rig)
    except Death:
        assert recorded(rig) <= away(rig.simulator, account)  # no record claims a deletion that did not happen
    else:
        assert place >= len(steps.seen), "every effect has its death"
    steps.dies_at = -1
    assert prune(rig)["outcome"] == "ok"
    assert len(away(rig.simulator, account)) == 3
    check(rig, account)
    assert verified(rig).exit_code == 0


def test_a_stop_leaves_nothing_open(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop ends the run after the present request; what it did is recorded, and the next run goes on."""
    account = archived(rig, 4)
    send, asked = Session.send, list[str]()

    def stopping(self: Session, request: Any) -> Any:
        asked.append(str(request.url))
        if len(asked) == 2:
            self.stop.asked.set()
            raise Interrupted("stop requested")
        return send(self, request)

    monkeypatch.setattr(Session, "send", stopping)
    report = prune(rig)
    assert (report["outcome"], report["deleted"], len(asked)) == ("interrupted", 1, 2)
    assert sorted(each["deletion"] for each in records(rig, "done")) == ["deleted", "kept", "kept", "unknown"]
    check(rig, account)
    assert prune(rig)["deleted"] == 3
    check(rig, account)


@pytest.mark.parametrize("status", [200, 404])
def test_a_proxy_that_answers_everything_deletes_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """Where a web page answers deletions and questions alike, nothing counts as deleted, nor as gone."""
    account = archived(rig, 3)

    def answered(self: Session, request: Any, *rest: Any) -> Reply:
        if status == 404:
            raise NotFound("the proxy answered 404").answered(404)
        return Reply(request, 200, request.headers, b"<html>Sign in</html>")

    monkeypatch.setattr(Session, "send", answered)
    report = prune(rig)
    assert (report["deleted"], report["gone"], report["outcome"]) == (0, 0, "partial")
    assert (pruned(rig), recorded(rig), away(rig.simulator, account)) == (set(), set(), set())
