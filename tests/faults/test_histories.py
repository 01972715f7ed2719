"""Any history: lists grow, rows come late or finish late or vanish or drift, answers and stores fail, passes crash.

RECVAULT_TEST_HISTORIES=5000 pytest tests/faults/test_histories.py
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from faults.promises import Promises, fault
from faults.stage import Stage
from faults.steps import DAY, SCENES, Grow, History, LoseLedger, Reconcile, Row, Scene, Strike, Sync, drawn, shortest
from faults.struck import struck_ledger

HISTORIES = int(os.environ.get("RECVAULT_TEST_HISTORIES", "196"))
PARTS = 2  # of each scene's histories, so that two processes share them


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("lists", SCENES, ids="+".join)
def test_any_history_ends_with_the_truth_in_the_bucket(lists: tuple[str, ...], part: int) -> None:
    """After each step the invariants hold; when the faults are over nothing is lost, doubled or left over."""
    for seed in range(part, HISTORIES // len(SCENES), PARTS):
        history = drawn(lists, seed)
        if found := fault(history):
            least = shortest(history, lambda each: fault(each) is not None)
            pytest.fail(f"seed {seed}: {found}\n\nat its shortest: {fault(least)}\n{least}")


def test_a_recording_that_an_earlier_ledger_stored_is_no_orphan() -> None:
    """Stored, cut short, the ledger lost, listed anew, and deleted before its first attempt: committed all the same."""
    gone = Sync(strikes=(Strike(at=7, act="delete"),))
    for at in range(8, 14):  # whichever effect it is that lies between the medium and its sidecar
        cut = Sync(strikes=(Strike(at=at, act="crash", after=True),))
        history = History(Scene(lists=("voice",)), (Grow((Row(age=DAY),)), cut, LoseLedger(), gone))
        assert fault(history) is None, history


def test_what_two_changes_hide_from_a_scan_a_reconcile_finds(tmp_path: Path) -> None:
    """Numbered pages tell a total alone: a row gone and one come between two of them hide a third from that scan.

    No client can see it happen. It is why lists are read again.
    """
    stage = Stage(tmp_path, Scene(lists=("telnyx",), order="oldest"))
    promises = Promises(stage)
    with struck_ledger(stage.effect):
        stage.play(Grow(tuple(Row(age=2 * DAY + number * 600) for number in range(6))))
        stage.play(Sync(strikes=(Strike(at=9, act="swap", which=11),)))
        with pytest.raises(AssertionError, match="listed below the watermark"):
            promises.check()
        stage.play(Reconcile(days=7))
        stage.wait(timedelta(hours=8))  # what was deleted is gone once it was looked for twice
        stage.play(Sync())
        promises.check()
        promises.check_the_end()
    stage.clients.close()
