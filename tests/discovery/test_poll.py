"""Listing accounts: failures never count as read, and the source's own account comes first."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from discovery.scans import DAY, NOW
from recvault.app import wiring
from recvault.app.runtime import Runtime
from recvault.discovery.history import History, Walk
from recvault.discovery.poll import Listing
from recvault.discovery.source import Source
from recvault.discovery.watermark_bound import Scanned
from recvault.errors import LedgerDamaged, RecvaultError
from recvault.http import Timing
from recvault.ledger import BACKFILL, Feed
from recvault.models import Window
from recvault.monitoring.report import Report
from recvault.shutdown import Stop
from recvault.simulator import SimAccount, Simulator, Switches, twilio_common
from recvault.simulator.exchange import refuse
from rig import Rig


class Listed:
    """A source with sub-accounts, without bucket; `refused` accounts answer 401."""

    def __init__(self, rig: Rig, runtime: Runtime, root: SimAccount) -> None:
        self.rig, self.runtime, self.root = rig, runtime, root
        self.source: Source = runtime.listed("main")
        self.report = Report(command="sync", started_at=NOW)
        self.listing = Listing(ledger=runtime.ledger, clock=lambda: NOW, report=self.report)

    def below(self, **options: Any) -> str:
        """Add a sub-account with two recordings; return its id."""
        account = self.rig.simulator.add_account("twilio", parent=self.root, **options)
        for number in range(2):
            self.rig.simulator.add(account, "voice", created_at=NOW - timedelta(days=2, minutes=number))
        return str(account.account_id)

    def errors(self) -> list[str]:
        return [row.error for row in self.report.accounts.values() if row.error]


@pytest.fixture
def listed(tmp_path: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listed]:
    """Failed requests are retried at once."""
    monkeypatch.setattr(wiring, "Timing", functools.partial(Timing, backoff_base=0.001))
    rig = Rig(root=tmp_path, simulator=simulator, s3_url="http://127.0.0.1:9", bucket="nobody-asks")
    root = simulator.add_account("twilio")
    rig.add_source("main", "twilio", root, subaccounts=True)
    with rig.runtime(lambda: NOW) as runtime:
        yield Listed(rig, runtime, root)


@pytest.fixture
def refusing(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], None]:
    """Let an account's lists answer with a status, but not the list of accounts."""
    statuses: dict[str, int] = {}
    simulator.switches = Switches(inactive_accounts="refused")  # so that inactive ones are checked, too

    def check(account: SimAccount, dialect: Any) -> None:
        if account.account_id in statuses:
            raise refuse(dialect, statuses[account.account_id], 20003, "Authenticate")

    monkeypatch.setattr(twilio_common, "check_active", check)
    return statuses.__setitem__


@pytest.mark.parametrize("status", [401, 404, 500])
def test_a_window_that_fails_is_none_and_told(
    listed: Listed, refusing: Callable[[str, int], None], status: int
) -> None:
    """A failed window is None and reported, not an empty list."""
    account = listed.below()
    refusing(account, status)
    assert (listed.listing.window(listed.source, account, Window()), len(listed.errors())) == (None, 1)


def test_a_window_that_a_stop_cuts_short_is_none(listed: Listed) -> None:
    """A window interrupted by a stop is None, without an error."""
    listed.runtime.stop.asked.set()
    assert (listed.listing.window(listed.source, listed.below(), Window()), listed.errors()) == (None, [])


@pytest.mark.parametrize("error", [LedgerDamaged("the ledger is damaged"), ZeroDivisionError()])
def test_a_window_that_meets_a_damaged_ledger_or_a_bug_raises_it(
    listed: Listed, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """A damaged ledger or a bug propagates, and no other slice is read."""

    def register(*_: object) -> None:
        raise error

    account = listed.below()
    monkeypatch.setattr(listed.runtime.ledger, "register", register)
    with pytest.raises(type(error)):
        listed.listing.window(listed.source, account, Window())


def test_a_window_of_an_empty_list_is_no_failure(listed: Listed) -> None:
    """A window of an empty list was read completely."""
    scanned = listed.listing.window(listed.source, listed.root.account_id, Window())
    assert (scanned and scanned.rows, listed.errors()) == (0, [])


def test_a_slice_whose_list_fails_is_not_kept_as_read(listed: Listed, refusing: Callable[[str, int], None]) -> None:
    """If a slice of a backfill fails, its history stays unread for the next run."""
    refused, fine = listed.below(), listed.below()
    refusing(refused, 401)
    read: list[str] = []

    def note(history: History, slice_: Window, scanned: Scanned, begun: object) -> None:
        read.append(history.account_id)
        listed.runtime.ledger.add_slice(Feed("main", "twilio", history.account_id, list=BACKFILL), slice_)

    histories = [
        History.of(each, Window(NOW - 3 * DAY), NOW, (), page_size=1000, newest_first=True) for each in (refused, fine)
    ]
    Walk(listing=listed.listing, source=listed.source, histories=[*histories], stop=Stop(), on_read=note).read()
    assert ([each.is_read for each in histories], set(read)) == ([False, True], {fine})
    assert listed.runtime.ledger.slices(Feed("main", "twilio", refused, list=BACKFILL)) == []


@pytest.mark.parametrize("first", [401, 500])
def test_a_closed_account_counts_as_read_only_after_its_list_was(
    listed: Listed, refusing: Callable[[str, int], None], first: int
) -> None:
    """A closed account that fails and then refuses was never read: that is an error each time."""
    closed = listed.below(status="closed")
    assert closed in listed.listing.accounts(listed.source)
    errors: list[RecvaultError | None] = []
    for status in (first, 401):
        refusing(closed, status)
        errors.append(listed.listing.poll(listed.source, closed))
    assert [error is None for error in errors] == [False, False]
    assert "may be missing" in str(errors[1])


def test_a_closed_account_that_was_read_whole_may_refuse(listed: Listed, refusing: Callable[[str, int], None]) -> None:
    """A closed account that was read completely may refuse without an error."""
    closed = listed.below(status="closed")
    listed.listing.accounts(listed.source)
    first = listed.listing.poll(listed.source, closed)
    refusing(closed, 401)
    assert (first, listed.listing.poll(listed.source, closed)) == (None, None)


def test_the_source_s_own_account_is_the_first(listed: Listed) -> None:
    """The source's own account comes first, in any listed order, and if only the ledger knows the accounts."""
    own, others = listed.root.account_id, {listed.below() for _ in range(8)}
    found = listed.listing.accounts(listed.source)
    assert (found[0], set(found[1:]), len(found)) == (own, others, 9)
    for each in found:
        listed.listing.poll(listed.source, each)
    listed.rig.simulator.faults.plan("http_503", "/2010-04-01/Accounts.json", times=9)
    again = listed.listing.accounts(listed.source)
    assert (again[0], set(again[1:]), len(again), len(listed.errors())) == (own, others, 9, 1)
