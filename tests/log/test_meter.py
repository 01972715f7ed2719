"""Measuring what threads wait for."""

from __future__ import annotations

from recvault.log.meter import PROVIDER, TURN, Spending, Waits


class Seconds:
    """A clock set by the test."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_innermost_wait_counts_and_one_that_lasts_is_told() -> None:
    """The innermost wait counts, and a wait that has not ended is included."""
    clock = Seconds()
    waits = Waits(clock)
    with waits.on(PROVIDER):
        with waits.on(TURN):
            clock.now += 2.0
        clock.now += 3.0
        assert waits.spending.waits == {TURN: 2.0, PROVIDER: 3.0}
        clock.now += 1.0
    clock.now += 9.0
    assert waits.spending.waits == {TURN: 2.0, PROVIDER: 4.0}


def test_what_processes_spend_adds_up() -> None:
    """Spendings add up, and subtracting gives what was spent in between."""
    both = Spending(1.0, {PROVIDER: 2.0}) + Spending(0.5, {TURN: 4.0})
    assert both == Spending(1.5, {PROVIDER: 2.0, TURN: 4.0})
    assert both - Spending(1.0, {TURN: 1.0}) == Spending(0.5, {PROVIDER: 2.0, TURN: 3.0})
