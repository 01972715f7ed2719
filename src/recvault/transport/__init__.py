"""Exchanges over HTTP/1.1: one request, one answer, by libcurl or by httpx.

Invariants, for both: connections go only to addresses that the guard permits; the end of an answer follows
unambiguously from its framing, or it is an error; no byte of one exchange is taken for another's; every wait can be
interrupted within two seconds; no redirect is followed, nothing decoded or retried here, except that a request lost
on a kept connection is sent once more; no error message contains what was sent.
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
