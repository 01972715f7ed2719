"""A list of calls that fails for long: what it costs, what is said, and how it ends."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import pytest

from dispatch.test_call_facts import _wanted, asked, late, truth
from dispatch.test_strange_calls import events, page, status
from recvault.ledger import Ledger
from recvault.models import Window
from recvault.monitoring.report import Report
from recvault.operations.enrich import Enrich
from recvault.simulator import SimAccount, Switches
from rig import Rig

NOW = datetime(2026, 10, 5, 12, tzinfo=UTC)
COUNT = 3
HOUR = timedelta(hours=1)
BOUND = timedelta(days=3)  # give_up_after


@pytest.fixture
def account(rig: Rig) -> SimAccount:
    """A Twilio account with recordings of that day, its source, and a list of calls that is refused."""
    rig.transfer = {"stall_timeout": "60s"}  # no second request because of load
    rig.simulator.set_now(NOW)
    account = rig.simulator.add_account("twilio")
    rig.simulator.populate(account, "voice", COUNT, NOW - timedelta(hours=5), conference_share=0.0)
    rig.add_source("acme", "twilio", account)
    rig.simulator.switches = Switches(calls_reply=status(403))
    return account


def sync(rig: Rig, after: timedelta) -> Report:
    """Run a pass in a new process's stead: nothing is known but what the ledger holds."""
    report = rig.sync_at(NOW + after)
    assert report.exit_code == 0
    return report


def waiting(rig: Rig) -> int:
    """Return how many recordings wait for their call."""
    ledger = Ledger.open(rig.root / "ledger.db", NOW)
    try:
        return ledger.uncalled.count()
    finally:
        ledger.close()


def test_passes_of_a_timer_do_not_repeat_themselves(
    rig: Rig, account: SimAccount, caplog: pytest.LogCaptureFixture
) -> None:
    """A refused list is asked for once an hour by all passes together, and is one warning."""
    for minutes in (0, 15, 30, 45, 59):
        sync(rig, timedelta(minutes=minutes))
    assert (asked(rig.simulator), events(caplog, "calls.failed")) == (1, 1)
    sync(rig, HOUR)
    assert (asked(rig.simulator), events(caplog, "calls.failed")) == (2, 1)


def test_another_failure_is_another_warning(rig: Rig, account: SimAccount, caplog: pytest.LogCaptureFixture) -> None:
    """A list that fails in another way is a warning again, and so is a failure after a success."""
    caplog.set_level(logging.INFO)
    sync(rig, timedelta())
    rig.simulator.switches = Switches(calls_reply=status(404))
    sync(rig, HOUR)
    assert events(caplog, "calls.failed") == 2
    rig.simulator.switches = Switches()
    sync(rig, 2 * HOUR)
    assert events(caplog, "calls.recovered") == 1
    assert late(rig) == truth(rig.simulator, account, "voice")
    rig.simulator.populate(account, "voice", 1, NOW + HOUR, conference_share=0.0)
    rig.simulator.switches = Switches(calls_reply=status(404))
    sync(rig, 4 * HOUR)
    assert events(caplog, "calls.failed") == 3


def test_a_list_that_is_always_refused_empties_the_queue(
    rig: Rig, account: SimAccount, caplog: pytest.LogCaptureFixture
) -> None:
    """Recordings are given up give_up_after after they were archived; that is told once, and enrich has them later."""
    for days in range(3):
        sync(rig, timedelta(days=days))
    sync(rig, BOUND - HOUR)
    assert (waiting(rig), events(caplog, "calls.given_up")) == (COUNT, 0)
    sync(rig, BOUND)
    assert (waiting(rig), events(caplog, "calls.given_up")) == (0, 1)
    before = asked(rig.simulator)
    sync(rig, BOUND + 2 * HOUR)
    assert asked(rig.simulator) == before, "nothing is left to ask for"
    assert events(caplog, "calls.failed") == 1
    rig.simulator.switches = Switches()
    with rig.runtime(lambda: NOW + BOUND) as runtime:
        assert Enrich(runtime, "acme", Window()).run().told == COUNT
    assert late(rig) == truth(rig.simulator, account, "voice")


def test_after_enrich_a_pass_asks_at_once(rig: Rig, account: SimAccount) -> None:
    """Once the credentials are right, enrich shows that the list is answered: its rest is over for passes, too."""
    sync(rig, timedelta())
    rig.simulator.switches = Switches()
    with rig.runtime(lambda: NOW) as runtime:
        assert Enrich(runtime, "acme", Window()).run().told == COUNT
    rig.simulator.populate(account, "voice", 1, NOW - HOUR, conference_share=0.0)
    before = asked(rig.simulator)
    sync(rig, timedelta(minutes=5))
    assert asked(rig.simulator) == before + 1


def test_what_is_given_up_later_is_no_second_warning(
    rig: Rig, account: SimAccount, caplog: pytest.LogCaptureFixture
) -> None:
    """While the list goes on failing, recordings that reach the bound later are given up without a warning."""
    caplog.set_level(logging.INFO)
    sync(rig, timedelta())
    rig.simulator.populate(account, "voice", 1, NOW + HOUR, conference_share=0.0)
    for hours in (24, 48, 72):
        sync(rig, hours * HOUR)
    assert waiting(rig) == 1
    sync(rig, 96 * HOUR)
    assert waiting(rig) == 0
    said = [each.levelname for each in caplog.records if "event='calls.given_up'" in each.getMessage()]
    assert said == ["WARNING", "INFO"]


def test_new_recordings_keep_no_old_ones_in_the_queue(rig: Rig, account: SimAccount) -> None:
    """Where each pass asks for the calls of new recordings first, and fails, the old ones are given up all the same."""
    for days in range(5):
        rig.simulator.populate(account, "voice", 1, NOW + timedelta(days=days, hours=-1), conference_share=0.0)
        sync(rig, timedelta(days=days))
    archived = len(rig.sidecars())
    assert (archived, waiting(rig)) == (COUNT + 5, 3), "those of the last three days wait"


def test_a_list_that_fails_for_old_days_alone(rig: Rig, account: SimAccount) -> None:
    """What is asked for in vain three times is given up, also where the list of new days is answered in between."""
    for days in range(3):
        sync(rig, timedelta(days=days))
    refused = status(404)
    rig.simulator.switches = Switches(
        calls_reply=lambda request: refused(request) if request.param("StartTime<") else page()
    )
    rig.simulator.populate(account, "voice", 1, NOW + BOUND - HOUR, conference_share=0.0)
    sync(rig, BOUND)
    assert waiting(rig) == 1, "the new one"


def test_a_machine_that_was_off_gives_nothing_up(rig: Rig, account: SimAccount) -> None:
    """Old entries of the queue are asked for three times before they are given up: one failure is not enough."""
    sync(rig, timedelta())
    sync(rig, 10 * BOUND)
    assert waiting(rig) == COUNT
    rig.simulator.switches = Switches()
    sync(rig, 10 * BOUND + HOUR)
    assert late(rig) == truth(rig.simulator, account, "voice")


def test_a_time_from_a_wrong_clock_holds_nothing_back(rig: Rig, account: SimAccount) -> None:
    """A rest that was noted while the clock was ahead does not count."""
    rig.simulator.switches = Switches(calls_reply=status(404))
    moment = NOW + timedelta(days=30)
    with rig.runtime(lambda: moment) as runtime:
        desk = runtime.call_desk([runtime.listed("acme")])
        assert desk is not None
        place, wanted = ("acme", account.account_id), _wanted(account)
        assert desk._ask(place, wanted) is None
        moment = NOW
        rig.simulator.switches = Switches()
        told = desk._ask(place, wanted)
        assert (told is not None, asked(rig.simulator)) == (True, 2)
