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
"""Names and values, in order; pairs of any kind."""
Guard = Callable[[str, int, str], bool]
"""Whether a connection for a host and a port may be made to an address."""
Cut = Callable[[], None]
"""Called at least once a second during an exchange; raises an exception to end it."""

PORTS = {"http": 80, "https": 443}  # default ports
CUT_SECONDS = 0.5  # between two calls of a cut, in our own waits
CONTINUE_SECONDS = 1.0  # that a server may take to say whether it wants a body that was announced
_MOST_HEADERS = 100
_LENGTH = re.compile(r"[0-9]{1,18}")
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_ORIGIN = re.compile(r"(https?://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?)(?:[/?]|\Z)")

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
    """No complete answer came. Holds nothing of the request or the answer.

    `cause` says what failed, `detail` the words of the operating system or the TLS library, `addresses` those that
    the guard refused.
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
    """Credentials of one request, and the scope that AWS's Signature Version 4 binds them to."""

    access_key: str
    secret_key: str = field(repr=False)
    region: str
    service: str = "s3"


@dataclass(slots=True)
class Request:
    """A request. Its URL is ASCII and holds no credentials; `Host` and the framing of its body are the library's.

    Not modified once made.
    """

    method: str
    url: str = field(repr=False)
    headers: Headers = field(default=(), repr=False)
    body: memoryview | BinaryIO | None = field(default=None, repr=False)
    length: int = 0  # bytes of the body
    signing: Signing | None = None  # for a transport that signs
    expects: bool = False  # whether to wait for the server's word before a body is sent
    tells_its_answer: bool = False  # whether its sender can tell another request's answer from its own, and renews then

    def check(self) -> str:
        """The origin that is asked. ExchangeFailed for what another would read as another request than it is."""
        found, values = _ORIGIN.match(self.url), "".join([value for _, value in self.headers])
        is_url = found is not None and self.url.isascii() and self.url.isprintable() and " " not in self.url
        is_sound = not ("\r" in values or "\n" in values or "\0" in values)
        if found is None or not is_url or not is_sound or not _are_names(tuple([name for name, _ in self.headers])):
            raise ExchangeFailed("request")
        return found[1]


@lru_cache(256)  # requests of a kind have the same headers
def _are_names(names: tuple[str, ...]) -> bool:
    return all(map(_NAME.fullmatch, names))


@dataclass(slots=True)
class Head:
    """An answer's status and headers. `wait_seconds`: from the request sent to the first byte of its answer."""

    status: int
    headers: Headers
    wait_seconds: float = 0.0
    named: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    """The headers by lower name; the first of several."""

    def __post_init__(self) -> None:
        if len(self.named) != len(self.headers):  # they are not told, or a name stands there twice
            self.named = {name.lower(): value for name, value in reversed(self.headers)}

    @property
    def length(self) -> int | None:
        """The announced length of its body."""
        told = self.named.get("content-length", "")
        return int(told) if _LENGTH.fullmatch(told) else None

    def values(self, name: str) -> list[str]:
        """All values of one header, by lower name."""
        if len(self.named) == len(self.headers):  # no name is repeated
            return [self.named[name]] if name in self.named else []
        return [value for each, value in self.headers if each.lower() == name]


class Receiver(Protocol):
    """Receives an answer as it arrives. What it raises ends the exchange and propagates; Enough ends it silently."""

    def begin(self, head: Head) -> None:
        """The head, once."""

    def write(self, piece: memoryview | bytes) -> None:
        """Some of the body. A memoryview is invalid after the call. Looked up once the head was taken."""


class Transport(Protocol):
    """Thread-safe: each thread has connections of its own."""

    def exchange(self, request: Request, receiver: Receiver, cut: Cut) -> Head:
        """Send a request and give its answer to the receiver. Raises ExchangeFailed without a complete answer."""

    def renew(self) -> None:
        """Close this thread's connections: an answer was not what was asked for."""

    def close(self) -> None:
        """Close all connections. It may be used again."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait: to connect, and for less than `least_rate` bytes a second to come."""

    connect_seconds: float = 15.0
    stall_seconds: float = 60.0
    least_rate: float = 1.0


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose certificates are trusted: a file of them, or a folder with their hashes as names."""

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
        """From a URL that may hold a user and a password. ValueError if it is not an HTTP proxy's."""
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
            raise ValueError("a proxy must be http://host:port or http://user:password@host:port")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        address = f"{parts.scheme}://{host}:{parts.port or PORTS[parts.scheme]}"
        return cls(address, unquote(parts.username or ""), unquote(parts.password or ""))


def anywhere(host: str, port: int, address: str) -> bool:
    """A guard that permits any address: the operator named the host."""
    return True


def written_address(host: str) -> str:
    """The address that a host's name is, or stands for without a resolver; empty where it takes one."""
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
    """A proxy resolves names, so a guard sees none of its addresses: what is written as one it does see."""
    written = written_address(host)
    if written and not guard(host, port, written):
        raise ExchangeFailed("address", addresses=[written])


def check_head(version: str, head: Head, *, has_body: bool) -> None:
    """ExchangeFailed unless a head is one of HTTP/1, and says in one way, and a known one, where its body ends."""
    if version not in ("HTTP/1.1", "HTTP/1.0") or not 200 <= head.status <= 999:
        raise ExchangeFailed("framing", "it speaks another protocol")
    if len(head.headers) > _MOST_HEADERS:
        raise ExchangeFailed("framing", "its head has too many lines")
    if not has_body:
        return
    if len(head.named) == len(head.headers) and "transfer-encoding" not in head.named:
        told = head.named.get("content-length")
        if told is None or _LENGTH.fullmatch(told):
            return  # as nearly all do
    lengths = {part.strip() for value in head.values("content-length") for part in value.split(",")}
    if len(lengths) > 1 or not all(map(_LENGTH.fullmatch, lengths)):
        raise ExchangeFailed("framing", "its body has conflicting lengths")
    codings = [value.strip().lower() for value in head.values("transfer-encoding")]
    if codings and (lengths or codings != ["chunked"] or version != "HTTP/1.1"):
        raise ExchangeFailed("framing", "its body is framed in two ways, or in an unknown one")
