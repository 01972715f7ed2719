"""How hard a provider is asked."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from recvault.errors import Interrupted
from recvault.http import limits as limiting
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
    assert came[10] - came[0] > 0.9
    assert came[-1] - came[0] < 2.5


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
        list(threads.map(ask, range(24)))
    assert state == {"now": 0, "most": 3}


@pytest.mark.parametrize("status", [429, 503])
def test_concurrency_halves_and_grows_back(wired: Any, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """429 and 503 halve it, down to one; a round of successes gives one back, up to what is configured."""
    monkeypatch.setattr(limiting, "CALM_SECONDS", 0.0)
    limits = wired.limits(100_000, 8)
    seen = []
    for _ in range(5):
        limits.note(status)
        seen.append(limits.concurrency)
    assert seen == [4, 2, 1, 1, 1]
    limits.note(200)
    assert limits.concurrency == 2
    for _ in range(3):
        limits.note(200)
    assert limits.concurrency == 3
    for _ in range(100):
        limits.note(200)
    assert limits.concurrency == 8


def test_a_burst_of_refusals_halves_once(wired: Any) -> None:
    """The refusals of one moment are one sign: eight threads refused together do not bring it to one."""
    limits = wired.limits(100_000, 8)
    for _ in range(8):
        limits.note(429)
    assert limits.concurrency == 4


def test_refusals_at_the_server_slow_all_its_sessions(wired: Any) -> None:
    """What one session learns holds for all that share the limits: they are one source."""
    home = wired.front(Answer(status=429))
    limits = wired.limits(100_000, 8)
    with pytest.raises(Exception, match="429"):
        wired.session(home.origin, limits=limits).send(get(home.origin))
    assert limits.concurrency == 4


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
