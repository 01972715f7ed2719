"""The sidecar: written last, read first. The only module that writes and reads its document.

The sidecar is the commit: if it exists, all media that it names are durable, with the size and SHA-256 it names. Within
v1, fields are only added. Readers read the sidecar first and the media second.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import resources
from typing import Any, ParamSpec, TypeVar

from recvault import __version__
from recvault.archive.layout import SCHEMA
from recvault.archive.schema_check import Fault, Shape
from recvault.models import (
    JSON,
    Check,
    Earlier,
    MediaObject,
    MissingFormat,
    Phase,
    Receipt,
    Recording,
    Requested,
    stamp,
    unstamp,
)

SIDECAR_TYPE = "application/json"
_FACTS = (
    *("call_id", "conference_id", "room_id", "participant_id", "leg_id", "session_id"),
    *("duration_seconds", "channels", "track", "encryption"),
)
"""Facts of a recording that never change once they are known."""
_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))  # json.dumps builds one at each call

P = ParamSpec("P")
T = TypeVar("T")


def _held(read: Callable[P, T]) -> Callable[P, T]:
    """Raise ValueError if the document lacks a field or a value has the wrong type."""

    @functools.wraps(read)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return read(*args, **kwargs)
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"it is not a complete sidecar: {error}") from error

    return checked


def _kept(value: Any, kind: type[T], name: str) -> T:
    if type(value) is not kind:
        raise TypeError(f"{name} is not {kind.__name__}")
    return value


def sidecar_bytes(
    receipt: Receipt,
    *,
    attempts: int,
    fetched_from: str | None,
    formats_wanted: Iterable[str],
    call: JSON | None = None,
    adopted: JSON | None = None,
) -> bytes:
    """Encode a recording's sidecar: one JSON document on one line, so that query engines can read it directly.

    `call`: the facts of its call; unknown, the sidecar has no such field. `adopted`: where its media were before, and
    how they were proven, if they were not fetched from the provider.
    """
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
            **({} if adopted is None else {"adopted": adopted}),
        },
        **({} if call is None else {"call": call}),
        "raw": recording.raw,
    }
    if not recording.raw:  # no provider's row is empty: this one was not read
        document["archive"] |= _restored(document)
    return _COMPACT.encode(document).encode("utf-8", "backslashreplace") + b"\n"


def _restored(document: JSON) -> JSON:
    """Mark a lost sidecar that was rewritten from the ledger, which does not know all its fields."""
    unknown = [name for name, value in document.items() if value is None]
    if "call" not in document:  # the lost one may have had it
        unknown.append("call")
    return {"restored_from": "ledger", "unknown": [*unknown, "raw"]}


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A sidecar as read. Its properties raise ValueError if their field is missing or invalid; check `fault` before."""

    document: Any  # unchanged: to be shown, and for the schema
    sha256: str  # hex; of its bytes

    @classmethod
    def read(cls, body: bytes) -> Sidecar:
        """Read any JSON document. Raises ValueError if it is not JSON."""
        try:
            return cls(json.loads(body), hashlib.sha256(body).hexdigest())
        except (ValueError, RecursionError) as error:
            raise ValueError(f"it is not JSON: {error}") from error

    @property
    def fault(self) -> Fault | None:
        """The first fault against the schema of sidecar v1; None if it is valid."""
        return _shape().fault(self.document)

    @property
    def is_v1(self) -> bool:
        """Whether its `schema` says that it is a sidecar v1."""
        return isinstance(self.document, dict) and self.document.get("schema") == SCHEMA

    @property
    @_held
    def identity(self) -> tuple[str, str, str]:
        """The identity of its recording."""
        provider, account_id, recording_id = (self._text(name) for name in ("provider", "account_id", "recording_id"))
        return (provider, account_id, recording_id)

    @property
    @_held
    def source(self) -> str:
        """The configured source that archived it."""
        return self._text("source")

    @property
    @_held
    def media(self) -> tuple[MediaObject, ...]:
        """The media that it names."""
        return tuple(_read_medium(medium) for medium in self.document["media"])

    @property
    @_held
    def archived_at(self) -> datetime:
        """When this edition of the recording was first archived."""
        return _moment(self.document["archive"]["archived_at"])

    @property
    @_held
    def attempts(self) -> int:
        """How many attempts the recording took."""
        return int(self.document["archive"]["attempts"])

    @property
    @_held
    def encryption(self) -> JSON | None:
        """What a holder of the private key needs; None if the media are not encrypted."""
        encryption = self.document["encryption"]
        return None if encryption is None else dict(encryption)

    @property
    def has_call(self) -> bool:
        """Whether it holds the facts of its call."""
        return isinstance(self.document, dict) and self.document.get("call") is not None

    @property
    @_held
    def unknown(self) -> frozenset[str]:
        """The fields whose values are unknown, in a restored sidecar."""
        return frozenset(self.document["archive"].get("unknown", ()))

    @property
    @_held
    def is_restored(self) -> bool:
        """Whether it was lost and rewritten from the ledger."""
        return "restored_from" in self.document["archive"]

    @property
    @_held
    def is_sampled(self) -> bool:
        """Whether a medium came from elsewhere, and not all of its bytes were compared with the provider's."""
        adopted = self.document["archive"].get("adopted")
        return adopted is not None and any(each["method"] != "whole" for each in adopted["proof"])

    @property
    @_held
    def formats_wanted(self) -> frozenset[str]:
        """The formats that the configuration asked for when it was archived."""
        return frozenset(self.document["archive"].get("formats_wanted", ()))

    @property
    @_held
    def lacks_formats(self) -> bool:
        """Whether a wanted format was given up."""
        return bool(self.document["archive"].get("formats_missing"))

    @property
    @_held
    def recording(self) -> Recording:
        """Its recording, with the fields that an archived row of the ledger has."""
        provider, account_id, recording_id = self.identity
        return Recording(
            provider=provider,
            api=self._text("api"),
            account_id=account_id,
            recording_id=recording_id,
            created_at=_moment(self.document["created_at"]),
            status=self.document["status"],
            phase=Phase.COMPLETE,
            formats=tuple(each.media_format for each in self.media),
            call_id=call_id if isinstance(call_id := self.document.get("call_id"), str) else None,
        )

    @property
    @_held
    def listed(self) -> Recording:
        """Its recording, with the provider's row, its room and its participant."""
        names = ("room_id", "participant_id")
        ids: JSON = {name: found if isinstance(found := self.document.get(name), str) else None for name in names}
        return replace(self.recording, raw=dict(self.document["raw"]), **ids)

    @_held
    def receipt(self, recording: Recording, sidecar_key: str) -> Receipt:
        """Return the commit as a receipt. Raises ValueError if it is not a v1 sidecar of this recording."""
        if not self.is_v1:
            raise ValueError(f"{sidecar_key} is not a {SCHEMA} document")
        if self.identity != recording.identity:
            raise ValueError(f"{sidecar_key} belongs to another recording: {self.identity}")
        return Receipt(
            source=self.source,
            recording=recording,
            sidecar_key=sidecar_key,
            media=self.media,
            archived_at=self.archived_at,
            already_archived=True,
            sidecar_sha256=self.sha256,
            has_call=self.has_call,
            **_read_beside(self.document["archive"]),
        )

    @_held
    def contradicts(self, recording: Recording) -> bool:
        """Whether its date or a lasting fact differs from the provider's current row."""
        if _moment(self.document["created_at"]) != recording.created_at:
            return True
        told = ((self.document.get(name), getattr(recording, name)) for name in _FACTS)
        return any(theirs is not None and ours is not None and theirs != ours for theirs, ours in told)

    def _text(self, name: str) -> str:
        return _kept(self.document[name], str, name)


def _beside(receipt: Receipt) -> JSON:
    """Return the rare fields of a receipt."""
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
    """Read the rare fields as those of a receipt."""
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


@functools.cache
def _shape() -> Shape:
    return Shape(json.loads(schema_bytes()))


def schema_bytes() -> bytes:
    """Return the JSON Schema of sidecar v1, stored at `schemas/sidecar-v1.json` in the bucket."""
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
        key=_kept(document["key"], str, "key"),
        media_format=_kept(document["media_format"], str, "media_format"),
        bytes=int(document["bytes"]),
        sha256=_kept(document["sha256"], str, "sha256"),
        content_type=document["content_type"],
        codec=document.get("codec"),
        sample_rate=document.get("sample_rate"),
        channels=document.get("channels"),
        duration_seconds=document.get("duration_seconds"),
        check=Check(status=check["status"], method=check["method"], reason=check.get("reason")),
        requested=_read_requested(document.get("requested")),
    )


def _moment(text: str) -> datetime:
    moment = unstamp(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} does not say which zone it is in")
    return moment.astimezone(UTC)


def _iso(moment: datetime | None) -> str | None:
    """Format as ISO 8601 UTC with Z, in whole seconds if there is no fraction."""
    return None if moment is None else stamp(moment).replace(".000000Z", "Z")
