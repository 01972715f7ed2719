"""A budget sent along with a batch of jobs, and spent without contact to the planner."""

from __future__ import annotations

import pytest

from recvault.errors import Interrupted, Resting
from recvault.http import MEDIA, Limits, Noted, Purse, Want
from recvault.shutdown import Stop


class Clock:
    """Stands still until moved."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def asked(purse: Purse, count: int = 1) -> list[float | None]:
    """Return when so many requests may be sent."""
    wants = [Want(MEDIA, lambda want: None) for _ in range(count)]
    for want in wants:
        purse.ask(want)
    return [want.at for want in wants]


def test_a_job_s_request_is_sent_at_the_moment_that_came_with_it() -> None:
    """A request is sent at the time that came with its batch, by the local clock."""
    purse = Purse(10.0, Clock())
    purse.put([0.2, 0.0, 0.4])
    assert asked(purse, 3) == pytest.approx([1000.0, 1000.2, 1000.4])


def test_further_requests_keep_the_pace_and_are_counted() -> None:
    """Further requests of a job keep the pace, and are reported to the planner."""
    clock = Clock()
    purse = Purse(10.0, clock)
    purse.put([0.0])
    assert asked(purse, 3) == pytest.approx([1000.0, 1000.09, 1000.18])
    used = purse.collect()
    assert used is not None and used.requests == 3
    assert purse.collect() is None


def test_a_moment_that_nobody_used_is_dropped() -> None:
    """A permit that was not used in time is dropped, so that it cannot add to a later burst."""
    clock = Clock()
    purse = Purse(10.0, clock)
    purse.put([0.0, 0.1, 0.2])
    clock.now += 5.0
    assert asked(purse, 2) == pytest.approx([1005.0, 1005.09])


def test_a_refusal_holds_all_that_is_sent_from_here_and_is_told() -> None:
    """A refusal stops requests from here at once, and the planner learns how long ago it was."""
    clock, told = Clock(), list[str]()
    purse = Purse(10.0, clock, on_rest=lambda: told.append("rests"))
    purse.put([0.0, 0.0])
    purse.note(Noted(429, rest=7.0))
    assert (asked(purse), told, purse.rest.left(clock.now)) == ([None], ["rests"], 7.0)
    with pytest.raises(Resting), purse.turn(Stop(), patience=5.0):
        raise AssertionError("it was sent")
    clock.now += 2.0
    used = purse.collect()
    assert used is not None
    [noted] = used.noted_at(50.0)
    assert (noted.status, noted.rest, noted.at) == (429, 7.0, 48.0)


def test_after_a_rest_requests_are_sent_again() -> None:
    """Requests continue as soon as the pause is over."""
    clock = Clock()
    purse = Purse(10.0, clock)
    purse.note(Noted(429, rest=7.0))
    want = Want(MEDIA, lambda want: None)
    purse.ask(want)
    assert (purse.patience(want), want.at) == (0.2, None)
    clock.now += 7.0
    assert (purse.patience(want), want.at) == (0.0, 1007.0)


def test_requests_that_nobody_asked_for_are_paid_by_the_next_ones() -> None:
    """Over time the rate is the configured one; what was paid too much is returned, without a burst."""
    clock = Clock()
    limits = Limits(10.0, 100, clock)

    def moment() -> float:
        want = Want(MEDIA, lambda want: None)
        limits.ask(want)
        while want.at is None:
            clock.now += 0.01
            limits.look()
        limits.end()
        return want.at

    first = moment()
    limits.charge(5)
    assert moment() - first == pytest.approx(0.6, abs=0.02)
    limits.charge(50)
    limits.charge(-50)
    limits.charge(-50)
    late = clock.now
    assert [moment() - late for _ in range(2)] == pytest.approx([0.0, 0.1], abs=0.03)


def test_a_moment_that_nobody_used_is_not_another_job_s() -> None:
    """Whoever comes later waits for the moment that came with it."""
    clock = Clock()
    purse = Purse(10.0, clock)
    purse.put([0.0, 5.3])
    clock.now += 5.0
    assert asked(purse) == pytest.approx([1005.3])


def test_what_is_not_sent_is_not_paid() -> None:
    """A request that is not sent, because of a stop or a missed time, is not paid for."""
    purse, stop = Purse(10.0, Clock()), Stop()
    purse.put([0.0, 5.0])
    with purse.turn(stop):
        pass
    stop.asked.set()
    with pytest.raises(Interrupted), purse.turn(stop):
        raise AssertionError("it was sent")
    used = purse.collect()
    assert used is not None and used.requests == 1
