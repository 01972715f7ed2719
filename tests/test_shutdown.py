"""A stop travels at once, and every look at it is a sign of life."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from recvault.errors import Interrupted
from recvault.shutdown import Pulse, Stop


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Noted(threading.Event):
    """An event that takes notes of waits instead of waiting, while a clock goes on."""

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
    """Of all threads at work the one that was silent longest counts; one that ended counts no more."""
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
    """A beat of another thread is no sign of life of this one, nor does it put that thread to work."""
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
    """The inner work's end is a sign of life, and the outer goes on being watched; an error ends it as well."""
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
    """Who looks whether to stop goes on."""
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
    """A wait lasts as long as was asked, and shows every half minute that it goes on."""
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
    """A wait of hours ends as soon as a stop is asked for."""
    stop = Stop()
    timer = threading.Timer(0.05, stop.asked.set)
    timer.start()
    begun = time.monotonic()
    with pytest.raises(Interrupted):
        stop.sleep(3600.0)
    timer.join()
    assert time.monotonic() - begun < 20


def test_what_each_look_heeds() -> None:
    """Asked for ends waits and what has not begun; enforced alone ends what is under way."""
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
    """Each stop has a pulse of its own."""
    assert Stop().pulse is not Stop().pulse


def test_a_call_that_cannot_be_cut_is_left_behind() -> None:
    """What it comes to is handed on, its error too; once a stop is asked for nobody waits for it."""
    stop, hangs = Stop(), threading.Event()
    assert stop.attend(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        stop.attend(lambda: 1 // 0)
    threading.Timer(0.05, stop.asked.set).start()
    with pytest.raises(Interrupted):
        stop.attend(lambda: hangs.wait(30))
    hangs.set()
