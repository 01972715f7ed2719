"""What fails between a request and its answer, in words: the host, and the cause. Never what was sent."""

from __future__ import annotations

import httpx

from recvault.errors import ProtocolError, RecvaultError, Translation, Unavailable, UnsafeAddress
from recvault.transport import ExchangeFailed

NOT_SENT = frozenset({"address", "request"})
"""Causes for which nothing was asked of anybody."""

_NETWORK = "check base_url and the network; where providers are reached by a proxy alone, set the source's proxy"
_HINTS: dict[str, str] = {
    "name": "check base_url and this machine's DNS; where a proxy resolves names, set the source's proxy",
    "connection": _NETWORK,
    "late": _NETWORK,
    "tls": "check that base_url's port speaks TLS, of version 1.2 or later",
    "certificate": "SSL_CERT_FILE names the authorities that providers' certificates are held against",
    "proxy": "check the source's proxy; 407: its user and password",
}


def failure(host: str, error: BaseException) -> RecvaultError | None:
    """What failed on the way, as ours; None for what did not fail there."""
    if isinstance(error, ExchangeFailed):
        if error.cause == "address":
            return UnsafeAddress(
                f"{host} leads to {', '.join(error.addresses)}, where no recording is fetched from",
                "if the host is yours, list it in the source's media_hosts",
            )
        return Unavailable(f"{host} {error.words}", _HINTS.get(error.cause, ""))
    if isinstance(error, httpx.DecodingError):
        return ProtocolError(f"{host} sent a body that cannot be decoded")
    if isinstance(error, httpx.TransportError):  # whose own text may hold a signed URL
        return Unavailable(f"{host} cannot be reached or broke off ({type(error).__name__})")
    return None


class Failures(Translation):
    """A context whose errors are ours."""

    __slots__ = ("_host",)

    def __init__(self, host: str) -> None:
        self._host = host

    def translated(self, error: BaseException) -> RecvaultError | None:
        return failure(self._host, error)
