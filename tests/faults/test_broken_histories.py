"""recvault broken on purpose: some history detects every break, or histories prove nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest

from crash.test_broken import advance_per_page, save_whatever_came, sidecar_first, skip_committed_check
from faults import stage
from faults.promises import fault
from faults.steps import drawn
from recvault.discovery.scan import Discovery
from recvault.discovery.watermark_bound import Tally
from recvault.errors import Unavailable
from recvault.http import Session
from recvault.ledger import Ledger, page
from recvault.models import Phase, Verdict
from recvault.transfer import archive_recording

pytestmark = pytest.mark.long

MOST = 120  # histories, one of which must detect it


def no_lookback() -> Any:
    """The watermark moves up to now."""
    return mock.patch.object(stage, "LOOKBACK", timedelta())


def a_page_is_lost() -> Any:
    """An unreadable page counts as an empty last one."""
    follow = Session.follow

    def broken(self: Session, first: Any, parse: Any) -> Iterator[Any]:
        with contextlib.suppress(Unavailable):
            yield from follow(self, first, parse)

    return mock.patch.object(Session, "follow", broken)


def drift_is_ignored() -> Any:
    """Changes of the list during its reading are not detected."""
    return mock.patch.object(Tally, "moved", False)


def not_ready_is_forgotten() -> Any:
    """An unfinished recording is not read again."""
    settle = Ledger.settle

    def broken(self: Ledger, outcomes: Any, now: Any, policies: Any) -> Any:
        outcomes = list(outcomes)
        states = settle(self, outcomes, now, policies)
        for each in outcomes:
            if getattr(each, "verdict", None) is Verdict.NOT_READY:
                with self._connection.read() as db:
                    db.execute(
                        "UPDATE recordings SET next_attempt_at=NULL WHERE recording_id=?", [each.recording.recording_id]
                    )
        return states

    return mock.patch.object(Ledger, "settle", broken)


def unfinished_is_complete() -> Any:
    """An unfinished status counts as final."""
    return mock.patch.object(page, "_FIRST_STATE", {**page._FIRST_STATE, Phase.UNFINISHED: page.State.GONE})


def no_rescue() -> Any:
    """What an attempt stored before a crash is not committed if the provider deletes the recording."""
    return mock.patch.object(archive_recording, "rescued", lambda attempt, settled: None)


def another_list_is_not_heard() -> Any:
    """Better information from another list is ignored."""
    return mock.patch.object(page, "_ENRICH", page._ENRICH.replace("IS NULL", "IS NULL AND 0"))


def quarantine_is_dropped() -> Any:
    """An unreadable row is dropped."""
    register = Discovery._register

    def broken(self: Discovery, read: Any) -> None:
        register(self, type(read)(recordings=read.recordings, next=read.next, total=read.total))

    return mock.patch.object(Discovery, "_register", broken)


VOICE, BOTH, BY_NUMBER = ("voice",), ("legacy", "voice"), ("telnyx",)
# The first seed: chosen for a quick find; if histories are drawn differently one day, it takes longer.
BREAKS: tuple[tuple[Callable[[], Any], tuple[str, ...], int], ...] = (
    (advance_per_page, VOICE, 1),
    (no_lookback, VOICE, 0),
    (a_page_is_lost, VOICE, 19),
    (drift_is_ignored, BY_NUMBER, 48),
    (sidecar_first, VOICE, 26),
    (skip_committed_check, VOICE, 11),
    (save_whatever_came, VOICE, 36),
    (not_ready_is_forgotten, VOICE, 41),
    (unfinished_is_complete, VOICE, 2),
    (no_rescue, VOICE, 102),
    (another_list_is_not_heard, BOTH, 2),
    (quarantine_is_dropped, VOICE, 0),
)


@pytest.mark.parametrize(("broken", "lists", "first"), BREAKS, ids=[broken.__name__ for broken, *_ in BREAKS])
def test_some_history_finds_every_break(broken: Callable[[], Any], lists: tuple[str, ...], first: int) -> None:
    """Every break is detected by one of a few histories."""
    with broken():
        assert any(fault(drawn(lists, seed)) for seed in range(first, first + MOST))
