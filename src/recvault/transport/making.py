"""Choose the transport."""

from __future__ import annotations

from recvault.transport.base import Guard, Patience, Proxy, Transport, Trust

CURL, PLAIN = "curl", "plain"
WAYS = (CURL, PLAIN)


def curl_missing() -> str:
    """Return why pycurl cannot be imported; empty if it can."""
    try:
        import pycurl  # noqa: F401
    except ImportError as error:
        return str(error)
    return ""


def curl_version() -> str:
    """Return the versions of libcurl and its libraries. Raises ImportError if pycurl is missing."""
    import pycurl

    return str(pycurl.version)


def make(way: str, guard: Guard, patience: Patience, trust: Trust, proxy: Proxy | None = None) -> Transport:
    """Return the chosen transport; the plain one if pycurl is missing."""
    if way == CURL and not curl_missing():
        from recvault.transport.curl import CurlTransport

        return CurlTransport(guard, patience, trust, proxy)
    from recvault.transport.plain import PlainTransport

    return PlainTransport(guard, patience, trust, proxy)
