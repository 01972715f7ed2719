"""One session per account: send, classify, back off, pace, page and stream.

Invariants: credentials travel to `base_url`'s own origin and nowhere else; no connection is made to an address that
the source does not allow; a page already seen is an error, not a loop.
"""

from recvault.http.addresses import AddressRule
from recvault.http.client import Clients
from recvault.http.concurrency import REFUSED
from recvault.http.limits import Limits, Standing
from recvault.http.ping import Ping
from recvault.http.session import MediaHead, Session
from recvault.http.timing import Timing

__all__ = ["REFUSED", "AddressRule", "Clients", "Limits", "MediaHead", "Ping", "Session", "Standing", "Timing"]
