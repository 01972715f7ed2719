"""What is told, and when: each change once, whatever restarts, clocks and repeated looks do."""

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
    """Minute after minute stale is one notice; well again is one more; and a restart repeats neither."""
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
    """A poll that fails and succeeds again is not worth a notice; one that fails for trouble_after is."""
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
    """From failing to stale is news; from stale to failing is none, and only well is recovered."""
    desk.turn(feed("failing"))
    desk.later(minutes=15)
    for condition in ("failing", "stale", "failing", "stale", "failing", "slow"):
        desk.turn(feed(condition))
    assert [kind for kind, _ in desk.recorder.heard()] == ["trouble", "stale", "recovered"]


def test_dead_recordings_are_counted_not_repeated(desk: Desk, feed: Feed) -> None:
    """The first is told at once; further ones at most once an hour, all together; none left is a recovery."""
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
    """What `status` calls not safe is told, whatever part it is of."""
    desk.turn(feed("attention", quarantined=3), bucket="403 AccessDenied")
    desk.later(minutes=15)
    desk.turn(feed("attention", quarantined=3), bucket="403 AccessDenied")
    desk.turn(feed("attention", quarantined=3))
    assert desk.recorder.heard() == [("quarantined", "main/AC1"), ("trouble", "bucket"), ("recovered", "bucket")]
    assert desk.recorder.accepted[1]["data"]["message"] == "403 AccessDenied"


def test_a_quiet_source_is_told_and_its_next_recording(desk: Desk, feed: Feed) -> None:
    """It is told at once, as it has been quiet for long, and beside whatever else its list has."""
    for _ in range(2):
        desk.turn(feed("attention", "no new recording for 3 d"))
    desk.turn(feed())
    assert desk.recorder.heard() == [("quiet", "main/AC1"), ("recovered", "main/AC1")]
    assert desk.recorder.accepted[1]["data"]["message"] == "there are new recordings again"


def test_many_accounts_at_once_are_one_notice(desk: Desk, feed: Feed) -> None:
    """A wrong token concerns five hundred sub-accounts, and is one notice; five accounts are five."""
    desk.turn(*(feed("stale", account=f"AC{number}") for number in range(500)))
    desk.turn()
    desk.turn(*(feed("stale", account=f"AC{number}", source="other") for number in range(5)))
    heard = desk.recorder.heard()
    assert heard[:2] == [("stale", "main"), ("recovered", "main")]
    assert heard[2:] == [("stale", f"other/AC{number}") for number in range(5)]
    assert desk.recorder.accepted[0]["data"]["accounts"] == 500


def test_a_day_is_summed_up_once(desk: Desk, feed: Feed) -> None:
    """The first look after midnight tells of the day before, and no other one; the first day was not seen whole."""
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
    """What began in a future that never comes is counted from now."""
    desk.now += timedelta(days=300)
    desk.turn(feed("failing"))
    desk.now -= timedelta(days=300)
    desk.turn(feed("failing"))
    desk.later(minutes=15)
    desk.turn(feed("failing"))
    assert desk.recorder.heard() == [("trouble", "main/AC1")]


def test_only_what_is_wanted_is_told(desk: Desk, feed: Feed) -> None:
    """`events` chooses; what is not chosen is remembered all the same."""
    desk.kinds = ("recovered",)
    desk.turn(feed("stale"))
    desk.turn(feed())
    assert desk.recorder.heard() == [("recovered", "main/AC1")]


def test_nothing_new_writes_nothing(desk: Desk, feed: Feed) -> None:
    """A daemon that is well does not write to its ledger to say so."""
    desk.turn(feed("stale"))
    before = desk.ledger._connection._db.conn.total_changes
    for _ in range(5):
        desk.turn(feed("stale"))
    assert desk.ledger._connection._db.conn.total_changes == before


def test_flagged_media_are_told(desk: Desk, feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archived recording that is flagged is counted by the ledger, and told."""
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
    """What `events` may name is what can be told."""
    assert get_args(Kind) == KINDS
