"""Sub-accounts: each its own watermark and its own history; one that is refused is told, and stops no other."""

from __future__ import annotations

import functools
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from discovery.scans import DAY, LOOKBACK, NOW
from recvault import wiring
from recvault.http import Timing
from recvault.report import AccountReport, Report
from recvault.simulator import SimAccount, Simulator, twilio_common
from recvault.simulator.exchange import refuse
from rig import Rig
from strict_s3 import StrictS3

HOUR = timedelta(hours=1)


@pytest.fixture
def rig(tmp_path: Path, simulator: Simulator, strict_s3: StrictS3, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """A whole recvault; a request that fails is tried again at once."""
    monkeypatch.setattr(wiring, "Timing", functools.partial(Timing, backoff_base=0.001))
    return Rig(root=tmp_path, simulator=simulator, s3_url=strict_s3.url, bucket=strict_s3.bucket().name)


@pytest.fixture
def root(rig: Rig) -> SimAccount:
    """A main account whose source takes the sub-accounts too."""
    account = rig.simulator.add_account("twilio")
    rig.add_source("main", "twilio", account, subaccounts=True)
    return account


def below(rig: Rig, root: SimAccount, **options: Any) -> SimAccount:
    return rig.simulator.add_account("twilio", parent=root, **options)


def fill(rig: Rig, account: SimAccount, count: int = 2, days: float = 2) -> None:
    for number in range(count):
        rig.simulator.add(account, "voice", created_at=NOW - timedelta(days=days, minutes=number))


def rows(report: Report) -> dict[str, AccountReport]:
    return {row.account_id: row for row in report.accounts.values()}


def archived(report: Report) -> dict[str, int]:
    return {account_id: row.archived for account_id, row in rows(report).items()}


def refuse_account(monkeypatch: pytest.MonkeyPatch, account: SimAccount, status: int) -> None:
    """Its lists answer so, though the list of accounts calls it active."""

    def check(asked: SimAccount, dialect: Any) -> None:
        if asked is account:
            raise refuse(dialect, status, 20003, "Authenticate")

    monkeypatch.setattr(twilio_common, "check_active", check)


def test_each_account_is_listed_and_has_its_own_watermark(rig: Rig, root: SimAccount) -> None:
    """One source, three accounts: all are archived under their own ids; an empty one has no watermark yet."""
    one, two = below(rig, root), below(rig, root)
    fill(rig, root)
    fill(rig, one, 3)

    report = rig.sync_at(NOW)

    assert report.exit_code == 0
    assert archived(report) == {root.account_id: 2, one.account_id: 3, two.account_id: 0}
    assert [row.watermark for row in rows(report).values()] == [NOW - LOOKBACK, NOW - LOOKBACK, None]
    assert {sidecar["account_id"] for sidecar in rig.sidecars().values()} == {root.account_id, one.account_id}


def test_a_new_account_gets_its_whole_history(rig: Rig, root: SimAccount) -> None:
    """The cursor is never global: however far ahead the others are, a new account starts at its beginning."""
    fill(rig, root)
    rig.sync_at(NOW)
    moved = below(rig, root)
    fill(rig, moved, 3, days=400)

    report = rig.sync_at(NOW + HOUR)

    assert archived(report) == {root.account_id: 0, moved.account_id: 3}
    assert rows(report)[root.account_id].listed == 0


def test_start_from_bounds_every_account(rig: Rig, root: SimAccount) -> None:
    """The operator's bound holds for sub-accounts too."""
    rig.sources[0]["start_from"] = (NOW - 10 * DAY).isoformat()
    one = below(rig, root)
    fill(rig, one, 1)
    fill(rig, one, 1, days=400)
    assert archived(rig.sync_at(NOW)) == {root.account_id: 0, one.account_id: 1}


@pytest.mark.parametrize(("status", "code"), [(401, 77), (403, 77), (404, 78), (500, 75)])
def test_an_account_that_is_refused_is_told_and_stops_no_other(
    rig: Rig, root: SimAccount, monkeypatch: pytest.MonkeyPatch, status: int, code: int
) -> None:
    """It has its error, the exit code says so, its watermark stays; the others complete. Mended, it is made up for."""
    first, refused, last = below(rig, root), below(rig, root), below(rig, root)
    for account in (root, first, refused, last):
        fill(rig, account, 1)
    with monkeypatch.context() as patch:
        refuse_account(patch, refused, status)

        report = rig.sync_at(NOW)

    assert (report.exit_code, report.outcome) == (code, "partial")
    assert archived(report) == {
        root.account_id: 1,
        first.account_id: 1,
        refused.account_id: 0,
        last.account_id: 1,
    }
    found = rows(report)
    assert str(status) in str(found[refused.account_id].error)
    assert found[refused.account_id].watermark is None
    assert [row.error for account_id, row in found.items() if account_id != refused.account_id] == [None] * 3

    healed = rig.sync_at(NOW + HOUR)
    assert healed.exit_code == 0
    assert archived(healed)[refused.account_id] == 1


def test_an_account_refused_after_its_listing_costs_no_other_a_transfer(
    rig: Rig, root: SimAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its recordings wait, uncounted; those of the others are archived in the same pass."""
    refused, fine = below(rig, root), below(rig, root)
    for number in range(1, 4):
        rig.simulator.add(refused, "voice", created_at=NOW - HOUR, completed_at=NOW + timedelta(seconds=number))
    rig.sync_at(NOW)
    fill(rig, fine, 4, days=0.5)
    with monkeypatch.context() as patch:
        refuse_account(patch, refused, 401)
        report = rig.sync_at(NOW + HOUR)
    assert (report.exit_code, archived(report)[fine.account_id]) == (77, 4)
    assert archived(rig.sync_at(NOW + DAY))[refused.account_id] == 3


@pytest.mark.parametrize("status", ["suspended", "closed"])
def test_an_account_that_is_not_active_is_not_asked(rig: Rig, root: SimAccount, status: Any) -> None:
    """Suspended and closed accounts are known from the list of accounts: exit 0, no request to them."""
    resting = below(rig, root, status=status)
    fill(rig, resting)
    fill(rig, root)
    report = rig.sync_at(NOW)
    assert (report.exit_code, archived(report)) == (0, {root.account_id: 2})
    assert rig.simulator.count(lambda each: resting.account_id in each.path) == 0


def test_accounts_that_cannot_be_listed_are_told(rig: Rig, root: SimAccount) -> None:
    """Without the list of accounts nobody knows what is missing: exit 75, though the main account goes on."""
    fill(rig, root)
    rig.simulator.faults.plan("http_503", "/2010-04-01/Accounts.json", times=5)
    report = rig.sync_at(NOW)
    assert rig.simulator.faults.unfired() == []
    assert report.exit_code == 75
    assert archived(report) == {root.account_id: 2}


def test_no_token_of_an_account_is_kept(rig: Rig, root: SimAccount) -> None:
    """The list of accounts holds every account's auth token: none reaches the ledger or the bucket."""
    one = below(rig, root)
    fill(rig, one)
    rig.sync_at(NOW)
    kept = b"".join(path.read_bytes() for path in rig.root.glob("ledger.db*") if path.is_file())
    kept += b"".join(rig.objects().values())
    assert one.account_id.encode() in kept
    assert one.secret.encode() not in kept and root.secret.encode() not in kept
