"""Ping a monitor such as healthchecks.io about start, success or failure.

Invariants: an error of the monitor is never raised, and delays the work at most `seconds` and half a second per ping.
The URL is a secret, because whoever knows it can ping: logs contain only its host.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from recvault.http.single import exchange, host_of
from recvault.log.lines import get_logger, redact_text
from recvault.transport import Proxy

log = get_logger("recvault.http.ping")

_MOST_TEXT = 10_000  # bytes
_TOLD_AGAIN = 3600.0  # seconds between two warnings during a series of failures


@dataclass(slots=True)
class Ping:
    """The monitor's configured URL: no query, no trailing slash. Empty: no pings. Thread-safe."""

    url: str = field(repr=False)
    seconds: float = 10.0  # for a complete ping, from name resolution to the status
    proxy: Callable[[], Proxy | None] = lambda: None  # read each time: its password may have changed
    clock: Callable[[], float] = time.monotonic
    _failures: int = field(default=0, init=False)  # in a row
    _told_at: float = field(default=0.0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def start(self) -> bool:
        """Report a start. Returns whether the monitor accepted it."""
        return self._ping("/start", "")

    def success(self, text: str = "") -> bool:
        """Report success. Returns whether the monitor accepted it."""
        return self._ping("", text)

    def fail(self, text: str) -> bool:
        """Report failure and its reason. Returns whether the monitor accepted it."""
        return self._ping("/fail", text)

    def _ping(self, what: str, text: str) -> bool:
        if not self.url:
            return True
        trouble = self._post(self.url + what, text)
        if trouble:
            self._note_failure(trouble)
        else:
            self._note_success()
        return not trouble

    def reach(self) -> str:
        """Request the front page of the monitor's host, without the key, over the same path as pings.

        Returns the error, empty for any answer.
        """
        answered = self._exchange("GET", httpx.URL(self.url).copy_with(raw_path=b"/", userinfo=b""))
        return answered if isinstance(answered, str) else ""

    def _post(self, url: str, text: str) -> str:
        """Send a ping; return the error without the URL, empty on success."""
        answered = self._exchange("POST", url, _body(text))
        if isinstance(answered, int):
            return "" if 200 <= answered < 300 else f"status {answered}"
        return answered

    def _exchange(self, method: str, url: httpx.URL | str, content: bytes | None = None) -> int | str:
        """The status that was answered, or what went wrong."""
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        return exchange(method, url, seconds=self.seconds, proxy=self.proxy, headers=headers, content=content)

    def _note_failure(self, trouble: str) -> None:
        with self._lock:
            self._failures += 1
            failures, moment = self._failures, self.clock()
            told = failures == 1 or moment - self._told_at >= _TOLD_AGAIN
            if told:
                self._told_at = moment
        if told:
            log.warning("ping.failed", host=host_of(self.url), error=trouble, trouble=trouble, failures=failures)

    def _note_success(self) -> None:
        with self._lock:
            failures, self._failures = self._failures, 0
        if failures:
            log.info("ping.recovered", host=host_of(self.url), failures=failures)


def _body(text: str) -> bytes:
    """Redact, then truncate: half a secret would not be recognised."""
    return redact_text(text).encode("utf-8", "replace")[:_MOST_TEXT].decode("utf-8", "ignore").encode()
