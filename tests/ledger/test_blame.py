"""What is counted afterwards, and what is made due again: of nothing but recordings that still fail."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ledger.rows import NOW, failure, many, receipt, register, row
from recvault.ledger import Ledger, Policy
from recvault.models import Doubt, Job, Outcome, State, Verdict, unstamp

HOUR = timedelta(hours=1)
SLOW = Policy(retry_base=HOUR)  # what fails is due again in half an hour to an hour
QUICK = Policy(retry_base=timedelta(milliseconds=1))


def settle(ledger: Ledger, *outcomes: Outcome) -> None:
    ledger.settle(outcomes, NOW, {"main": SLOW})


def in_doubt(ledger: Ledger, count: int = 1) -> list[Job]:
    """So many recordings that failed as others of their source may."""
    register(ledger, *many(count))
    jobs = ledger.claim("main", NOW, count)
    settle(ledger, *(failure(job, doubt=Doubt.ANSWERED) for job in jobs))
    return jobs


@pytest.mark.parametrize("end", ["archived", "gone", "not_ready", "dead"])
def test_what_does_not_fail_any_more_is_neither_counted_nor_buried(ledger: Ledger, end: str) -> None:
    """It came to another end before its earlier failure was judged: of its row nothing changes."""
    [job] = in_doubt(ledger)
    assert ledger.blame.count(job.recording, NOW, SLOW, proven=False) is State.FAILING
    verdicts = {"gone": Verdict.GONE, "not_ready": Verdict.NOT_READY, "dead": Verdict.FATAL}
    settle(ledger, receipt(job) if end == "archived" else failure(job, verdicts[end]))
    before = row(ledger, "RE0")
    assert before["state"] == end

    state = ledger.blame.count(job.recording, NOW + HOUR, Policy(max_attempts=1), proven=True)

    assert (state, row(ledger, "RE0")) == (State.FAILING, before)


def test_what_is_tried_just_now_is_counted_and_not_buried(ledger: Ledger) -> None:
    """An attempt that is under way may archive it: its lease stays, and it is dead at the next count at the soonest."""
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
    """Many are spread over seconds; what is due sooner than that keeps its time."""
    names = [job.recording.recording_id for job in in_doubt(ledger, 40)]
    due = {name: row(ledger, name)["next_attempt_at"] for name in names}
    soon = min(map(unstamp, due.values())) - 2 * QUICK.retry_base

    assert ledger.blame.hasten("main", soon, QUICK) == 40

    hastened = {name: row(ledger, name)["next_attempt_at"] for name in names}
    assert {name for name in names if hastened[name] > due[name]} == set()
    assert hastened != due
    soonest = min(map(unstamp, hastened.values()))
    ledger.blame.hasten("main", soonest - 2 * QUICK.retry_base, QUICK)  # which draws anew, of up to four seconds
    assert {name for name in names if row(ledger, name)["next_attempt_at"] > hastened[name]} == set()


def test_what_is_under_way_keeps_its_lease_once_a_service_works(ledger: Ledger) -> None:
    """The time of a leased row is the end of its lease: to make that sooner would let another process take it."""
    in_doubt(ledger, 2)
    ledger.claim("main", NOW + HOUR, 1)
    [leased] = [each for each in (row(ledger, "RE0"), row(ledger, "RE1")) if each["lease"]]

    assert ledger.blame.hasten("main", NOW, QUICK) == 1

    assert row(ledger, leased["recording_id"]) == leased
