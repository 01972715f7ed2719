"""The media of a receipt as an archived row holds them: short, for there are millions, and nothing of it is lost.

A medium's key is left out where it is the sidecar's with another ending, and its fields have no names. Rows of an
earlier version hold whole JSON objects: both are read.
"""

from __future__ import annotations

import json
from operator import attrgetter

from recvault.models import JSON, MediaObject, Receipt

_CHECK = ("status", "method", "reason")
_FIELDS = ("media_format", "bytes", "sha256", "content_type", "codec", "sample_rate", "channels", "duration_seconds")
_VALUES = attrgetter(*_FIELDS, *(f"check.{name}" for name in _CHECK))
_COMPACT = json.JSONEncoder(separators=(",", ":"))  # json.dumps makes one each time


def shorten(receipt: Receipt) -> str:
    """What is written down of a receipt's media."""
    return _COMPACT.encode([_short(medium, receipt.sidecar_key) for medium in receipt.media])


def whole(text: str, sidecar_key: str) -> list[JSON]:
    """The media of a row, with the names and the form of MediaObject's fields."""
    return [each if isinstance(each, dict) else _long(each, sidecar_key) for each in json.loads(text)]


def _short(medium: MediaObject, sidecar_key: str) -> list[object]:
    key = None if medium.key == _beside(sidecar_key, medium.media_format) else medium.key
    return [key, *_VALUES(medium)]


def _long(short: list[object], sidecar_key: str) -> JSON:
    key, *values = short
    document = dict(zip(_FIELDS, values, strict=False))
    check = dict(zip(_CHECK, values[len(_FIELDS) :], strict=True))
    return {"key": key or _beside(sidecar_key, str(document["media_format"])), **document, "check": check}


def _beside(sidecar_key: str, ending: str) -> str:
    return f"{sidecar_key.rpartition('.')[0]}.{ending}"
