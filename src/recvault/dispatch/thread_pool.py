"""An executor that starts all threads before the first job, so that submitting cannot fail.

The standard library's pool queues a job before it starts a thread: if the machine has no more threads, the caller gets
an error although the job runs. These threads do not delay the end of the process: hanging calls are abandoned.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, wait
from typing import Any

from recvault.shutdown import Stop

_LEAVE_SECONDS = 1.0  # after a stop, until calls that cannot be interrupted are abandoned
_LOOK_SECONDS = 0.1

_Work = tuple[Future[Any], Callable[[], Any]]


class _Leave:
    """Whether to abandon hanging calls: a moment after a stop was first seen."""

    def __init__(self, stop: Stop | None) -> None:
        self._stop = stop
        self._seen: float | None = None

    @property
    def now(self) -> bool:
        if self._stop is None or not self._stop.asked.is_set():
            return False
        self._seen = self._seen or time.monotonic()
        return time.monotonic() - self._seen > _LEAVE_SECONDS


def finish(futures: Sequence[Future[Any]], stop: Stop) -> None:
    """Wait until all are done, and raise what one of them raised. After a stop, hanging ones are abandoned."""
    leave, left = _Leave(stop), set(futures)
    while left and not leave.now:
        left = wait(left, _LOOK_SECONDS).not_done
    for future in futures:
        if future.done():
            future.result()


class Threads(Executor):
    """An executor of this many threads, or as many as possible; RuntimeError if not even one can start."""

    def __init__(self, count: int, name: str, stop: Stop | None = None) -> None:
        self._stop = stop
        self._work: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._closed = False
        for number in range(count):
            thread = threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                if not self._threads:
                    raise
                break
            self._threads.append(thread)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call it in one of the threads."""
        future: Future[Any] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("nothing more is started: shutting down")
            self._work.put((future, lambda: fn(*args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept nothing more. Wait for the end if requested; during a stop, only a moment."""
        with self._lock:
            self._closed = True
        if cancel_futures:
            self._cancel()
        for _ in self._threads:
            self._work.put(None)
        leave = _Leave(self._stop)
        for thread in self._threads if wait else ():
            while thread.is_alive() and not leave.now:
                thread.join(_LOOK_SECONDS)

    def _cancel(self) -> None:
        while not self._work.empty():
            if (work := self._work.get()) is not None:
                work[0].cancel()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            future, call = work
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:  # noqa: BLE001 - the caller's to see
                    future.set_exception(error)
            del work, future, call  # a waiting thread keeps no object alive
