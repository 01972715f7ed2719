"""Read an answer's body, bounded in size and in time: against bombs, drips and stalls.

Invariant: media are complete by their Content-Length, or it is an error.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx

from recvault.errors import ProtocolError, Unavailable
from recvault.http.timing import Timing
from recvault.stopping import Stop

_MOST_REPLY = 64 * 1024 * 1024
_MOST_OF_ERROR = 4096
_ERROR_SECONDS = 5.0  # for the beginning of an error's body, which only helps the operator
_ENCODINGS = frozenset({"identity", "gzip", "deflate"})  # one of them: a stack of them could unfold without end


def whole(response: httpx.Response, timing: Timing, stop: Stop) -> bytes:
    """A whole API answer, decoded."""
    host = response.url.host
    if not _readable(response):
        raise ProtocolError(f"{host} encoded its answer in a way that nobody asked for")
    body, deadline = bytearray(), time.monotonic() + timing.reply_deadline
    for chunk in response.iter_bytes():
        if len(body) + len(chunk) > _MOST_REPLY:
            raise ProtocolError(f"{host} answered with more than {_MOST_REPLY} bytes")
        body += chunk
        if time.monotonic() > deadline:
            raise Unavailable(f"{host} took more than {timing.reply_deadline:.0f} s to answer")
        stop.check_enforced()
    return bytes(body)


def beginning(response: httpx.Response) -> bytes:
    """What comes of an error's body in a moment; nothing where it cannot be read."""
    if not _readable(response):
        return b""
    body, deadline = b"", time.monotonic() + _ERROR_SECONDS
    try:
        for chunk in response.iter_bytes():
            body += chunk[:_MOST_OF_ERROR]
            if len(body) >= _MOST_OF_ERROR or time.monotonic() > deadline:
                break
    except httpx.HTTPError:
        return b""
    return body[:_MOST_OF_ERROR]


def chunks(response: httpx.Response, length: int | None, timing: Timing, stop: Stop) -> Iterator[bytes]:
    """The media's wire bytes. Unavailable where they stall, break off or differ from their Content-Length."""
    host, watch, got = response.url.host, _Watch(timing), 0
    for chunk in response.iter_raw():
        got += len(chunk)
        watch.saw(len(chunk), host)
        stop.check_enforced()
        yield chunk
    if length is not None and got != length:
        raise Unavailable(f"{host} sent {got} bytes of {length}")


def _readable(response: httpx.Response) -> bool:
    return response.headers.get("content-encoding", "identity").lower() in _ENCODINGS


class _Watch:
    """Notices a body that drips: httpx's timeouts are per read, so a byte a second would never end."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._since = time.monotonic()
        self._bytes = 0

    def saw(self, count: int, host: str) -> None:
        self._bytes += count
        elapsed = time.monotonic() - self._since
        if elapsed < self._timing.stall_timeout:
            return
        if self._bytes < self._timing.min_rate * elapsed:
            raise Unavailable(f"{host} sent {self._bytes} bytes in {elapsed:.0f} s: a stall")
        self._since, self._bytes = time.monotonic(), 0
