"""Check the form of single values of the configuration.

Raises ValueError with a sentence. The message never repeats the value: a token pasted into the wrong key must not reach
a log.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from urllib.parse import SplitResult, unquote, urlsplit

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_UNSEEMLY = re.compile(r"[\x00-\x20\x7f\\]")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]", re.ASCII)
_SOURCE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}", re.ASCII)
_ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", re.ASCII)
_HOST = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::\d{1,5})?", re.ASCII)
_MOST_TAGS = 10
_LONGEST_COMMAND = timedelta(minutes=5)
DIRECTORY = "file://"


def bucket(name: str) -> str:
    """A bucket's name, the ARN of an access point, or a directory as file:///path."""
    if name.startswith(DIRECTORY):
        return _directory(name)
    if not name.startswith("arn:") and (not _BUCKET.fullmatch(name) or ".." in name):
        raise ValueError(
            "must be a bucket's name (3 to 63 letters, digits, dots and hyphens, without s3://) or file:///a/directory"
        )
    return name


def _directory(url: str) -> str:
    path = unquote(url.removeprefix(DIRECTORY))
    parts = path.strip("/").split("/")
    if not path.startswith("/") or _CONTROL.search(path) or {"", ".", ".."} & set(parts) or set("?#") & set(url):
        raise ValueError("must be an absolute directory such as file:///srv/recordings: no host, no . or ..")
    return DIRECTORY + url.removeprefix(DIRECTORY).rstrip("/")


def prefix(text: str) -> str:
    """A prefix that joins with keys; ends without a slash."""
    text = text.removesuffix("/") or text
    if text and (_CONTROL.search(text) or {"", ".", ".."} & set(text.split("/"))):
        raise ValueError(
            "must be path segments separated by single slashes, without a leading slash, . or .., or control characters"
        )
    return text


def endpoint(url: str) -> str:
    """An S3 endpoint."""
    parts = _split(url)
    if parts.query or parts.fragment:
        raise ValueError("must not have a query")
    return url.rstrip("/")


def ping(url: str) -> str:
    """A URL to ping on success and failure, or empty."""
    if url and _split(url).query:
        raise ValueError("must not have a query: /start and /fail are appended to it")
    return url.rstrip("/")


def webhook(url: str) -> str:
    """A URL that is posted to, or empty."""
    if url:
        _split(url)
    return url


def hints_url(url: str) -> str:
    """The public URL of hints, to which a slash and a source's name are appended; or empty."""
    if url and (_split(url).query or "#" in url or url.endswith("?")):
        raise ValueError("must not have a query: a slash and the source's name are appended to it")
    return url.rstrip("/")


def command(words: tuple[str, ...]) -> tuple[str, ...]:
    """A program and its arguments, or nothing."""
    if any("\0" in word for word in words):
        raise ValueError("must not contain NUL characters")
    return words


def command_timeout(duration: timedelta) -> timedelta:
    """Shorter than a watchdog's patience."""
    if duration > _LONGEST_COMMAND:
        raise ValueError("must be at most 5m")
    return duration


def base_url(url: str) -> str:
    """A provider's scheme and host; plain http only to this machine, since credentials travel there."""
    parts = _split(url)
    if parts.path not in ("", "/") or parts.query or parts.fragment or url.endswith(("?", "#")):
        raise ValueError("must be only scheme and host, such as https://api.example.com")
    if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
        raise ValueError("must be https; plain http is allowed only to loopback")
    return url.rstrip("/")


def listen(text: str) -> str:
    """`host:port`, or nothing."""
    host, _, port = text.rpartition(":")
    if text and (not _HOST.fullmatch(host) or not port.isdecimal() or int(port) > 65535):
        raise ValueError('must be host:port, such as "127.0.0.1:9464", or "" to disable it')
    return text


def cluster(address: str) -> str:
    """Where workers are found; plain TCP only to this machine, since rows and signed URLs travel there."""
    kind, _, place = address.partition(":")
    if not address or (kind == "local" and place.isascii() and place.isdecimal() and 0 < int(place) < 1000):
        return address
    host, _, port = place.removeprefix("//").rpartition(":")
    sound = place.startswith("//") and _HOST.fullmatch(host) and port.isdecimal() and 0 < int(port) < 65536
    if kind not in ("tls", "tcp") or not sound:
        raise ValueError('must be "tls://host:port", "tcp://127.0.0.1:port" or "local:N", with N processes here')
    if kind == "tcp" and not _is_loopback(host.strip("[]")):
        raise ValueError("must be tls://; plain tcp:// is allowed only to loopback")
    return address


def source_name(name: str) -> str:
    """A source's name, which appears in logs, metrics, reports and, for some providers, in keys."""
    if not _SOURCE.fullmatch(name):
        raise ValueError("must be 1 to 64 of a-z, 0-9, _, . and -, beginning with a letter or digit")
    return name


def account(name: str) -> str:
    """The name of an account whose provider has no account id; it appears in keys."""
    if not _ACCOUNT.fullmatch(name):
        raise ValueError("must be 1 to 128 of a-z, A-Z, 0-9, _, . and -, beginning with a letter or digit")
    return name


def distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    """At least one, and none twice."""
    if not values:
        raise ValueError("must name at least one")
    if len(set(values)) < len(values):
        raise ValueError("contains a duplicate")
    return values


def hosts(values: tuple[str, ...]) -> tuple[str, ...]:
    """Hosts, or hosts with ports; lower case."""
    lowered = tuple(value.lower() for value in values)
    if not all(_HOST.fullmatch(value) for value in lowered):
        raise ValueError('each must be a host or host:port, such as "media.example.com": no scheme, no path')
    return lowered


def tags(values: Mapping[str, str]) -> Mapping[str, str]:
    """S3's limits: ten tags, keys to 128 characters, values to 256."""
    if len(values) > _MOST_TAGS:
        raise ValueError(f"must be at most {_MOST_TAGS}")
    if not all(
        0 < len(key) <= 128 and len(value) <= 256 and not key.startswith("aws:") for key, value in values.items()
    ):
        raise ValueError("must have keys of 1 to 128 characters that do not begin with aws:, and values to 256")
    return values


def choice(names: Sequence[str]) -> str:
    """Write alternatives as words."""
    return ", ".join(names[:-1]) + " or " + names[-1] if len(names) > 1 else "".join(names)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1) and not _UNSEEMLY.search(url)
    except ValueError:
        sound = None
    if not sound:
        raise ValueError("is not a URL, such as https://host")
    if "@" in parts.netloc:
        raise ValueError("must not contain a user name or password")
    return parts


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
