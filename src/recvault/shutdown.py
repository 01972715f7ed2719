"""How a stop propagates: requested first, enforced later; each check of it is a sign of life.

A signal handler only sets a flag here. `asked` cuts waits short and lets running transfers finish; `enforced`, set when
the drain has taken too long, ends them in mid-stream. Either is safe: nothing is committed before its bytes are proven.
Whatever can be stopped checks often, so a thread that has not checked for long hangs: the watchdog relies on this.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from recvault.errors import Interrupted

T = TypeVar("T")

_ATTEND_SECONDS = 0.1  # between two checks for a stop
_SLICE = 30.0  # seconds between signs of life of a long wait


class Pulse:
    """When each working thread last made progress, for the watchdog."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()  # for adding, removing and counting; a beat only overwrites its own entry
        self._last: dict[int, float] = {}

    @contextmanager
    def working(self) -> Iterator[None]:
        """Mark this thread as at work. May be nested: the outermost counts."""
        me = threading.get_ident()
        outermost = me not in self._last
        with self._lock:
            self._last[me] = self._clock()
        try:
            yield
        finally:
            self.beat()
            if outermost:
                with self._lock:
                    del self._last[me]

    def beat(self) -> None:
        """Record progress of this thread, if it is working."""
        me = threading.get_ident()
        if me in self._last:
            self._last[me] = self._clock()

    def quiet_seconds(self) -> float:
        """Return how long the working thread that was silent longest has been silent; 0.0 if none is working."""
        with self._lock:
            first = min(self._last.values(), default=None)
        return 0.0 if first is None else max(0.0, self._clock() - first)


class Allowance:
    """How long running work may last after a stop, by the monotonic clock."""

    def __init__(self) -> None:
        self.until = -math.inf

    def extend(self, seconds: float) -> None:
        """Extend it to at least this long from now."""
        self.until = max(self.until, time.monotonic() + seconds)


@dataclass(frozen=True, slots=True)
class Stop:
    """The two flags of a stop, shared by all threads of a process, and their pulse."""

    asked: threading.Event = field(default_factory=threading.Event)
    enforced: threading.Event = field(default_factory=threading.Event)
    pulse: Pulse = field(default_factory=Pulse, repr=False, compare=False)
    allowance: Allowance = field(default_factory=Allowance, repr=False, compare=False)

    def sleep(self, seconds: float) -> None:
        """Wait, or raise Interrupted as soon as a stop is requested."""
        left = max(0.0, seconds)
        while True:
            self.pulse.beat()
            if self.asked.wait(min(left, _SLICE)):
                raise Interrupted("stop requested")
            left -= _SLICE
            if left <= 0:
                break
        self.pulse.beat()

    def check(self) -> None:
        """Raise Interrupted if a stop was requested."""
        self.pulse.beat()
        if self.asked.is_set():
            raise Interrupted("stop requested")

    def check_enforced(self) -> None:
        """Raise Interrupted once the drain is over."""
        self.pulse.beat()
        if self.enforced.is_set():
            raise Interrupted("the drain took too long")

    def attend(self, call: Callable[[], T]) -> T:
        """Return the result of a call that cannot be interrupted.

        Raises Interrupted on a stop and abandons the call. For waits inside a library or for a lock: runs in a thread
        that does not delay the end of the process.
        """
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(call())
            except BaseException as error:  # noqa: BLE001 - the caller's to see
                done.set_exception(error)

        self.check()
        threading.Thread(target=run, name="attended", daemon=True).start()
        while not wait([done], _ATTEND_SECONDS).done:
            self.check()
        return done.result()


def persist(once: Callable[[], T], may_pass: Callable[[Exception, int], bool]) -> T:
    """Return the result of `once`, retried.

    `may_pass` gets each failure with the number of tries: it waits (a stop raises its own error), or says that a retry
    is useless; then the failure is raised.
    """
    tries = 1
    while True:
        try:
            return once()
        except Exception as error:
            if not may_pass(error, tries):
                raise
        tries += 1
