"""Send an answer over the wire: complete, or with a transport fault."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus

from recvault.simulator.exchange import SimulatedReply
from recvault.simulator.faults import Shot
from recvault.simulator.wire import Wire

_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_FLUSH = 1 << 18
_DRIPS = 10  # at least, else four a second


@dataclass(frozen=True, slots=True)
class Framing:
    """What the head claims and what is really sent."""

    claimed: int | None  # Content-Length; None: none
    sent: int
    chunked: bool = False
    close: bool = False


def framing(reply: SimulatedReply, shot: Shot | None) -> Framing:
    """Return the true framing, or one changed by a fault."""
    length = reply.length
    if shot is None or shot.name not in {"reset", "stall", "truncate", "truncate_silent", "wrong_length"}:
        return Framing(None if reply.chunked else length, length, chunked=reply.chunked)
    cut = min(length - 1, int(length * (0.2 + 0.7 * shot.draw))) if length else 0
    if shot.name == "truncate_silent":
        return Framing(None, cut, chunked=shot.draw < 0.5, close=True)
    if shot.name == "wrong_length":
        return Framing(length + 1000 if shot.draw < 0.5 else cut, length, close=True)
    return Framing(None if reply.chunked else length, cut, chunked=reply.chunked, close=True)


def deliver(
    wire: Wire,
    reply: SimulatedReply,
    shot: Shot | None,
    headers: list[tuple[str, str]],
    *,
    close: bool,
    stall: float,
    slow: float,
) -> bool:
    """Send the answer; return False if the connection must close."""
    name = shot.name if shot else ""
    frame = framing(reply, shot)
    if shot and name in {"reset", "stall"} and (shot.draw < 0.5 or not reply.length):
        # Half of them, and all answers without a body, break off before any byte.
        if name == "reset":
            wire.reset()
        else:
            wire.pause(stall)
        return False
    close = close or frame.close
    head = _head(reply, frame, headers, close)
    pieces = _pieces(reply, frame.sent)
    if frame.chunked:
        # A fault that clients must be able to notice leaves out the last chunk.
        pieces = _chunked(pieces, ends=name not in {"reset", "stall", "truncate"})
    if name == "slow":
        _drip(wire, head, pieces, frame.sent, slow)
    else:
        _send(wire, head, pieces)
    if name == "stall":
        wire.pause(stall)
    if name == "reset":
        wire.reset()
    return not close


def _head(reply: SimulatedReply, frame: Framing, headers: list[tuple[str, str]], close: bool) -> bytes:
    lines = [f"HTTP/1.1 {reply.status} {_PHRASES.get(reply.status, '')}"]
    lines += [f"{name}: {value}" for name, value in (*headers, *reply.headers)]
    if reply.content_type:
        lines.append(f"Content-Type: {reply.content_type}")
    if frame.chunked:
        lines.append("Transfer-Encoding: chunked")
    elif frame.claimed is not None and reply.status != 204:
        lines.append(f"Content-Length: {frame.claimed}")
    lines.append("Connection: close\r\n\r\n" if close else "Connection: keep-alive\r\n\r\n")
    return "\r\n".join(lines).encode("latin-1")


def _pieces(reply: SimulatedReply, count: int) -> Iterator[bytes]:
    if reply.media is None:
        return iter((reply.body[:count],))
    return reply.media.chunks(reply.start, reply.start + count)


def _chunked(pieces: Iterator[bytes], *, ends: bool) -> Iterator[bytes]:
    for piece in pieces:
        if piece:
            yield f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
    if ends:
        yield b"0\r\n\r\n"


def _send(wire: Wire, head: bytes, pieces: Iterator[bytes]) -> None:
    """Send the head together with as much of the body as fits one write."""
    pending, size = [head], 0
    for piece in pieces:
        pending.append(piece)
        size += len(piece)
        if size >= _FLUSH:
            wire.send(b"".join(pending))
            pending, size = [], 0
    if pending:
        wire.send(b"".join(pending))


def _drip(wire: Wire, head: bytes, pieces: Iterator[bytes], length: int, seconds: float) -> None:
    wire.send(head)
    drop = max(1, -(-length // max(_DRIPS, round(4 * seconds))))
    for piece in pieces:
        for start in range(0, len(piece), drop):
            part = piece[start : start + drop]
            wire.send(part)
            wire.pause(seconds * len(part) / max(1, length))
