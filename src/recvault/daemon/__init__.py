"""The daemon: `recvault run`. One turn of anything in it is one plain call into the floors below."""

from recvault.daemon.daemon import Daemon

__all__ = ["Daemon"]
