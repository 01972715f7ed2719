"""Routes to a store: direct, or through the proxy set in the environment, and which certificates are trusted.

The environment is read as botocore reads it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from botocore.httpsession import get_cert_path

from recvault.errors import ConfigError
from recvault.log.lines import get_logger
from recvault.transport import Cut, Head, Patience, Proxy, Receiver, Request, Transport, Trust, anywhere, authorities
from recvault.transport.making import curl_missing, make

log = get_logger("recvault.store")

Kind = Literal["curl", "plain"]
_PATIENCE = Patience(connect_seconds=10.0, stall_seconds=60.0)


class Routes:
    """A Transport that selects one transport per proxy, by the request's origin."""

    def __init__(self, kind: Kind, trusted: Trust) -> None:
        self._kind, self._trusted = kind, trusted
        self._by_origin: dict[str, Transport] = {}
        self._by_way: dict[tuple[Trust, Proxy | None], Transport] = {}

    def exchange(self, request: Request, receiver: Receiver, cut: Cut) -> Head:
        """See Transport.exchange."""
        end = request.url.find("/", len("https://"))
        origin = request.url if end < 0 else request.url[:end]
        return (self._by_origin.get(origin) or self.to(origin)).exchange(request, receiver, cut)

    def to(self, origin: str) -> Transport:
        """Return the route to a scheme, host and port. ConfigError if the proxy in the environment is invalid."""
        way = self._trusted if origin.startswith("https:") else Trust(), _proxy(origin)
        if way not in self._by_way:
            self._by_way[way] = make(self._kind, anywhere, _PATIENCE, *way)
        return self._by_origin.setdefault(origin, self._by_way[way])

    def renew(self) -> None:
        """See Transport.renew."""
        for each in list(self._by_way.values()):
            each.renew()

    def close(self) -> None:
        """See Transport.close."""
        for each in list(self._by_way.values()):
            each.close()


def found(kind: Kind) -> Kind:
    """Return the kind of transport to use: plain if libcurl is not available."""
    if kind == "curl" and (why := curl_missing()):
        log.warning("store.plain", reason=f"pycurl cannot be imported: {why}", hint="pip install pycurl")
        return "plain"
    return kind


def trusted_by(core: Any) -> Trust:
    """Return the certificate authorities that a botocore session trusts."""
    path = str(core.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE") or get_cert_path(True))
    return Trust(folder=path) if Path(path).is_dir() else Trust(file=path)


def check_trust(core: Any) -> None:
    """ConfigError if the certificate authorities configured for boto3 cannot be read."""
    told = core.get_config_variable("ca_bundle")
    if told is not None:
        authorities.check(
            "AWS_CA_BUNDLE" if os.environ.get("AWS_CA_BUNDLE") else "ca_bundle in the AWS configuration", told
        )
    elif bundle := os.environ.get("REQUESTS_CA_BUNDLE"):
        authorities.check("REQUESTS_CA_BUNDLE", bundle)


def _proxy(origin: str) -> Proxy | None:
    parts = urlsplit(origin)
    told = getproxies().get(parts.scheme)
    if not told or proxy_bypass(parts.netloc):
        return None
    try:
        return Proxy.of(told)
    except ValueError as error:
        name = f"{parts.scheme.upper()}_PROXY"
        raise ConfigError(f"{name} cannot be used: {error}", f"correct {name}, or set NO_PROXY for the store") from None
