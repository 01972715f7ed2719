"""`reconcile` registers what polls missed, counts it, and states the lookback that is needed."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from cli.commands import run_each
from discovery.rules import lay
from recvault.ledger import RECONCILE
from recvault.ledger.lateness import Late, late_fact
from recvault.models import Window
from recvault.monitoring.report import Report
from recvault.operations.reconcile import reconcile
from recvault.simulator import SimAccount, Simulator
from rig import START, Rig
from strict_s3 import Bucket

HOUR = timedelta(hours=1)
DAY = 24 * HOUR


@pytest.fixture
def account(rig: Rig, simulator: Simulator, strict_bucket: Bucket) -> SimAccount:
    """A source polled an hour ago, whose recordings may appear late."""
    rig.s3_url, rig.bucket = strict_bucket.url, strict_bucket.name
    account = simulator.add_account("twilio")
    rig.add_source("voice", "twilio", account)
    appears(simulator, account, 2 * HOUR, late=timedelta())
    rig.sync_at(START - HOUR)
    return account


def appears(simulator: Simulator, account: SimAccount, age: timedelta, *, late: timedelta) -> str:
    """Add a recording of this age at START, listed that much later than its date."""
    created = START - age
    made = simulator.add(account, "voice", created_at=created, completed_at=created, visible_at=created + late)
    return made.recording_id


def at(rig: Rig, moment: datetime = START, window: Window | None = None) -> Report:
    rig.simulator.set_now(moment)
    with rig.runtime(lambda: moment) as runtime:
        return reconcile(runtime, [source["name"] for source in rig.sources], window or Window())


def ledger(rig: Rig, ask: Any) -> Any:
    with rig.runtime(lambda: START) as runtime:
        return ask(runtime.ledger)


def test_nothing_missed_is_told_as_nothing(rig: Rig, account: SimAccount) -> None:
    """If polls missed nothing, nothing is registered or reported."""
    report = at(rig)
    [row] = report.accounts.values()
    assert (report.command, report.exit_code, report.outcome) == ("reconcile", 0, "ok")
    assert (row.listed, row.registered, row.missed, row.lateness_seconds, row.lookback_needed_seconds) == (
        1,
        0,
        0,
        None,
        None,
    )


def test_what_polls_missed_is_registered_and_told(
    rig: Rig, simulator: Simulator, account: SimAccount, strict_bucket: Bucket
) -> None:
    """Recordings below the watermark that are not in the ledger are counted with their lateness, then archived."""
    missed = [appears(simulator, account, age, late=age - HOUR / 2) for age in (30 * HOUR, 40.2 * HOUR)]
    new = appears(simulator, account, HOUR / 2, late=timedelta())
    strict_bucket.clear_counts()

    [row] = at(rig).accounts.values()

    assert (row.listed, row.registered, row.missed) == (4, 3, 2)  # new recordings were not missed
    assert (row.lateness_seconds, row.lookback_needed_seconds) == (round(40.2 * 3600), 41 * 3600)
    assert strict_bucket.counts == {"LIST": 1}
    assert rig.sync_at(START + HOUR).exit_code == 0
    assert {*missed, new} <= set(rig.sidecars())
    [again] = at(rig, START + HOUR).accounts.values()
    assert (again.registered, again.missed) == (0, 0)


def test_what_polls_missed_is_told_though_the_list_fails_later(
    rig: Rig, simulator: Simulator, account: SimAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a later page fails, the recordings already registered are still reported as missed."""
    appears(simulator, account, 30 * HOUR, late=29 * HOUR)
    lay(monkeypatch, edit=lambda page, request: {**page, "next_page_uri": "/2010-04-01/Accounts/x.json?Page=1"})

    report = at(rig)

    [row] = report.accounts.values()
    assert (report.exit_code, row.registered, row.missed) == (75, 1, 1)


def test_the_lookback_that_it_names_would_have_met_them(rig: Rig, simulator: Simulator, account: SimAccount) -> None:
    """With the stated lookback, a poll finds a recording that is as late."""
    appears(simulator, account, 40.2 * HOUR, late=39 * HOUR)
    [row] = at(rig).accounts.values()
    rig.sources[0]["lookback"] = f"{row.lookback_needed_seconds}s"
    rig.sync_at(START)
    late = appears(simulator, account, 40.2 * HOUR - DAY, late=40.2 * HOUR)
    for hour in (8, 16, 25):
        rig.sync_at(START + hour * HOUR)
    assert ledger(rig, lambda each: len(each.ask.find(late))) == 1
    [row] = at(rig, START + 26 * HOUR).accounts.values()
    assert row.missed == 0


def test_the_window_is_the_sources_own_or_the_one_that_is_named(
    rig: Rig, simulator: Simulator, account: SimAccount
) -> None:
    """The window is reconcile_window before now or the given one, limited by `start_from`."""
    for age in (8 * DAY, 5 * DAY, 3 * DAY):
        appears(simulator, account, age, late=age - HOUR / 2)
    [row] = at(rig, window=Window(START - 4 * DAY, START - 2 * DAY)).accounts.values()
    assert row.missed == 1
    rig.sources[0]["start_from"] = (START - 6 * DAY).isoformat()
    [row] = at(rig, window=Window(START - 9 * DAY)).accounts.values()
    assert row.missed == 1
    del rig.sources[0]["start_from"]
    [row] = at(rig).accounts.values()
    assert row.missed == 0
    [row] = at(rig, window=Window(START - 9 * DAY)).accounts.values()
    assert (row.missed, row.lookback_needed_seconds) == (1, 8 * 24 * 3600)


def test_a_part_of_the_window_does_not_put_off_the_daemon_s(rig: Rig, account: SimAccount) -> None:
    """A reconcile of part of the window does not delay the daemon's next one."""

    with rig.runtime(lambda: START) as runtime:
        feed = replace(runtime.listed("voice").feed(account.account_id), list=RECONCILE)

    def last(each: Any) -> Any:
        return each.ask.last_success(feed)

    at(rig, window=Window(START - DAY))
    assert ledger(rig, last) is None
    at(rig, window=Window(START - 8 * DAY))
    assert ledger(rig, last) == START


def test_sub_accounts_are_listed_again_too(rig: Rig, simulator: Simulator, account: SimAccount) -> None:
    """Sub-accounts have rows and a lateness of their own."""
    sub = simulator.add_account("twilio", parent=account)
    rig.sources[0]["subaccounts"] = True
    appears(simulator, sub, 2 * HOUR, late=timedelta())
    rig.sync_at(START - HOUR / 2)
    appears(simulator, sub, 50 * HOUR, late=50 * HOUR)
    missed = {row.account_id: row.missed for row in at(rig).accounts.values()}
    assert missed == {account.account_id: 0, sub.account_id: 1}


def test_a_source_that_fails_holds_back_no_other(rig: Rig, simulator: Simulator, account: SimAccount) -> None:
    """A failing source's error and exit code are reported, and the others are listed. No bucket is needed."""
    other = simulator.add_account("telnyx")
    rig.add_source("other", "telnyx", other, base_url="http://127.0.0.1:9")
    rig.s3_url = "http://127.0.0.1:9"
    report = at(rig)
    rows = {row.source: row for row in report.accounts.values()}
    assert (report.exit_code, report.outcome) == (75, "partial")
    assert (rows["voice"].error, rows["voice"].listed) == (None, 1)
    assert "cannot be reached" in str(rows["other"].error)


def test_the_ledger_remembers_until_lookback_is_long_enough(
    rig: Rig, simulator: Simulator, account: SimAccount
) -> None:
    """`status` reports the missed recordings of all reconciles until lookback is long enough."""
    rig.sources[0]["lookback"] = "3h"
    for age in (30 * HOUR, 40.2 * HOUR):
        appears(simulator, account, age, late=age - HOUR / 2)
        at(rig)
    (shown, document) = run_each(rig, ["status"], ["status", "--json"])
    assert "2 recordings were missed by polls: lookback 3h is too short; at least 41h is needed" in shown.stderr
    [missed] = document.document["missed_by_polls"]
    assert (missed["account_id"], missed["recordings"], missed["lookback_needed_seconds"]) == (
        account.account_id,
        2,
        41 * 3600,
    )
    rig.sources[0]["lookback"] = "41h"
    (document,) = run_each(rig, ["status", "--json"])
    assert document.document["missed_by_polls"] == []


def test_the_command_says_it_in_words(rig: Rig, simulator: Simulator) -> None:
    """The table is on stdout, messages on stderr, exit 0; `--json` prints only the report."""
    account = simulator.add_account("twilio")
    rig.add_source("voice", "twilio", account)
    simulator.populate(account, "voice", count=2, conference_share=0)
    rig.sync()
    created = simulator.now - timedelta(hours=40.5)
    for _ in range(2):
        simulator.add(account, "voice", created_at=created, completed_at=created, visible_at=simulator.now)

    ran, document = run_each(rig, ["reconcile", "--source", "voice"], ["reconcile", "--json"])
    assert (ran.code, ran.stdout.splitlines()[1].split("\t")[2:4]) == (0, ["4", "2"])
    assert "2 recordings were missed by polls: lookback 26h is too short; at least 41h is needed" in ran.stderr
    assert "`recvault sync` or the daemon archives it" in ran.stderr
    [row] = document.document["sources"]
    assert (document.document["schema"], document.document["command"], row["missed"]) == (
        "recvault/report/v1",
        "reconcile",
        0,
    )


WRONG = (
    "--since 2026-10-02 --until 2026-10-01",
    "--since 2999-01-01",
    "--until 2020-01-01",
    "--since yesterday",
    "--source nobody",
)


def test_wrong_usage(rig: Rig, simulator: Simulator) -> None:
    """Wrong usage exits 2 without any request."""
    rig.add_source("voice", "twilio", simulator.add_account("twilio"))
    ran = run_each(rig, *(["reconcile", *words.split()] for words in WRONG))
    assert [(each.code, each.stdout) for each in ran] == [(2, "")] * len(WRONG)


def test_lateness_in_words() -> None:
    """The message covers one recording, many, and a longer lookback; the stored value reads back."""
    one, many = Late(1, 40 * HOUR, START), Late(1200, 26.5 * HOUR, START - HOUR)
    assert one.words(26 * HOUR) == "1 recording was missed by polls: lookback 26h is too short; at least 40h is needed"
    assert many.words(1.5 * HOUR) == (
        "1,200 recordings were missed by polls: lookback 1h30m is too short; at least 27h is needed"
    )
    assert one.words(2 * DAY).endswith("lookback 48h (the current setting) would have caught them")
    assert Late.from_json((one + many).to_json()) == Late(1201, 40 * HOUR, START)
    assert late_fact("a:b", "c") != late_fact("a", "b:c")
