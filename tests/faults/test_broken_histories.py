"""recvault broken on purpose, each time where it hurts: some history finds every break, or histories prove nothing."""

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

MOST = 120  # histories, until one of them must have found it


def no_lookback() -> Any:
    """The watermark moves up to now."""
    return mock.patch.object(stage, "LOOKBACK", timedelta())


def a_page_is_lost() -> Any:
    """A page that cannot be read is taken for an empty one, and the last."""
    follow = Session.follow

    def broken(self: Session, first: Any, parse: Any) -> Iterator[Any]:
        with contextlib.suppress(Unavailable):
            yield from follow(self, first, parse)

    return mock.patch.object(Session, "follow", broken)


def drift_is_ignored() -> Any:
    """Nobody looks whether the list moved while it was read."""
    return mock.patch.object(Tally, "moved", False)


def not_ready_is_forgotten() -> Any:
    """A recording that is not final is given no other turn."""
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
    """A status that is not final is taken for final at the registration, and never read again."""
    return mock.patch.object(page, "_FIRST_STATE", {**page._FIRST_STATE, Phase.UNFINISHED: page.State.GONE})


def no_rescue() -> Any:
    """What an attempt stored before its crash is left where it lies, if the provider deletes the recording."""
    return mock.patch.object(archive_recording, "rescued", lambda attempt, settled: None)


def another_list_is_not_heard() -> Any:
    """What one list could not tell, another may not."""
    return mock.patch.object(page, "_ENRICH", page._ENRICH.replace("IS NULL", "IS NULL AND 0"))


def quarantine_is_dropped() -> Any:
    """A row that cannot be read is left out."""
    register = Discovery._register

    def broken(self: Discovery, read: Any) -> None:
        register(self, type(read)(recordings=read.recordings, next=read.next, total=read.total))

    return mock.patch.object(Discovery, "_register", broken)


VOICE, BOTH, BY_NUMBER = ("voice",), ("legacy", "voice"), ("telnyx",)
# The seed from which to look: a quick find today; where histories are drawn otherwise one day, a slower one.
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
    """A break of the architecture does not outlive a few histories."""
    with broken():
        assert any(fault(drawn(lists, seed)) for seed in range(first, first + MOST))
