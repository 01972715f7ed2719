"""Claims and leases: no recording is claimed twice, and leases of killed processes are freed."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from ledger.processes import Start, answer
from ledger.rows import NOW, POLICIES, failure, many, receipt, recording, register, row
from recvault.ledger import Ledger
from recvault.ledger import leases as leases_module
from recvault.ledger import leases as ownership_module
from recvault.ledger.book import LEASE
from recvault.ledger.leases import Owner
from recvault.models import State


def test_the_attempt_is_counted_before_the_work(ledger: Ledger, path: Path) -> None:
    """An attempt that ended with its process counts: the next one checks the bucket first."""
    register(ledger, recording(1))
    [job] = ledger.claim("main", NOW, 1)
    assert (job.attempt, row(ledger)["attempts"]) == (1, 1)
    ledger.close()

    again = Ledger.open(path, NOW)
    [job] = again.claim("main", NOW, 1)
    assert (job.attempt, job.maybe_archived) == (2, True)
    again.close()


def test_what_an_attempt_may_have_put_is_looked_for(ledger: Ledger) -> None:
    """The bucket is checked only after an attempt of this ledger that may have put something."""
    register(ledger, recording(1), recording(2), recording(3))
    first = ledger.claim("main", NOW, 9)
    assert [job.maybe_archived for job in first] == [False, False, False]
    began, before, _ = first
    ledger.settle([failure(began), failure(before, may_have_put=False)], NOW, POLICIES)
    # The third one's lease expired: the outcome of its attempt was never stored.
    again = {job.recording.recording_id: job.maybe_archived for job in ledger.claim("main", NOW + 2 * LEASE, 9)}
    assert again == {"RE1": True, "RE2": False, "RE3": True}


def test_a_claim_takes_what_is_due_longest_first(ledger: Ledger) -> None:
    """A claim takes the oldest due first, only of this source, up to the limit."""
    for minutes, number in ((3, 1), (1, 2), (2, 3), (9, 4)):
        register(ledger, recording(number), now=NOW + timedelta(minutes=minutes))
    now = NOW + timedelta(minutes=5)

    assert {job.recording.recording_id for job in ledger.claim("main", now, 2)} == {"RE2", "RE3"}
    assert ledger.claim("other", now, 9) == []
    assert [job.recording.recording_id for job in ledger.claim("main", now, 9)] == ["RE1"]


def test_a_leased_recording_is_not_claimed_again_until_its_lease_ends(ledger: Ledger) -> None:
    """A lease ends with its process; LEASE is only for processes that hang."""
    register(ledger, recording(1))
    assert len(ledger.claim("main", NOW, 1)) == 1
    assert ledger.claim("main", NOW + LEASE - timedelta(seconds=1), 1) == []
    assert len(ledger.claim("main", NOW + LEASE, 1)) == 1


def test_two_ledgers_on_one_file_share_the_work(ledger: Ledger, path: Path) -> None:
    """Beside a daemon and a backfill each recording is leased to one of them."""
    register(ledger, *many(4))
    other = Ledger.open(path, NOW)
    mine, theirs = ledger.claim("main", NOW, 2), other.claim("main", NOW, 9)
    assert len({job.recording.recording_id for job in [*mine, *theirs]}) == 4
    other.settle([receipt(job) for job in theirs], NOW, POLICIES)
    other.close()
    assert ledger.ask.standing("main", "AC1").archived == 2
    assert ledger.claim("main", NOW, 9) == []


def test_threads_never_claim_the_same_recording(path: Path, ledger: Ledger) -> None:
    """Eight threads over two connections claim each recording once."""
    register(ledger, *many(200))
    other = Ledger.open(path, NOW)
    claimed: list[str] = []

    def work(mine: Ledger) -> None:
        while jobs := mine.claim("main", NOW, 3):
            claimed.extend(job.recording.recording_id for job in jobs)
            mine.settle([receipt(job) for job in jobs], NOW, POLICIES)

    threads = [threading.Thread(target=work, args=(each,)) for each in (ledger, other) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()

    assert Counter(claimed) == Counter(f"RE{number}" for number in range(200))
    assert ledger.ask.standing("main", "AC1").archived == 200


def test_processes_never_claim_the_same_recording(ledger: Ledger, start: Start) -> None:
    """Three processes that come and go claim each recording once, and leave none."""
    register(ledger, *many(150))
    claimed = [recording_id for process in [start("work") for _ in range(3)] for recording_id in answer(process)]
    assert Counter(claimed) == Counter(f"RE{number}" for number in range(150))
    assert ledger.ask.standing("main", "AC1").archived == 150


def test_a_killed_process_s_leases_are_free_at_once_a_living_one_s_are_not(
    ledger: Ledger, path: Path, start: Start
) -> None:
    """Leases of a killed process are freed by the next opening, those of a living one are not."""
    register(ledger, *many(5))
    living, killed = start("hold", "2"), start("hold", "2")
    held, lost = answer(living), answer(killed)

    killed.send_signal(signal.SIGKILL)
    killed.wait()
    opened = Ledger.open(path, NOW)

    expected = {f"RE{number}" for number in range(5)} - set(held)
    assert set(lost) < expected
    assert {job.recording.recording_id for job in opened.claim("main", NOW, 9)} == expected
    opened.close()
    assert [
        each.name for each in path.with_name("ledger.db.owners").iterdir() if each.name.startswith(str(killed.pid))
    ] == []


def test_a_freed_recording_keeps_its_state_and_its_count(ledger: Ledger, path: Path) -> None:
    """A freed recording that was failing is still failing, and due."""
    register(ledger, recording(1))
    ledger.settle([failure(job) for job in ledger.claim("main", NOW, 1)], NOW, POLICIES)
    later = NOW + timedelta(days=1)
    ledger.claim("main", later, 1)
    ledger.close()

    opened = Ledger.open(path, later)
    assert (row(opened)["state"], row(opened)["attempts"], row(opened)["lease"]) == (State.FAILING, 2, None)
    assert len(opened.claim("main", later, 1)) == 1
    opened.close()


def test_an_owner_removed_before_it_holds_its_lock_begins_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An owner whose file is removed before it is locked makes another one, and locks that."""
    first = Owner(path)
    real, looked = os.fchmod, []

    def fchmod(descriptor: int, mode: int) -> None:
        real(descriptor, mode)
        if not looked:
            looked.append(first.dead())

    monkeypatch.setattr(ownership_module.os, "fchmod", fchmod)
    second = Owner(path)

    assert looked == [[second.name]]
    assert first.living() == [second.name]
    second.close()
    first.close()


def test_an_owner_seen_before_it_holds_its_lock_is_not_taken_for_dead(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If two processes start at once, neither frees the other's leases."""
    first = Owner(path)
    real, looked = fcntl.flock, []

    def flock(descriptor: int, operation: int) -> None:
        if operation == fcntl.LOCK_EX and not looked:
            looked.append(first.dead())
        real(descriptor, operation)

    monkeypatch.setattr(leases_module.fcntl, "flock", flock)
    second = Owner(path)

    assert len(looked) == 1
    assert first.living() == [second.name]
    second.close()
    assert (first.living(), first.dead()) == ([], [])
    first.close()
