"""The columns of the catalog's files: name, type, and what each is."""

from __future__ import annotations

import json
from dataclasses import dataclass

MEDIUM = (
    "STRUCT(key VARCHAR, media_format VARCHAR, bytes BIGINT, sha256 VARCHAR, content_type VARCHAR, codec VARCHAR, "
    "sample_rate BIGINT, channels BIGINT, duration_seconds DOUBLE, checked VARCHAR, checked_reason VARCHAR)"
)
_TYPES = {
    "VARCHAR": "string",
    "BIGINT": "integer",
    "DOUBLE": "number",
    "BOOLEAN": "boolean",
    "DATE": "date",
    "TIMESTAMPTZ": "datetime",
    "VARCHAR[]": "array",
    f"{MEDIUM}[]": "array",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its DuckDB type, and a sentence for the catalog's readers."""

    name: str
    type: str
    description: str


SCALARS = (  # of a sidecar, by their own names
    Column("schema", "VARCHAR", "Schema of the sidecar."),
    Column("provider", "VARCHAR", "Telephony service; with account_id and recording_id the recording's identity."),
    Column("api", "VARCHAR", "Wire format that listed it."),
    Column("account_id", "VARCHAR", "The provider's account id."),
    Column("source", "VARCHAR", "Configured source that archived it."),
    Column("recording_id", "VARCHAR", "The provider's id of the recording."),
    Column("call_id", "VARCHAR", "The provider's id of the call."),
    Column("conference_id", "VARCHAR", "The provider's id of the conference."),
    Column("room_id", "VARCHAR", "The provider's id of the room."),
    Column("participant_id", "VARCHAR", "The provider's id of the participant."),
    Column("leg_id", "VARCHAR", "The provider's id of the call leg."),
    Column("session_id", "VARCHAR", "The provider's id of the call session."),
    Column("status", "VARCHAR", "The provider's status, unchanged."),
    Column("created_at", "TIMESTAMPTZ", "When the provider created it."),
    Column("started_at", "TIMESTAMPTZ", "When it began, as the provider says."),
    Column("ended_at", "TIMESTAMPTZ", "When it ended, as the provider says."),
    Column("duration_seconds", "DOUBLE", "Duration, as the provider says."),
    Column("channels", "BIGINT", "Channels, as the provider says."),
    Column("recorded_by", "VARCHAR", "What started the recording: the provider's `source`."),
    Column("track", "VARCHAR", "Recorded track."),
    Column("price", "DOUBLE", "Price, as the provider says."),
    Column("price_unit", "VARCHAR", "Currency of the price."),
)
_DERIVED = (
    Column("day", "DATE", "Day of created_at in UTC, whatever the session's time zone."),
    Column("from_number", "VARCHAR", "Who called; null where no call facts are known."),
    Column("to_number", "VARCHAR", "Who was called."),
    Column("direction", "VARCHAR", "Direction of the call: the provider's word."),
    Column("numbers", "VARCHAR[]", "Digits of every number of the call and its legs; null where none is known."),
    Column("media_key", "VARCHAR", "First medium: its object's key in the archive's bucket."),
    Column("media_format", "VARCHAR", "First medium: wav, mp3, mka, mkv."),
    Column("media_bytes", "BIGINT", "First medium: size in bytes."),
    Column("media_sha256", "VARCHAR", "First medium: SHA-256, in hex."),
    Column("media_codec", "VARCHAR", "First medium: codec, as measured."),
    Column("media_sample_rate", "BIGINT", "First medium: samples a second, as measured."),
    Column("media_channels", "BIGINT", "First medium: channels, as measured."),
    Column("media_seconds", "DOUBLE", "First medium: duration, as measured."),
    Column("checked", "VARCHAR", "First medium: ok, suspect or unchecked."),
    Column("checked_reason", "VARCHAR", "First medium: why it is suspect, or what is odd."),
    Column("media", f"{MEDIUM}[]", "Every medium."),
    Column("encrypted", "BOOLEAN", "Whether the media are encrypted; the sidecar has what their key's holder needs."),
    Column("archived_at", "TIMESTAMPTZ", "When it was archived."),
    Column("attempts", "BIGINT", "How many attempts that took."),
    Column("sidecar_key", "VARCHAR", "Key of the sidecar in the archive's bucket."),
    Column("sidecar_sha256", "VARCHAR", "SHA-256 of the sidecar, in hex."),
    Column("manifest_number", "BIGINT", "Number of the manifest that lists it, in its account's chain."),
    Column("raw", "VARCHAR", "The provider's row, as JSON text; null unless numbers are plain."),
)
_TOGETHER = (
    *("provider", "account_id", "source", "day", "direction", "from_number", "to_number"),
    *("numbers", "created_at", "recording_id", "media_key", "media_format", "media_bytes", "media_seconds"),
)
"""Columns that a search by number asks for: side by side, a reader fetches them with one request a group of rows."""
_BY_NAME = {each.name: each for each in (*SCALARS, *_DERIVED)}
RECORDINGS = (
    *(_BY_NAME[name] for name in _TOGETHER),
    *(each for name, each in _BY_NAME.items() if name not in _TOGETHER),
)
DAYS = (
    Column("day", "DATE", "Day of created_at in UTC."),
    Column("provider", "VARCHAR", "Telephony service."),
    Column("account_id", "VARCHAR", "The provider's account id."),
    Column("source", "VARCHAR", "Configured source."),
    Column("recordings", "BIGINT", "Number of recordings."),
    Column("seconds", "DOUBLE", "Their duration: as measured, or else as the provider says."),
    Column("bytes", "BIGINT", "Size of all their media."),
    Column("suspect", "BIGINT", "Number of recordings with a suspect medium."),
)


def datapackage() -> bytes:
    """Return the description of the catalog, a Data Package: the same for the same version of recvault."""
    resources = [
        _resource("recordings", "recordings/month=*/recordings.parquet", RECORDINGS, "One row a recording."),
        _resource("days", "days.parquet", DAYS, "One row a day, account and source."),
    ]
    document = {"name": "recvault-catalog", "title": "Catalog of a recvault archive", "resources": resources}
    return json.dumps(document, indent=1).encode() + b"\n"


def _resource(name: str, path: str, columns: tuple[Column, ...], description: str) -> dict[str, object]:
    fields = [{"name": each.name, "type": _TYPES[each.type], "description": each.description} for each in columns]
    schema = {"fields": fields}
    return {"name": name, "path": path, "format": "parquet", "description": description, "schema": schema}
