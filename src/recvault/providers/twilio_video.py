"""Twilio Video v1: one recording for each track, absolute next links, ISO dates, media behind a signed redirect."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import ClassVar

from recvault.models import JSON, Phase, Recording
from recvault.providers import values
from recvault.providers.rest import Bounds, Paging
from recvault.providers.twilio_account import TwilioAccount
from recvault.providers.urls import bare

KEY_HEADERS = "x-amz-meta-x-amz-"
ENDING = re.compile(r"[a-z0-9]{1,8}")


class TwilioVideo(TwilioAccount):
    """One account's tracks. The account's own credentials are required; a parent's do not work (sub-account docs)."""

    name = "twilio-video"
    api = "video-v1"
    formats: ClassVar[tuple[str, ...]] = ("mka", "mkv")  # OpenAPI: container_format
    one_format = True
    scopes: ClassVar[tuple[str, ...]] = ("account", "room")
    page_size = 100  # OpenAPI: the most, by PageToken
    default_lookback = timedelta(hours=26)  # as for voice: "DateCreated" is the start (OpenAPI)

    home = "https://video.twilio.com"
    root = "/v1"
    lists = {"account": "/Recordings", "room": "/Rooms/{scope}/Recordings"}
    bounds = Bounds("DateCreatedAfter", "DateCreatedBefore")  # on or after, and strictly before (OpenAPI)
    paging = Paging(size="PageSize", within="meta", next="next_page_url", own="url")  # links are absolute (OpenAPI)
    rows = "recordings"
    marks = ("meta",)
    instance = "/Recordings/{recording}"  # a DELETE is answered 204; the row is kept for 30 days (docs)
    deletes = True
    media = "/Recordings/{recording}/Media"  # a redirect to a signed URL, a new one for each request (docs)

    fields = {
        "account_id": "account_sid",
        "recording_id": "sid",
        "created_at": "date_created",
        "status": "status",
        "room_id": ("grouping_sids.room_sid", "room_sid"),
        "participant_id": "grouping_sids.participant_sid",
        "duration_seconds": "duration",
        "track": "track_name",
        "size_bytes": "size",
        "codec": "codec",
        "external_location": "media_external_location",  # the customer's own bucket (external S3 docs)
    }
    phases = {"completed": Phase.COMPLETE, "deleted": Phase.GONE, "failed": Phase.GONE}  # OpenAPI

    def read(self, row: JSON) -> Recording:
        found = super().read(row)
        external = found.external_location
        return replace(found, external_location=bare(external)) if external else found

    def phase(self, row: JSON) -> Phase:
        found = super().phase(row)
        external = found is Phase.COMPLETE and values.text(row.get("media_external_location"))
        return Phase.EXTERNAL if external else found

    def formats_of(self, row: JSON, phase: Phase) -> tuple[str, ...]:
        return (_container(row),) if super().formats_of(row, phase) else ()

    def media_encryption(self, headers: Mapping[str, str]) -> JSON | None:
        """Return the wrapped key, the IV and the plain size, found only in the storage's headers (encryption docs)."""
        found = {
            name.removeprefix("x-amz-meta-"): value for name, value in headers.items() if name.startswith(KEY_HEADERS)
        }
        return found or None


def _container(row: JSON) -> str:
    """Return the container, used as file extension; if missing or invalid, the usual one for the kind of track.

    `json` is refused, because a file that ends in `.json` is a sidecar.
    """
    container = str(row.get("container_format") or "").lower()
    if ENDING.fullmatch(container) and container != "json":
        return container
    return "mka" if row.get("type") == "audio" else "mkv"
