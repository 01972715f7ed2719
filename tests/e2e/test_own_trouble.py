"""One recording's trouble is its own: it costs no other its turn, and the account's costs no recording an attempt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.troubled import DAY, HOUR, T0, Troubled, quick, troubled
from recvault.backfill import Asked
from recvault.models import Scope
from recvault.simulator import Simulator
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
    """Its media, or its row too, are refused for ever: the others are archived, it is dead in the end, exit 3."""
    poison, *others = account.add(20)
    refused = {f"{poison.recording_id}{part.replace('.', '__')}": status}
    account.answer(**refused)
    report = account.report(T0)
    assert (report.exit_code, report.codes) == (3, set())
    assert account.sync(T0 + HOUR).dead == 1
    assert set(account.rig.sidecars()) == {each.recording_id for each in others}
    row = account.row(poison)
    assert (row["state"], row["reason"], row["faults"], row["attempts"]) == ("dead", "provider.denied", 2, 2)
    late = account.add(created_at=T0 + HOUR)  # it is listed, and archived, as ever
    assert account.sync(T0 + 2 * HOUR).archived == len(late)


def test_where_the_list_is_refused_too_it_is_nobodys_fault(account: Troubled) -> None:
    """The key is withdrawn for days: exit 77, no attempt is counted, all is archived once it works."""
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
    """A backfill of a call that this key may not see is told, and is no refusal of the account."""
    account.add(2)
    account.answer(Calls=403)
    with account.rig.runtime(lambda: T0) as runtime:
        report = runtime.backfill("voice", Asked(scopes=(Scope("call", "CA1"),)))
    assert report.exit_code == 3
    assert "403" in str(next(iter(report.accounts.values())).error)
    assert account.report(T0).exit_code == 0
