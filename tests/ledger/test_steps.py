"""What follows a failure: a table of cases, and properties for any policy."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.rows import NOW, failure, recording
from recvault.ledger import Policy
from recvault.ledger.steps import Step, after, recheck_delay, retry_delay
from recvault.models import DRAINED, ELSEWHERE, MISSING, State, Verdict

POLICY = Policy(max_attempts=4, give_up_after=timedelta(days=3))
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
MISSED = {"reason": MISSING}
JITTER = object()

durations = st.timedeltas(timedelta(milliseconds=1), timedelta(days=400))
policies = st.builds(
    lambda base, more, attempts, recheck, give_up: Policy(
        retry_base=base, retry_max=base + more, max_attempts=attempts, recheck_every=recheck, give_up_after=give_up
    ),
    durations,
    durations,
    st.integers(1, 1000),
    durations,
    durations,
)
ages = st.timedeltas(-timedelta(days=2), timedelta(days=4000))
asked = st.none() | st.floats(0, 1e12)


@pytest.mark.parametrize(
    ("verdict", "values", "faults", "age", "expected"),
    [
        (Verdict.GONE, {}, 2, timedelta(), Step(State.GONE, None, 2)),
        (Verdict.EXTERNAL, {}, 2, timedelta(), Step(State.EXTERNAL, None, 2)),
        (Verdict.FATAL, {}, 0, timedelta(), Step(State.DEAD, None, 1)),
        (Verdict.RETRY, {"reason": DRAINED, "counted": False}, 3, timedelta(), Step(State.PENDING, NOW, 3)),
        (Verdict.RETRY, {}, 0, timedelta(), Step(State.FAILING, JITTER, 1)),
        (Verdict.RETRY, {}, 2, timedelta(), Step(State.FAILING, JITTER, 3)),
        (Verdict.RETRY, {}, 3, timedelta(), Step(State.DEAD, None, 4)),
        (Verdict.RETRY, {"counted": False}, 3, timedelta(), Step(State.FAILING, JITTER, 3)),
        (Verdict.RETRY, {"counted": False}, 99, timedelta(), Step(State.FAILING, JITTER, 99)),
        (Verdict.RETRY, {}, 0, timedelta(days=99), Step(State.FAILING, JITTER, 1)),
        (Verdict.NOT_READY, {}, 0, timedelta(), Step(State.NOT_READY, NOW + timedelta(minutes=2), 0)),
        (Verdict.NOT_READY, {}, 9, timedelta(hours=10), Step(State.NOT_READY, NOW + timedelta(hours=1), 9)),
        (Verdict.NOT_READY, {}, 0, timedelta(days=3) - SECOND, Step(State.NOT_READY, JITTER, 0)),
        (Verdict.NOT_READY, {}, 0, timedelta(days=3), Step(State.DEAD, None, 0)),
        (Verdict.NOT_READY, MISSED, 1, timedelta(days=9), Step(State.NOT_READY, NOW + timedelta(minutes=2), 1, NOW)),
        (Verdict.EXTERNAL, {"reason": ELSEWHERE}, 1, timedelta(), Step(State.NOT_READY, JITTER, 1)),
    ],
)
def test_the_step_after_a_failure(
    verdict: Verdict, values: dict[str, object], faults: int, age: timedelta, expected: Step
) -> None:
    """Each verdict leads to its state; dead recordings are never due, and unfinished ones are due again."""
    step = after(
        failure(recording(), verdict, **values), faults=faults, watched_since=NOW - age, now=NOW, policy=POLICY
    )
    if expected.next_attempt_at is JITTER:
        assert step.next_attempt_at is not None and step.next_attempt_at > NOW
        assert (step.state, step.faults) == (expected.state, expected.faults)
    else:
        assert step == expected


def test_what_lies_elsewhere_by_a_404_alone_is_external_once_it_is_not_young() -> None:
    """A 404 with a foreign host is external only half an hour after the recording ended."""
    for minutes, state in ((29, State.NOT_READY), (31, State.EXTERNAL)):
        ended = recording(created_at=NOW - timedelta(minutes=minutes + 30), duration_seconds=1800.0)
        elsewhere = failure(ended, Verdict.EXTERNAL, reason=ELSEWHERE)
        assert after(elsewhere, faults=0, watched_since=NOW, now=NOW, policy=POLICY).state is state


def test_what_is_not_found_is_looked_for_rarely_and_once_to_know() -> None:
    """A missing recording is checked a few times, less and less often, and finally six hours after the first."""
    looks, since, now = 0, None, NOW
    while now - NOW < 6 * HOUR:
        step = after(
            failure(recording(), Verdict.NOT_READY, reason=MISSING),
            faults=0,
            watched_since=NOW - timedelta(days=60),
            now=now,
            policy=POLICY,
            missing_since=since,
        )
        assert (step.state, step.missing_since) == (State.NOT_READY, NOW)
        assert step.next_attempt_at is not None and step.next_attempt_at > now
        looks, since, now = looks + 1, step.missing_since, step.next_attempt_at
    assert now == NOW + 6 * HOUR
    assert looks <= 10


@given(policies, st.integers(1, 2000), asked)
def test_a_retry_waits_exponentially_within_its_jitter(policy: Policy, faults: int, wanted: float | None) -> None:
    """The delay is between half the doubling bound and the bound, at most retry_max, at least as requested."""
    bound = min(policy.retry_max.total_seconds(), policy.retry_base.total_seconds() * 2.0 ** min(faults - 1, 900))
    least = min(wanted or 0.0, policy.retry_max.total_seconds())
    delay = retry_delay(faults, wanted, policy).total_seconds()
    assert delay >= least - 1e-5
    assert bound / 2 - 1e-5 <= delay or least > bound / 2
    assert delay <= max(bound, least) + 1e-5


def test_retries_are_spread() -> None:
    """Recordings that failed together are not due together."""
    delays = {retry_delay(1, None, POLICY) for _ in range(50)}
    assert len(delays) > 40


@given(policies, st.integers(0, 2000), st.integers(1, 60))
def test_an_uncounted_failure_never_kills(policy: Policy, faults: int, times: int) -> None:
    """Uncounted failures, even for weeks, make no recording dead."""
    for _ in range(times):
        step = after(failure(recording(), counted=False), faults=faults, watched_since=NOW, now=NOW, policy=policy)
        assert (step.state, step.faults) == (State.FAILING, faults)


@given(policies)
def test_counted_failures_kill_after_max_attempts(policy: Policy) -> None:
    """A recording is dead after exactly max_attempts failures of its own."""
    faults = 0
    for attempt in range(1, policy.max_attempts + 1):
        step = after(failure(recording()), faults=faults, watched_since=NOW, now=NOW, policy=policy)
        assert step.state == (State.DEAD if attempt == policy.max_attempts else State.FAILING)
        faults = step.faults


@given(policies, ages)
def test_what_is_not_ready_is_read_again_until_give_up_after(policy: Policy, age: timedelta) -> None:
    """An unfinished recording is re-read less and less often, at least recheck_every apart, until give_up_after."""
    step = after(failure(recording(), Verdict.NOT_READY), faults=1, watched_since=NOW - age, now=NOW, policy=policy)
    if age >= policy.give_up_after:
        assert step == Step(State.DEAD, None, 1)
    else:
        assert step.state is State.NOT_READY
        assert step.next_attempt_at is not None and step.next_attempt_at >= NOW + policy.recheck_every


@given(policies, ages, ages)
def test_an_older_recording_is_never_read_again_sooner(policy: Policy, one: timedelta, other: timedelta) -> None:
    """The delay grows with age, and is limited."""
    young, old = sorted((one, other))
    assert recheck_delay(young, policy) <= recheck_delay(old, policy)
    assert recheck_delay(old, policy) <= max(policy.retry_max, policy.recheck_every)
