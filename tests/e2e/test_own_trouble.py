"""One recording's problem affects no other, and the account's problems cost no recording an attempt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from e2e.troubled import DAY, HOUR, T0, Troubled, quick, troubled
from recvault.dispatch.backfill import Asked
from recvault.models import Scope, Window
from recvault.simulator import Simulator
from recvault.simulator.exchange import Request
from recvault.testing import Answer
from strict_s3 import StrictS3


@pytest.fixture
def account(
    tmp_path: Path, simulator: Simulator, strict_s3: StrictS3, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Troubled]:
    quick(monkeypatch)
    with troubled(tmp_path, simulator, strict_s3, max_attempts=2) as made:
        yield made


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("part", [".wav", ""])
def test_one_that_is_refused_holds_back_no_other_and_dies_of_it(account: Troubled, status: int, part: str) -> None:
    """A recording refused forever ends dead, exit 3; the others are archived."""
    poison, *others = account.add(20)
    refused = {f"{poison.recording_id}{part.replace('.', '__')}": status}
    account.answer(**refused)
    report = account.report(T0)
    assert (report.exit_code, report.codes) == (3, set())
    assert account.sync(T0 + HOUR).dead == 1
    assert set(account.rig.sidecars()) == {each.recording_id for each in others}
    row = account.row(poison)
    assert (row["state"], row["reason"], row["faults"], row["attempts"]) == ("dead", "provider.denied", 2, 2)
    late = account.add(created_at=T0 + HOUR)  # it is listed and archived as usual
    assert account.sync(T0 + 2 * HOUR).archived == len(late)


def test_where_the_list_is_refused_too_it_is_nobodys_fault(account: Troubled) -> None:
    """If the list is refused as well, exit 77, no attempt is counted, and all is archived later."""
    recordings = account.add(6, completed_at=T0 + HOUR)
    assert account.report(T0).exit_code == 0
    account.answer(Recordings=403)
    for days in range(1, 5):
        report = account.report(T0 + days * DAY)
        assert (report.exit_code, report.codes) == (77, {77})
    assert {account.row(each)["faults"] for each in recordings} == {0}
    account.answer()
    assert account.report(T0 + 5 * DAY).exit_code == 0
    assert set(account.rig.sidecars()) == {each.recording_id for each in recordings}


def test_a_call_whose_list_is_refused_stops_nothing_else(account: Troubled) -> None:
    """A call's list that this key may not read is reported, and is no refusal of the account."""
    account.add(2)
    account.answer(Calls=403)
    with account.rig.runtime(lambda: T0) as runtime:
        report = runtime.backfill("voice", Asked(scopes=(Scope("call", "CA1"),)))
    assert report.exit_code == 3
    assert "403" in str(next(iter(report.accounts.values())).error)
    assert account.report(T0).exit_code == 0


def test_what_is_not_found_once_is_not_gone(account: Troubled) -> None:
    """A recording not found once is not ready, and archived at the next look."""
    recordings = account.add(5, created_at=T0 - 60 * DAY)
    account.answer(**{recordings[2].recording_id: 404})
    report = account.report(T0)
    [row] = report.accounts.values()
    assert (report.exit_code, row.archived, row.not_ready, row.missing, row.gone) == (0, 4, 1, 1, 0)
    account.answer()
    assert account.sync(T0 + HOUR).archived == 1
    assert len(account.rig.sidecars()) == 5


def test_what_is_not_found_hours_later_either_is_gone_until_it_is_asked_for(account: Troubled) -> None:
    """A recording not found twice is gone; `retry`, or a list that shows it as complete, takes it back."""
    old, older = account.add(1, created_at=T0 - 60 * DAY)[0], account.add(1, created_at=T0 - 90 * DAY)[0]
    account.answer(RE=404)
    assert account.sync(T0).missing == 2
    assert account.sync(T0 + 7 * HOUR).gone == 2
    assert account.row(old)["state"] == account.row(older)["state"] == "gone"
    account.answer()
    assert account.retry(T0 + 8 * HOUR, old) == 1
    assert account.sync(T0 + 8 * HOUR).archived == 1
    now = T0 + 9 * HOUR
    with account.rig.runtime(lambda: now) as runtime:
        runtime.backfill("voice", Asked(window=Window(since=T0 - 100 * DAY, until=T0 - 80 * DAY)))
    assert account.row(older)["state"] == "archived"


def test_a_pass_that_finds_next_to_nothing_says_so(account: Troubled, caplog: pytest.LogCaptureFixture) -> None:
    """If nine of nine are not found, the pass warns, reports an error and exits 3, at the first and the last look."""
    account.add(9)
    account.answer(RE=404)
    for now in (T0, T0 + 7 * HOUR):
        caplog.clear()
        report = account.report(now)
        [row] = report.accounts.values()
        assert report.exit_code == 3
        assert str(row.error).startswith("9 of 9 listed recordings are not found")
        assert caplog.text.count("transfer.mostly_missing") == 1
    assert row.gone == 9


def test_media_behind_a_gateways_name_are_fetched(account: Troubled) -> None:
    """If media_url names another host, the API's own URL is requested, and serves the media."""
    account.add(12)
    shown = account.front.spoil

    def renamed(request: Request, answer: Answer) -> Answer:
        body = answer.body.replace(account.rig.simulator.base_url.encode(), b"https://recordings.example")
        return shown(request, replace(answer, body=body) if request.path.endswith(".json") else answer)

    account.front.spoil = renamed
    report = account.report(T0)
    assert (report.exit_code, len(account.rig.sidecars())) == (0, 12)


def test_media_kept_elsewhere_are_looked_for_on_demand(account: Troubled) -> None:
    """A 404 with a foreign media host is external, exit 0; `retry` requests it again."""
    [mine] = account.add(1, external_location="https://acme.s3.amazonaws.com/RE1")
    for hours, external, looks in ((0, 1, 1), (7, 0, 1)):
        report = account.report(T0 + hours * HOUR)
        [row] = report.accounts.values()
        assert (report.exit_code, row.external, account.asked(".wav")) == (0, external, looks)
    assert account.row(mine)["state"] == "external"
    assert account.retry(T0 + DAY, mine) == 1
    account.sync(T0 + DAY)
    assert account.asked(".wav") == 2


@pytest.mark.parametrize("answers", [{"wav": 503}, {"wav": 403}, {"Accounts": 500}])
def test_an_outage_costs_no_attempt(account: Troubled, answers: dict[str, int]) -> None:
    """If media or the provider are down for fourteen hours, nothing dies, and all is archived afterwards."""
    account.rig.transfer = {**account.rig.transfer, "retry_base": "30s", "retry_max": "6h", "max_attempts": 1}
    slow = account.add(3, completed_at=T0 + HOUR)
    assert account.report(T0).exit_code == 0
    recordings = [*slow, *account.add(9)]
    account.answer(**answers)
    for hours in range(1, 15):
        assert account.sync(T0 + hours * HOUR).dead == 0
    account.answer()
    for hours in range(15, 23):
        account.sync(T0 + hours * HOUR)
    assert set(account.rig.sidecars()) == {each.recording_id for each in recordings}
    assert account.asked(".wav") < 12 * 2 * 15  # less and less often, with two tries each


@pytest.mark.parametrize("status", [500, 400])
def test_one_that_alone_fails_for_ever_is_dead_in_the_end(account: Troubled, status: int) -> None:
    """A recording that alone fails is dead after max_attempts, and not requested any more."""
    stuck, *others = account.add(8)
    account.answer(**{f"{stuck.recording_id}__wav": status})
    for hours, dead in ((0, 0), (1, 1), (2, 1)):
        report = account.report(T0 + hours * HOUR)
        [row] = report.accounts.values()
        assert (report.exit_code, row.dead) == (3, dead)
    assert account.row(stuck)["attempts"] == 2
    assert len(account.rig.sidecars()) == len(others)
