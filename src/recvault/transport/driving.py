"""libcurl's waits, made here: for its sockets and timers, a moment at a time.

`curl_easy_perform` looks up from its waits only where bytes flow: who connects or shakes hands by it cannot be stopped.
"""

from __future__ import annotations

import math
import select
import time
from collections.abc import Callable
from typing import Any

import pycurl

from recvault.transport.base import CUT_SECONDS

_EVENTS = {
    pycurl.POLL_IN: select.POLLIN,
    pycurl.POLL_OUT: select.POLLOUT,
    pycurl.POLL_INOUT: select.POLLIN | select.POLLOUT,
}
_FAILED = select.POLLERR | select.POLLHUP | select.POLLNVAL


class Driver:
    """Keeps one connection at most, its TLS sessions, and the trusted certificates as they were read."""

    def __init__(self) -> None:
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, 1)
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        self._poll = select.poll()
        self._due = math.inf

    def close(self) -> None:
        """Close the connection."""
        self._multi.close()

    def perform(self, curl: Any, look: Callable[[], object]) -> tuple[int, str, int]:
        """libcurl's number and words for how an exchange ended, and its connection's descriptor, or -1.

        `look` is called after each wait; what it raises ends the exchange.
        """
        multi = self._multi
        multi.add_handle(curl)
        try:
            _, running = multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
            while running:
                running = self._wait(multi)
                look()
            _, _, failed = multi.info_read()
            code, words = (failed[0][1], failed[0][2]) if failed else (0, "")
            return code, words, curl.getinfo(pycurl.ACTIVESOCKET)
        finally:
            multi.remove_handle(curl)

    def _wait(self, multi: Any) -> int:
        seconds = min(CUT_SECONDS, max(0.0, self._due - time.monotonic()))
        running = 1
        for descriptor, events in self._poll.poll(math.ceil(seconds * 1000)):
            asked = pycurl.CSELECT_IN if events & select.POLLIN else 0
            asked |= pycurl.CSELECT_OUT if events & select.POLLOUT else 0
            asked |= pycurl.CSELECT_ERR if events & _FAILED else 0
            _, running = multi.socket_action(descriptor, asked)
        if running and time.monotonic() >= self._due:
            self._due = math.inf
            _, running = multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        return int(running)

    def _watch(self, what: int, descriptor: int, multi: Any, data: Any) -> None:
        if what == pycurl.POLL_REMOVE:
            self._poll.unregister(descriptor)
        else:
            self._poll.register(descriptor, _EVENTS.get(what, 0))

    def _set_timer(self, milliseconds: int) -> None:
        self._due = math.inf if milliseconds < 0 else time.monotonic() + milliseconds / 1000
