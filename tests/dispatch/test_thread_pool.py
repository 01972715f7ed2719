"""A pool whose threads all exist before the first job."""

from __future__ import annotations

import threading
from concurrent.futures import wait

import pytest

from recvault.dispatch import thread_pool as module
from recvault.dispatch.thread_pool import Threads, finish
from recvault.shutdown import Stop


def test_jobs_are_carried_out_by_as_many_threads() -> None:
    """Jobs run concurrently on all threads; a job's exception goes to its caller, and the thread continues."""
    both = threading.Barrier(2)
    with Threads(2, "test") as threads:
        met = [threads.submit(both.wait, 5) for _ in range(2)]
        broken = threads.submit(lambda: 1 // 0)
        last = threads.submit(str, 7)
        wait([*met, broken, last], 5)
        assert isinstance(broken.exception(), ZeroDivisionError)
        assert last.result() == "7"


def test_a_machine_that_gives_no_more_threads_gives_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the machine gives fewer threads, these run all jobs; if none, that is an error at once."""
    begin, left = threading.Thread.start, [1, 0]

    def start(thread: threading.Thread) -> None:
        if not left[0]:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with Threads(4, "test") as threads:
        assert [each.result(5) for each in [threads.submit(str, number) for number in range(9)]] == list("012345678")
    with pytest.raises(RuntimeError, match="new thread"):
        Threads(4, "test")


def test_an_end_that_cancels_begins_nothing_more() -> None:
    """A cancelling shutdown lets running jobs finish, cancels waiting ones, and accepts no more."""
    begun, release = threading.Event(), threading.Event()
    threads = Threads(1, "test")
    running = threads.submit(lambda: (begun.set(), release.wait(5)))
    waiting = threads.submit(str, 1)
    assert begun.wait(5)
    threads.shutdown(wait=False, cancel_futures=True)
    release.set()
    assert (running.result(5)[1], waiting.cancelled()) == (True, True)
    with pytest.raises(RuntimeError):
        threads.submit(str, 2)


def test_a_stop_leaves_behind_what_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a stop neither waiting for results nor the shutdown waits for a hanging job; results are still read."""
    monkeypatch.setattr(module, "_LEAVE_SECONDS", 0.0)
    stop, hangs = Stop(), threading.Event()
    with Threads(2, "test", stop) as threads:
        hanging = threads.submit(hangs.wait, 30)
        broken = threads.submit(lambda: 1 // 0)
        wait([broken], 5)
        stop.asked.set()
        with pytest.raises(ZeroDivisionError):
            finish([hanging, broken], stop)
    assert not hanging.done()
    hangs.set()
