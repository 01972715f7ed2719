"""Messages for failures between a request and its answer: host and cause, never what was sent."""

from __future__ import annotations

import httpx

from recvault.errors import ProtocolError, RecvaultError, Translation, Unavailable, UnsafeAddress
from recvault.transport import ExchangeFailed

NOT_SENT = frozenset({"address", "request"})
"""Causes for which no request was sent."""

_NETWORK = "check base_url and the network; if providers are reachable only through a proxy, set the source's proxy"
_HINTS: dict[str, str] = {
    "name": "check base_url and this machine's DNS; if a proxy resolves names, set the source's proxy",
    "connection": _NETWORK,
    "late": _NETWORK,
    "tls": "check that base_url's port speaks TLS 1.2 or later",
    "certificate": "if a proxy replaces certificates, name its authority in SSL_CERT_FILE",
    "proxy": "check the source's proxy; for 407 its user and password",
}


def failure(host: str, error: BaseException) -> RecvaultError | None:
    """Translate a network failure to our error; None for anything else."""
    if isinstance(error, ExchangeFailed):
        if error.cause == "address":
            return UnsafeAddress(
                f"{host} resolves to {', '.join(error.addresses)}, which is not allowed for media",
                "if the host is yours, list it in the source's media_hosts",
            )
        return Unavailable(f"{host} {error.words}", _HINTS.get(error.cause, ""))
    if isinstance(error, httpx.DecodingError):
        return ProtocolError(f"{host} sent a body that cannot be decoded")
    if isinstance(error, httpx.TransportError):  # its own text may contain a signed URL
        return Unavailable(f"{host} cannot be reached or closed the connection ({type(error).__name__})")
    return None


class Failures(Translation):
    """A context that translates network failures of one host."""

    __slots__ = ("_host",)

    def __init__(self, host: str) -> None:
        self._host = host

    def translated(self, error: BaseException) -> RecvaultError | None:
        return failure(self._host, error)
