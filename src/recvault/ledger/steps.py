"""Decide what follows a failed attempt. Pure; the ledger only stores it.

A failure that is the recording's own counts toward `max_attempts`; one of the store or the credentials does not. A
recording that is not final yet has until `give_up_after`. A listed recording that is not found is gone only if it is
still not found hours later. Dead means given up, listed and retriable: never forgotten.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta

from recvault.models import DRAINED, ELSEWHERE, MISSING, WORKER_LOST, Failure, Recording, State, Verdict

_AGEING = (
    0.1  # a recording that is not final is read again after a tenth of its age, and never sooner than recheck_every
)


CONFIRM_AFTER = timedelta(hours=6)  # between the first 404 and the one that counts
_YOUNG = timedelta(minutes=30)  # since its end: its media may still be processed


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How patient a source is."""

    max_attempts: int = 12
    retry_base: timedelta = timedelta(seconds=30)
    retry_max: timedelta = timedelta(hours=6)
    recheck_every: timedelta = timedelta(minutes=2)
    give_up_after: timedelta = timedelta(days=3)
    call_facts: bool = False  # sidecars without the facts of their call are noted, to ask for these later

    @property
    def longest(self) -> timedelta:
        """How far ahead a recording may be due at most, if the clock is right."""
        return max(self.retry_max, self.recheck_every)


@dataclass(frozen=True, slots=True)
class Step:
    """A recording's next state, when it is due again (None: not automatically), and its faults so far."""

    state: State
    next_attempt_at: datetime | None
    faults: int
    missing_since: datetime | None = None  # set if it was not found


def after(
    failure: Failure,
    *,
    faults: int,
    watched_since: datetime,
    now: datetime,
    policy: Policy,
    missing_since: datetime | None = None,
    failing_since: datetime | None = None,
) -> Step:
    """Return the step after a failure. `faults`: the earlier ones; `watched_since`: when the wait for it began.

    A failure in doubt is not counted here but by `blame`, once it is known whose it is. The longer such failures last,
    the longer the delay.
    """
    match failure.verdict:
        case Verdict.GONE:
            return Step(State.GONE, None, faults)
        case Verdict.EXTERNAL:
            if failure.reason == ELSEWHERE and now - _ended(failure.recording) < _YOUNG:
                return Step(State.NOT_READY, now + policy.recheck_every, faults)
            return Step(State.EXTERNAL, None, faults)
        case Verdict.NOT_READY if failure.reason == MISSING:
            since = min(now, missing_since or now)
            return Step(State.NOT_READY, now + look_delay(now - since, policy), faults, since)
        case Verdict.FATAL:
            return Step(State.DEAD, None, faults + 1)
        case Verdict.NOT_READY:
            age = now - watched_since
            if age >= policy.give_up_after:
                return Step(State.DEAD, None, faults)
            least = timedelta(seconds=failure.retry_after or 0.0)
            return Step(State.NOT_READY, now + max(recheck_delay(age, policy), least), faults)
        case Verdict.RETRY if failure.reason in (DRAINED, WORKER_LOST):
            return Step(State.PENDING, now, faults, missing_since)
        case Verdict.RETRY:
            is_counted = failure.counted and failure.doubt is None
            faults += is_counted
            if is_counted and faults >= policy.max_attempts:
                return Step(State.DEAD, None, faults)
            failing = now - (failing_since or now) if failure.doubt else timedelta()
            delay = retry_delay(max(1, faults), failure.retry_after, policy, failing)
            return Step(State.FAILING, now + delay, faults, missing_since)


def _ended(recording: Recording) -> datetime:
    """Return when the recording ended, as far as its row shows."""
    return recording.ended_at or recording.created_at + timedelta(seconds=recording.duration_seconds or 0.0)


def retry_delay(
    faults: int, asked_seconds: float | None, policy: Policy, failing: timedelta = timedelta()
) -> timedelta:
    """Return an exponential delay with equal jitter: half the bound up to the bound, and at least `asked_seconds`.

    Both bound and `asked_seconds` are limited by `retry_max`. `failing`: how long uncounted failures have lasted; the
    bound is at least that, so it doubles as well.
    """
    most = policy.retry_max.total_seconds()
    doubled = policy.retry_base.total_seconds() * 2.0 ** min(faults - 1, 100)
    bound = min(most, max(doubled, failing.total_seconds()))
    delay = bound * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret
    return timedelta(seconds=max(delay, min(asked_seconds or 0.0, most)))


def look_delay(age: timedelta, policy: Policy) -> timedelta:
    """Return when a missing recording is checked again: soon, then less often, last after `CONFIRM_AFTER`."""
    left = CONFIRM_AFTER - age
    return min(max(policy.recheck_every, age), left, policy.longest) if left > timedelta() else policy.recheck_every


def recheck_delay(age: timedelta, policy: Policy) -> timedelta:
    """Return when a recording that is not final is read again by id: less often as it ages."""
    return min(max(policy.recheck_every, age * _AGEING), policy.longest)
