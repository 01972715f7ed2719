"""Wait for libcurl, in short waits.

`curl_easy_perform` returns to Python only while bytes flow, so that connecting or a handshake could not be interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pycurl

from recvault.transport.base import CUT_SECONDS

_BLIND_SECONDS = 0.005  # waited without a socket: a resolver is running, or select fails


class Driver:
    """Keeps at most one connection, its TLS sessions, and the trusted certificates once read."""

    def __init__(self) -> None:
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, 1)

    def close(self) -> None:
        """Close the connection."""
        self._multi.close()

    def perform(self, curl: Any, look: Callable[[], object]) -> tuple[int, str, int]:
        """Run an exchange; return libcurl's error number and message, and the connection's descriptor or -1.

        `look` is called after each wait; its exceptions end the exchange.
        """
        multi = self._multi
        multi.add_handle(curl)
        try:
            _, running = multi.perform()
            while running:
                self._wait(multi)
                _, running = multi.perform()
                look()
            _, _, failed = multi.info_read()
            code, words = (failed[0][1], failed[0][2]) if failed else (0, "")
            return code, words, curl.getinfo(pycurl.ACTIVESOCKET)
        finally:
            multi.remove_handle(curl)

    def _wait(self, multi: Any) -> None:
        due = multi.timeout()  # milliseconds; negative: none
        seconds = CUT_SECONDS if due < 0 else min(CUT_SECONDS, due / 1000)
        if multi.select(seconds) < 0:
            time.sleep(min(_BLIND_SECONDS, seconds))
