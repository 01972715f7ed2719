"""The archived recordings of each day, counted as they happen, and by migration for older ledgers."""

from __future__ import annotations

import sqlite3
from datetime import date, timedelta
from pathlib import Path

from sqlite_utils import Database

from ledger.rows import NOW, POLICIES, POLICY, failure, many, receipt, recording, register
from recvault.ledger import ArchivedDay, Feed, Ledger
from recvault.ledger.migrations import migrations
from recvault.models import Phase, Verdict, stamp

DAY = timedelta(days=1)
TODAY = NOW.date()
OTHER = Feed("other", "telnyx", "B")


def archive(ledger: Ledger, count: int, at: timedelta = timedelta(), source: str = "main") -> None:
    jobs = ledger.claim(source, NOW + at, count)
    ledger.settle([receipt(job) for job in jobs], NOW + at, {**POLICIES, "other": POLICY})


def day(on: date, recordings: int, source: str = "main", account_id: str = "AC1") -> ArchivedDay:
    return ArchivedDay(source=source, account_id=account_id, day=on, recordings=recordings, bytes=44 * recordings)


def test_a_day_counts_what_was_archived_on_it(ledger: Ledger) -> None:
    """Days are UTC, of each source and account, from the given day on."""
    register(ledger, *many(6))
    register(ledger, recording(7, account_id="B", provider="telnyx"), feed=OTHER)
    until_midnight = timedelta(hours=15) - timedelta(microseconds=1)
    archive(ledger, 2)
    archive(ledger, 1, until_midnight)
    archive(ledger, 3, timedelta(hours=15))
    archive(ledger, 1, DAY, "other")

    tomorrow = TODAY + DAY
    assert ledger.ask.days(TODAY) == [day(TODAY, 3), day(tomorrow, 3), day(tomorrow, 1, "other", "B")]
    assert ledger.ask.days(tomorrow) == [day(tomorrow, 3), day(tomorrow, 1, "other", "B")]
    assert ledger.ask.days(tomorrow + DAY) == []


def test_archived_recordings_are_counted_by_their_call_s_time_and_by_when_they_were_archived(ledger: Ledger) -> None:
    """Of a range of calls, those that were archived before a time; nothing that is not archived."""
    register(ledger, *many(6))
    register(ledger, recording(7, account_id="B", provider="telnyx"), feed=OTHER)
    archive(ledger, 2)
    archive(ledger, 1, DAY)
    archive(ledger, 1, DAY, "other")
    ever = (NOW - 1000 * DAY, NOW + 1000 * DAY)
    ask = ledger.ask.archived_between
    assert [ask(*ever, NOW + each) for each in (timedelta(0), timedelta(seconds=1), 2 * DAY)] == [0, 2, 4]
    assert ask(NOW + DAY, NOW + 2 * DAY, NOW + 2 * DAY) == 0


def test_only_what_is_archived_counts_and_once(ledger: Ledger) -> None:
    """A second receipt does not count again; gone, external and failing recordings do not count."""
    register(ledger, *many(4), recording(9, Phase.EXTERNAL))
    jobs = ledger.claim("main", NOW, 4)
    outcomes = [receipt(jobs[0]), receipt(jobs[0]), failure(jobs[1]), failure(jobs[2], Verdict.GONE)]
    ledger.settle(outcomes, NOW, POLICIES)
    ledger.settle([receipt(jobs[0])], NOW + DAY, POLICIES)
    assert ledger.ask.days(TODAY) == [day(TODAY, 1)]


def test_a_feed_tells_when_it_last_archived(ledger: Ledger) -> None:
    """The last archived time is the latest of the newest day, even if an older batch is stored later."""
    register(ledger, *many(6))
    ledger.advance(Feed("main", "twilio", "AC1"), NOW, NOW)
    ledger.advance(Feed("main", "twilio", "AC2"), NOW, NOW)
    assert [status.last_archived_at for status in ledger.ask.feeds()] == [None, None]
    archive(ledger, 2)
    archive(ledger, 2, DAY)
    archive(ledger, 1, DAY - timedelta(minutes=1))
    assert [status.last_archived_at for status in ledger.ask.feeds()] == [NOW + DAY, None]


def test_a_ledger_of_the_first_schema_is_migrated(path: Path) -> None:
    """A ledger of the first schema opens, and shows the days of what it archived before."""
    plain = sqlite3.connect(path, isolation_level=None)
    migrations.apply(Database(plain), stop_before="second")
    rows = [
        ("RE1", "AC1", "archived", 40, stamp(NOW)),
        ("RE2", "AC1", "archived", 4, stamp(NOW + timedelta(hours=1))),
        ("RE3", "AC1", "archived", None, stamp(NOW + DAY)),
        ("RE4", "AC2", "archived", 44, stamp(NOW)),
        ("RE5", "AC1", "gone", None, stamp(NOW)),
        ("RE6", "AC1", "pending", None, None),
    ]
    plain.executemany(
        """
        INSERT INTO recordings (recording_id, account_id, state, bytes, settled_at, provider, source, api, created_at,
                                registered_at, watched_since, recording)
        VALUES (?, ?, ?, ?, ?, 'twilio', 'main', '2010-04-01', '2026', '2026', '2026', '{}')
        """,
        rows,
    )
    plain.execute("INSERT INTO feeds (source, account_id, list, provider) VALUES ('main', 'AC1', 'account', 'twilio')")
    plain.close()

    ledger = Ledger.open(path, NOW)

    def shown(source: str, account_id: str, on: date, recordings: int, size: int) -> ArchivedDay:
        return ArchivedDay(source=source, account_id=account_id, day=on, recordings=recordings, bytes=size)

    assert ledger.ask.days(TODAY) == [
        shown("main", "AC1", TODAY, 2, 44),
        shown("main", "AC1", TODAY + DAY, 1, 0),
        shown("main", "AC2", TODAY, 1, 44),
    ]
    [status] = ledger.ask.feeds()
    assert (status.last_archived_at, status.scan_started_at, status.scan_seconds) == (NOW + DAY, None, None)
    register(ledger, *many(1, start=7))
    archive(ledger, 1)
    assert ledger.ask.days(TODAY)[0] == shown("main", "AC1", TODAY, 3, 88)
    ledger.close()
