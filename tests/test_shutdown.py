"""A stop takes effect at once, and every check for it is a sign of life."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from recvault.errors import Interrupted
from recvault.shutdown import Pulse, Stop


class Clock:
    """A clock set by the test."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Noted(threading.Event):
    """An event that records waits instead of waiting, while a clock advances."""

    def __init__(self, clock: Clock, pulse: Pulse) -> None:
        super().__init__()
        self.clock, self.pulse = clock, pulse
        self.waits: list[float] = []
        self.quiet: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waits.append(timeout)
        self.clock.now += timeout
        self.quiet.append(self.pulse.quiet_seconds())
        return self.is_set()


def elsewhere(call: Callable[[], object]) -> None:
    """Call in another thread."""
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


def test_the_pulse_tells_of_the_longest_silence() -> None:
    """The silence is that of the working thread silent for longest; ended ones do not count."""
    clock = Clock()
    pulse = Pulse(clock)
    begun, end = threading.Event(), threading.Event()

    def silent() -> None:
        with pulse.working():
            begun.set()
            end.wait(5)

    assert pulse.quiet_seconds() == 0.0
    other = threading.Thread(target=silent)
    other.start()
    begun.wait(5)
    clock.now += 7
    with pulse.working():
        clock.now += 5
        pulse.beat()
        assert pulse.quiet_seconds() == 12.0
        end.set()
        other.join()
        assert pulse.quiet_seconds() == 0.0
        clock.now += 3
        assert pulse.quiet_seconds() == 3.0
    assert pulse.quiet_seconds() == 0.0


def test_a_thread_that_is_not_at_work_has_no_pulse() -> None:
    """A beat of an idle thread counts for no working one, and does not make it working."""
    clock = Clock()
    pulse = Pulse(clock)
    with pulse.working():
        clock.now += 4
        elsewhere(pulse.beat)
        assert pulse.quiet_seconds() == 4.0
    pulse.beat()
    clock.now += 4
    assert pulse.quiet_seconds() == 0.0


def test_work_within_work_is_one() -> None:
    """The end of nested work is a sign of life, and the outer work is still watched, also after an error."""
    clock = Clock()
    pulse = Pulse(clock)
    with pulse.working():
        with pytest.raises(ValueError), pulse.working():
            clock.now += 5
            raise ValueError
        assert pulse.quiet_seconds() == 0.0
        clock.now += 2
        assert pulse.quiet_seconds() == 2.0
    assert pulse.quiet_seconds() == 0.0


@pytest.mark.parametrize("look", ["check", "check_enforced", "sleep"])
def test_each_look_at_a_stop_is_a_sign_of_life(look: str) -> None:
    """A check for a stop is a sign of life."""
    clock = Clock()
    stop = Stop(pulse=Pulse(clock))
    with stop.pulse.working():
        clock.now += 9
        assert stop.pulse.quiet_seconds() == 9.0
        stop.sleep(0.0) if look == "sleep" else getattr(stop, look)()
        assert stop.pulse.quiet_seconds() == 0.0


@pytest.mark.parametrize(
    ("seconds", "waits"), [(-1.0, [0.0]), (0.0, [0.0]), (30.0, [30.0]), (75.0, [30.0, 30.0, 15.0])]
)
def test_a_long_wait_is_no_silence(seconds: float, waits: list[float]) -> None:
    """A long wait gives a sign of life every half minute."""
    clock = Clock()
    pulse = Pulse(clock)
    asked = Noted(clock, pulse)
    stop = Stop(asked=asked, pulse=pulse)
    with pulse.working():
        stop.sleep(seconds)
        assert asked.waits == waits
        assert max(asked.quiet) <= 30.0
        assert pulse.quiet_seconds() == 0.0


def test_a_stop_ends_a_wait() -> None:
    """A stop ends a wait of hours at once."""
    stop = Stop()
    timer = threading.Timer(0.05, stop.asked.set)
    timer.start()
    begun = time.monotonic()
    with pytest.raises(Interrupted):
        stop.sleep(3600.0)
    timer.join()
    assert time.monotonic() - begun < 20


def test_what_each_look_heeds() -> None:
    """A requested stop ends waits and work that has not begun; only an enforced one ends running work."""
    stop = Stop()
    stop.check()
    stop.asked.set()
    stop.check_enforced()
    with pytest.raises(Interrupted):
        stop.check()
    stop.enforced.set()
    with pytest.raises(Interrupted):
        stop.check_enforced()


def test_stops_are_told_apart() -> None:
    """Each stop has its own pulse."""
    assert Stop().pulse is not Stop().pulse


def test_a_call_that_cannot_be_cut_is_left_behind() -> None:
    """Its result or error is returned; after a stop nobody waits for it."""
    stop, hangs = Stop(), threading.Event()
    assert stop.attend(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        stop.attend(lambda: 1 // 0)
    threading.Timer(0.05, stop.asked.set).start()
    with pytest.raises(Interrupted):
        stop.attend(lambda: hangs.wait(30))
    hangs.set()
