"""The bucket's contract: object keys, the sidecar, and the metadata that each object carries.

Invariant: keys depend on the recording alone; two recordings never share a key, whatever their ids contain.

    recordings/provider=twilio/account=AC…/date=2026-10-01/RE….wav     media, write-once
    recordings/provider=twilio/account=AC…/date=2026-10-01/RE….json    sidecar, written last
    recordings/provider=twilio/account=AC…/date=2026-10-01/RE…~2.wav   a second edition, where its first key is taken
    recordings/provider=twilio/account=AC…/date=2026-10-01/RE…~2.json  its sidecar, which names what it stands beside
    schemas/sidecar-v1.json                                            what every sidecar meets

The sidecar is the commit: where it stands, all media that it names are durable, with the size and SHA-256 it names.
Within v1 changes only add. Readers read the sidecar first and the media second.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from string import Formatter
from typing import Any
from urllib.parse import unquote

from recvault import __version__
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
from recvault.shape import Fault, Shape

SCHEMA = "recvault/sidecar/v1"
SCHEMA_KEY = "schemas/sidecar-v1.json"
SIDECAR_TYPE = "application/json"
DEFAULT_TEMPLATE = "recordings/provider={provider}/account={account}/date={date}/{recording_id}.{ext}"

_FIELDS = frozenset({"provider", "account", "date", "recording_id", "ext"})
RESERVED = ("catalog/", "manifests/", "schemas/")  # where no recording stands
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]|^\.")
_SEPARATOR = re.compile(r"[^A-Za-z0-9_.%~-]")  # a character that no escaped value holds
# What `escape` writes: a ~ stands in it behind a % alone, so that an edition's own ~ is never a part of it.
_ESCAPED = r"(?:[A-Za-z0-9_.-]|%(?:~[0-9a-f]{64})?)+"
_EDITION = r"(?:~(?P<edition>[2-9]|[1-9][0-9]))?"
_FORMS = {"date": r"\d{4}-\d{2}-\d{2}", "ext": r"[a-z0-9]+"}
_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))  # json.dumps makes one each time
EDITIONS = range(1, 100)
_LONGEST = 200  # of an escaped value; three of them stay well within S3's 1,024 bytes a key


@functools.lru_cache(maxsize=1024)  # each name is written four times for a recording, an account for all of its own
def escape(text: str) -> str:
    """Write any text as one safe path segment, injectively: `%XX` per unsafe byte, as Hive partitions do.

    A value too long for a key ends in its SHA-256 behind `%~`, which no other escaped value holds.
    """
    escaped = _UNSAFE.sub(
        lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass")), text
    )
    if not escaped:
        return "%"
    if len(escaped) > _LONGEST:
        return f"{escaped[:100]}%~{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"
    return escaped


def unescape(segment: str) -> str | None:
    """What `escape` wrote; None for a value that was too long to stand in a key whole."""
    if "%~" in segment:
        return None
    return "" if segment == "%" else unquote(segment, errors="surrogatepass")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyParts:
    """What a key says of its object: as escaped in it. `stem` is the key without the ending, one for an edition."""

    provider: str
    account: str
    date: str | None  # None: the template names none
    recording_id: str
    ext: str
    stem: str
    edition: int = 1

    @property
    def is_sidecar(self) -> bool:
        return self.ext == "json"

    @property
    def sidecar_key(self) -> str:
        return f"{self.stem}.json"


class KeyTemplate:
    """A key template that is proven injective over (provider, account, recording id) when it is made.

    Raises ValueError, with the reason in words, for a template that could give two recordings one key.
    """

    def __init__(self, template: str = DEFAULT_TEMPLATE, prefix: str = "") -> None:
        self.template = template
        self._prefix = f"{prefix}/" if prefix else ""
        self._check()
        self._form = self._written_as()

    def __repr__(self) -> str:
        return f"KeyTemplate({self.template!r})"

    def __call__(self, recording: Recording, ext: str, edition: int = 1) -> str:
        """The whole key of a recording's medium (`wav`, `mp3`, `mka`, `mkv`) or sidecar (`json`).

        What stands under a key is never replaced: what comes later, or finds its key taken, is a further edition.
        """
        stem = self.template.removesuffix(".{ext}").format(
            provider=escape(recording.provider),
            account=escape(recording.account_id),
            date=stamp(recording.created_at)[:10],
            recording_id=escape(recording.recording_id),
        )
        return f"{self._prefix}{stem}{f'~{edition}' if edition > 1 else ''}.{ext}"

    @property
    def prefix(self) -> str:
        """What everything in the bucket stands under: empty, or ending in a slash."""
        return self._prefix

    @property
    def schema_key(self) -> str:
        """Where the sidecar's schema stands."""
        return self._prefix + SCHEMA_KEY

    @property
    def root(self) -> str:
        """What every key of a recording begins with."""
        return self._prefix + self.template.partition("{")[0]

    def read(self, key: str) -> KeyParts | None:
        """What a key of a recording says; None for any other key."""
        found = self._form.fullmatch(key)
        if found is None:
            return None
        parts: dict[str, Any] = {"date": None, **found.groupdict()}
        edition = int(parts.pop("edition") or 1)
        return KeyParts(**parts, edition=edition, stem=key.rpartition(".")[0])

    def is_of(self, recording: Recording, key: str) -> bool:
        """Whether a key is one of this recording's, in any edition."""
        parts = self.read(key)
        return parts is not None and self(recording, parts.ext, parts.edition) == key

    def beginning(self, **known: str) -> tuple[str, str | None]:
        """What every key begins with whose escaped `known` fields are these, and the field that follows it."""
        begun = self._prefix
        for literal, name, _, _ in Formatter().parse(self.template):
            begun += literal
            if name is None or name not in known:
                return begun, name
            begun += known[name]
        return begun, None

    def _written_as(self) -> re.Pattern[str]:
        """The form of its keys. Each field is told from the next, or the template would not be injective."""
        form = re.escape(self._prefix)
        for literal, name, _, _ in Formatter().parse(self.template):
            form += re.escape(literal.removesuffix(".") if name == "ext" else literal)
            if name == "ext":
                form += rf"{_EDITION}\."
            if name is not None:
                form += f"(?P<{name}>{_FORMS.get(name, _ESCAPED)})"
        return re.compile(form)

    def _check(self) -> None:
        try:
            parts = list(Formatter().parse(self.template))
        except ValueError as error:
            raise ValueError(f"is not a template: {error}") from error
        names = [name for _, name, _, _ in parts if name is not None]
        for _, name, spec, conversion in parts:
            if name is not None and (name not in _FIELDS or spec or conversion):
                raise ValueError(f"{{{name}}} is not one of {', '.join(sorted(f'{{{known}}}' for known in _FIELDS))}")
        for needed in ("provider", "account", "recording_id", "ext"):
            if names.count(needed) != 1:
                raise ValueError(f"must hold {{{needed}}} once, or two recordings could share a key")
        if not self.template.endswith(".{ext}"):
            raise ValueError("must end in .{ext}")
        for literal, name, _, _ in parts[1:]:
            if name not in (None, "ext") and not _SEPARATOR.search(literal):
                raise ValueError(
                    f"needs a separator such as / or = before {{{name}}}, or two recordings could share a key"
                )
        if self.template.startswith(("/", *RESERVED)) or ".." in self.template or "//" in self.template:
            raise ValueError(f"must not start with / or {', '.join(RESERVED)}, nor hold .. or //")


def object_metadata(recording: Recording, sha256: str) -> dict[str, str]:
    """The metadata of a recording's object: ASCII only, no personal facts."""
    return {
        "sha256": sha256,
        "recording-id": escape(recording.recording_id),
        "provider": escape(recording.provider),
        "schema": SCHEMA,
    }


def sidecar(receipt: Receipt, *, attempts: int, fetched_from: str | None, formats_wanted: Iterable[str]) -> bytes:
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
    return resources.files("recvault").joinpath("schemas/sidecar-v1.json").read_bytes()


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
