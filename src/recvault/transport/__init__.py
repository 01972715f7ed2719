"""Exchanges over HTTP/1.1: one request, one answer, by libcurl or by httpx.

Invariants, by either: a connection is made only to an address that its guard permits; where an answer ends is told by
its own framing, in one way, or it is an error; no byte of one exchange is taken for another's; every wait can be cut
within two seconds; nothing is followed, decoded or tried again here; no error's text holds what was sent.
"""

from recvault.transport.base import (
    Cut,
    Enough,
    ExchangeFailed,
    Guard,
    Head,
    Headers,
    Patience,
    Proxy,
    Receiver,
    Request,
    Signing,
    Transport,
    Trust,
    anywhere,
)
from recvault.transport.making import CURL, PLAIN, WAYS, curl_missing, curl_version, make

__all__ = [
    "CURL",
    "PLAIN",
    "WAYS",
    "Cut",
    "Enough",
    "ExchangeFailed",
    "Guard",
    "Head",
    "Headers",
    "Patience",
    "Proxy",
    "Receiver",
    "Request",
    "Signing",
    "Transport",
    "Trust",
    "anywhere",
    "curl_missing",
    "curl_version",
    "make",
]
