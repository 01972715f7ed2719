"""Failures that are counted later and retries that are hastened concern only recordings that still fail."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ledger.rows import NOW, failure, many, receipt, register, row
from recvault.ledger import Ledger, Policy
from recvault.models import Doubt, Job, Outcome, State, Verdict, unstamp

HOUR = timedelta(hours=1)
SLOW = Policy(retry_base=HOUR)  # failures are due again in 30 to 60 minutes
QUICK = Policy(retry_base=timedelta(milliseconds=1))


def settle(ledger: Ledger, *outcomes: Outcome) -> None:
    ledger.settle(outcomes, NOW, {"main": SLOW})


def in_doubt(ledger: Ledger, count: int = 1) -> list[Job]:
    """Return that many recordings that failed as others of their source may."""
    register(ledger, *many(count))
    jobs = ledger.claim("main", NOW, count)
    settle(ledger, *(failure(job, doubt=Doubt.ANSWERED) for job in jobs))
    return jobs


@pytest.mark.parametrize("end", ["archived", "gone", "not_ready", "dead"])
def test_what_does_not_fail_any_more_is_neither_counted_nor_buried(ledger: Ledger, end: str) -> None:
    """A recording that ended otherwise before its earlier failure was judged stays unchanged."""
    [job] = in_doubt(ledger)
    assert ledger.blame.count(job.recording, NOW, SLOW, proven=False) is State.FAILING
    verdicts = {"gone": Verdict.GONE, "not_ready": Verdict.NOT_READY, "dead": Verdict.FATAL}
    settle(ledger, receipt(job) if end == "archived" else failure(job, verdicts[end]))
    before = row(ledger, "RE0")
    assert before["state"] == end

    state = ledger.blame.count(job.recording, NOW + HOUR, Policy(max_attempts=1), proven=True)

    assert (state, row(ledger, "RE0")) == (State.FAILING, before)


def test_what_is_tried_just_now_is_counted_and_not_buried(ledger: Ledger) -> None:
    """A running attempt keeps its lease although the failure is counted; only a later count makes it dead."""
    [job] = in_doubt(ledger)
    ledger.claim("main", NOW + HOUR, 1)
    once = Policy(max_attempts=1)

    assert ledger.blame.count(job.recording, NOW + HOUR, once, proven=False) is State.FAILING

    leased = row(ledger, "RE0")
    assert (leased["state"], leased["faults"], leased["settled_at"]) == ("failing", 1, None)
    assert None not in (leased["lease"], leased["next_attempt_at"])
    settle(ledger, failure(job, doubt=Doubt.ANSWERED))
    assert ledger.blame.count(job.recording, NOW + HOUR, once, proven=False) is State.DEAD


def test_nothing_is_put_off_once_a_service_works(ledger: Ledger) -> None:
    """Hastened retries are spread over seconds, and none is delayed."""
    names = [job.recording.recording_id for job in in_doubt(ledger, 40)]
    due = {name: row(ledger, name)["next_attempt_at"] for name in names}
    soon = min(map(unstamp, due.values())) - 2 * QUICK.retry_base

    assert ledger.blame.hasten("main", soon, QUICK) == 40

    hastened = {name: row(ledger, name)["next_attempt_at"] for name in names}
    assert {name for name in names if hastened[name] > due[name]} == set()
    assert hastened != due
    soonest = min(map(unstamp, hastened.values()))
    ledger.blame.hasten("main", soonest - 2 * QUICK.retry_base, QUICK)  # draws again, up to four seconds
    assert {name for name in names if row(ledger, name)["next_attempt_at"] > hastened[name]} == set()


def test_what_is_under_way_keeps_its_lease_once_a_service_works(ledger: Ledger) -> None:
    """A leased row keeps its lease's end when retries are hastened, so that no other process takes it."""
    in_doubt(ledger, 2)
    ledger.claim("main", NOW + HOUR, 1)
    [leased] = [each for each in (row(ledger, "RE0"), row(ledger, "RE1")) if each["lease"]]

    assert ledger.blame.hasten("main", NOW, QUICK) == 1

    assert row(ledger, leased["recording_id"]) == leased
