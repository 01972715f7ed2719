"""A configured proxy: its address as text, or a secret that also contains user and password.

No message repeats any of it.
"""

from __future__ import annotations

import re
from typing import Any

from recvault.config.secret import WAYS, SecretRef
from recvault.errors import ConfigError
from recvault.transport import Proxy

_SHAPE = "must be http://host:port; with a user and a password, put http://user:password@host:port into a secret"
_UNSEEMLY = re.compile(r"[^\x21-\x7e]|[\\?#]")


def from_toml(written: Any, owner: str) -> str | SecretRef | None:
    """Read the value of a key; empty text means no proxy. Raises ValueError with a sentence."""
    if written == "" or written is None:
        return None
    if not isinstance(written, str):
        return SecretRef.from_toml(written, owner)
    if "@" in written:
        raise ValueError(f"a secret must not be in the configuration file: write {WAYS} and put the whole URL there")
    _parsed(written)
    return written


def resolve(written: str | SecretRef | None) -> tuple[Proxy | None, str]:
    """Return the proxy as it is now, and the secret that it was read from, if any. ConfigError if that is not
    available."""
    if not isinstance(written, SecretRef):
        return _parsed(written) if written else None, ""
    secret = written.resolve()
    try:
        return _parsed(secret), secret
    except ValueError as error:
        raise ConfigError(
            f"{written.owner}: its value {error}",
            "put the proxy's whole URL there, with special characters percent-encoded",
        ) from None


def _parsed(url: str) -> Proxy:
    try:
        proxy = Proxy.of(url) if not _UNSEEMLY.search(url) else None
    except ValueError:  # some of urllib's messages repeat their input
        proxy = None
    # TLS to a proxy is refused: httpx, which sends lists and pings, does not support TLS in TLS.
    if proxy is None or not proxy.address.startswith("http://") or (proxy.password and not proxy.user):
        raise ValueError(_SHAPE)
    return proxy
