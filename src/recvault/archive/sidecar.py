"""The sidecar: written last, read first. The one place where its document is made and taken apart.

The sidecar is the commit: where it stands, all media that it names are durable, with the size and SHA-256 it names.
Within v1 changes only add. Readers read the sidecar first and the media second.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable
from datetime import datetime
from importlib import resources
from typing import Any

from recvault import __version__
from recvault.archive.layout import SCHEMA
from recvault.archive.schema_check import Fault, Shape
from recvault.models import (
    JSON,
    Check,
    Earlier,
    MediaObject,
    MissingFormat,
    Receipt,
    Recording,
    Requested,
    stamp,
    unstamp,
)

SIDECAR_TYPE = "application/json"
_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))  # json.dumps makes one each time


def sidecar_bytes(receipt: Receipt, *, attempts: int, fetched_from: str | None, formats_wanted: Iterable[str]) -> bytes:
    """The sidecar of a recording: one JSON document on one line, so that query engines read it as it is."""
    recording = receipt.recording
    document: JSON = {
        "schema": SCHEMA,
        "provider": recording.provider,
        "api": recording.api,
        "account_id": recording.account_id,
        "source": receipt.source,
        "recording_id": recording.recording_id,
        "call_id": recording.call_id,
        "conference_id": recording.conference_id,
        "room_id": recording.room_id,
        "participant_id": recording.participant_id,
        "leg_id": recording.leg_id,
        "session_id": recording.session_id,
        "status": recording.status,
        "created_at": _iso(recording.created_at),
        "started_at": _iso(recording.started_at),
        "ended_at": _iso(recording.ended_at),
        "duration_seconds": recording.duration_seconds,
        "channels": recording.channels,
        "recorded_by": recording.recorded_by,
        "track": recording.track,
        "price": recording.price,
        "price_unit": recording.price_unit,
        "media": [_medium(medium) for medium in receipt.media],
        "encryption": recording.encryption,
        "archive": {
            "archived_at": _iso(receipt.archived_at),
            "version": __version__,
            "fetched_from": fetched_from,
            "attempts": attempts,
            "formats_wanted": list(formats_wanted),
            **_beside(receipt),
        },
        "raw": recording.raw,
    }
    if not recording.raw:  # each provider's row says something: this one was not read
        document["archive"] |= _restored(document)
    return _COMPACT.encode(document).encode("utf-8", "backslashreplace") + b"\n"


def _restored(document: JSON) -> JSON:
    """That a sidecar was lost, and written anew from the ledger alone, which does not know all that stood in it."""
    unknown = [name for name, value in document.items() if value is None]
    return {"restored_from": "ledger", "unknown": [*unknown, "raw"]}


def read_sidecar(body: bytes, *, recording: Recording, sidecar_key: str) -> Receipt:
    """Read a commit back as a receipt. ValueError where it is no sidecar v1 of this very recording."""
    document = json.loads(body)
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ValueError(f"{sidecar_key} is not a {SCHEMA} document")
    identity = (document.get("provider"), document.get("account_id"), document.get("recording_id"))
    if identity != recording.identity:
        raise ValueError(f"{sidecar_key} names another recording: {identity}")
    try:
        return Receipt(
            source=document["source"],
            recording=recording,
            sidecar_key=sidecar_key,
            media=tuple(_read_medium(medium) for medium in document["media"]),
            archived_at=unstamp(document["archive"]["archived_at"]),
            already_archived=True,
            sidecar_sha256=hashlib.sha256(body).hexdigest(),
            **_read_beside(document["archive"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{sidecar_key} lacks what a sidecar holds: {error}") from error


def _beside(receipt: Receipt) -> JSON:
    """What stands in few sidecars alone."""
    said: JSON = {}
    if receipt.missing:
        said["formats_missing"] = [
            {"media_format": each.media_format, "reason": each.reason} for each in receipt.missing
        ]
    if receipt.taken:
        said["keys_taken"] = list(receipt.taken)
    if (earlier := receipt.earlier) is not None:
        said["earlier"] = {
            "sidecar_key": earlier.sidecar_key,
            "sidecar_sha256": earlier.sidecar_sha256,
            "media_lost": earlier.replaced,
        }
    return said


def _read_beside(said: JSON) -> JSON:
    """The same as fields of a receipt."""
    earlier = said.get("earlier")
    return {
        "missing": tuple(
            MissingFormat(media_format=each["media_format"], reason=each["reason"])
            for each in said.get("formats_missing", ())
        ),
        "taken": tuple(said.get("keys_taken", ())),
        "earlier": Earlier(
            sidecar_key=earlier["sidecar_key"],
            sidecar_sha256=earlier["sidecar_sha256"],
            replaced=earlier.get("media_lost", False),
        )
        if earlier
        else None,
    }


def sidecar_fault(document: Any) -> Fault | None:
    """What in a document does not meet sidecar v1's schema; None where all does."""
    return _shape().fault(document)


@functools.cache
def _shape() -> Shape:
    return Shape(json.loads(schema_bytes()))


def schema_bytes() -> bytes:
    """The JSON Schema of sidecar v1, as it stands at `schemas/sidecar-v1.json` in the bucket."""
    return resources.files("recvault.archive").joinpath("sidecar-v1.json").read_bytes()


def _medium(medium: MediaObject) -> JSON:
    check = {"status": medium.check.status, "method": medium.check.method, "reason": medium.check.reason}
    return {
        "key": medium.key,
        "media_format": medium.media_format,
        "bytes": medium.bytes,
        "sha256": medium.sha256,
        "content_type": medium.content_type,
        "codec": medium.codec,
        "sample_rate": medium.sample_rate,
        "channels": medium.channels,
        "duration_seconds": medium.duration_seconds,
        "checked": check,
        "requested": _requested(medium.requested),
    }


def _requested(requested: Requested | None) -> JSON | None:
    if requested is None:
        return None
    names = ("media_format", "channels", "refused")
    return {name: getattr(requested, name) for name in names}


def _read_requested(document: JSON | None) -> Requested | None:
    if document is None:
        return None
    return Requested(
        media_format=document["media_format"], channels=document.get("channels"), refused=document.get("refused")
    )


def _read_medium(document: JSON) -> MediaObject:
    check = document["checked"]
    return MediaObject(
        key=document["key"],
        media_format=document["media_format"],
        bytes=document["bytes"],
        sha256=document["sha256"],
        content_type=document["content_type"],
        codec=document.get("codec"),
        sample_rate=document.get("sample_rate"),
        channels=document.get("channels"),
        duration_seconds=document.get("duration_seconds"),
        check=Check(status=check["status"], method=check["method"], reason=check.get("reason")),
        requested=_read_requested(document.get("requested")),
    )


def _iso(moment: datetime | None) -> str | None:
    """ISO 8601 UTC with Z: whole seconds where there is no fraction, as readers expect."""
    return None if moment is None else stamp(moment).replace(".000000Z", "Z")
