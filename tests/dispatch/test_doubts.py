"""Whose fault a failure is, judged by the source's other recordings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ledger.rows import FEED, NOW, failure, many, receipt, register, row
from recvault.dispatch.doubts import Doubts
from recvault.ledger import Ledger, Policy
from recvault.models import DRAINED, Doubt, Job, Outcome, unstamp

POLICY = Policy(max_attempts=2, retry_base=timedelta(seconds=30), retry_max=timedelta(hours=6))


@dataclass
class Source:
    """A source with recordings RE0, RE1 …, whose transfers end as and when the test says."""

    ledger: Ledger
    now: datetime = NOW

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Continue in another process."""
        self.doubts = Doubts(ledger=self.ledger, clock=lambda: self.now, policies={"main": POLICY})

    def begin(self, *numbers: int) -> dict[int, Job]:
        """Claim all due recordings, and begin with these."""
        jobs = {job.recording.recording_id: job for job in self.ledger.claim("main", self.now, 99)}
        return {number: self.doubts.begun(jobs[f"RE{number}"]) for number in numbers}

    def told(self, job: Job, outcome: Outcome) -> None:
        """End a transfer with this outcome."""
        self.ledger.settle([outcome], self.now, {"main": POLICY})
        self.doubts.ended(job, outcome)

    def round(self, **ends: str) -> None:
        """Run one pass: each recording in turn ends with this outcome."""
        for number, job in self.begin(*(int(name[2:]) for name in ends)).items():
            self.told(job, self.outcome(job, ends[f"RE{number}"]))
        self.doubts.judge()

    def outcome(self, job: Job, end: str) -> Outcome:
        if end == "fine":
            return receipt(job)
        doubt = Doubt.AWAY if end == "away" else Doubt.ANSWERED
        return failure(job, reason=f"provider.{end}", doubt=doubt)

    def faults(self, *numbers: int) -> list[int]:
        return [row(self.ledger, f"RE{number}")["faults"] for number in numbers]

    def states(self, *numbers: int) -> list[str]:
        return [row(self.ledger, f"RE{number}")["state"] for number in numbers]


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    ledger = Ledger.open(tmp_path / "ledger.db", NOW)
    yield Source(ledger)
    ledger.close()


@pytest.mark.parametrize("end", ["500", "away"])
def test_what_all_share_is_nobodys(source: Source, end: str) -> None:
    """If all media fail for days while the list answers, no attempt is counted, however many there are."""
    register(source.ledger, *many(3))
    for days in range(5):
        source.now = NOW + timedelta(days=days)
        source.round(RE0=end, RE1=end, RE2=end)
    assert source.faults(0, 1, 2) == [0, 0, 0]
    assert source.states(0, 1, 2) == ["failing"] * 3


def days(source: Source, first: int, last: int, listed: bool = True, **ends: str) -> None:
    """On each day the list succeeds or fails, then each recording ends with this outcome."""
    for day in range(first, last + 1):
        source.now = NOW + timedelta(days=day)
        if listed:
            source.ledger.advance(FEED, None, source.now)
        else:
            source.ledger.note_scan_error(FEED, "down", source.now)
        source.round(**ends)


@pytest.mark.parametrize("end", ["500", "away"])
def test_a_few_that_fail_for_days_in_a_quiet_account_come_to_an_end(source: Source, end: str) -> None:
    """In a quiet account whose list answers, a few failures are not counted for give_up_after, then they die."""
    register(source.ledger, *many(2))
    days(source, 0, 2, RE0=end, RE1=end)
    assert source.faults(0, 1) == [0, 0]
    days(source, 3, 4, RE0=end, RE1=end)
    assert source.states(0, 1) == ["dead", "dead"]


def test_one_alone_that_nobody_answers_for_days_comes_to_an_end(source: Source) -> None:
    """A single unanswered recording is in doubt for give_up_after while the list answers, then at fault."""
    register(source.ledger, *many(1))
    days(source, 0, 2, RE0="away")
    assert source.faults(0) == [0]
    days(source, 3, 4, RE0="away")
    assert source.states(0) == ["dead"]


def test_an_outage_that_meets_more_and_more_costs_none_an_attempt(source: Source) -> None:
    """While new recordings keep failing and none is archived, no attempt is counted, however long it lasts."""
    register(source.ledger, *many(1))
    for day in range(8):
        register(source.ledger, *many(1, start=day + 1))
        days(source, day, day, **{f"RE{number}": "500" for number in range(day + 2)})
    assert source.faults(*range(9)) == [0] * 9


def test_a_day_in_which_the_list_fails_begins_the_wait_anew(source: Source) -> None:
    """Only days on which the account's list was answered count against a recording."""
    register(source.ledger, *many(2))
    days(source, 0, 2, RE0="500", RE1="500")
    days(source, 3, 3, listed=False, RE0="500", RE1="500")
    days(source, 4, 6, RE0="500", RE1="500")
    assert source.faults(0, 1) == [0, 0]
    days(source, 7, 7, RE0="500", RE1="500")
    assert source.faults(0, 1) == [1, 1]


def test_a_list_that_fails_for_a_moment_was_answered_all_the_same(source: Source) -> None:
    """One failed poll of hundreds does not restart the wait."""
    register(source.ledger, *many(2))
    days(source, 0, 2, RE0="500", RE1="500")
    source.ledger.note_scan_error(FEED, "reset", source.now + timedelta(minutes=5))
    source.ledger.advance(FEED, None, source.now + timedelta(minutes=10))
    days(source, 3, 3, RE0="500", RE1="500")
    assert source.faults(0, 1) == [1, 1]


def test_days_in_which_nobody_asked_speak_against_none(source: Source) -> None:
    """Days on which the machine was off do not count against a recording."""
    register(source.ledger, *many(2))
    days(source, 0, 0, RE0="500", RE1="500")
    days(source, 7, 9, RE0="500", RE1="500")
    assert source.faults(0, 1) == [0, 0]


def test_days_in_which_the_bucket_was_full_speak_against_none(source: Source) -> None:
    """A failure of the store restarts the wait."""
    register(source.ledger, *many(2))
    days(source, 0, 2, RE0="500", RE1="500")
    source.now += timedelta(hours=12)
    for job in source.begin(0, 1).values():
        source.told(job, failure(job, reason="store.unavailable", counted=False))
    days(source, 3, 5, RE0="500", RE1="500")
    assert source.faults(0, 1) == [0, 0]


@pytest.mark.parametrize("first", [True, False], ids=["at first", "later"])
def test_a_clock_that_ran_ahead_ends_no_doubt_early_nor_puts_it_off_for_ever(source: Source, first: bool) -> None:
    """A pass with a clock in 2099 neither ends the wait early nor extends it forever."""
    register(source.ledger, *many(2))
    if not first:
        days(source, 0, 0, RE0="500", RE1="500")
    days(source, 99 * 365, 99 * 365, RE0="500", RE1="500")
    source.ledger.bring_forward("main", NOW + timedelta(days=1), POLICY.longest)
    days(source, 1, 3, RE0="500", RE1="500")
    assert source.faults(0, 1) == [0, 0]
    days(source, 4, 4, RE0="500", RE1="500")
    assert source.faults(0, 1) == [1, 1]


def test_a_stop_in_between_does_not_begin_the_wait_anew(source: Source) -> None:
    """Daily restarts do not restart the wait."""
    register(source.ledger, *many(2))
    days(source, 0, 2, RE0="500", RE1="500")
    source.now += timedelta(hours=12)
    for job in source.begin(0, 1).values():
        source.told(job, failure(job, reason=DRAINED, counted=False))
    source.restart()
    days(source, 3, 3, RE0="500", RE1="500")
    assert source.faults(0, 1) == [1, 1]


def test_a_list_that_failed_when_it_was_last_asked_for_speaks_against_none(source: Source) -> None:
    """If the list failed when last requested, even a day ago, nothing is counted."""
    register(source.ledger, *many(2))
    days(source, 0, 2, RE0="500", RE1="500")
    source.ledger.note_scan_error(FEED, "down", source.now + timedelta(hours=1))
    source.now += timedelta(hours=27)
    source.round(RE0="500", RE1="500")
    assert source.faults(0, 1) == [0, 0]


def test_one_that_joins_those_that_failed_for_days_is_not_taken_for_one_alone(source: Source) -> None:
    """A newcomer among old failures suggests the service: neither its failure nor theirs is counted."""
    register(source.ledger, *many(2))
    days(source, 0, 3, RE0="500", RE1="500")
    register(source.ledger, *many(1, start=2))
    days(source, 4, 5, RE0="500", RE1="500", RE2="500")
    assert source.faults(0, 1, 2) == [1, 1, 0]


def test_one_that_fails_otherwise_now_is_none_of_those_that_failed_like_it(source: Source) -> None:
    """A recording that fails for another reason now is not counted among those with its earlier reason."""
    register(source.ledger, *many(4))
    source.round(RE0="500", RE1="500", RE2="500", RE3="fine")
    assert source.faults(0, 1, 2) == [0, 0, 0]
    source.now += timedelta(days=1)
    source.round(RE0="away")
    assert source.faults(0) == [0]


def test_after_a_retry_the_wait_begins_anew(source: Source) -> None:
    """After an operator's retry the wait starts over."""
    register(source.ledger, *many(2))
    days(source, 0, 2, RE0="500", RE1="500")
    source.ledger.retry(None, source.now)
    source.restart()
    days(source, 3, 5, RE0="500", RE1="500")
    assert source.faults(0, 1) == [0, 0]


def test_what_was_archived_meanwhile_begins_the_wait_anew(source: Source) -> None:
    """A recording that was archived in between starts a new wait when it fails again."""
    register(source.ledger, *many(2))
    days(source, 0, 2, RE0="500", RE1="500")
    days(source, 3, 3, RE1="fine", RE0="fine")
    source.ledger.reopen([row(source.ledger, f"RE{number}")["id"] for number in range(2)], source.now)
    days(source, 4, 6, RE0="500", RE1="500")
    assert source.faults(0, 1) == [0, 0]


def test_after_days_one_that_is_archived_convicts_a_crowd(source: Source) -> None:
    """After days of failing, one archived recording is enough to count the failures of many."""
    register(source.ledger, *many(6))
    crowd = {f"RE{number}": "500" for number in range(5)}
    days(source, 0, 2, **crowd)
    register(source.ledger, *many(1, start=6))  # the group has grown, so that its age proves nothing
    days(source, 3, 3, RE6="500", **crowd, RE5="fine")
    assert source.faults(*range(5), 6) == [1] * 5 + [0]


def test_a_thousand_that_fail_alike_are_their_sources_trouble(source: Source) -> None:
    """A thousand equal failures are the source's problem, however long they last."""
    register(source.ledger, *many(1000))
    for day in (0, 1, 2, 3, 4):
        source.now = NOW + timedelta(days=day)
        source.ledger.advance(FEED, None, source.now)
        outcomes = []
        for job in source.ledger.claim("main", source.now, 1000):
            outcomes.append((source.doubts.begun(job), failure(job, doubt=Doubt.ANSWERED)))
        source.ledger.settle([each for _, each in outcomes], source.now, {"main": POLICY})
        if day < 4:
            continue
        for job, each in outcomes[:2]:
            source.doubts.ended(job, each)
        source.doubts.judge()
    assert source.faults(0, 1) == [0, 0]


@pytest.mark.parametrize("end", ["500", "away"])
def test_what_fails_while_others_go_well_is_its_own(source: Source, end: str) -> None:
    """If two of six fail while others succeed, they die by their own faults."""
    register(source.ledger, *many(6))
    source.round(RE0=end, RE1=end, RE2="fine", RE3="fine", RE4="fine", RE5="fine")
    assert source.faults(0, 1) == [1, 1]
    source.now += timedelta(days=1)
    source.round(RE0=end, RE1=end)
    assert source.states(0, 1) == ["dead", "dead"]


def test_what_went_well_before_says_nothing_of_now(source: Source) -> None:
    """Successes before an outage within a pass do not count against the later failures."""
    register(source.ledger, *many(6))
    source.round(RE0="fine", RE1="fine", RE2="fine", RE3="500", RE4="500", RE5="500")
    assert source.faults(3, 4, 5) == [0, 0, 0]


def test_one_that_goes_well_amid_an_outage_convicts_no_crowd(source: Source) -> None:
    """One success among many failures of an outage does not count against them."""
    register(source.ledger, *many(6))
    source.round(RE0="500", RE1="500", RE2="500", RE3="500", RE4="500", RE5="fine")
    assert source.faults(0, 1, 2, 3, 4) == [0] * 5


def test_one_alone_is_judged_by_what_the_service_says(source: Source) -> None:
    """A single failure counts if the service answered it; not if nothing answers, or the list fails too."""
    register(source.ledger, *many(1))
    source.round(RE0="away")
    assert source.faults(0) == [0]
    source.now += timedelta(days=1)
    source.ledger.note_scan_error(FEED, "down", source.now)
    source.round(RE0="500")
    assert source.faults(0) == [0]
    source.ledger.advance(FEED, None, source.now)
    source.now += timedelta(days=1)
    source.round(RE0="500")
    assert source.faults(0) == [1]


def test_evidence_may_come_later(source: Source) -> None:
    """In a running daemon failures are counted by recordings archived before the next attempt."""
    register(source.ledger, *many(4))
    jobs = source.begin(0, 1, 2, 3)
    for number in (0, 1):
        source.told(jobs[number], source.outcome(jobs[number], "500"))
    source.doubts.judge()
    assert source.faults(0, 1) == [0, 0]
    for number in (2, 3):
        source.told(jobs[number], receipt(jobs[number]))
    source.now += timedelta(days=1)
    source.round(RE0="500", RE1="fine")
    assert source.faults(0) == [2]
    assert source.states(0) == ["dead"]


def test_waits_grow_with_an_outage_and_end_with_it(source: Source) -> None:
    """Delays grow during an outage; after the first success all are due within a minute, spread out."""
    register(source.ledger, *many(20))
    ends = {f"RE{number}": "away" for number in range(20)}
    for hours in (0, 7, 14, 21):
        source.now = NOW + timedelta(hours=hours)
        source.round(**ends)
    due = {unstamp(row(source.ledger, f"RE{number}")["next_attempt_at"]) - source.now for number in range(20)}
    assert min(due) > timedelta(hours=2)
    source.now += timedelta(hours=7)
    job = source.begin(0)[0]
    for number in range(1, 20):
        source.ledger._connection._db.execute(
            "UPDATE recordings SET lease=NULL, next_attempt_at=? WHERE recording_id=?",
            ["2026-12-31T00:00:00.000000Z", f"RE{number}"],
        )
    source.told(job, receipt(job))
    due = {unstamp(row(source.ledger, f"RE{number}")["next_attempt_at"]) - source.now for number in range(1, 20)}
    assert max(due) <= timedelta(seconds=30)
    assert len(due) > 15
