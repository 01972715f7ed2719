"""One budget used by several processes: permits are sent there and come back."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from recvault.errors import Interrupted, Resting
from recvault.http import Borrowed, Limits, Loan, Permits
from recvault.http.limits import LIST, MEDIA, Noted, Pause, Want
from recvault.shutdown import Stop


class Seconds:
    """A clock set by the test."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Link:
    """A worker process's budget and its loan."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self.given: list[Permits] = []
        self.budget = Borrowed(lambda urgent: None, clock)
        self.loan = Loan(limits, self.given.append)
        limits.on_rest.append(self.budget.hold)
        self.wants: list[Want] = []

    def want(self, count: int = 1) -> None:
        """Let that many threads request a permit each."""
        for _ in range(count):
            self.wants.append(Want(MEDIA, lambda _: None))
            self.budget.ask(self.wants[-1])
        self.travel()

    def travel(self) -> None:
        """Deliver messages in both directions."""
        if (spent := self.budget.collect()) is not None:
            self.loan.take(spent)
        while self.given:
            self.budget.take(self.given.pop(0))

    @property
    def held(self) -> list[float]:
        """Return the times of granted permits."""
        return [want.at for want in self.wants if want.at is not None]


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


def known(limits: Limits, most: int) -> Limits:
    """Limits that have reached the configured concurrency."""
    limits._budget.found._limit = float(most)
    return limits


def test_processes_together_have_no_more_than_one_budget(clock: Seconds) -> None:
    """Of four places, one for lists, two processes get three; each end lets another begin."""
    limits = known(Limits(100_000, 4, clock), 4)
    one, two = Link(limits, clock), Link(limits, clock)
    for link in (one, two):
        link.want(3)
    assert limits._budget.running[MEDIA] == 3
    assert (len(one.held), len(two.held)) == (3, 0)
    one.budget.end(MEDIA)
    one.travel()
    two.travel()
    assert (limits._budget.running[MEDIA], len(two.held)) == (3, 1)


def test_processes_together_keep_one_pace(clock: Seconds) -> None:
    """At ten a second the times of three processes together are a tenth of a second apart."""
    limits = known(Limits(10, 100, clock), 100)
    links = [Link(limits, clock) for _ in range(3)]
    for link in links:
        link.want(3)
    for _ in range(40):
        clock.now += 0.025
        limits.look()
    for link in links:
        link.travel()
    moments = sorted(moment for link in links for moment in link.held)
    assert [round(after - before, 6) for before, after in pairwise(moments)] == [0.1] * 8


def test_where_there_is_plenty_permits_come_before_they_are_needed(clock: Seconds) -> None:
    """If there is plenty no thread waits for a message; unused permits go back with their places."""
    limits = known(Limits(100_000, 100, clock), 100)
    link = Link(limits, clock)
    link.want()
    link.budget.end(MEDIA)
    link.want()  # now it knows that there is plenty
    assert link.budget.has_stock
    clock.now += 1.0
    link.travel()
    assert (limits._budget.running[MEDIA], link.budget.has_stock) == (1, False)


def test_what_a_dead_process_held_is_free(clock: Seconds) -> None:
    """A dead process's permits and requests are dropped."""
    limits = known(Limits(100_000, 3, clock), 3)
    dead, living = Link(limits, clock), Link(limits, clock)
    for link in (dead, living):
        link.want(4)
    dead.loan.close()
    living.travel()
    assert (limits._budget.running[MEDIA], len(living.held)) == (2, 2)


def test_a_refusal_in_one_process_rests_all(clock: Seconds) -> None:
    """After a refusal in any process none sends anything before Retry-After is over, not even lists."""
    limits = known(Limits(100_000, 10, clock), 10)
    one, two = Link(limits, clock), Link(limits, clock)
    one.budget.note(Noted(429, rest=20.0))
    one.travel()
    two.want()
    limits.ask(listed := Want(LIST, lambda _: None))
    assert (two.budget.rest, limits.rest, two.held, listed.at) == (Pause(120.0, 429), Pause(120.0, 429), [], None)
    clock.now += 20.0
    limits.look()
    two.travel()
    assert len(two.held) == 1


def test_a_long_rest_and_a_stop_end_the_wait_for_a_permit(clock: Seconds) -> None:
    """A long rest and a stop end the wait for a permit, and leave nothing behind."""
    limits = Limits(100_000, 10, clock)
    link, stop = Link(limits, clock), Stop()
    stop.asked.set()
    with pytest.raises(Interrupted):
        link.budget.turn(stop, MEDIA, 30.0).__enter__()
    limits.note(Noted(503, rest=200.0))
    with pytest.raises(Resting):
        link.budget.turn(Stop(), MEDIA, 30.0).__enter__()
    assert not link.budget._waiting
