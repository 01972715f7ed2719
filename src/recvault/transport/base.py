"""The parts of an exchange, for any HTTP library."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import BinaryIO, Literal, Protocol
from urllib.parse import unquote, urlsplit

Headers = Sequence[tuple[str, str]]
"""Names and values, in order."""
Guard = Callable[[str, int, str], bool]
"""Whether a connection for a host and a port may be made to an address."""
Cut = Callable[[], None]
"""Called at least once a second during an exchange; raises an exception to end it."""

PORTS = {"http": 80, "https": 443}  # default ports
CUT_SECONDS = 0.5  # between calls of a cut, in our own waits
CONTINUE_SECONDS = 1.0  # for a server to answer `Expect: 100-continue`
_MOST_HEADERS = 100
_LENGTH = re.compile(r"[0-9]{1,18}")
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_URL = re.compile(r"(https?://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?)(?:[/?][!-~]*)?")

Cause = Literal[
    "name", "address", "connection", "certificate", "tls", "late", "slow", "broken", "framing", "proxy", "request"
]
_WORDS: dict[Cause, str] = {
    "name": "cannot be resolved",
    "address": "resolves to addresses that are not allowed",
    "connection": "cannot be reached",
    "certificate": "has an untrusted certificate",
    "tls": "cannot agree on TLS",
    "late": "did not answer in time",
    "slow": "sent data too slowly",
    "broken": "closed the connection before its answer was complete",
    "framing": "did not answer in HTTP",
    "proxy": "cannot be reached through the proxy",
    "request": "cannot be reached: the request is not valid HTTP",
}
PROXY_UNKNOWN = "its name cannot be resolved"


class ExchangeFailed(Exception):
    """No complete answer arrived. Contains nothing of the request or the answer.

    `cause`: what failed; `detail`: the message of the operating system or the TLS library; `addresses`: those that the
    guard refused.
    """

    def __init__(self, cause: Cause, detail: str = "", addresses: Sequence[str] = ()) -> None:
        self.cause: Cause = cause
        self.detail = detail
        self.addresses = tuple(addresses)
        super().__init__(self.words)

    @property
    def words(self) -> str:
        """The message after the host's name."""
        return f"{_WORDS[self.cause]} ({self.detail})" if self.detail else _WORDS[self.cause]


class Enough(Exception):
    """Raised by a receiver that needs no more of a body: the exchange ends without an error."""


@dataclass(frozen=True, slots=True)
class Signing:
    """Credentials of one request, and the scope to which AWS's Signature Version 4 binds them."""

    access_key: str
    secret_key: str = field(repr=False)
    region: str
    service: str = "s3"


@dataclass(slots=True)
class Request:
    """A request. Its URL is ASCII and contains no credentials; the library adds `Host` and the body's framing.

    Never modified.
    """

    method: str
    url: str = field(repr=False)
    headers: Headers = field(default=(), repr=False)
    body: memoryview | BinaryIO | None = field(default=None, repr=False)
    length: int = 0  # bytes of the body
    signing: Signing | None = None  # for a transport that signs
    expects: bool = False  # whether to wait for the server's consent before the body is sent
    tells_its_answer: bool = False  # whether the sender recognises another request's answer, and then renews

    def check(self) -> str:
        """Return the requested origin. Raises ExchangeFailed for a request that could be read as another one."""
        found = _URL.fullmatch(self.url)
        names, values = self.named_values
        text = "".join(values)
        if found is None or "\r" in text or "\n" in text or "\0" in text or not _are_names(names):
            raise ExchangeFailed("request")
        return found[1]

    @property
    def named_values(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The headers' names, and their values."""
        names, values = zip(*self.headers, strict=True) if self.headers else ((), ())
        return names, values


@lru_cache(256)  # requests of one kind have the same headers
def _are_names(names: tuple[str, ...]) -> bool:
    return all(map(_NAME.fullmatch, names))


@dataclass(slots=True)
class Head:
    """An answer's status and headers. `wait_seconds`: from the end of the request to the first byte of the answer."""

    status: int
    headers: Headers
    wait_seconds: float = 0.0
    named: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    """The headers by name in lower case; the first of several."""

    def __post_init__(self) -> None:
        if len(self.named) != len(self.headers):  # not given, or a name is repeated
            self.named = {name.lower(): value for name, value in reversed(self.headers)}

    @property
    def length(self) -> int | None:
        """The announced length of the body; None if there is none."""
        told = self.named.get("content-length", "")
        return int(told) if _LENGTH.fullmatch(told) else None

    def values(self, name: str) -> list[str]:
        """Return all values of a header, named in lower case."""
        if len(self.named) == len(self.headers):  # no name is repeated
            return [self.named[name]] if name in self.named else []
        return [value for each, value in self.headers if each.lower() == name]


class Receiver(Protocol):
    """Receives an answer as it arrives. An exception ends the exchange and propagates; Enough ends it silently."""

    def begin(self, head: Head) -> None:
        """Take the head. Called once."""

    def write(self, piece: memoryview | bytes) -> None:
        """Take a part of the body; a memoryview is invalid after the call. The method is looked up after `begin`."""


class Transport(Protocol):
    """Sends requests. Thread-safe: each thread has its own connections."""

    def exchange(self, request: Request, receiver: Receiver, cut: Cut) -> Head:
        """Send a request and give its answer to the receiver. Raises ExchangeFailed without a complete answer."""

    def renew(self) -> None:
        """Close this thread's connections, because an answer belonged to another request."""

    def close(self) -> None:
        """Close all connections. The transport may be used again."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait: for a connection, and for a rate of at least `least_rate` bytes a second."""

    connect_seconds: float = 15.0
    stall_seconds: float = 60.0
    least_rate: float = 1.0


@dataclass(frozen=True, slots=True)
class Trust:
    """Trusted certificates: a file, or a folder with hashes as names."""

    file: str | None = None
    folder: str | None = None


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy that all exchanges go through."""

    address: str  # "http://host:port"
    user: str = ""
    password: str = field(default="", repr=False)

    @classmethod
    def of(cls, url: str) -> Proxy:
        """Parse a URL, which may contain user and password. Raises ValueError if it is not an HTTP proxy's."""
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
            raise ValueError("a proxy must be http://host:port or http://user:password@host:port")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        address = f"{parts.scheme}://{host}:{parts.port or PORTS[parts.scheme]}"
        return cls(address, unquote(parts.username or ""), unquote(parts.password or ""))


def anywhere(host: str, port: int, address: str) -> bool:
    """Permit any address, as a guard: the operator named the host."""
    return True


def written_address(host: str) -> str:
    """Return the address that a host name is, or means without a resolver; empty if it must be resolved."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host))  # "127.1", "0x7f000001", "2130706433"
    except OSError:
        return ""


def check_written(guard: Guard, host: str, port: int) -> None:
    """Raise ExchangeFailed if a host written as an address is not permitted. (A proxy resolves names, unseen.)"""
    written = written_address(host)
    if written and not guard(host, port, written):
        raise ExchangeFailed("address", addresses=[written])


def check_head(version: str, head: Head, *, has_body: bool) -> None:
    """Raise ExchangeFailed unless a head is HTTP/1 and states the end of its body in exactly one known way."""
    if version not in ("HTTP/1.1", "HTTP/1.0") or not 200 <= head.status <= 999:
        raise ExchangeFailed("framing", "it speaks another protocol")
    if len(head.headers) > _MOST_HEADERS:
        raise ExchangeFailed("framing", "its head has too many lines")
    if not has_body:
        return
    if len(head.named) == len(head.headers) and "transfer-encoding" not in head.named:
        told = head.named.get("content-length")
        if told is None or _LENGTH.fullmatch(told):
            return  # true for nearly all
    lengths = {part.strip() for value in head.values("content-length") for part in value.split(",")}
    if len(lengths) > 1 or not all(map(_LENGTH.fullmatch, lengths)):
        raise ExchangeFailed("framing", "its body has conflicting lengths")
    codings = [value.strip().lower() for value in head.values("transfer-encoding")]
    if codings and (lengths or codings != ["chunked"] or version != "HTTP/1.1"):
        raise ExchangeFailed("framing", "its body is framed in two ways, or in an unknown one")
