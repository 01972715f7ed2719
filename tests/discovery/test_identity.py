"""Identity does not depend on configuration: sources may be renamed, moved, split, merged or removed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest

from cli.commands import run_each
from recvault.monitoring.report import Report
from recvault.simulator import Simulator
from rig import SOURCES, Rig, now

COUNT = 6
HOUR = timedelta(hours=1)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """The five providers, with a running clock, like the machine's."""
    with Simulator(seed=7) as running:
        yield running


def listed_only(rig: Rig) -> Report:
    """Run a pass without its bucket: everything is registered and waits."""
    bucket, rig.bucket = rig.bucket, "a-bucket-that-is-not-there"
    try:
        return rig.sync()
    finally:
        rig.bucket = bucket


def rename(rig: Rig, before: str, after: str, **changes: Any) -> None:
    for source in rig.sources:
        if source["name"] == before:
            source.update(name=after, **changes)


def names_in_ledger(rig: Rig) -> dict[str, set[str]]:
    """Return the source names in every table."""
    with closing(sqlite3.connect(rig.root / "ledger.db")) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        keyed = [table for table in tables if "source" in {row[1] for row in db.execute(f"PRAGMA table_info({table})")}]
        found = {table: {name for (name,) in db.execute(f"SELECT source FROM {table}")} for table in keyed}
        found["facts"] = {name for (name,) in db.execute("SELECT name FROM facts")}
    return found


@pytest.fixture
def account(rig: Rig) -> Any:
    """One Twilio account whose recordings wait under `old`."""
    account = rig.simulator.add_account("twilio")
    rig.simulator.populate(account, "voice", count=COUNT)
    rig.add_source("old", "twilio", account)
    listed_only(rig)
    return account


@pytest.mark.parametrize("name", SOURCES)
def test_what_waits_under_an_old_name_is_taken_over(rig: Rig, name: str) -> None:
    """A renamed source archives what its old name registered, and the old name disappears from the ledger."""
    provider, kind = SOURCES[name]
    account = rig.simulator.add_account(kind)
    rig.simulator.populate(account, "video" if name == "video" else kind if kind != "twilio" else "voice", count=COUNT)
    rig.add_source("old", provider, account)
    rename(rig, "old", "old", **({"account": "acme"} if provider == "telnyx" else {}))
    assert listed_only(rig).exit_code != 0
    rename(rig, "old", "new")

    report = rig.sync()

    assert report.exit_code == 0, report.document()
    [row] = report.accounts.values()
    assert (row.source, row.archived, row.registered) == ("new", COUNT, 0)
    found = names_in_ledger(rig)
    assert "carrier:old" not in found.pop("facts")
    assert {source for sources in found.values() for source in sources} == {"new"}


def test_a_watermark_goes_with_its_account(rig: Rig, account: Any) -> None:
    """A renamed source keeps its watermark, and does not list from the beginning."""
    before = next(iter(rig.sync().accounts.values())).watermark
    rename(rig, "old", "new")
    rig.simulator.clear_requests()
    rig.sync()
    lists = [each for each in rig.simulator.requests if each.path.endswith("Recordings.json")]
    assert before is not None
    assert len(lists) == 1 and "DateCreated" in str(lists[0])


def test_what_is_archived_dead_or_counted_goes_with_its_account(rig: Rig, account: Any) -> None:
    """Counts, days and failures of an account stay together when its source is renamed."""
    rig.sync()
    rename(rig, "old", "new")
    rig.sync()
    with rig.runtime() as runtime:
        [feed] = runtime.feeds()
        days = runtime.ledger.ask.days(now().date())
    assert (feed.feed.source, feed.standing.archived) == ("new", COUNT)
    assert [(day.source, day.recordings) for day in days] == [("new", COUNT)]


def test_a_source_that_is_taken_away_is_told_until_nothing_waits(rig: Rig, account: Any) -> None:
    """Open recordings that no source lists exit 3 and are reported, until a source lists their account again."""
    other = rig.simulator.add_account("signalwire")
    rig.simulator.populate(other, "signalwire", count=2)
    rig.add_source("other", "signalwire", other)
    [old, _] = rig.sources
    rig.sources.remove(old)

    report = rig.sync()

    assert report.exit_code == 3
    row = report.accounts["old", account.account_id]
    assert (
        row.error is not None and f"{COUNT} recordings wait under old" in row.error and account.account_id in row.error
    )
    with rig.runtime() as runtime:
        judged = {feed.feed.source: str(health.condition) for feed, health in runtime.judged({})}
    assert judged == {"old": "failing", "other": "ok"}
    rig.sources.append({**old, "name": "again"})
    assert rig.sync().exit_code == 0


def test_a_name_that_means_another_account_carries_nothing_of_the_first(rig: Rig, account: Any) -> None:
    """If a name's account changes, the new account is not asked for the old one's recordings, which is reported."""
    second = rig.simulator.add_account("twilio")
    rig.simulator.populate(second, "voice", count=2)
    first = rig.sources.pop()
    rig.add_source("second", "twilio", second)
    rename(rig, "second", "old")

    report = rig.sync()

    assert report.exit_code == 3
    assert report.accounts["old", second.account_id].archived == 2
    assert [row.account_id for row in report.accounts.values() if row.error] == [account.account_id]
    rig.sources.append({**first, "name": "first"})
    report = rig.sync()
    assert report.exit_code == 0
    assert report.accounts["first", account.account_id].archived == COUNT


def test_a_name_that_means_another_list_carries_nothing_of_the_first(rig: Rig, account: Any) -> None:
    """Voice recordings are never requested from Video's API because a name is reused: they would be gone."""
    voice = rig.sources.pop()
    rig.add_source("old", "twilio-video", account)
    assert rig.sync().exit_code == 3
    rig.sources.append({**voice, "name": "voice"})
    report = rig.sync()
    assert report.exit_code == 0
    assert report.accounts["voice", account.account_id].archived == COUNT


def test_the_nearest_list_takes_over(rig: Rig, account: Any) -> None:
    """Of two sources of an account, the one with the same API takes over."""
    rename(rig, "old", "new")
    rig.add_source("legacy", "twilio-legacy", account)
    rig.sources.reverse()
    report = rig.sync()
    assert report.exit_code == 0
    assert report.accounts["new", account.account_id].archived == COUNT


def test_the_other_voice_api_takes_over_where_it_is_alone(rig: Rig, account: Any) -> None:
    """A source of the 2008 API takes over alone, as it has the same recordings and ids."""
    rig.sources.clear()
    rig.add_source("legacy", "twilio-legacy", account)
    report = rig.sync()
    assert report.exit_code == 0
    assert report.accounts["legacy", account.account_id].archived == COUNT


def test_nothing_is_taken_from_a_living_process(rig: Rig, account: Any) -> None:
    """A running daemon keeps the recordings of its older configuration; they are taken over once it ends."""
    with rig.runtime() as daemon:
        daemon.usable(["old"], Report(command="run", started_at=now()))
        rename(rig, "old", "new")
        beside = rig.sync()
        assert (beside.exit_code, beside.accounts["new", account.account_id].archived) == (0, 0)
    assert rig.sync().accounts["new", account.account_id].archived == COUNT


def test_a_sub_account_may_be_split_off_and_merged_again(rig: Rig) -> None:
    """A sub-account's open recordings go to the source that lists it now, and back when that one is removed."""
    main = rig.simulator.add_account("twilio")
    below = rig.simulator.add_account("twilio", parent=main)
    rig.simulator.populate(below, "voice", count=COUNT)
    rig.add_source("main", "twilio", main, subaccounts=True)
    listed_only(rig)
    rig.sources.clear()
    rig.add_source("below", "twilio", below)
    bucket, rig.bucket = rig.bucket, "a-bucket-that-is-not-there"
    rig.sync()
    assert {each.source for each in _waiting(rig)} == {"below"}
    rig.bucket = bucket
    rig.sources.clear()
    rig.add_source("main", "twilio", main, subaccounts=True)
    report = rig.sync()
    assert report.exit_code == 0
    assert report.accounts["main", below.account_id].archived == COUNT


def _waiting(rig: Rig) -> list[Any]:
    with rig.runtime() as runtime:
        return [feed.feed for feed in runtime.feeds() if feed.standing.pending]


# -- accounts without an id --------------------------------------------------------------------------------------------


@pytest.fixture
def telnyx(rig: Rig) -> Any:
    """A Telnyx account that is archived as `tx`."""
    account = rig.simulator.add_account("telnyx")
    rig.simulator.populate(account, "telnyx", count=COUNT)
    rig.add_source("tx", "telnyx", account)
    assert rig.sync().exit_code == 0
    return account


def test_a_renamed_source_without_an_account_is_refused(rig: Rig, telnyx: Any) -> None:
    """A renamed source without account id is refused, with the line that keeps the name; nothing is doubled."""
    objects = rig.objects()
    rig.simulator.populate(telnyx, "telnyx", count=2, start=now() - HOUR)
    rename(rig, "tx", "phones")
    rig.simulator.clear_requests()

    report = rig.sync()

    assert report.exit_code == 78
    assert [each.path for each in rig.simulator.requests if each.path.endswith("/recordings")] == []  # not even listed
    [row] = report.accounts.values()
    assert row.error is not None and "account tx" in row.error and 'account = "tx"' in row.error
    assert row.watermark is None and row.registered == 0
    assert rig.objects() == objects

    rename(rig, "phones", "phones", account="tx")
    report = rig.sync()
    assert (report.exit_code, report.accounts["phones", "tx"].archived) == (0, 2)
    assert all("/account=tx/" in key for key in rig.objects() if "provider=" in key)


def test_a_second_list_of_a_named_account_is_one_account(rig: Rig, telnyx: Any) -> None:
    """Two logins of one named account archive each recording once."""
    rig.add_source("second", "telnyx", telnyx)
    rename(rig, "second", "second", account="tx")
    objects = rig.objects()
    report = rig.sync()
    assert (report.exit_code, report.accounts["second", "tx"].registered) == (0, 0)
    assert rig.objects() == objects


def test_another_account_of_the_provider_is_its_own(rig: Rig, telnyx: Any) -> None:
    """Another account with unknown recordings is archived under its own name."""
    other = rig.simulator.add_account("telnyx")
    rig.simulator.populate(other, "telnyx", count=2)
    rig.add_source("other", "telnyx", other)
    report = rig.sync()
    assert (report.exit_code, report.accounts["other", "other"].archived) == (0, 2)


def test_a_name_that_becomes_known_too_late_is_refused_row_by_row(rig: Rig, telnyx: Any) -> None:
    """A list that comes to contain another account's recordings is refused, and its watermark stays."""
    other = rig.simulator.add_account("telnyx")
    rig.simulator.populate(other, "telnyx", count=1)
    rig.simulator.populate(telnyx, "telnyx", count=1, start=now() - HOUR)
    rig.add_source("other", "telnyx", other)
    mark = rig.sync().accounts["other", "other"].watermark
    rig.add_source("other", "telnyx", telnyx)  # its key is replaced by that of the first
    [tx, _, exchanged] = rig.sources
    rig.sources[:] = [tx, exchanged]
    report = rig.sync()
    assert report.exit_code == 78
    row = report.accounts["other", "other"]
    assert row.error is not None and "account tx" in row.error and 'account = "tx"' in row.error
    assert (row.watermark, row.registered) == (mark, 0)


# -- what commands say -------------------------------------------------------------------------------------------------


def test_commands_name_what_nothing_carries(rig: Rig, account: Any) -> None:
    """`retry --all` skips recordings that no source lists; `failures` and `status` report them with a hint."""
    other = rig.simulator.add_account("signalwire")
    rig.sources.clear()
    rig.add_source("other", "signalwire", other)
    ran = run_each(rig, ["retry", "--all"], ["retry", "--all", "--json"], ["failures", "--json"], ["status", "--json"])
    retried, counted, failures, status = ran
    assert retried.stdout.startswith("0 due now")
    assert f"{COUNT} recordings wait under old" in retried.stderr
    assert (counted.document["made_due"], counted.document["stranded"]) == (0, COUNT)
    stranded = {"source": "old", "provider": "twilio", "account_id": account.account_id, "waiting": COUNT}
    assert failures.document["stranded"] == [stranded]
    [old] = [each for each in status.document["sources"] if each["source"] == "old"]
    assert old["condition"] == "unconfigured"
    assert f"{COUNT} recordings wait under old" in old["message"]


def test_what_will_be_taken_over_is_due(rig: Rig, account: Any) -> None:
    """Before a renamed source's first pass, `retry --all` includes what it will take over."""
    rename(rig, "old", "new")
    retried, status = run_each(rig, ["retry", "--all", "--json"], ["status", "--json"])
    assert "stranded" not in retried.document
    [old] = [each for each in status.document["sources"] if each["source"] == "old"]
    assert "takes over" in old["message"]


def test_check_tells_a_rename_with_the_line_to_add(rig: Rig, telnyx: Any) -> None:
    """`check` detects a rename before anything is archived twice, with both accounts and the line to add."""
    rename(rig, "tx", "phones")
    checked, offline = run_each(rig, ["check", "--json"], ["check", "--offline", "--json"])
    assert checked.code == 78
    [told] = [each for each in checked.document["checks"] if not each["ok"]]
    assert "account tx" in told["detail"] and told["hint"] == 'add account = "tx" to the [[sources]] entry phones'
    [noted] = [each for each in offline.document["checks"] if "phones" in each["name"] and each["hint"]]
    assert offline.code == 0
    assert noted["ok"] and 'account = "tx"' in noted["hint"]
