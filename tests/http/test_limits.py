"""The pace and concurrency of requests to a provider."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest

from recvault.errors import Interrupted, Resting
from recvault.http import REFUSED, CurrentLimit, Limits
from recvault.http.concurrency import SLOWER
from recvault.http.limits import LIST, MEDIA, Noted, Pause, Turn, Want
from recvault.shutdown import Stop
from recvault.simulator.exchange import Request
from recvault.simulator.wire import Wire
from recvault.testing import Answer

from .conftest import get


def test_requests_are_paced_at_the_server(wired: Any) -> None:
    """The server sees at most the configured requests a second, whatever the number of threads."""
    came: list[float] = []

    def answer(request: Request) -> Answer:
        came.append(time.monotonic())
        return Answer()

    home = wired.front(answer)
    session = wired.session(home.origin, limits=wired.limits(10, 32))
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: session.send(get(home.origin)), range(12)))
    came.sort()
    assert len(came) == 12
    assert came[11] - came[1] > 0.8  # a second, minus some delay on a busy machine


class Seconds:
    """A clock set by the test."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def asked(limits: Limits, who: str, count: int = 1) -> list[Want]:
    """Return that many wants, in the order of their creation."""
    wants = [Want(who, lambda _: None) for _ in range(count)]
    for want in wants:
        limits.ask(want)
    return wants


def granted(wants: list[Want]) -> int:
    return sum(want.at is not None for want in wants)


@pytest.mark.parametrize("configured", [0.3, 0.5, 1, 1.5, 2.5, 20, 333.3])
def test_a_pace_is_what_is_configured_to_the_fraction(configured: float) -> None:
    """Waiting requests are sent exactly one gap apart, whatever the gap."""
    clock = Seconds()
    limits = Limits(configured, 1000, clock)
    wants = asked(limits, MEDIA, 20)
    while granted(wants) < 20:
        clock.now += min(limits.look(), 0.25 / configured)
        for want in wants:
            if want.at is not None and want.at <= clock.now and want.who:
                want.who = ""  # sent and finished
                limits.end(MEDIA)
    moments = [want.at for want in wants if want.at is not None]
    assert [after - before for before, after in pairwise(moments)] == pytest.approx([1 / configured] * 19)


def test_lists_and_media_take_turns() -> None:
    """Waiting media delay a list by one turn, and waiting lists media by one."""
    clock = Seconds()
    limits = Limits(1, 32, clock)
    media, lists = asked(limits, MEDIA, 5), []
    for _ in range(4):
        lists += asked(limits, LIST, 3)
        clock.now += 1.0
        limits.look()
        [limits.end(each.who) for each in [*media, *lists] if each.at is not None]
    assert (granted(media), granted(lists)) == (3, 2)


def test_bodies_leave_a_place_to_lists() -> None:
    """Endless media occupy every place but one, even while the limit found is low."""
    for most, held in ((2, 1), (32, 2)):
        limits = Limits(100_000, most, Seconds())
        assert granted(asked(limits, MEDIA, 40)) == held
        assert granted(asked(limits, LIST)) == 1


def test_no_more_run_than_are_configured() -> None:
    """Lists and media together stay within the limit; a single place is shared."""
    limits = Limits(100_000, 1, Seconds())
    media = asked(limits, MEDIA)
    lists = asked(limits, LIST)
    assert (granted(media), granted(lists)) == (1, 0)
    limits.end(MEDIA)
    assert granted(lists) == 1


def test_a_refusal_rests_the_account() -> None:
    """Nothing, not even a list, is sent before Retry-After is over, and other processes are told."""
    clock, told = Seconds(), []
    limits = Limits(100_000, 32, clock)
    limits.on_rest.append(told.append)
    limits.note(Noted(429, rest=20.0))
    wants = [*asked(limits, MEDIA), *asked(limits, LIST)]
    clock.now += 19.9
    limits.look()
    assert (granted(wants), told) == (0, [Pause(120.0, 429)])
    clock.now += 0.1
    limits.look()
    assert granted(wants) == 2


def test_a_rest_has_bounds() -> None:
    """A longer rest is limited to five minutes; who would wait too long gets Resting."""
    clock = Seconds()
    limits = Limits(100_000, 32, clock)
    limits.note(Noted(503, rest=86_400.0))
    with pytest.raises(Resting) as caught:
        limits.turn(Stop(), LIST, 30.0).__enter__()
    assert (caught.value.retry_after, caught.value.status) == (300.0, 503)
    clock.now += 300.0
    with limits.turn(Stop(), LIST, 30.0):
        pass


def test_what_is_withdrawn_takes_no_place() -> None:
    """A withdrawn want takes no place; one already granted is given back."""
    limits = Limits(100_000, 2, Seconds())
    first, second = asked(limits, MEDIA, 2)
    assert (limits.withdraw(second), limits.withdraw(first)) == (True, False)
    limits.end(MEDIA)
    assert granted(asked(limits, MEDIA)) == 1


def test_requests_at_once_are_bounded(wired: Any) -> None:
    """The server never sees more requests at once than the limit less a list's place, and errors lose no place."""
    lock, state = threading.Lock(), {"now": 0, "most": 0}

    def answer(request: Request) -> Answer:
        with lock:
            state["now"] += 1
            state["most"] = max(state["most"], state["now"])
        time.sleep(0.01)
        with lock:
            state["now"] -= 1
        return Answer(status=500 if request.path == "/bad" else 200)

    home = wired.front(answer)
    session = wired.session(home.origin, limits=wired.limits(100_000, 3))

    def ask(number: int) -> None:
        if number % 2:
            session.send(get(f"{home.origin}/good"))
        else:
            with pytest.raises(Exception, match="500"):
                session.send(get(f"{home.origin}/bad"))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ask, range(80)))  # so that three may run
    assert state == {"now": 0, "most": 2}


def test_refusals_at_the_server_slow_all_its_sessions(wired: Any) -> None:
    """A refusal of one session slows all sessions of the source."""
    home = wired.front(Answer(status=429))
    limits = wired.limits(100_000, 8)
    with pytest.raises(Exception, match="429"):
        wired.session(home.origin, limits=limits).send(get(home.origin))
    assert limits.standing == CurrentLimit(1, REFUSED)


def test_a_server_that_works_at_four_at_once_is_asked_for_few_more(wired: Any) -> None:
    """A server with four places gets few more requests than four of sixteen threads."""
    places = threading.Semaphore(4)

    def answer(request: Request) -> Answer:
        with places:
            time.sleep(0.03)
        return Answer()

    home = wired.front(answer)
    limits = wired.limits(100_000, 16)
    session = wired.session(home.origin, limits=limits)
    with ThreadPoolExecutor(16) as threads:
        for _ in range(40):  # two are enough unless the machine is busy
            list(threads.map(lambda _: session.send(get(home.origin)), range(125)))
            if limits.standing.held_by == SLOWER:
                break
    assert limits.standing.concurrency < 16
    assert limits.standing.held_by == SLOWER


def test_answers_let_more_begin(wired: Any) -> None:
    """A provider that answers equally fast gets the full configured concurrency."""
    home = wired.front()
    limits = wired.limits(100_000, 8)
    session = wired.session(home.origin, limits=limits)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: session.send(get(home.origin)), range(120)))
    assert limits.standing == CurrentLimit(8, None)


def test_a_stop_ends_the_wait_for_a_turn(wired: Any) -> None:
    """A stop ends a thread's wait for pace or place at once."""
    held, done = threading.Event(), threading.Event()

    def answer(wire: Wire, request: Request) -> bool:
        held.set()
        done.wait(5)
        wire.send(Answer().bytes_on_wire())
        return True

    for limits in (wired.limits(1, 8), wired.limits(100_000, 1)):
        held.clear()
        done.clear()
        stop, base_url = Stop(), wired.raw(answer)
        session = wired.session(base_url, limits=limits, stop=stop)
        first = threading.Thread(target=lambda s=session, u=base_url: s.send(get(u)))
        first.start()
        held.wait(5)
        threading.Timer(0.1, stop.asked.set).start()
        begun = time.monotonic()
        with pytest.raises(Interrupted):
            session.send(get(base_url))
        assert time.monotonic() - begun < 10  # else it would wait for the first
        done.set()
        first.join()


def test_who_comes_late_asks_for_another_moment() -> None:
    """A late request gets a new time, so that many are not sent at once; a second delay is accepted."""
    clock = Seconds()
    limits = Limits(10, 32, clock)

    class Slow(Stop):
        def sleep(self, seconds: float) -> None:
            clock.now += seconds + 0.5  # a busy machine

    for _ in range(2):  # the first is sent at once, the next one waits
        with limits.turn(Slow(), MEDIA):
            pass
    moments = round((limits._budget.next_at - 100.0) * 10)
    assert moments == 7  # 0.5 s late for its time at 0.1 s, so it also took that at 0.6 s
    assert limits._budget.running.total() == 0


class Granting:
    """A budget that grants at once, first with a time that is past or during a rest."""

    def __init__(self, clock: Seconds, first: str) -> None:
        self.clock, self.first, self.asked, self.ended = clock, first, 0, 0

    @property
    def rest(self) -> Pause:
        return Pause(self.clock() + 5.0, 503) if self.first == "rests" and self.asked == 1 else Pause()

    def ask(self, want: Want) -> None:
        self.asked += 1
        want.at = self.clock() - (1.0 if self.first == "late" and self.asked == 1 else 0.0)

    def forgo(self, who: str = MEDIA) -> None:
        self.end(who)

    def end(self, who: str = MEDIA, count: int = 1) -> None:
        self.ended += count


@pytest.mark.parametrize("first", ["rests", "late"])
def test_a_turn_that_comes_at_once_may_be_of_no_use(first: str) -> None:
    """A grant that is past or during a rest is given back, and requested again."""
    budget = Granting(clock := Seconds(), first)
    with Turn(budget, Stop(), MEDIA, 30.0, clock):  # type: ignore[arg-type]
        assert (budget.asked, budget.ended) == (2, 1)
    assert budget.ended == 2
