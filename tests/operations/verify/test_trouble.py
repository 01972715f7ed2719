"""A bucket that does not answer, a stop, and a ledger in use during verification."""

from __future__ import annotations

import itertools

import pytest

from operations.verify.stage import Stage, a_recording, counted, told
from recvault.errors import ConfigError, StoreRefused, StoreUnavailable
from recvault.store.s3 import retries


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries follow at once."""
    monkeypatch.setattr(retries, "pause", lambda stop, seconds: None)


def test_one_question_without_an_answer(stage: Stage) -> None:
    """A request without an answer is counted, exit 75; everything else is checked."""
    stage.archive(*(a_recording(f"RE{number}") for number in range(9)))
    stage.lose(stage.key("RE7"))
    plan = stage.bucket.faults.plan("error", "HEAD", "RE3.wav", times=99)
    result = stage.verify()
    assert (counted(result), result.unanswered_total) == ({"checked": 8, "ok": 7, "missing": 1}, 1)
    assert (result.exit_code, result.outcome, plan.fired) == (75, "partial", 4)
    assert "RE3.wav" in result.unanswered[0]


@pytest.mark.parametrize("fault", ["error", "slow_down", "reset_before", "reset_after"])
def test_a_fault_that_passes(stage: Stage, fault: str) -> None:
    """A temporary failure is retried silently."""
    stage.archive(a_recording("RE1"), a_recording("RE2"))
    plans = [stage.bucket.faults.plan(fault, op) for op in ("GET", "HEAD")]
    assert (counted(stage.verify()), [plan.fired for plan in plans]) == ({"checked": 2, "ok": 2}, [1, 1])


def test_a_bucket_that_goes_down(stage: Stage) -> None:
    """After several requests in a row without an answer the verification ends."""
    stage.archive(*(a_recording(f"RE{number}") for number in range(200)))
    stage.bucket.faults.share("error", 1.0, "GET")
    with pytest.raises(StoreUnavailable):
        stage.verify()
    assert stage.bucket.counts["GET"] < 4 * 60


def test_rights_that_are_missing(stage: Stage) -> None:
    """A missing permission to list or read exits 77."""
    stage.archive(*(a_recording(f"RE{number}") for number in range(30)))
    for operation in ("LIST", "GET"):
        stage.bucket.denied = {operation}
        with pytest.raises(StoreRefused) as caught:
            stage.verify()
        assert caught.value.exit_code == 77


def test_no_bucket(stage: Stage) -> None:
    """A missing bucket exits 78."""
    stage.bucket.name = "another-name"
    with pytest.raises(ConfigError) as caught:
        stage.verify()
    assert caught.value.exit_code == 78


def test_a_stop_in_the_midst(stage: Stage) -> None:
    """After a stop the results so far are reported."""
    stage.archive(*(a_recording(f"RE{number:03}") for number in range(150)))
    stage.lose(stage.key("RE000"))
    asked = itertools.count()
    verification = stage.prepared(range_least=5)
    describe = verification.reader.describe

    def stopping(key: str) -> object:
        if next(asked) == 40:
            stage.stop.asked.set()
        return describe(key)

    verification.reader.describe = stopping  # type: ignore[method-assign, assignment]
    with verification.expectations:
        result = verification.run()
    assert (result.interrupted, result.outcome) == (True, "interrupted")
    assert 0 < result.checked < 150
    assert told(result) in ([], [("missing", stage.key("RE000"), "sidecar.missing")])


def test_what_is_archived_meanwhile(stage: Stage) -> None:
    """A recording settled during the verification is no difference."""
    stage.archive(a_recording("RE1"))
    verification = stage.prepared()
    stage.archive(a_recording("RE2"))
    with verification.expectations:
        result = verification.run()
    assert (counted(result), result.total) == ({"checked": 1, "ok": 1}, 0)
