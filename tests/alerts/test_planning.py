"""What is notified, and when: each change once, whatever restarts, clocks and repeated checks do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import get_args

import pytest

from alerts.conftest import Desk, Judged
from recvault.alerts import KINDS
from recvault.config.settings import Kind

Feed = Callable[..., Judged]


def test_a_stale_source_is_told_once_and_its_recovery_once(desk: Desk, feed: Feed) -> None:
    """A source that stays stale is one notice, its recovery another; a restart repeats neither."""
    for _ in range(3):
        desk.turn(feed("stale", "no complete scan for 1 d"))
        desk.later(minutes=1)
        desk.restart()
    assert desk.recorder.heard() == [("stale", "main/AC1")]
    assert desk.recorder.accepted[0]["data"]["message"] == "no complete scan for 1 d"
    for _ in range(2):
        desk.turn(feed())
        desk.restart()
    assert desk.recorder.heard() == [("stale", "main/AC1"), ("recovered", "main/AC1")]
    desk.turn(feed("stale"))
    assert desk.recorder.heard()[2:] == [("stale", "main/AC1")]


def test_a_failing_list_is_told_after_a_while(desk: Desk, feed: Feed) -> None:
    """A single failed poll is no notice; a list that fails for trouble_after is."""
    desk.turn(feed("failing"))
    desk.later(minutes=14)
    desk.turn(feed("failing"))
    desk.turn(feed())
    desk.turn(feed("failing"))
    desk.later(minutes=14)
    desk.turn(feed("failing"))
    assert desk.recorder.heard() == []
    desk.later(minutes=1)
    desk.turn(feed("failing"))
    desk.turn(feed("failing"))
    assert desk.recorder.heard() == [("trouble", "main/AC1")]


def test_worse_is_told_and_less_bad_is_not(desk: Desk, feed: Feed) -> None:
    """From failing to stale is a notice, from stale to failing is none; only ok is a recovery."""
    desk.turn(feed("failing"))
    desk.later(minutes=15)
    for condition in ("failing", "stale", "failing", "stale", "failing", "slow"):
        desk.turn(feed(condition))
    assert [kind for kind, _ in desk.recorder.heard()] == ["trouble", "stale", "recovered"]


def test_dead_recordings_are_counted_not_repeated(desk: Desk, feed: Feed) -> None:
    """The first is notified at once, further ones at most once an hour together; none left is a recovery."""
    desk.turn(feed("attention", dead=1))
    for dead in (2, 300, 800):
        desk.turn(feed("attention", dead=dead))
        desk.later(minutes=10)
    assert desk.recorder.heard() == [("dead", "main/AC1")]
    desk.later(minutes=30)
    desk.turn(feed("attention", dead=800))
    desk.turn(feed("attention", dead=5))
    desk.later(hours=2)
    desk.turn(feed("attention", dead=5))
    desk.turn(feed("attention", dead=6))
    desk.turn(feed())
    told = [(each["data"].get("count"), each["data"].get("told_before")) for each in desk.recorder.accepted]
    assert told == [(1, 0), (800, 1), (6, 5), (None, None)]
    assert desk.recorder.accepted[-1]["data"]["was"] == "dead"


def test_quarantined_rows_and_parts_of_recvault_are_told(desk: Desk, feed: Feed) -> None:
    """Everything that makes `status` say not safe is notified."""
    desk.turn(feed("attention", quarantined=3), bucket="403 AccessDenied")
    desk.later(minutes=15)
    desk.turn(feed("attention", quarantined=3), bucket="403 AccessDenied")
    desk.turn(feed("attention", quarantined=3))
    assert desk.recorder.heard() == [("quarantined", "main/AC1"), ("trouble", "bucket"), ("recovered", "bucket")]
    assert desk.recorder.accepted[1]["data"]["message"] == "403 AccessDenied"


def test_a_quiet_source_is_told_and_its_next_recording(desk: Desk, feed: Feed) -> None:
    """It is notified at once, in addition to other problems of its list."""
    for _ in range(2):
        desk.turn(feed("attention", "no new recording for 3 d"))
    desk.turn(feed())
    assert desk.recorder.heard() == [("quiet", "main/AC1"), ("recovered", "main/AC1")]
    assert desk.recorder.accepted[1]["data"]["message"] == "there are new recordings again"


def test_many_accounts_at_once_are_one_notice(desk: Desk, feed: Feed) -> None:
    """A wrong token of five hundred sub-accounts is one notice; five accounts are five."""
    desk.turn(*(feed("stale", account=f"AC{number}") for number in range(500)))
    desk.turn()
    desk.turn(*(feed("stale", account=f"AC{number}", source="other") for number in range(5)))
    heard = desk.recorder.heard()
    assert heard[:2] == [("stale", "main"), ("recovered", "main")]
    assert heard[2:] == [("stale", f"other/AC{number}") for number in range(5)]
    assert desk.recorder.accepted[0]["data"]["accounts"] == 500


def test_a_day_is_summed_up_once(desk: Desk, feed: Feed) -> None:
    """Only the first check after midnight sums up the day before; the first day, seen only in part, is not summed
    up."""
    desk.turn(feed())
    desk.later(hours=14)
    desk.turn(feed())
    assert desk.recorder.heard() == []
    desk.later(hours=2)
    for _ in range(2):
        desk.turn(feed("attention", dead=2, pending=7))
        desk.restart()
    assert desk.recorder.heard() == [("dead", "main/AC1"), ("summary", "summary")]
    data = desk.recorder.accepted[1]["data"]
    assert (data["day"], data["archived"], data["dead"], data["pending"], data["safe"]) == (
        "2026-10-01",
        0,
        2,
        7,
        True,
    )


def test_a_clock_that_is_set_back_silences_nothing(desk: Desk, feed: Feed) -> None:
    """A condition that began in what is now the future is timed from now."""
    desk.now += timedelta(days=300)
    desk.turn(feed("failing"))
    desk.now -= timedelta(days=300)
    desk.turn(feed("failing"))
    desk.later(minutes=15)
    desk.turn(feed("failing"))
    assert desk.recorder.heard() == [("trouble", "main/AC1")]


def test_only_what_is_wanted_is_told(desk: Desk, feed: Feed) -> None:
    """`events` selects what is notified; everything else is still remembered."""
    desk.kinds = ("recovered",)
    desk.turn(feed("stale"))
    desk.turn(feed())
    assert desk.recorder.heard() == [("recovered", "main/AC1")]


def test_nothing_new_writes_nothing(desk: Desk, feed: Feed) -> None:
    """Without a change nothing is written to the ledger."""
    desk.turn(feed("stale"))
    before = desk.ledger._connection._db.conn.total_changes
    for _ in range(5):
        desk.turn(feed("stale"))
    assert desk.ledger._connection._db.conn.total_changes == before


def test_flagged_media_are_told(desk: Desk, feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archived recording that is flagged is counted by the ledger and notified."""
    with desk.ledger._connection.write() as db:
        db.execute(
            """INSERT INTO recordings (provider, account_id, recording_id, source, api, created_at, registered_at,
            watched_since, state, reason) VALUES ('twilio', 'AC1', 'RE1', 'main', 'a', '', '', '', 'archived',
            'media.suspect')"""
        )
    assert desk.ledger.ask.suspects() == {("main", "AC1"): 1}
    desk.turn(feed())
    desk.turn(feed())
    assert desk.recorder.heard() == [("suspect", "main/AC1")]


def test_the_configuration_knows_all_kinds() -> None:
    """`events` accepts exactly the kinds that exist."""
    assert get_args(Kind) == KINDS
