"""Any history: lists grow, rows are late, unfinished, deleted or shifted, answers and stores fail, passes crash.

RECVAULT_TEST_HISTORIES=5000 pytest tests/faults/test_histories.py
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from faults.promises import Promises, fault
from faults.stage import Stage
from faults.steps import DAY, SCENES, Delete, Grow, LoseLedger, Reconcile, Row, Scene, Strike, Sync, drawn, shortest
from faults.struck import struck_ledger

pytestmark = pytest.mark.long

HISTORIES = int(os.environ.get("RECVAULT_TEST_HISTORIES", "98"))
ONE = Scene(lists=("voice",))
PARTS = 2  # of each scene's histories, for two processes


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("lists", SCENES, ids="+".join)
def test_any_history_ends_with_the_truth_in_the_bucket(lists: tuple[str, ...], part: int) -> None:
    """After each step the invariants hold; once the faults are over nothing is lost, doubled or left over."""
    for seed in range(part, HISTORIES // len(SCENES), PARTS):
        history = drawn(lists, seed)
        if found := fault(history):
            least = shortest(history, lambda each: fault(each) is not None)
            pytest.fail(f"seed {seed}: {found}\n\nat its shortest: {fault(least)}\n{least}")


@pytest.mark.parametrize("puts", [1, 2], ids=["its medium", "its sidecar, too"])
@pytest.mark.parametrize("is_lost", [False, True], ids=["the same ledger", "a new ledger"])
def test_what_was_stored_before_a_deletion_is_archived_by_the_ledger_that_stored_it(
    tmp_path: Path, puts: int, *, is_lost: bool
) -> None:
    """What was stored before a crash and a deletion is committed; a new ledger cannot prove it."""
    effects = _effects_of_a_pass(tmp_path / "plain")
    stored = [place for place, kind in effects if kind == "put"]
    fetched = next(place for place, kind in effects if kind == "download")
    (tmp_path / "struck").mkdir()
    stage = Stage(tmp_path / "struck", ONE)
    promises = Promises(stage)
    with struck_ledger(stage.effect):
        stage.play(Grow((Row(age=DAY),)))
        stage.play(Sync(strikes=(Strike(at=stored[puts - 1], act="crash", after=True),)))
        before = dict(stage.bucket.objects)
        assert len(before) == puts
        stage.play(LoseLedger() if is_lost else Delete(0))
        stage.play(Sync(strikes=(Strike(at=fetched, act="delete"),) if is_lost else ()))
        for _ in range(2):
            stage.wait(timedelta(hours=8))
            stage.play(Sync())
        promises.check()
        promises.check_the_end()
    stage.clients.close()
    assert list(promises.known.values()) == ["gone" if is_lost else "archived"]
    assert before.items() <= stage.bucket.objects.items()
    assert len(stage.bucket.objects) == (puts if is_lost else 2)


def _effects_of_a_pass(directory: Path) -> list[tuple[int, str]]:
    """Return the effects of the first pass over one recording, as positions for strikes."""
    directory.mkdir()
    stage = Stage(directory, ONE)
    with struck_ledger(stage.effect):
        stage.play(Grow((Row(age=DAY),)))
        stage.play(Sync())
    stage.clients.close()
    return list(enumerate(stage.ways, 1))


def test_what_two_changes_hide_from_a_scan_a_reconcile_finds(tmp_path: Path) -> None:
    """A row hidden by a removal and an addition between two numbered pages is found by reconcile.

    No client can detect it. It is why lists are read again.
    """
    stage = Stage(tmp_path, Scene(lists=("telnyx",), order="oldest"))
    promises = Promises(stage)
    with struck_ledger(stage.effect):
        stage.play(Grow(tuple(Row(age=2 * DAY + number * 600) for number in range(6))))
        stage.play(Sync(strikes=(Strike(at=9, act="swap", which=11),)))
        with pytest.raises(AssertionError, match="listed below the watermark"):
            promises.check()
        stage.play(Reconcile(days=7))
        stage.wait(timedelta(hours=8))  # a deleted recording is gone after two looks
        stage.play(Sync())
        promises.check()
        promises.check_the_end()
    stage.clients.close()
