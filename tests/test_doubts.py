"""Whose a failure is: told by what else of the source goes well, and by what fails like it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ledger.rows import FEED, NOW, failure, many, receipt, register, row
from recvault.doubts import Doubts
from recvault.ledger import Ledger, Policy
from recvault.models import Doubt, Job, Outcome, unstamp

POLICY = Policy(max_attempts=2, retry_base=timedelta(seconds=30), retry_max=timedelta(hours=6))


@dataclass
class Source:
    """A source with recordings RE0, RE1 …, whose transfers end as a test says, in the order in which it says so."""

    ledger: Ledger
    now: datetime = NOW

    def __post_init__(self) -> None:
        self.doubts = Doubts(ledger=self.ledger, clock=lambda: self.now, policies={"main": POLICY})

    def begin(self, *numbers: int) -> dict[int, Job]:
        """Claim all that is due, and begin with these."""
        jobs = {job.recording.recording_id: job for job in self.ledger.claim("main", self.now, 99)}
        return {number: self.doubts.begun(jobs[f"RE{number}"]) for number in numbers}

    def told(self, job: Job, outcome: Outcome) -> None:
        """It ends so."""
        self.ledger.settle([outcome], self.now, {"main": POLICY})
        self.doubts.ended(job, outcome)

    def round(self, **ends: str) -> None:
        """One pass: each recording, in this order, one after the other, ends so."""
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
    """Media fail for days while the list answers: no attempt is counted, however often it is made."""
    register(source.ledger, *many(3))
    for days in range(5):
        source.now = NOW + timedelta(days=days)
        source.round(RE0=end, RE1=end, RE2=end)
    assert source.faults(0, 1, 2) == [0, 0, 0]
    assert source.states(0, 1, 2) == ["failing"] * 3


@pytest.mark.parametrize("end", ["500", "away"])
def test_what_fails_while_others_go_well_is_its_own(source: Source, end: str) -> None:
    """Two of six fail, whatever the service says; then nothing else is due: dead by their own faults."""
    register(source.ledger, *many(6))
    source.round(RE0=end, RE1=end, RE2="fine", RE3="fine", RE4="fine", RE5="fine")
    assert source.faults(0, 1) == [1, 1]
    source.now += timedelta(days=1)
    source.round(RE0=end, RE1=end)
    assert source.states(0, 1) == ["dead", "dead"]


def test_what_went_well_before_says_nothing_of_now(source: Source) -> None:
    """The service goes away amid a pass: what is left of it fails, and nothing of that is counted."""
    register(source.ledger, *many(6))
    source.round(RE0="fine", RE1="fine", RE2="fine", RE3="500", RE4="500", RE5="500")
    assert source.faults(3, 4, 5) == [0, 0, 0]


def test_one_that_goes_well_amid_an_outage_convicts_no_crowd(source: Source) -> None:
    """A service that answers one request of many is not well."""
    register(source.ledger, *many(6))
    source.round(RE0="500", RE1="500", RE2="500", RE3="500", RE4="500", RE5="fine")
    assert source.faults(0, 1, 2, 3, 4) == [0] * 5


def test_one_alone_is_judged_by_what_the_service_says(source: Source) -> None:
    """An answer for it alone is its own; where nobody answers, or the list fails too, it may be anybody's."""
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
    """A daemon at work: what failed is counted by what was archived until it fails again."""
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
    """Asked more and more rarely while it lasts; once one is archived all are due within a minute, not all at once."""
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
