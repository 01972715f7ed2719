"""How hard a provider is asked."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from recvault.errors import Interrupted
from recvault.http import REFUSED, Standing
from recvault.http import limits as limiting
from recvault.http.concurrency import SLOWER
from recvault.simulator.exchange import Request
from recvault.simulator.wire import Wire
from recvault.stopping import Stop
from recvault.testing import Answer

from .conftest import get


def test_requests_are_paced_at_the_server(wired: Any) -> None:
    """No second sees more requests than are configured, however many threads ask."""
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
    assert came[10] - came[0] > 0.5  # a second, less what the first took to arrive on a busy machine


@pytest.mark.parametrize(
    ("configured", "most"), [(1, 1.0), (1.5, 1.0), (20, 20.0), (2.5, 2.0), (0.5, 0.5), (0.3, 0.31)]
)
def test_a_pace_is_never_faster_than_configured(configured: float, most: float) -> None:
    """A pace with a fraction is rounded down, not up."""
    rate = limiting._rate(configured)
    assert rate.limit * 1000 / rate.interval <= most


def test_requests_at_once_are_bounded(wired: Any) -> None:
    """The server never sees more requests at once than the limit, and no place is lost to an error."""
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
        list(threads.map(ask, range(80)))  # until three may run
    assert state == {"now": 0, "most": 3}


def test_refusals_at_the_server_slow_all_its_sessions(wired: Any) -> None:
    """What one session learns holds for all that share the limits: they are one source."""
    home = wired.front(Answer(status=429))
    limits = wired.limits(100_000, 8)
    with pytest.raises(Exception, match="429"):
        wired.session(home.origin, limits=limits).send(get(home.origin))
    assert limits.standing == Standing(1, REFUSED)


def test_a_server_that_works_at_four_at_once_is_asked_for_few_more(wired: Any) -> None:
    """Sixteen threads would wait for each other there: rising waits tell, and no more is archived by asking more."""
    places = threading.Semaphore(4)

    def answer(request: Request) -> Answer:
        with places:
            time.sleep(0.03)
        return Answer()

    home = wired.front(answer)
    limits = wired.limits(100_000, 16)
    session = wired.session(home.origin, limits=limits)
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda _: session.send(get(home.origin)), range(250)))
    assert limits.standing.concurrency < 16
    assert limits.standing.held_by == SLOWER


def test_answers_let_more_begin(wired: Any) -> None:
    """A provider that answers alike however much it is asked is asked for as much as was configured."""
    home = wired.front()
    limits = wired.limits(100_000, 8)
    session = wired.session(home.origin, limits=limits)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: session.send(get(home.origin)), range(120)))
    assert limits.standing == Standing(8, None)


def test_a_stop_ends_the_wait_for_a_turn(wired: Any) -> None:
    """A thread that waits for the pace or for a place gives up as soon as a stop is asked for."""
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
        assert time.monotonic() - begun < 1.0
        done.set()
        first.join()
