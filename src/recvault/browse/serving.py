"""Serve the pages on loopback until the command is stopped."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass

import uvicorn

from recvault.browse.guard import Guard
from recvault.browse.holdings import Holdings
from recvault.browse.pages import application
from recvault.errors import ConfigError, RecvaultError
from recvault.log.lines import get_logger

log = get_logger("recvault.browse")
_LOOPBACK = "127.0.0.1"
_DRAIN_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Served:
    """Where the pages are."""

    url: str
    token: str

    @property
    def link(self) -> str:
        """The address that opens them, once."""
        return f"{self.url}/?token={self.token}"


@contextmanager
def served(holdings: Holdings, *, port: int, who: str) -> Iterator[Served]:
    """Serve in threads of their own within the block. `port` 0: any that is free. `who`: for the log of listens."""
    with closing(_bound(port)) as listener:
        number = listener.getsockname()[1]
        guard = Guard(application(holdings, who=who), port=number)
        options = uvicorn.Config(
            guard,
            log_config=None,
            log_level="warning",
            access_log=False,  # it would hold the token, and numbers that were searched for
            lifespan="off",
            ws="none",
            http="h11",
            loop="asyncio",
            server_header=False,
            timeout_graceful_shutdown=_DRAIN_SECONDS,
        )
        server = uvicorn.Server(options)
        thread = threading.Thread(target=server.run, args=[[listener]], name="browse", daemon=True)
        thread.start()
        threading.Thread(target=_prefetch, args=[holdings], name="prefetch", daemon=True).start()
        try:
            yield Served(f"http://{_LOOPBACK}:{number}", guard.token or "")
        finally:
            server.should_exit = True
            thread.join()


def _prefetch(holdings: Holdings) -> None:
    with suppress(RecvaultError, OSError):  # a page that needs the catalog tells what is wrong
        holdings.prefetch()


def _bound(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else a page waits 40 ms for its second packet
    try:
        listener.bind((_LOOPBACK, port))
    except OSError as error:
        listener.close()
        raise ConfigError(f"cannot listen on {_LOOPBACK}:{port}: {error.strerror}", "choose another --port") from error
    listener.listen(64)
    return listener
