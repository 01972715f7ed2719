"""Settling outcomes, and `retry`."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from ledger.rows import NOW, POLICIES, failure, many, receipt, recording, register, row
from recvault.ledger import Feed, Ledger, Policy, StateCounts
from recvault.models import DRAINED, Doubt, Outcome, Phase, Recording, State, Verdict, unstamp

LATER = NOW + timedelta(hours=1)


def settle(ledger: Ledger, *outcomes: Outcome, now: object = NOW) -> list[State]:
    return ledger.settle(outcomes, now, POLICIES)  # type: ignore[arg-type]


def test_a_receipt_ends_the_work_and_keeps_what_was_written(ledger: Ledger) -> None:
    """An archived row is not due, and has keys, sizes and hashes; the sidecar has the rest."""
    register(ledger, recording(1))
    [job] = ledger.claim("main", NOW, 1)

    assert settle(ledger, receipt(job)) == [State.ARCHIVED]

    standing = row(ledger)
    assert (standing["state"], standing["bytes"], standing["sidecar_key"]) == ("archived", 44, "recordings/RE1.json")
    assert json.loads(standing["media"])[0]["sha256"] == "00" * 32
    assert (standing["next_attempt_at"], standing["lease"], standing["failing_since"]) == (None, None, None)
    assert ledger.claim("main", NOW + timedelta(days=999), 1) == []


def test_a_batch_is_settled_whole_or_not_at_all(ledger: Ledger, path: Path) -> None:
    """If one outcome cannot be stored, none is, and all stay leased."""
    register(ledger, *many(3))
    jobs = ledger.claim("main", NOW, 3)
    stranger = replace(failure(jobs[2]), source="nobody")

    with pytest.raises(KeyError):
        settle(ledger, receipt(jobs[0]), receipt(jobs[1]), stranger)

    assert ledger.ask.standing("main", "AC1") == StateCounts(pending=3)
    assert ledger.claim("main", NOW, 3) == []
    assert settle(ledger, *map(receipt, jobs)) == [State.ARCHIVED] * 3


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_late_failure_never_un_archives(ledger: Ledger, verdict: Verdict) -> None:
    """A second attempt's later failure leaves the recording archived, and is reported so."""
    register(ledger, recording(1))
    [job] = ledger.claim("main", NOW, 1)
    settle(ledger, receipt(job))
    before = row(ledger)

    assert settle(ledger, failure(job, verdict), now=LATER) == [State.ARCHIVED]

    assert row(ledger) == before


def test_a_late_receipt_archives_even_the_dead(ledger: Ledger) -> None:
    """A late receipt archives even a dead recording, which is no failure any more."""
    register(ledger, recording(1))
    [job] = ledger.claim("main", NOW, 1)
    settle(ledger, failure(job, Verdict.FATAL))
    assert [found["recording_id"] for found in ledger.ask.failures()] == ["RE1"]

    assert settle(ledger, receipt(job)) == [State.ARCHIVED]

    assert ledger.ask.failures() == []
    assert ledger.ask.standing("main", "AC1") == StateCounts(archived=1)


def test_a_failure_keeps_the_recording_as_it_was_last_read(ledger: Ledger) -> None:
    """The next attempt uses the refreshed row, not the listed one."""
    register(ledger, recording(1, Phase.UNFINISHED))
    [job] = ledger.claim("main", LATER, 1)
    fresh = replace(job.recording, status="processing", duration_seconds=12.5)

    settle(ledger, failure(job, Verdict.NOT_READY, recording=fresh), now=LATER)

    [again] = ledger.claim("main", LATER + timedelta(days=1), 1)
    assert (again.recording, again.attempt, again.maybe_archived) == (fresh, 2, True)


def test_failures_tell_why_and_since_when(ledger: Ledger) -> None:
    """Failures are sorted by their first time, which stays until a success."""
    register(ledger, *many(2))
    first, second = ledger.claim("main", NOW, 2)
    settle(ledger, failure(first, message="no luck"))
    settle(ledger, failure(second), now=NOW + timedelta(seconds=5))
    settle(ledger, failure(first, reason="media.truncated", message="cut short"), now=LATER)

    failures = ledger.ask.failures()
    assert [(found["recording_id"], found["reason"], found["attempts"]) for found in failures] == [
        ("RE0", "media.truncated", 1),
        ("RE1", "provider.unavailable", 1),
    ]
    assert unstamp(failures[0]["failing_since"]) == NOW
    assert ledger.ask.failures(limit=1) == failures[:1]


def test_a_drained_recording_is_due_at_once_and_what_failed_before_is_not_forgotten(ledger: Ledger) -> None:
    """A drained recording is due at once, and one that was failing keeps the time of its first failure."""
    register(ledger, *many(2))
    fresh, failing = ledger.claim("main", NOW, 2)
    settle(ledger, failure(failing))
    [failing] = ledger.claim("main", LATER, 1)

    drained = {"reason": DRAINED, "counted": False}
    settle(ledger, failure(fresh, **drained), failure(failing, **drained), now=LATER)

    assert [job.recording.recording_id for job in ledger.claim("main", LATER, 9)] == ["RE0", "RE1"]
    assert [(found["recording_id"], unstamp(found["failing_since"])) for found in ledger.ask.failures()] == [
        ("RE1", NOW)
    ]


# -- retry -------------------------------------------------------------------------------------------------------------


def dead(ledger: Ledger, count: int = 1) -> list[Recording]:
    register(ledger, *many(count))
    jobs = ledger.claim("main", NOW, count)
    settle(ledger, *(failure(job, Verdict.FATAL) for job in jobs))
    return [job.recording for job in jobs]


def test_dead_is_listed_and_retriable(ledger: Ledger) -> None:
    """Dead recordings are never forgotten: `retry` makes them due, with their attempts kept."""
    dead(ledger)
    assert ledger.claim("main", LATER, 1) == []

    assert ledger.retry([row(ledger, "RE0")["id"]], LATER) == 1

    [job] = ledger.claim("main", LATER, 1)
    assert (job.attempt, job.maybe_archived) == (2, True)
    for number in (1, 2):
        now = LATER + number * timedelta(days=1)
        assert settle(ledger, failure(job), now=now) == [State.FAILING]
        [job] = ledger.claim("main", now + timedelta(days=1), 1)
    assert settle(ledger, failure(job), now=LATER) == [State.DEAD]


def test_a_retry_starts_the_wait_for_an_unfinished_recording_anew(ledger: Ledger) -> None:
    """A retry of a recording that died unfinished starts a new give_up_after."""
    policy = {"main": Policy(give_up_after=timedelta(days=3))}
    register(ledger, recording(1, Phase.UNFINISHED))
    late = NOW + timedelta(days=3)
    assert ledger.settle([failure(job, Verdict.NOT_READY) for job in ledger.claim("main", late, 1)], late, policy) == [
        State.DEAD
    ]

    ledger.retry(None, late)

    assert ledger.settle([failure(job, Verdict.NOT_READY) for job in ledger.claim("main", late, 1)], late, policy) == [
        State.NOT_READY
    ]


def test_retry_all_takes_what_is_open_and_nothing_else(ledger: Ledger) -> None:
    """`retry --all` makes dead, failing and not ready recordings due, and changes no others."""
    register(ledger, *many(5), recording(5, Phase.UNFINISHED), recording(6, Phase.EXTERNAL))
    jobs = ledger.claim("main", NOW, 5)
    settle(
        ledger,
        receipt(jobs[0]),
        failure(jobs[1], Verdict.GONE),
        failure(jobs[2], Verdict.FATAL),
        failure(jobs[3]),
    )

    assert ledger.retry(None, NOW) == 3

    assert {job.recording.recording_id for job in ledger.claim("main", NOW, 9)} == {"RE2", "RE3", "RE5"}
    ids = [row(ledger, f"RE{number}")["id"] for number in range(7)]
    assert ledger.retry(ids, NOW) == 2  # RE1 and RE6: gone and external ones can be retried by name
    assert {job.recording.recording_id for job in ledger.claim("main", NOW, 9)} == {"RE1", "RE6"}


def test_what_a_clock_that_ran_ahead_put_off_is_due_by_the_right_one(ledger: Ledger) -> None:
    """Times set a month ahead by a fast clock are moved to now, leases to the longest lease; near ones stay."""
    ahead, longest = NOW + timedelta(days=30), timedelta(hours=6)
    register(ledger, *many(3), now=ahead)
    ledger.claim("main", ahead, 1)
    register(ledger, recording(7, Phase.UNFINISHED))
    assert ledger.claim("main", NOW, 9) == []

    assert ledger.bring_forward("main", NOW, longest) == 2

    assert [job.recording.recording_id for job in ledger.claim("main", NOW, 9)] == ["RE1", "RE2"]
    assert unstamp(row(ledger, "RE0")["next_attempt_at"]) == NOW + timedelta(hours=12)
    assert ledger.bring_forward("main", NOW, longest) == 0


def test_retry_frees_what_only_waits(ledger: Ledger) -> None:
    """A waiting recording that never failed is made due, by name and by `--all`; one already due is not counted."""
    ahead = NOW + timedelta(days=30)
    register(ledger, *many(2), now=ahead)
    register(ledger, recording(5))
    assert ledger.retry([row(ledger, "RE0")["id"]], NOW) == 1
    assert ledger.retry(None, NOW) == 1
    assert len(ledger.claim("main", NOW, 9)) == 3


@pytest.mark.parametrize("wrong", [timedelta(days=300), timedelta(days=-20000)], ids=["ahead", "behind"])
def test_a_wrong_clock_changes_nothing_of_how_long_a_recording_is_waited_for(ledger: Ledger, wrong: timedelta) -> None:
    """After a wrong clock give_up_after counts from the first right look, or the date of creation."""
    policy = {"main": Policy(give_up_after=timedelta(days=3))}
    register(ledger, recording(1, Phase.UNFINISHED), now=NOW + wrong)
    ledger.bring_forward("main", NOW, timedelta(hours=6))
    states = []
    for days in range(4):
        now = NOW + timedelta(days=days)
        jobs = ledger.claim("main", now, 1)
        states += ledger.settle([failure(job, Verdict.NOT_READY) for job in jobs], now, policy)
    assert states == [State.NOT_READY] * 3 + [State.DEAD]


def test_an_outage_takes_nothing_of_the_time_that_a_recording_has(ledger: Ledger) -> None:
    """An outage of a week does not count toward give_up_after of an unfinished recording."""
    policy = {"main": Policy(give_up_after=timedelta(days=3))}
    register(ledger, recording(1, Phase.UNFINISHED))
    states = []
    for days in range(12):
        now = NOW + timedelta(days=days + 1)
        for job in ledger.claim("main", now, 1):
            away = failure(job, doubt=Doubt.AWAY)
            states += ledger.settle([away if days < 7 else failure(job, Verdict.NOT_READY)], now, policy)
    assert states == [State.FAILING] * 7 + [State.NOT_READY] * 2 + [State.DEAD]


def test_failures_are_told_of_the_sources_asked_about(ledger: Ledger) -> None:
    """A report on some sources has only their failures."""
    other = Feed("other", "twilio", "AC1")
    register(ledger, recording(1))
    register(ledger, recording(2), feed=other)
    policies = {**POLICIES, "other": Policy()}
    for source in ("main", "other"):
        ledger.settle([failure(job) for job in ledger.claim(source, LATER, 5)], LATER, policies)
    assert [row["recording_id"] for row in ledger.ask.failures(5, {"other"})] == ["RE2"]
    assert (ledger.ask.failures_total({"other"}), ledger.ask.failures_total({"main", "other"})) == (1, 2)
    assert len(ledger.ask.failures()) == 2
