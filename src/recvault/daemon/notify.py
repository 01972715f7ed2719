"""Notify systemd: READY, WATCHDOG, STATUS, RELOADING, STOPPING. Does nothing without systemd.

The protocol is sd_notify(3): datagrams of NAME=value lines to the socket that NOTIFY_SOCKET names.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping


class Notify:
    """Notifications to the service manager. Never fails: the daemon works without them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._status = ""
        self._ended = False
        mine = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = environment.get("WATCHDOG_USEC", "")
        self.watchdog_seconds = int(microseconds) / 1e6 if mine and microseconds.isdecimal() else 0.0
        """How long systemd waits between two signs of life; 0 where it does not."""

    @property
    def is_heard(self) -> bool:
        """Whether a service manager listens."""
        return bool(self._address)

    def ready(self) -> None:
        """Started, or reloaded."""
        self._send("READY=1")

    def reloading(self) -> None:
        """A new configuration is being read."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, words: str) -> None:
        """A stop was requested. Nothing is sent after this."""
        self._ended = True
        self._send(f"STOPPING=1\nSTATUS={words}")

    def alive(self) -> None:
        """Report that every part makes progress."""
        self._send("WATCHDOG=1")

    def status(self, words: str) -> None:
        """Set the line of `systemctl status`; sent only if it changed."""
        if words != self._status and not self._ended:
            self._status = words
            self._send("STATUS=" + words.replace("\n", " "))

    def _send(self, message: str) -> None:
        if not self._address:
            return
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as end,
        ):
            end.settimeout(1.0)
            end.sendto(message.encode(), self._address)
