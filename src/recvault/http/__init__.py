"""One session per account: send, classify, back off, pace, page and stream.

Invariants: credentials are sent only to the provider's own origins; no connection is made to an address that the source
does not allow; a page already seen is an error, not a loop.
"""

from recvault.http.addresses import AddressRule
from recvault.http.aside import Aside
from recvault.http.client import Clients
from recvault.http.concurrency import REFUSED
from recvault.http.limits import MEDIA, Budget, CurrentLimit, Limits, Noted, Pause, Want
from recvault.http.media import MediaHead, Sink
from recvault.http.permits import STALE_SECONDS, Borrowed, Loan, Permits, Spent
from recvault.http.ping import Ping
from recvault.http.purse import Purse, Used
from recvault.http.request_count import RequestCount
from recvault.http.session import Session
from recvault.http.tokens import Tokens, tokens_of
from recvault.http.tries import Timing

__all__ = [
    "MEDIA",
    "REFUSED",
    "STALE_SECONDS",
    "AddressRule",
    "Aside",
    "Borrowed",
    "Budget",
    "Clients",
    "CurrentLimit",
    "Limits",
    "Loan",
    "MediaHead",
    "Noted",
    "Pause",
    "Permits",
    "Ping",
    "Purse",
    "RequestCount",
    "Session",
    "Sink",
    "Spent",
    "Timing",
    "Tokens",
    "Used",
    "Want",
    "tokens_of",
]
