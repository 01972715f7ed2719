"""Read the body of an API answer with limits on size and time: against bombs, drips and stalls."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator

import httpx

from recvault.errors import NotWhole, ProtocolError, Unavailable
from recvault.http.tries import Timing
from recvault.shutdown import Stop
from recvault.transport import ExchangeFailed

MOST_PAGE = 8 * 1024 * 1024  # bytes; a thousand rows take one or two million. Parsed JSON may be 25 times as large
MOST_ROW = 1024 * 1024  # for an answer about one recording: every worker may hold one
_UNFOLDED = 64 * 1024  # bytes decoded at a time: one chunk could grow a thousandfold
MOST_OF_ERROR = 4096
_ERROR_SECONDS = 5.0  # for the start of an error's body, which only helps the operator
_FOLDED = frozenset({"gzip", "x-gzip", "deflate"})  # only one at a time: nested ones could grow without limit
# S3 servers name the framing of the upload, long removed; others name a charset or a mail's encoding.
_PLAIN = frozenset({"", "identity", "aws-chunked", "none", "binary", "8bit", "utf-8"})


def whole(response: httpx.Response, timing: Timing, stop: Stop, most: int) -> bytes:
    """Return a complete API answer, decoded. Raises NotWhole beyond `most` bytes, Unavailable if it is too slow."""
    host = response.url.host
    if not _readable(response):
        raise ProtocolError(f"{host} used a content encoding that was not requested")
    body, deadline = bytearray(), time.monotonic() + timing.reply_deadline
    for chunk in _unfolded(response):
        if len(body) + len(chunk) > most:
            raise NotWhole(f"{host} answered with more than {most} bytes")
        body += chunk
        if time.monotonic() > deadline:
            raise Unavailable(f"{host} took longer than {timing.reply_deadline:.0f} s to answer")
        stop.check_enforced()
    return bytes(body)


def beginning(response: httpx.Response) -> bytes:
    """Return the start of an error's body, if it arrives quickly; empty if it cannot be read."""
    if not _readable(response):
        return b""
    body, deadline = b"", time.monotonic() + _ERROR_SECONDS
    try:
        for chunk in _unfolded(response):
            body += chunk[:MOST_OF_ERROR]
            if len(body) >= MOST_OF_ERROR or time.monotonic() > deadline:
                break
    except (httpx.HTTPError, ExchangeFailed, ProtocolError):
        return b""
    return body[:MOST_OF_ERROR]


def _readable(response: httpx.Response) -> bool:
    return _encoding(response) in _FOLDED or is_plain(_encoding(response))


def is_plain(encoding: str) -> bool:
    """Whether a Content-Encoding means no encoding."""
    return encoding in _PLAIN or all(each.strip() in _PLAIN for each in encoding.lower().split(","))


def _encoding(response: httpx.Response) -> str:
    return str(response.headers.get("content-encoding", "")).strip().lower()


def _unfolded(response: httpx.Response) -> Iterator[bytes]:
    """Decode a body in pieces of bounded size; raises ProtocolError if it is invalid or truncated.

    Each chunk from the network yields a piece, perhaps empty, so that the caller can check the clock.
    """
    if _encoding(response) not in _FOLDED:
        yield from response.iter_raw()
        return
    host, decoder, begun = response.url.host, zlib.decompressobj(zlib.MAX_WBITS | 32), False  # gzip or zlib, detected
    try:
        for chunk in response.iter_raw():
            begun = True
            if decoder.eof:
                yield b""
            while not decoder.eof:
                yield (piece := decoder.decompress(chunk, _UNFOLDED))
                chunk = decoder.unconsumed_tail
                if not chunk and len(piece) < _UNFOLDED:
                    break
    except zlib.error as error:
        raise ProtocolError(f"{host} sent a body that cannot be decoded") from error
    if begun and not decoder.eof:
        raise ProtocolError(f"{host} sent an encoded body that is cut off")
