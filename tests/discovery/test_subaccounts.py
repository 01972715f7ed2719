"""Each sub-account has its own watermark and history; a refused one is reported and stops no other."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from discovery.scans import DAY, LOOKBACK, NOW
from recvault.app import wiring
from recvault.http import Timing
from recvault.monitoring.report import AccountReport, Report
from recvault.simulator import SimAccount, Simulator, Switches, twilio_common, twilio_voice
from recvault.simulator.exchange import refuse
from rig import Rig
from strict_s3 import StrictS3

HOUR = timedelta(hours=1)


@pytest.fixture
def rig(tmp_path: Path, simulator: Simulator, strict_s3: StrictS3, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """A recvault whose failed requests are retried at once."""
    monkeypatch.setattr(wiring, "Timing", functools.partial(Timing, backoff_base=0.001))
    return Rig(root=tmp_path, simulator=simulator, s3_url=strict_s3.url, bucket=strict_s3.bucket().name)


@pytest.fixture
def root(rig: Rig) -> SimAccount:
    """A main account whose source includes sub-accounts."""
    account = rig.simulator.add_account("twilio")
    rig.add_source("main", "twilio", account, subaccounts=True)
    return account


def below(rig: Rig, root: SimAccount, **options: Any) -> SimAccount:
    return rig.simulator.add_account("twilio", parent=root, **options)


def turn(account: SimAccount, status: str) -> None:
    """Close, suspend or reactivate an account."""
    object.__setattr__(account, "status", status)


def fill(rig: Rig, account: SimAccount, count: int = 2, days: float = 2) -> None:
    for number in range(count):
        rig.simulator.add(account, "voice", created_at=NOW - timedelta(days=days, minutes=number))


def rows(report: Report) -> dict[str, AccountReport]:
    return {row.account_id: row for row in report.accounts.values()}


def archived(report: Report) -> dict[str, int]:
    return {account_id: row.archived for account_id, row in rows(report).items()}


def refuse_account(monkeypatch: pytest.MonkeyPatch, account: SimAccount, status: int) -> None:
    """Let its lists refuse, although the list of accounts calls it active."""

    def check(asked: SimAccount, dialect: Any) -> None:
        if asked is account:
            raise refuse(dialect, status, 20003, "Authenticate")

    monkeypatch.setattr(twilio_common, "check_active", check)


def test_each_account_is_listed_and_has_its_own_watermark(rig: Rig, root: SimAccount) -> None:
    """All three accounts of a source are archived under their ids; an empty one has no watermark yet."""
    one, two = below(rig, root), below(rig, root)
    fill(rig, root)
    fill(rig, one, 3)

    report = rig.sync_at(NOW)

    assert report.exit_code == 0
    assert archived(report) == {root.account_id: 2, one.account_id: 3, two.account_id: 0}
    assert [row.watermark for row in rows(report).values()] == [NOW - LOOKBACK, NOW - LOOKBACK, None]
    assert {sidecar["account_id"] for sidecar in rig.sidecars().values()} == {root.account_id, one.account_id}


def test_a_new_account_gets_its_whole_history(rig: Rig, root: SimAccount) -> None:
    """A new account is read from its beginning, whatever the others' watermarks."""
    fill(rig, root)
    rig.sync_at(NOW)
    moved = below(rig, root)
    fill(rig, moved, 3, days=400)

    report = rig.sync_at(NOW + HOUR)

    assert archived(report) == {root.account_id: 0, moved.account_id: 3}
    assert rows(report)[root.account_id].listed == 0


def test_start_from_bounds_every_account(rig: Rig, root: SimAccount) -> None:
    """start_from applies to sub-accounts, too."""
    rig.sources[0]["start_from"] = (NOW - 10 * DAY).isoformat()
    one = below(rig, root)
    fill(rig, one, 1)
    fill(rig, one, 1, days=400)
    assert archived(rig.sync_at(NOW)) == {root.account_id: 0, one.account_id: 1}


@pytest.mark.parametrize(("status", "code"), [(401, 77), (403, 77), (404, 78), (500, 75)])
def test_an_account_that_is_refused_is_told_and_stops_no_other(
    rig: Rig, root: SimAccount, monkeypatch: pytest.MonkeyPatch, status: int, code: int
) -> None:
    """A refused account is reported and keeps its watermark; the others complete, and later it catches up."""
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
    """If an account is refused after its listing, its recordings wait uncounted, and others are archived."""
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


@pytest.fixture
def refusing(rig: Rig) -> None:
    """Let inactive accounts be refused, as some services do at once and others after 30 days."""
    rig.simulator.switches = Switches(inactive_accounts="refused")


inactive = pytest.mark.parametrize("status", ["suspended", "closed"])


@inactive
def test_an_account_that_is_not_active_is_read_until_it_refuses(rig: Rig, root: SimAccount, status: Any) -> None:
    """A closed account is read as long as it can be, for 30 days: its last recordings are archived."""
    closing = below(rig, root)
    fill(rig, closing, 2)
    rig.sync_at(NOW)
    fill(rig, closing, 3, days=0.01)
    turn(closing, status)

    report = rig.sync_at(NOW + HOUR)

    assert (report.exit_code, archived(report)[closing.account_id]) == (0, 3)
    rig.simulator.switches = Switches(inactive_accounts="refused")
    for hours in (2, 3):  # it was read completely since it closed, so it may refuse
        later = rig.sync_at(NOW + hours * HOUR)
        assert (later.exit_code, rows(later)[closing.account_id].error) == (0, None)
    rig.simulator.clear_requests()
    rig.sync_at(NOW + 4 * HOUR)
    assert rig.simulator.count(lambda each: closing.account_id in each.path) == 0


@inactive
@pytest.mark.usefixtures("refusing")
def test_what_could_not_be_read_of_a_closed_account_is_told(rig: Rig, root: SimAccount, status: Any) -> None:
    """A closed account that refuses before it was read is reported by each pass and `status`, with a hint."""
    closing = below(rig, root)
    fill(rig, closing, 1)
    fill(rig, root, 1)
    rig.sync_at(NOW)
    turn(closing, status)
    for hours in (1, 2):
        report = rig.sync_at(NOW + hours * HOUR)
        error = str(rows(report)[closing.account_id].error)
        assert (report.exit_code, f"not active ({status})" in error, "may be missing" in error) == (77, True, True)
        assert rows(report)[root.account_id].error is None
    with rig.runtime(lambda: NOW + 2 * HOUR) as runtime:
        words = {feed.feed.account_id: (how.condition, how.words) for feed, how in runtime.judged({})}
    assert words[closing.account_id][0] == "failing"
    assert "may be missing" in words[closing.account_id][1]

    turn(closing, "active")
    fill(rig, closing, 2, days=0.01)
    healed = rig.sync_at(NOW + 3 * HOUR)
    assert (healed.exit_code, archived(healed)[closing.account_id]) == (0, 2)


def test_an_account_that_was_closed_before_it_was_met_is_read(rig: Rig, root: SimAccount) -> None:
    """A first sync archives what closed accounts still list."""
    closed = below(rig, root, status="closed")
    fill(rig, closed, 3)
    report = rig.sync_at(NOW)
    assert (report.exit_code, archived(report)[closed.account_id]) == (0, 3)


def test_an_account_that_left_the_list_is_read_once_more(
    rig: Rig, root: SimAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An account that disappeared from the list of accounts is read once more, then no longer."""
    gone = below(rig, root)
    fill(rig, gone, 1)
    rig.sync_at(NOW)
    fill(rig, gone, 2, days=0.01)
    leave(monkeypatch, gone)

    report = rig.sync_at(NOW + HOUR)

    assert (report.exit_code, archived(report)[gone.account_id]) == (0, 2)
    rig.simulator.clear_requests()
    assert rig.sync_at(NOW + 2 * HOUR).exit_code == 0
    assert rig.simulator.count(lambda each: f"{gone.account_id}/Recordings.json" in each.path) == 0


def test_an_account_that_left_the_list_and_refuses_is_told_once(
    rig: Rig, root: SimAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If such an account refuses, one pass reports what may be missing, and `status` keeps it."""
    gone = below(rig, root)
    fill(rig, gone, 1)
    rig.sync_at(NOW)
    leave(monkeypatch, gone)
    refuse_account(monkeypatch, gone, 401)
    report = rig.sync_at(NOW + HOUR)
    assert (report.exit_code, "no longer in the list" in str(rows(report)[gone.account_id].error)) == (77, True)
    assert rig.sync_at(NOW + 2 * HOUR).exit_code == 0
    with rig.runtime(lambda: NOW + 2 * HOUR) as runtime:
        words = {feed.feed.account_id: how.words for feed, how in runtime.judged({})}
    assert "no longer in the list" in words[gone.account_id]


def leave(monkeypatch: pytest.MonkeyPatch, account: SimAccount) -> None:
    """Let an account be closed for so long that the list of accounts omits it."""

    def without(page: Any) -> Any:
        kept = [row for row in page["accounts"] if row["sid"] != account.account_id]
        return {**page, "accounts": kept, "end": len(kept) - 1}

    edit_accounts(monkeypatch, without)


def edit_accounts(monkeypatch: pytest.MonkeyPatch, edit: Callable[[Any], Any]) -> None:
    accounts = twilio_voice._accounts

    def edited(*arguments: Any) -> Any:
        reply = accounts(*arguments)
        reply.body = json.dumps(edit(json.loads(reply.body))).encode()
        return reply

    monkeypatch.setattr(twilio_voice, "_accounts", edited)


def test_a_page_of_accounts_that_is_refused_is_a_temporary_failure(
    rig: Rig, root: SimAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If page 2 of the accounts is refused, exit 75; page 1's are read, and none counts as closed."""
    one, two = below(rig, root), below(rig, root)
    for account in (root, one, two):
        fill(rig, account, 1)
    rig.sync_at(NOW)
    fill(rig, two, 1, days=0.01)
    new = below(rig, root)
    fill(rig, new, 1)
    edit_accounts(monkeypatch, lambda page: {**page, "next_page_uri": "/2010-04-01/Accounts/x.json?Page=1"})

    report = rig.sync_at(NOW + HOUR)

    assert report.exit_code == 75
    assert "page 2 of a list was refused" in str(rows(report)[root.account_id].error)
    assert (archived(report)[two.account_id], archived(report)[new.account_id]) == (1, 1)


def test_a_page_of_accounts_that_is_refused_once_is_asked_for_anew(
    rig: Rig, root: SimAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a later page is refused once, the list of accounts is read again from page 1, and completes."""
    one = below(rig, root)
    fill(rig, one, 1)
    left = [{"next_page_uri": "/2010-04-01/Accounts/x.json?Page=1"}]
    edit_accounts(monkeypatch, lambda page: {**page, **(left.pop() if left else {})})

    report = rig.sync_at(NOW)

    assert (report.exit_code, archived(report)[one.account_id], left) == (0, 1, [])


def test_accounts_that_were_met_are_read_though_they_cannot_be_listed(rig: Rig, root: SimAccount) -> None:
    """If the list of accounts fails, known accounts are still archived, and the exit code is 75."""
    one = below(rig, root)
    fill(rig, one, 1)
    rig.sync_at(NOW)
    fill(rig, one, 1, days=0.01)
    rig.simulator.faults.plan("http_503", "/2010-04-01/Accounts.json", times=5)

    report = rig.sync_at(NOW + HOUR)

    assert (report.exit_code, archived(report)[one.account_id]) == (75, 1)


def test_a_list_of_no_account_is_an_error(rig: Rig, root: SimAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty list of accounts is an error, as it would close them all."""
    edit_accounts(monkeypatch, lambda page: {**page, "accounts": None})
    assert rig.sync_at(NOW).exit_code == 75


@pytest.mark.parametrize("status", [400, 404])
def test_a_list_of_accounts_that_is_refused_is_a_matter_of_configuration(
    rig: Rig, root: SimAccount, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """If base_url has no list of accounts, exit 78 says what to change."""

    def refused(*arguments: Any) -> Any:
        raise refuse("json", status, 20404, "Not found")

    monkeypatch.setattr(twilio_voice, "_accounts", refused)
    report = rig.sync_at(NOW)
    assert (report.exit_code, "base_url" in str(rows(report)[root.account_id].error)) == (78, True)


def test_a_list_of_accounts_without_an_end_is_told(rig: Rig, root: SimAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the list of accounts repeats its page under new addresses, it is given up after 20 pages, with exit 75."""
    fill(rig, root)
    accounts, pages = twilio_voice._accounts, itertools.count(1)

    def repeated(*arguments: Any) -> Any:
        reply = accounts(*arguments)
        following = f"/2010-04-01/Accounts.json?Page={next(pages)}"
        reply.body = json.dumps({**json.loads(reply.body), "next_page_uri": following}).encode()
        return reply

    monkeypatch.setattr(twilio_voice, "_accounts", repeated)
    report = rig.sync_at(NOW)
    assert (report.exit_code, archived(report)) == (75, {root.account_id: 2})
    assert "without a new row" in str(rows(report)[root.account_id].error)
    assert rig.simulator.count(lambda request: request.path.endswith("/Accounts.json")) == 21


def test_accounts_that_cannot_be_listed_are_told(rig: Rig, root: SimAccount) -> None:
    """If the list of accounts fails, exit 75, although the main account is read."""
    fill(rig, root)
    rig.simulator.faults.plan("http_503", "/2010-04-01/Accounts.json", times=5)
    report = rig.sync_at(NOW)
    assert rig.simulator.faults.unfired() == []
    assert report.exit_code == 75
    assert archived(report) == {root.account_id: 2}


def test_no_token_of_an_account_is_kept(rig: Rig, root: SimAccount) -> None:
    """No auth token in the list of accounts reaches the ledger or the bucket."""
    one = below(rig, root)
    fill(rig, one)
    rig.sync_at(NOW)
    kept = b"".join(path.read_bytes() for path in rig.root.glob("ledger.db*") if path.is_file())
    kept += b"".join(rig.objects().values())
    assert one.account_id.encode() in kept
    assert one.secret.encode() not in kept and root.secret.encode() not in kept
