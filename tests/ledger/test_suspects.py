"""Recordings that were being transferred when their process died."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from ledger.rows import NOW, POLICIES, failure, many, receipt, recording, register, row
from recvault.ledger import Ledger, Policy
from recvault.models import DRAINED, WORKER_CRASHED, WORKER_LOST, Job, State, Verdict

TWICE = Policy(max_attempts=2)


@pytest.fixture
def opened(path: Path) -> Iterator[list[Ledger]]:
    """The ledgers of processes, the newest last; all are closed at the end."""
    ledgers = [Ledger.open(path, NOW)]
    yield ledgers
    for ledger in ledgers:
        ledger.close()


def dies(ledgers: list[Ledger], path: Path) -> Ledger:
    """End the process that has the ledger, and open another."""
    ledgers[-1].close()
    ledgers.append(Ledger.open(path, NOW))
    return ledgers[-1]


def alone(ledger: Ledger, limit: int = 9, policy: Policy = TWICE) -> list[Job]:
    return ledger.claim_alone("main", NOW + timedelta(days=1), limit, policy)


def crowd(ledger: Ledger) -> list[Job]:
    return ledger.claim("main", NOW, 99)


def test_one_death_costs_nothing_and_two_in_a_row_solitude(opened: list[Ledger], path: Path) -> None:
    """After one death all are claimed as before, after two in a row each must run alone."""
    register(opened[0], *many(3))
    assert len(crowd(opened[0])) == 3
    again = dies(opened, path)
    assert alone(again) == []
    assert len(crowd(again)) == 3
    third = dies(opened, path)
    assert crowd(third) == []
    assert [job.alone for job in alone(third)] == [True] * 3


def test_whatever_ends_an_attempt_clears_it(opened: list[Ledger], path: Path) -> None:
    """Archiving or failing clears a recording; being drained does not."""
    register(opened[0], *many(3))
    crowd(opened[0])
    again = dies(opened, path)
    archived, failed, drained = crowd(again)
    given_back = replace(failure(drained), reason=DRAINED, counted=False)
    again.settle([receipt(archived), replace(failure(failed), counted=False), given_back], NOW, POLICIES)
    again.retry(None, NOW)
    assert len(crowd(again)) == 2
    third = dies(opened, path)
    assert [job.recording.recording_id for job in alone(third)] == [drained.recording.recording_id]


def test_what_ends_its_process_alone_is_given_up_in_the_end(opened: list[Ledger], path: Path) -> None:
    """Only a recording that ran alone is blamed, each time, until it is dead with its own reason."""
    register(opened[0], recording(1), recording(2))
    for _ in range(2):
        crowd(opened[-1])
        dies(opened, path)
    for faults in (1, 2):
        [job] = alone(opened[-1], 1)
        assert job.recording.recording_id == "RE1"
        again = dies(opened, path)
        assert [row(again, name)["faults"] for name in ("RE1", "RE2")] == [faults, 0]
        assert (row(again)["state"], row(again)["reason"]) == ("failing", WORKER_CRASHED)
        again.retry([row(again, "RE2")["id"]], NOW + timedelta(days=1))  # due later
    assert [job.recording.recording_id for job in alone(opened[-1])] == ["RE2"]
    assert (row(opened[-1])["state"], row(opened[-1])["reason"]) == ("dead", WORKER_CRASHED)


def test_a_death_that_a_living_process_saw_is_due_again_at_once(opened: list[Ledger]) -> None:
    """A worker's death makes its jobs due at once, uncounted, to run alone; lost again alone, it counts."""
    register(opened[0], recording(1))
    [job] = crowd(opened[0])
    lost = replace(failure(job), verdict=Verdict.RETRY, reason=WORKER_LOST, counted=False)
    assert opened[0].settle([lost], NOW, POLICIES) == [State.PENDING]
    assert crowd(opened[0]) == []
    [job] = alone(opened[0])
    crashed = replace(failure(job), verdict=Verdict.RETRY, reason=WORKER_CRASHED)
    assert opened[0].settle([crashed], NOW, POLICIES) == [State.FAILING]
    assert (row(opened[0])["faults"], len(alone(opened[0]))) == (1, 1)
