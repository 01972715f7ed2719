"""Recordings that wait for the facts of their call."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from ledger.rows import NOW, many, receipt, register
from recvault.ledger import Ledger, Policy
from recvault.ledger.uncalled import SOON

WANTS = {"main": Policy(call_facts=True)}


def settled(ledger: Ledger, count: int, policies: dict[str, Policy], **changes: object) -> None:
    """Archive so many recordings of one call each."""
    register(ledger, *[replace(each, call_id=f"CA{each.recording_id}") for each in many(count)])
    jobs = ledger.claim("main", NOW, count)
    ledger.settle([replace(receipt(job), **changes) for job in jobs], NOW, policies)  # type: ignore[arg-type]


def due(ledger: Ledger, after: timedelta = SOON) -> list[str]:
    return sorted(row.identity[2] for row in ledger.uncalled.due("main", NOW + after, 100))


def test_a_commit_without_the_facts_of_its_call_is_noted(ledger: Ledger) -> None:
    """It is due a while after the commit, with what is needed to ask for it, and at other sources not at all."""
    settled(ledger, 3, WANTS)
    assert due(ledger, timedelta()) == []
    assert len(due(ledger)) == 3
    [first, *_] = ledger.uncalled.due("main", NOW + SOON, 100)
    assert (first.call_id, first.misses) == (f"CA{first.identity[2]}", 0)
    assert ledger.uncalled.due("other", NOW + SOON, 100) == []


def test_others_are_not_noted(ledger: Ledger) -> None:
    """Not those whose sidecar tells, not those found in the bucket, and none of a source that does not ask."""
    settled(ledger, 1, WANTS, has_call=True)
    assert ledger.uncalled.count() == 0


def test_a_found_commit_is_not_noted(ledger: Ledger) -> None:
    """A commit that was found in the bucket is left to `enrich`: a lost ledger asks for no history."""
    settled(ledger, 1, WANTS, already_archived=True)
    assert ledger.uncalled.count() == 0


def test_a_source_that_does_not_ask_notes_nothing(ledger: Ledger) -> None:
    """With `call_facts = false` the queue stays empty."""
    settled(ledger, 1, {"main": Policy()})
    assert ledger.uncalled.count() == 0


def test_rows_leave_the_queue_or_wait_longer(ledger: Ledger) -> None:
    """What is done is forgotten; what was missed waits, and is counted."""
    settled(ledger, 3, WANTS)
    first, second, third = ledger.uncalled.due("main", NOW + SOON, 100)
    ledger.uncalled.done([first.id])
    ledger.uncalled.told([second.identity])
    ledger.uncalled.later([third.id], NOW + timedelta(hours=1), missed=True)
    assert due(ledger) == []
    [left] = ledger.uncalled.due("main", NOW + timedelta(hours=1), 100)
    assert (left.identity, left.misses) == (third.identity, 1)
    ledger.uncalled.later([third.id], NOW, missed=False)
    assert [row.misses for row in ledger.uncalled.due("main", NOW, 100)] == [1]
