"""Where a request may go: checked on the URL first and on the address actually connected to.

A provider names media hosts in redirects and rows, so a hostile or broken answer could point at an instance's metadata
service or at another daemon on this machine. Resolving and connecting in one place leaves no gap for a name that
resolves differently the second time.
"""

from __future__ import annotations

import functools
import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass

import httpcore
import httpx

from recvault.errors import UnsafeAddress

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")  # IANA gives public IPv6 addresses out of this block alone
_OF_CLOUDS = (  # public by their numbers, yet a cloud machine's own host answers there
    ipaddress.ip_network("168.63.129.16/32"),  # Azure
    ipaddress.ip_network("192.0.0.0/24"),  # Oracle, at .192
)
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class AddressRule:
    """Which hosts a source may talk to besides the public internet over https."""

    base: tuple[str, int]  # host and port of base_url: the operator's own choice
    media_hosts: frozenset[str] = frozenset()  # "host" or "host:port", as configured

    @classmethod
    def of(cls, base_url: str, media_hosts: Iterable[str] = ()) -> AddressRule:
        return cls(origin(httpx.URL(base_url))[1:], frozenset(host.lower() for host in media_hosts))

    def check_url(self, url: httpx.URL) -> None:
        """UnsafeAddress unless https, or plain http to loopback."""
        if url.scheme != "https" and not (url.scheme == "http" and _is_loopback_name(url.host)):
            raise UnsafeAddress(
                f"{url.scheme}://{url.host} is not fetched: media come over https only",
                "plain http goes to loopback alone",
            )

    def permits(self, host: str, port: int, address: str) -> bool:
        """Whether a connection for `host:port` may be made to this address."""
        name = host.lower()
        if (name, port) == self.base or name in self.media_hosts or f"{name}:{port}" in self.media_hosts:
            return True
        return _is_public(address)


class GuardedBackend(httpcore.SyncBackend):
    """Resolves a name once, and connects only to an address that the rule permits."""

    def __init__(self, rule: AddressRule) -> None:
        self._rule = rule

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = resolve(host, port)
        permitted = [address for address in addresses if self._rule.permits(host, port, address)]
        if not permitted:
            raise UnsafeAddress(
                f"{host}:{port} leads to {', '.join(addresses)}, where no recording is fetched from",
                "if the host is yours, list it in the source's media_hosts",
            )
        for address in permitted[:-1]:
            try:
                return super().connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return super().connect_tcp(permitted[-1], port, timeout, local_address, socket_options)


def origin(url: httpx.URL) -> tuple[str, str, int]:
    """Scheme, host and port, the default port filled in."""
    return (url.scheme, url.host.lower(), url.port or _PORTS.get(url.scheme, 0))


def resolve(host: str, port: int) -> list[str]:
    """A name's addresses, each once, in the resolver's order."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(f"{host} cannot be resolved: {error}") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


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
