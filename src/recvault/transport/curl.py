"""Exchanges by libcurl: each thread has its own handles, one per server."""

from __future__ import annotations

import os
import threading

from recvault.transport.base import Cut, Guard, Head, Patience, Proxy, Receiver, Request, Trust
from recvault.transport.handle import Handle

_MOST_HANDLES = 8  # of a thread: media may be on many hosts

_Key = tuple[str, bool]  # an origin, and whether requests are signed, which cannot be unset


class CurlTransport:
    """See Transport. One guard, one proxy and one set of trusted certificates: connections are never shared."""

    def __init__(self, guard: Guard, patience: Patience, trust: Trust, proxy: Proxy | None = None) -> None:
        self._guard, self._patience, self._trust, self._proxy = guard, patience, trust, proxy
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._local = threading.local()
        self._lock = threading.Lock()
        self._all: list[tuple[threading.Thread, dict[_Key, Handle]]] = []

    def exchange(self, request: Request, receiver: Receiver, cut: Cut) -> Head:
        """See Transport.exchange."""
        return self._handle(request.check(), request.signing is not None).exchange(request, receiver, cut)

    def renew(self) -> None:
        """See Transport.renew."""
        _close(getattr(self._local, "handles", {}))

    def close(self) -> None:
        """See Transport.close. A running exchange of another thread ends by itself."""
        if self._pid != os.getpid():
            self._leave()
        with self._lock:
            handles, self._all, self._local = self._all, [], threading.local()
        for _, each in handles:
            _close(each)

    def _handle(self, origin: str, signs: bool) -> Handle:
        """Return this thread's handle for a server; evict the least recently used one."""
        if self._pid != os.getpid():
            self._leave()
        handles: dict[_Key, Handle] | None = getattr(self._local, "handles", None)
        if handles is None:
            handles = self._local.handles = {}
            self._keep(handles)
        found = handles.pop((origin, signs), None)
        if found is None:
            if len(handles) >= _MOST_HANDLES:
                handles.pop(next(iter(handles))).close()
            found = Handle(origin, self._guard, self._patience, self._trust, self._proxy, signs)
        handles[origin, signs] = found
        return found

    def _keep(self, handles: dict[_Key, Handle]) -> None:
        """Keep a new thread's handles, and close those of threads that have ended."""
        with self._lock:
            ended = [each for thread, each in self._all if not thread.is_alive()]
            self._all = [(thread, each) for thread, each in self._all if thread.is_alive()]
            self._all.append((threading.current_thread(), handles))
        for each in ended:
            _close(each)

    def _leave(self) -> None:
        """Drop the parent's connections after a fork. Nothing is sent on them, not even TLS's closing message."""
        handles = self._all
        self._begin()
        for _, each in handles:
            for handle in each.values():
                handle.leave()


def _close(handles: dict[_Key, Handle]) -> None:
    while handles:
        handles.popitem()[1].close()
