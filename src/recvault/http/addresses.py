"""Where a request may go: checked on the URL first and, by the transport, on the address actually connected to.

A provider names media hosts in redirects and rows, so a hostile or broken answer could point at an instance's metadata
service or at another daemon on this machine.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

import httpx

from recvault.errors import UnsafeAddress
from recvault.transport.base import PORTS

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")  # IANA assigns public IPv6 addresses from this block only
_OF_CLOUDS = (  # public by number, but answered by a cloud machine's host
    ipaddress.ip_network("168.63.129.16/32"),  # Azure
    ipaddress.ip_network("192.0.0.0/24"),  # Oracle, at .192
)


@dataclass(frozen=True, slots=True)
class AddressRule:
    """Which hosts a source may use besides the public internet over https."""

    base: tuple[str, int]  # host and port of base_url, chosen by the operator
    media_hosts: frozenset[str] = frozenset()  # "host" or "host:port", as configured

    @classmethod
    def of(cls, base_url: str, media_hosts: Iterable[str] = ()) -> AddressRule:
        return cls(origin(httpx.URL(base_url))[1:], frozenset(host.lower() for host in media_hosts))

    def check_url(self, url: httpx.URL) -> None:
        """Raise UnsafeAddress unless the URL is https, or plain http to loopback."""
        if not self.is_safe(url):
            raise UnsafeAddress(
                f"{url.scheme}://{url.host} is not fetched: media are only downloaded over https",
                "plain http is only allowed to loopback",
            )

    def is_safe(self, url: httpx.URL) -> bool:
        """Whether nobody can eavesdrop: https, or plain http to loopback."""
        return url.scheme == "https" or (url.scheme == "http" and _is_loopback_name(url.host))

    def permits(self, host: str, port: int, address: str) -> bool:
        """Whether a connection for `host:port` may be made to this address."""
        name = host.lower()
        if (name, port) == self.base or name in self.media_hosts or f"{name}:{port}" in self.media_hosts:
            return True
        return _is_public(address)


def origin(url: httpx.URL) -> tuple[str, str, int]:
    """Return scheme, host and port of a URL, with the default port filled in."""
    return (url.scheme, url.host.lower(), url.port or PORTS.get(url.scheme, 0))


@functools.lru_cache(maxsize=64)
def _is_loopback_name(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_public(address: str) -> bool:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour
        if parsed in _NAT64:
            inner = ipaddress.IPv4Address(parsed.packed[-4:])
        if inner is not None:
            return _is_public(str(inner))
        return parsed in _GLOBAL_UNICAST and parsed.is_global
    return parsed.is_global and not parsed.is_multicast and not any(parsed in network for network in _OF_CLOUDS)
