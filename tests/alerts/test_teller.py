"""How notices are sent: at least once, with back-off, limited, and without delaying anything."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from alerts.conftest import Desk, Judged, Recorder
from recvault.errors import LedgerLocked, RecvaultError
from recvault.ledger import notices
from recvault.monitoring.verdict import verdict

Feed = Callable[..., Judged]


def test_a_kill_between_change_and_telling_loses_nothing(desk: Desk, feed: Feed) -> None:
    """A stored notice that was not sent is sent once by the next process."""
    desk.turn(feed("stale"), deliver=False)
    desk.restart()
    for _ in range(2):
        desk.turn(feed("stale"))
        desk.restart()
    assert desk.recorder.heard() == [("stale", "main/AC1")]


def test_a_kill_between_sending_and_noting_repeats_the_same_id(
    desk: Desk, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repeated notice has the same id and the same bytes, so a receiver can recognise it."""

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as dying, pytest.raises(Killed):
        dying.setattr(notices.Notices, "forget", die)
        desk.turn(feed("stale"))
    desk.restart()
    desk.turn(feed("stale"))
    first, second = desk.recorder.accepted
    assert first == second and first["id"] == "id-2"  # planned twice: outside the transaction and inside


def test_a_change_and_its_notice_are_one_transaction(desk: Desk, feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that dies while it stores them stores neither, and the next one sees the change again."""
    desk.turn(feed())
    monkeypatch.setattr(notices, "_DROP", "no SQL")  # the last statement of the transaction
    with pytest.raises(RecvaultError):
        desk.turn(feed("stale"))
    monkeypatch.undo()
    desk.restart()
    desk.turn(feed("stale"))
    assert desk.recorder.heard() == [("trouble", "ledger"), ("stale", "main/AC1")]


def test_a_failing_channel_is_tried_again_ever_less_often(desk: Desk, feed: Feed) -> None:
    """It is retried after 30 s, one minute, two …, at most an hour; other channels do not wait."""
    other = Recorder("other")
    desk.more = [other]
    desk.recorder.error = "status 500"
    desk.kinds = ("stale",)
    desk.turn(feed("stale"))
    waits = []
    for _ in range(9):
        tried, began = len(desk.recorder.tried), desk.now
        while len(desk.recorder.tried) == tried:
            desk.later(seconds=30)
            desk.turn(feed("stale"))
        waits.append((desk.now - began).total_seconds())
    assert waits == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert other.heard() == [("stale", "main/AC1")]
    desk.recorder.error = ""
    desk.later(hours=1)
    desk.turn(feed("stale"))
    assert desk.recorder.heard() == [("stale", "main/AC1")]


def test_news_does_not_shorten_the_wait(desk: Desk, feed: Feed) -> None:
    """A long failing channel is tried once for a new notice, then left alone for as long again."""
    desk.recorder.error = "away"
    seen = [feed("stale")]
    desk.turn(*seen)
    for _ in range(5):
        desk.later(minutes=30)
        desk.turn(*seen)
    seen.append(feed("stale", source="other"))
    desk.turn(*seen)
    tried = len(desk.recorder.tried)
    desk.later(minutes=15)
    desk.turn(*seen)
    assert len(desk.recorder.tried) == tried


def test_a_notice_that_nobody_takes_is_given_up(desk: Desk, feed: Feed) -> None:
    """After a day a notice is dropped and counted."""
    desk.recorder.error = "late"
    desk.kinds = ("stale",)
    desk.turn(feed("stale"))
    desk.later(days=1)
    desk.turn(feed("stale"))
    desk.recorder.error = ""
    desk.later(hours=2)
    desk.turn(feed("stale"))
    assert desk.recorder.heard() == []
    assert desk.ledger.notices.waiting() == {}
    assert [result for _, result, _ in desk.results] == ["failed", "failed", "dropped"]


def test_one_notice_that_is_refused_blocks_no_other(desk: Desk, feed: Feed) -> None:
    """A channel that refuses one notice gets the next one first."""
    desk.recorder.refused = "main/AC1"
    for _ in range(3):
        desk.turn(feed("stale"), feed("stale", source="other"))
        desk.later(minutes=5)
    assert desk.recorder.heard() == [("stale", "other/AC1")]


def test_the_queue_is_bounded(desk: Desk, feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a channel fails for long, its newest notices are kept, and dropped ones are counted."""
    monkeypatch.setattr(notices, "MOST", 3)
    desk.recorder.error = "away"
    for number in range(5):
        desk.turn(*(feed("stale", source=f"s{each}") for each in range(number + 1)))
    assert desk.ledger.notices.waiting() == {"recorder": 3}
    assert [each for each in desk.results if each[1] == "dropped"] == [("recorder", "dropped", 1)] * 2
    desk.recorder.error = ""
    desk.later(hours=2)
    desk.teller().deliver()
    assert sorted(subject for _, subject in desk.recorder.heard()) == ["s2/AC1", "s3/AC1", "s4/AC1"]


def test_two_processes_tell_a_change_once(desk: Desk, feed: Feed) -> None:
    """A second process that sees the same change adds nothing."""
    first, second = desk.teller(), desk.teller()
    seen = [feed("stale")], verdict([feed("stale")])
    first.look(*seen)
    second.look(*seen)
    first.deliver()
    second.deliver()
    assert desk.recorder.heard() == [("stale", "main/AC1")]


def test_what_waits_for_a_channel_that_is_gone_is_forgotten(desk: Desk, feed: Feed) -> None:
    """Notices for a channel that is no longer configured are removed."""
    desk.recorder.error = "away"
    desk.turn(feed("stale"))
    desk.recorder = Recorder("new")
    desk.later(hours=2)
    desk.turn(feed("stale"))
    assert (desk.ledger.notices.waiting(), desk.recorder.heard()) == ({}, [])


def test_a_ledger_that_cannot_be_written_is_told_without_it(
    desk: Desk, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk or a locked ledger is notified without the ledger, once while it lasts."""

    def refuse(*_: object) -> int:
        raise LedgerLocked("the ledger is locked")

    teller = desk.teller()
    with monkeypatch.context() as locked:
        locked.setattr(notices.Notices, "change", refuse)
        for _ in range(3):
            with pytest.raises(LedgerLocked):
                teller.look([feed("stale")], verdict([feed("stale")]))
    assert desk.recorder.heard() == [("trouble", "ledger")]
    teller.look([feed("stale")], verdict([feed("stale")]))
    teller.deliver()
    assert desk.recorder.heard() == [("trouble", "ledger"), ("stale", "main/AC1")]
