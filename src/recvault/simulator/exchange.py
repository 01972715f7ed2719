"""A request and its answer, before any byte is sent."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from recvault.simulator.media import Media

_RANGE = re.compile(r"bytes=(?=.*\d)(\d*)-(\d*)")

Dialect = Literal["json", "xml", "telnyx", "s3", "plain"]
Kind = Literal["list", "instance", "media", "delete", "other"]


@dataclass(frozen=True)
class Request:
    """A request as received. Header names are in lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes = b""

    @cached_property
    def params(self) -> list[tuple[str, str]]:
        return parse_qsl(self.query, keep_blank_values=True)

    def param(self, name: str) -> str | None:
        """Return a parameter's value; the last one if it is repeated."""
        return next((value for key, value in reversed(self.params) if key == name), None)

    @property
    def target(self) -> str:
        return f"{self.path}?{self.query}" if self.query else self.path


@dataclass(slots=True, kw_only=True)
class SimulatedReply:
    """An answer: a complete body, or media to stream."""

    status: int = 200
    content_type: str = "application/json"
    body: bytes = b""
    media: Media | None = None
    start: int = 0  # offset in the media, if Range requested a part
    stop: int | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)
    chunked: bool = False
    provable: bool = True  # whether a client can notice a silently truncated body
    next_link: tuple[str, str] | None = None  # this page's own and next link, as written in the body

    @property
    def length(self) -> int:
        if self.media is None:
            return len(self.body)
        return (self.media.length if self.stop is None else self.stop) - self.start


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request leads: the format of its errors, its kind, and how to answer it."""

    dialect: Dialect
    kind: Kind
    respond: Callable[[], SimulatedReply]


class Refusal(Exception):
    """Raised to answer with this reply instead."""

    def __init__(self, reply: SimulatedReply) -> None:
        super().__init__(reply.status)
        self.reply = reply


def json_reply(document: Any, status: int = 200) -> SimulatedReply:
    return SimulatedReply(status=status, body=json.dumps(document, separators=(",", ":")).encode())


def xml_reply(text: str, status: int = 200) -> SimulatedReply:
    return SimulatedReply(status=status, content_type="application/xml", body=f'<?xml version="1.0"?>\n{text}'.encode())


def error(dialect: Dialect, status: int, code: int | str, message: str) -> SimulatedReply:
    """Return an error in the service's format."""
    more = f"https://www.twilio.com/docs/errors/{code}"
    if dialect == "json":
        return json_reply({"code": code, "message": message, "more_info": more, "status": status}, status)
    if dialect == "telnyx":
        return json_reply({"errors": [{"code": str(code), "title": message, "detail": message}]}, status)
    if dialect == "plain":
        return json_reply({"error": message}, status)
    if dialect == "s3":
        return xml_reply(f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>", status)
    return xml_reply(
        f"<TwilioResponse><RestException><Code>{code}</Code><Message>{escape(message)}</Message>"
        f"<MoreInfo>{more}</MoreInfo><Status>{status}</Status></RestException></TwilioResponse>",
        status,
    )


def refuse(dialect: Dialect, status: int, code: int | str, message: str) -> Refusal:
    return Refusal(error(dialect, status, code, message))


def media_reply(
    request: Request, media: Media, *, ranged: bool, chunked: bool = False, etag: str = ""
) -> SimulatedReply:
    """Serve media, or the part that Range requests if the service supports it."""
    reply = SimulatedReply(media=media, content_type=media.content_type, chunked=chunked)
    if not ranged:
        return reply
    reply.headers += [("Accept-Ranges", "bytes"), *([("ETag", etag)] if etag else [])]
    wanted = _RANGE.fullmatch(request.headers.get("range", ""))
    if wanted is None or request.headers.get("if-range", etag) != etag:
        return reply
    first, last = wanted.groups()
    start = int(first) if first else max(0, media.length - int(last or 0))
    stop = min(media.length, int(last) + 1) if first and last else media.length
    if start >= media.length or stop <= start:
        reply = error("s3", 416, "InvalidRange", "The requested range is not satisfiable")
        reply.headers.append(("Content-Range", f"bytes */{media.length}"))
        return reply
    reply.status, reply.start, reply.stop, reply.chunked = 206, start, stop, False
    reply.headers.append(("Content-Range", f"bytes {start}-{stop - 1}/{media.length}"))
    return reply
