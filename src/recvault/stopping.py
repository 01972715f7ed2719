"""How a stop travels: asked for first, enforced later.

A signal handler only sets a flag here. `asked` cuts waits short and lets running transfers finish; `enforced`, set when
the drain has taken too long, ends them in mid-stream. Either is safe: nothing is committed before its bytes are proven.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from recvault.errors import Interrupted


@dataclass(frozen=True, slots=True)
class Stop:
    """The two flags of a stop, shared by all threads of a process."""

    asked: threading.Event = field(default_factory=threading.Event)
    enforced: threading.Event = field(default_factory=threading.Event)

    def sleep(self, seconds: float) -> None:
        """Wait, or raise Interrupted as soon as a stop is asked for."""
        if self.asked.wait(max(0.0, seconds)):
            raise Interrupted("a stop was asked for")

    def check(self) -> None:
        """Raise Interrupted once a stop is asked for."""
        if self.asked.is_set():
            raise Interrupted("a stop was asked for")

    def check_enforced(self) -> None:
        """Raise Interrupted once the drain is over."""
        if self.enforced.is_set():
            raise Interrupted("the drain took too long")
