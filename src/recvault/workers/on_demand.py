"""An executor that runs another one only while there is work: for a daemon, which mostly has none.

Invariant: each job given to it ends. Nothing is started before the first job; what was started ends after it was idle
for a while; after a failure the next job starts it again.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from recvault.errors import EngineLost, Interrupted, RecvaultError, WorkerLost
from recvault.log.lines import get_logger
from recvault.transfer.verdicts import failure_of

log = get_logger("recvault.workers.on_demand")

IDLE_SECONDS = 60.0

_Job = tuple[Future[Any], Callable[..., Any], Any]


class OnDemand(Executor):
    """`make` makes the other executor, in a thread: that may take seconds, or fail."""

    def __init__(
        self, make: Callable[[], Executor], processes: int, least: int = 0, idle_seconds: float | None = None
    ) -> None:
        self.processes, self.least = processes, least
        self._make = make
        self._idle_seconds = IDLE_SECONDS if idle_seconds is None else idle_seconds
        self._inner: Executor | None = None
        self._held: list[_Job] = []
        self._to_end: list[Executor] = []  # of which no thread could be started to shut them down
        self._under = 0
        self._told: Callable[[int], None] = lambda processes: None
        self._lock = threading.RLock()
        self._is_starting = self._ended = False
        self._timer: threading.Timer | None = None

    @property
    def is_started(self) -> bool:
        """Whether the other executor runs."""
        return self._inner is not None

    def on_width(self, told: Callable[[int], None]) -> None:
        """Call this when the number of workers changes."""
        self._told = told

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Pass it on to the other executor, once that has started."""
        future: Future[Any] = Future()
        with self._lock:
            if self._ended:
                raise RuntimeError("nothing more is started: shutting down")
            self._under += 1
            self._rest(None)
            self._held.append((future, fn, args[0]))
            starts = self._inner is None and not self._is_starting
            self._is_starting = self._is_starting or starts
        future.add_done_callback(self._over)
        if starts:
            try:
                threading.Thread(target=self._start, name="engine", daemon=True).start()
            except RuntimeError as error:  # this process may start no more threads
                self._fail(error)
        self._pass_on()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Start nothing more, and shut down what was started."""
        with self._lock:
            self._ended = True
            self._rest(None)
            inner, self._inner = self._inner, None
            held, self._held = self._held, []
            left, self._to_end = self._to_end, []
        for future, _, _ in held:
            future.cancel()
        for each in left:
            self._shut(each)
        if inner is not None:
            inner.shutdown(wait, cancel_futures=cancel_futures)

    # -- what stands behind --------------------------------------------------------------------------------------------

    def _start(self) -> None:
        try:
            inner = self._make()
            if (register := getattr(inner, "on_width", None)) is not None:
                register(self._told)
        except Exception as error:  # noqa: BLE001 - told by each job that waits for it
            self._fail(error)
            return
        with self._lock:
            self._is_starting = False
            self._inner = None if self._ended else inner
        if self._ended:
            inner.shutdown(wait=False)
            return
        log.info("engine.started", processes=getattr(inner, "processes", 1))
        self._pass_on()

    def _fail(self, error: Exception) -> None:
        with self._lock:
            self._is_starting = False
            held, self._held = self._held, []
        if not isinstance(error, RecvaultError):
            log.error("engine.failed", exc_info=error)
        for future, _, job in held:
            if not future.set_running_or_notify_cancel():
                continue
            if isinstance(error, Interrupted):
                future.set_result(failure_of(job, error))
            else:
                future.set_exception(EngineLost.of(error))

    def _pass_on(self) -> None:
        while True:
            with self._lock:
                if self._inner is None or not self._held:
                    return
                inner, (future, fn, job) = self._inner, self._held.pop(0)
            if not future.set_running_or_notify_cancel():
                continue
            try:
                theirs = inner.submit(fn, job)
            except Exception as error:
                log.error("engine.failed", exc_info=error)
                self._drop(inner)
                future.set_exception(EngineLost.of(error))  # no recording's doing
                continue
            theirs.add_done_callback(lambda theirs, future=future, inner=inner: self._end(inner, future, theirs))  # type: ignore[misc]

    def _end(self, inner: Executor, future: Future[Any], theirs: Future[Any]) -> None:
        if theirs.cancelled():
            future.set_exception(WorkerLost("the workers are shutting down", begun=False))
            return
        error = theirs.exception()
        if isinstance(error, EngineLost):
            self._drop(inner)
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(theirs.result())

    def _over(self, future: Future[Any]) -> None:
        with self._lock:
            self._under -= 1
            if self._under == 0 and self._inner is not None and not self._ended:
                self._rest(self._idle_seconds)

    def _rest(self, seconds: float | None) -> None:
        """Cancel the idle timer, and start a new one unless `seconds` is None. The caller holds the lock."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None:
            self._timer = threading.Timer(seconds, self._let_go)
            self._timer.daemon = True
            with contextlib.suppress(RuntimeError):  # no more threads: it is let go after a later job
                self._timer.start()

    def _let_go(self) -> None:
        with self._lock:
            inner = self._inner if self._under == 0 else None
            if inner is not None:
                self._drop(inner)

    def _drop(self, inner: Executor) -> None:
        """Shut it down in a thread of its own. Raises nothing: a job may end after this."""
        with self._lock:
            if self._inner is not inner:
                return
            self._inner = None
            self._to_end.append(inner)
        log.info("engine.ended", processes=getattr(inner, "processes", 1))
        with contextlib.suppress(RuntimeError):  # no more threads: the next one to be dropped takes it along
            threading.Thread(target=self._shut_all, name="engine-end", daemon=True).start()

    def _shut_all(self) -> None:
        with self._lock:
            left, self._to_end = self._to_end, []
        for each in left:
            self._shut(each)

    def _shut(self, inner: Executor) -> None:
        with contextlib.suppress(Exception):
            inner.shutdown()
