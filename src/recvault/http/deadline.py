"""Connections whose whole exchange ends by a deadline, whatever the other side does.

httpx's timeouts are per step: a name that resolves slowly, a host of many addresses, or an answer that comes a byte at
a time would each outlast them.
"""

from __future__ import annotations

import queue
import ssl
import threading
import time
from collections.abc import Iterable
from typing import Any

import httpcore

from recvault.http.addresses import resolve


class Deadline:
    """A moment, counted from now."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    def left(self, timeout: float | None = None) -> float:
        """Seconds left, or `timeout` if that is less. httpcore's own timeout where none are."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the deadline has passed")
        return left if timeout is None else min(left, timeout)


class DeadlineBackend(httpcore.SyncBackend):
    """Makes connections that end by the deadline."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        error: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in self._resolved(host, port):
            try:
                left = self._deadline.left(timeout)
                return _Stream(super().connect_tcp(address, port, left, local_address, socket_options), self._deadline)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failed:
                error = failed
        raise error

    def _resolved(self, host: str, port: int) -> list[str]:
        """The resolver takes no timeout, so it is asked by a thread that may be left behind."""
        found: queue.SimpleQueue[list[str] | httpcore.ConnectError] = queue.SimpleQueue()

        def ask() -> None:
            try:
                found.put(resolve(host, port))
            except httpcore.ConnectError as error:
                found.put(error)

        threading.Thread(target=ask, name="resolve", daemon=True).start()
        try:
            answer = found.get(timeout=self._deadline.left())
        except queue.Empty:
            raise httpcore.ConnectTimeout(f"{host} was not resolved in time") from None
        if isinstance(answer, httpcore.ConnectError):
            raise answer
        return answer


class _Stream(httpcore.NetworkStream):
    """A stream whose every step has the time that is left."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._inner = inner
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._deadline.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._deadline.left(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        inner = self._inner.start_tls(ssl_context, server_hostname, self._deadline.left(timeout))
        return _Stream(inner, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
