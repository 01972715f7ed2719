"""How rows store a recording: the media of a receipt in short form, and listed facts in a table of their own.

There are millions of rows, so they are stored short, without loss. A medium's key is omitted if it is the sidecar's
with another ending, and its fields have no names. What was requested follows them, if known; rows of an earlier
version end before it, and still earlier ones hold JSON objects. All forms are read.

The listed facts of a recording that is not archived are in a separate table, so that their space is reused. In the
row, each would leave a hole when it is archived, in all two thirds of the file, as SQLite frees only whole pages.
Once a recording is archived its sidecar has them, and a trigger deletes them here. An earlier version stored them in
the row: the view `told` reads both.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import zip_longest
from operator import attrgetter
from typing import Any

from recvault.ledger.database import Database
from recvault.models import JSON, Check, MediaObject, Receipt, Requested

_CHECK = ("status", "method", "reason")
_FIELDS = ("media_format", "bytes", "sha256", "content_type", "codec", "sample_rate", "channels", "duration_seconds")
_KNOWN = len(_FIELDS) + len(_CHECK)  # values that every medium has
_VALUES = attrgetter(*_FIELDS, *(f"check.{name}" for name in _CHECK))
_ASKED = ("media_format", "channels", "refused")
_ASKED_VALUES = attrgetter(*_ASKED)
_COMPACT = json.JSONEncoder(separators=(",", ":"))  # json.dumps builds one at each call


def shorten(receipt: Receipt) -> str:
    """Return the short form of a receipt's media."""
    return _COMPACT.encode([_short(medium, receipt.sidecar_key) for medium in receipt.media])


def whole(text: str, sidecar_key: str) -> list[JSON]:
    """Return the media of a row with the names and structure of MediaObject's fields."""
    return [
        {"requested": None, **each} if isinstance(each, dict) else _long(each, sidecar_key) for each in json.loads(text)
    ]


def media_of(text: str, sidecar_key: str) -> tuple[MediaObject, ...]:
    """Return the media of a row as values."""
    return tuple(
        MediaObject(
            **{
                **each,
                "check": Check(**each["check"]),
                "requested": Requested(**each["requested"]) if each["requested"] else None,
            }
        )
        for each in whole(text, sidecar_key)
    )


def _short(medium: MediaObject, sidecar_key: str) -> list[object]:
    key = None if medium.key == _beside(sidecar_key, medium.media_format) else medium.key
    short = [key, *_VALUES(medium)]
    if medium.requested is not None:
        asked = [*_ASKED_VALUES(medium.requested)]
        if asked[0] == medium.media_format:
            asked[0] = None  # true for nearly all
        while asked and asked[-1] is None:
            asked.pop()
        short.append(asked)
    return short


def _long(short: list[Any], sidecar_key: str) -> JSON:
    key, *values = short
    document = dict(zip(_FIELDS, values, strict=False))
    check = dict(zip(_CHECK, values[len(_FIELDS) : _KNOWN], strict=True))
    media_format = str(document["media_format"])
    requested = _long_asked(values[_KNOWN:], media_format)
    return {"key": key or _beside(sidecar_key, media_format), **document, "check": check, "requested": requested}


def _long_asked(rest: list[Any], media_format: str) -> JSON | None:
    """Return what was requested; None if the row does not say."""
    if not rest:
        return None
    said = dict(zip_longest(_ASKED, rest[0]))
    return {**said, "media_format": said["media_format"] or media_format}


def _beside(sidecar_key: str, ending: str) -> str:
    return f"{sidecar_key.rpartition('.')[0]}.{ending}"


def storable(text: str | None) -> str | None:
    """Return a provider's text as SQLite takes it: without lone surrogates."""
    return text and text.encode("utf-8", "replace").decode()


_KEEP_LISTED = "INSERT INTO listed VALUES (?, ?) ON CONFLICT DO UPDATE SET recording=excluded.recording"


def keep_listed(db: Database, told: Iterable[tuple[int, str]]) -> None:
    """Store the listed facts of these rows, replacing earlier ones; inside a transaction."""
    db.conn.executemany(_KEEP_LISTED, told)
