"""Serve media by ranges, and log who listened to what.

Invariant: the first bytes of a medium that a card asks for are sent only after the event `browse.listened` is logged,
with who, when and which recording: once for each opening of a card, however many ranges its player asks for. Opening a
card asks for no media.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from recvault.browse.holdings import Holdings
from recvault.log.lines import get_logger
from recvault.media import CONTENT_TYPES

log = get_logger("recvault.browse")
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_REMEMBERED = 10_000
_ANY = "application/octet-stream"
_BY_BROWSERS = ("pcm_", "mp3", "opus", "vorbis", "aac", "flac")  # codecs, by their beginning


class Listens:
    """What was logged, so that a card's listen is logged once. Thread-safe."""

    def __init__(self, who: str) -> None:
        self.who = who
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._lock = threading.Lock()

    def log(self, event: str, row: Mapping[str, Any], **more: Any) -> None:
        """Log an event of a recording, with who caused it; the time is the line's."""
        names = ("provider", "account_id", "recording_id", "source")
        log.info(event, who=self.who, **{name: row[name] for name in names}, **more)

    def listened(self, row: Mapping[str, Any], medium: Mapping[str, Any], card: str) -> None:
        """Log a listen, unless this opening of the card has one."""
        with self._lock:
            if card and (card, medium["key"]) in self._seen:
                return
            self._seen[card, medium["key"]] = None
            if len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
        self.log("browse.listened", row, media_format=medium["media_format"], sha256=medium["sha256"])


def plays(row: Mapping[str, Any], medium: Mapping[str, Any]) -> bool:
    """Whether a browser may be able to play it."""
    codec = medium.get("codec") or row.get("media_codec") or ""
    return not row["encrypted"] and (not codec or codec.startswith(_BY_BROWSERS))


def respond(request: Request, holdings: Holdings, listens: Listens, row: Mapping[str, Any], number: int) -> Response:
    """Send a medium, or a range of it; logged as a listen, or as a download if one is asked for."""
    medium = row["media"][number]
    size, headers = medium["bytes"], {"accept-ranges": "bytes"}
    try:
        start, end, status = _range(request.headers.get("range", ""), size)
    except ValueError:
        return Response("No such range.\n", 416, {**headers, "content-range": f"bytes */{size}"})
    headers["content-length"] = str(end - start)
    if status == 206:
        headers["content-range"] = f"bytes {start}-{end - 1}/{size}"
    is_download = "download" in request.query_params
    kind = _ANY if is_download else CONTENT_TYPES.get(medium["media_format"], _ANY)
    if is_download:
        headers["content-disposition"] = attachment(medium["key"].rpartition("/")[2])
    if request.method == "HEAD":
        return Response(None, status, headers, kind)
    pieces = holdings.pieces(medium["key"], start, end)
    first = next(pieces, b"")  # raises before anything is sent
    if is_download:
        listens.log("browse.downloaded", row, media_format=medium["media_format"], sha256=medium["sha256"])
    else:
        listens.listened(row, medium, request.query_params.get("card", ""))
    body: Iterable[bytes] = chain([first], pieces)
    return StreamingResponse(body, status, headers, kind)


def attachment(name: str) -> str:
    """Return the header that saves a response under a name."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _range(asked: str, size: int) -> tuple[int, int, int]:
    """Return first byte, the one behind the last, and the status. ValueError if there is no such range.

    A header that is none, has several ranges, or one whose last byte is before its first is ignored (RFC 9110, 14.2).
    """
    found = _RANGE.fullmatch(asked.strip())
    first, last = found.groups() if found else ("", "")
    if not (first or last) or (first and last and int(last) < int(first)):
        return 0, size, 200
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
    if start >= end:
        raise ValueError(asked)
    return start, end, 206
