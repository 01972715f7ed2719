"""What a source takes over from a name that is no longer configured, table by table."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ledger.rows import NOW, POLICIES, RECHECK, failure, many, receipt, recording, register, rejected
from ledger.test_plans import plans_of
from recvault.errors import ConfigError
from recvault.ledger import Carrier, Feed, Ledger, Stranded
from recvault.ledger.lateness import Late, late_fact, offered_fact
from recvault.models import Verdict, Window

OLD, NEW = Feed("main", "twilio", "AC1"), Feed("new", "twilio", "AC1")
VOICE = frozenset({"2010-04-01", "2008-08-01"})
DAY = timedelta(days=1)


def carrier(source: str, account_id: str = "AC1", api: str = "2010-04-01", **more: object) -> Carrier:
    apis = VOICE if api in VOICE else frozenset({api})
    return Carrier(source=source, provider="twilio", api=api, apis=apis, account_id=account_id, **more)  # type: ignore[arg-type]


def never(seconds: float) -> bool:
    return False


def move(ledger: Ledger, *carriers: Carrier) -> list[str]:
    carriers = carriers or (carrier("new"),)
    ledger.succession.begin(carriers, never)
    return ledger.succession.take_over(NEW, carriers, never)


@pytest.fixture
def old(ledger: Ledger) -> Ledger:
    """A ledger in which `main` has left something in every table."""
    ledger.succession.begin([carrier("main")], never)
    register(ledger, *many(12), rejected=[rejected("{}", "RE99")])
    jobs = ledger.claim("main", NOW, 4)
    verdicts = [Verdict.RETRY, Verdict.FATAL, Verdict.GONE]
    outcomes = [failure(job, verdict) for job, verdict in zip(jobs, verdicts, strict=False)]
    ledger.settle([*outcomes, receipt(jobs[3])], NOW, POLICIES)
    ledger.advance(OLD, NOW, NOW)
    ledger.add_slice(Feed("main", "twilio", "AC1", "backfill"), Window(NOW - DAY, NOW))
    ledger.remember(late_fact("main", "AC1"), Late(1, DAY, NOW).to_json())
    return ledger


def test_every_count_goes_along(old: Ledger) -> None:
    """Tallies, days, quarantine, slices, lateness and watermark move to the new name, and nothing is left."""
    before, hours = old.ask.standing("main", "AC1"), old.ask.hours("main", "AC1", NOW)
    old.remember("closing:main", "{}")
    old.remember(offered_fact("main", "AC1"), "2026")
    assert move(old) == ["main"]
    assert (old.fact("closing:main"), old.fact("closing:new"), old.fact("carrier:main")) == (None, "{}", None)
    assert (old.fact(offered_fact("main", "AC1")), old.fact(offered_fact("new", "AC1"))) == (None, "2026")
    assert old.ask.standing("new", "AC1") == before
    assert old.ask.accounts("main") == []
    assert old.watermark(NEW) == NOW
    assert [day.source for day in old.ask.days(NOW.date())] == ["new"]
    assert (old.ask.hours("main", "AC1", NOW), old.ask.hours("new", "AC1", NOW)) == ([], hours)
    assert old.slices(Feed("new", "twilio", "AC1", "backfill")) == [Window(NOW - DAY, NOW)]
    assert old.fact(late_fact("main", "AC1")) is None
    assert old.fact(late_fact("new", "AC1")) == Late(1, DAY, NOW).to_json()
    assert [row["source"] for row in old.ask.quarantined()] == ["new"]
    assert {row["source"] for row in old.ask.failures()} == {"new"}
    assert len(old.claim("new", NOW, 100)) == 8


def test_what_the_new_name_has_is_joined(old: Ledger) -> None:
    """If both names have data, the later watermark counts, and slices, lateness and quarantine are merged."""
    register(old, *many(3, 50), feed=NEW, rejected=[rejected("{}", "RE99"), rejected("x", "RE98")])
    old.advance(NEW, NOW - DAY, NOW)
    old.add_slice(Feed("new", "twilio", "AC1", "backfill"), Window(NOW - 2 * DAY, NOW - DAY))
    old.remember(late_fact("new", "AC1"), Late(2, 2 * DAY, NOW).to_json())
    assert move(old) == ["main"]
    assert old.watermark(NEW) == NOW
    assert old.slices(Feed("new", "twilio", "AC1", "backfill")) == [Window(NOW - 2 * DAY, NOW)]
    assert old.fact(late_fact("new", "AC1")) == Late(3, 2 * DAY, NOW).to_json()
    assert sorted(str(row["recording_id"]) for row in old.ask.quarantined()) == ["RE98", "RE99"]


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [
        (None, None, True),
        (None, NOW - DAY, True),
        (NOW - DAY, None, False),
        (NOW - DAY, NOW - 2 * DAY, False),
        (NOW - DAY, NOW - DAY, True),
    ],
)
def test_a_watermark_holds_where_no_more_is_to_be_archived(
    ledger: Ledger, before: datetime | None, after: datetime | None, kept: bool
) -> None:
    """A watermark of a name with a later start_from is not taken over, as older recordings were never listed."""
    ledger.succession.begin([carrier("main", start_from=before)], never)
    register(ledger, *many(2))
    ledger.advance(OLD, NOW, NOW)
    assert move(ledger, carrier("new", start_from=after)) == ["main"]
    assert ledger.watermark(NEW) == (NOW if kept else None)


def test_a_start_that_was_moved_back_is_remembered(ledger: Ledger) -> None:
    """A watermark with a gap below it keeps the gap, even if start_from moves back later."""
    ledger.succession.begin([carrier("main", start_from=NOW - DAY)], never)
    register(ledger, *many(2))
    ledger.advance(OLD, NOW, NOW)
    ledger.succession.begin([carrier("main")], never)
    move(ledger)
    assert ledger.watermark(NEW) is None


def test_a_ledger_of_an_earlier_version_is_taken_over(ledger: Ledger) -> None:
    """An older ledger without stored meanings is taken over by its rows' API, and listed from the beginning."""
    register(ledger, *many(3))
    ledger.advance(OLD, NOW, NOW)
    assert move(ledger, carrier("video", api="video-v1"), carrier("new")) == ["main"]
    assert ledger.watermark(NEW) is None
    assert len(ledger.claim("new", NOW, 10)) == 3


def test_another_api_of_the_account_takes_nothing(old: Ledger) -> None:
    """Video does not take over Voice's recordings: they are reported as stranded."""
    assert move(old, carrier("new", api="video-v1")) == []
    assert old.succession.stranded([carrier("new", api="video-v1")]) == [Stranded("main", "twilio", "AC1", 9)]
    assert old.succession.stranded([carrier("new")]) == []
    assert old.succession.stranded([carrier("main", api="video-v1")]) == []


def test_the_nearest_list_takes_over(old: Ledger) -> None:
    """The 2008 list takes over 2010's recordings only if no source lists the account by 2010's API."""
    legacy, feed = carrier("legacy", api="2008-08-01"), Feed("legacy", "twilio", "AC1")
    assert old.succession.take_over(feed, [legacy, carrier("new")], never) == []
    assert old.succession.take_over(feed, [legacy], never) == ["main"]
    assert old.watermark(feed) is None


def test_days_of_both_names_are_added_up(old: Ledger) -> None:
    """Days of both names are summed."""
    register(old, recording(60), feed=NEW)
    old.settle([receipt(job) for job in old.claim("new", NOW, 1)], NOW, {"new": POLICIES["main"]})
    sizes = sum(day.bytes for day in old.ask.days(NOW.date()))
    move(old)
    assert [(day.source, day.recordings, day.bytes) for day in old.ask.days(NOW.date())] == [("new", 2, sizes)]


def test_a_configured_name_keeps_what_it_lists(old: Ledger) -> None:
    """Two configured sources of one account take nothing from each other."""
    assert move(old, carrier("main"), carrier("new")) == []
    assert len(old.claim("main", NOW, 100)) == 8


def test_a_main_account_brings_those_below_it(ledger: Ledger) -> None:
    """A main account brings its sub-accounts, even closed ones, but not those with a source of their own."""
    ledger.succession.begin([carrier("main", subaccounts=True)], never)
    for account_id in ("AC1", "AC2", "AC3"):
        feed = Feed("main", "twilio", account_id)
        register(ledger, recording(1, account_id=account_id), feed=feed)
        ledger.advance(feed, NOW, NOW)
    ledger.note_accounts("main", ["AC1"], NOW)
    carriers = [carrier("new", subaccounts=True), carrier("third", "AC3")]
    ledger.succession.begin(carriers, never)
    ledger.succession.take_over(NEW, carriers, never)
    assert sorted(job.recording.account_id for job in ledger.claim("new", NOW, 9)) == ["AC1", "AC2"]
    ledger.succession.take_over(Feed("third", "twilio", "AC3"), carriers, never)
    assert [job.recording.account_id for job in ledger.claim("third", NOW, 9)] == ["AC3"]


def test_a_name_that_means_another_account_is_set_aside(old: Ledger) -> None:
    """A name with a new account claims nothing of the old one, until a source lists that again."""
    other = carrier("main", "AC2")
    old.succession.begin([other], never)
    assert old.claim("main", NOW, 100) == []
    aside = "main (twilio 2010-04-01)"
    assert old.succession.stranded([other]) == [Stranded(aside, "twilio", "AC1", 9)]
    assert move(old, other, carrier("new")) == [aside]
    assert old.watermark(NEW) == NOW


def test_a_living_process_keeps_its_names(old: Ledger, path: Path) -> None:
    """A living process keeps its source names, whatever its configuration; afterwards they are vacant."""
    daemon = Ledger.open(path, NOW)
    daemon.succession.begin([carrier("main")], never)
    assert move(old) == []
    assert old.succession.stranded([]) == []
    daemon.succession.end()
    assert move(old) == ["main"]
    daemon.close()


@pytest.mark.parametrize("steps", range(1, 6))
def test_a_move_goes_on_where_it_was_cut_short(ledger: Ledger, steps: int) -> None:
    """After any interrupted transaction each row has one name, counts are right, and the next pass continues."""
    ledger.succession.begin([carrier("main")], never)
    register(ledger, *many(1700))
    ledger.settle([receipt(job) for job in ledger.claim("main", NOW, 400)], NOW, POLICIES)
    taken: list[float] = []

    def stop(seconds: float) -> bool:
        taken.append(seconds)
        return len(taken) == steps

    ledger.succession.begin([carrier("new")], never)
    ledger.succession.take_over(NEW, [carrier("new")], stop)
    counts = [ledger.ask.standing(name, "AC1") for name in ("main", "new")]
    assert sum(each.pending for each in counts) == 1300
    assert sum(each.archived for each in counts) == 400
    move(ledger)
    assert (ledger.ask.accounts("main"), ledger.ask.standing("new", "AC1").pending) == ([], 1300)


def test_what_waits_is_not_held_up_by_what_is_settled(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open recordings and watermarks move in the first round, millions of archived rows in later ones."""
    monkeypatch.setattr("recvault.ledger.moves._SPAN", 10)
    monkeypatch.setattr("recvault.ledger.succession._SETTLED_SECONDS", 0.0)
    ledger.succession.begin([carrier("main")], never)
    register(ledger, *many(40))
    ledger.advance(OLD, NOW, NOW)
    ledger.settle([receipt(job) for job in ledger.claim("main", NOW, 30)], NOW, POLICIES)
    assert move(ledger) == []
    assert (ledger.watermark(NEW), ledger.ask.standing("new", "AC1").pending) == (NOW, 10)
    assert ledger.ask.standing("main", "AC1").archived == 20
    assert (move(ledger), move(ledger), move(ledger)) == ([], [], ["main"])
    assert ledger.ask.standing("new", "AC1").archived == 30
    assert ledger.ask.days(NOW.date())[0].recordings == 30


def test_moves_find_their_rows_by_an_index(old: Ledger) -> None:
    """Moves find open rows by an index and settled ones by ranges of ids."""
    plans = plans_of(old, lambda ledger: move(ledger))
    steps = {step for step in plans if "recordings" in step}
    assert steps == {
        "SEARCH recordings USING INTEGER PRIMARY KEY (rowid=?)",
        "SEARCH recordings USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        "SEARCH recordings USING COVERING INDEX recordings_next (source=? AND account_id=? AND next_attempt_at>?)",
        "SEARCH recordings",
    }
    assert plans_of(old, lambda ledger: ledger.succession.take_over(NEW, [carrier("new")], never)) != []


# -- one account under two names ---------------------------------------------------------------------------------------

NAMED = Feed("phones", "telnyx", "phones", is_named=True)
UUID = "3fa85f64-5717-4562-b3fc-2c963f66afa6"


def telnyx(account_id: str, recording_id: str = UUID, created_at: datetime = NOW) -> dict[str, object]:
    return {"provider": "telnyx", "account_id": account_id, "recording_id": recording_id, "created_at": created_at}


def test_a_recording_of_another_name_is_not_registered(ledger: Ledger) -> None:
    """A page with another name's recordings is refused, with both names and the line to add."""
    register(ledger, recording(1, **telnyx("tx")), feed=Feed("tx", "telnyx", "tx", is_named=True))
    with pytest.raises(
        ConfigError,
        match=r'already known under the telnyx account tx.*\(add account = "tx" to the \[\[sources\]\] entry phones',
    ):
        register(ledger, recording(2, **telnyx("phones", "new")), recording(1, **telnyx("phones")), feed=NAMED)
    assert ledger.ask.find("new") == []


def test_what_is_known_under_both_names_stays(ledger: Ledger) -> None:
    """An account doubled by an earlier version continues with new recordings."""
    register(ledger, recording(1, **telnyx("phones")), feed=NAMED)
    with closing(sqlite3.connect(ledger._connection.path)) as db, db:
        db.execute("UPDATE recordings SET account_id='tx'")
    register(ledger, recording(1, **telnyx("phones")), feed=Feed("phones", "telnyx", "phones"))
    assert register(ledger, recording(1, **telnyx("phones")), feed=NAMED).new == 0


def test_a_short_id_may_be_a_count_of_each_account(ledger: Ledger) -> None:
    """Equal short ids of two accounts are two recordings, unless their dates are equal."""
    register(ledger, recording(1, **telnyx("tx", "1")), feed=Feed("tx", "telnyx", "tx", is_named=True))
    later = datetime(2026, 10, 2, tzinfo=UTC)
    assert register(ledger, recording(1, **telnyx("phones", "1", later)), feed=NAMED).new == 1


def test_an_account_that_is_known_is_asked_for_nothing(ledger: Ledger) -> None:
    """Other accounts' recordings are requested only while this account has none."""
    tx = Feed("tx", "telnyx", "tx", is_named=True)
    assert ledger.namesakes(NAMED) == []
    ledger.advance(tx, NOW, NOW)
    ledger.register(tx, [recording(1, **telnyx("tx", f"id-{number}")) for number in range(9)], [], NOW, RECHECK)
    assert [each.recording_id for each in ledger.namesakes(NAMED)] == [f"id-{number}" for number in (8, 7, 6, 5, 4)]
    ledger.register(NAMED, [recording(1, **telnyx("phones", "own"))], [], NOW, RECHECK)
    assert ledger.namesakes(NAMED) == []
