"""Twilio Voice, 2010-04-01: JSON pages with relative next links, RFC 2822 dates, WAV and MP3 by extension."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import ClassVar

from recvault.models import JSON, Phase, Recording, Scope
from recvault.providers import values
from recvault.providers.base import OwnMedia
from recvault.providers.rest import TELEPHONY, Bounds
from recvault.providers.twilio_account import PAGING, TwilioAccount
from recvault.providers.urls import bare, host

DAYS = Bounds("DateCreated>", "DateCreated<", values.day, values.day_after)


class Twilio(TwilioAccount):
    """One account's calls and conferences, in one region."""

    name = "twilio"
    api = "2010-04-01"
    reads: ClassVar[tuple[str, ...]] = ("2010-04-01", "2008-08-01")  # the same recordings, under the same ids
    formats: ClassVar[tuple[str, ...]] = ("wav", "mp3")  # recordings docs
    bytes_per_second = TELEPHONY
    scopes: ClassVar[tuple[str, ...]] = ("account", "call", "conference")
    page_size = 1000  # OpenAPI: the most; PageToken names the last row: SDK fixtures
    default_lookback = timedelta(hours=26)  # TwiML docs: a recording may last 24 hours
    has_subaccounts = True

    home = "https://api.twilio.com"
    root = "/2010-04-01/Accounts/{account}"
    lists = {
        "account": "/Recordings.json",
        "call": "/Calls/{scope}/Recordings.json",
        "conference": "/Conferences/{scope}/Recordings.json",
    }
    bounds = Bounds("DateCreated>", "DateCreated<")  # inclusive (OpenAPI); an unknown parameter would list all history
    paging = PAGING
    rows = "recordings"
    marks = ("page_size",)
    # Built from the sid: in rows `uri` may name the list (SDK fixtures), and media_url may be plain http.
    calls = "/2010-04-01/Accounts/{account}/Calls.json"
    instance = "/Recordings/{recording}.json"  # without `.json` it is WAV audio; a DELETE is answered 204 (docs)
    deletes = True
    media = "/Recordings/{recording}.{format}"

    fields = {
        "account_id": "account_sid",
        "recording_id": "sid",
        "created_at": ("date_created", "start_time"),
        "status": "status",
        "call_id": "call_sid",
        "conference_id": "conference_sid",
        "started_at": "start_time",
        "duration_seconds": "duration",
        "channels": "channels",
        "recorded_by": "source",
        "track": "track",
        "price": "price",
        "price_unit": "price_unit",
        "encryption": "encryption_details",  # a call's keys are in the row (OpenAPI), never in the media's headers
    }
    # OpenAPI, recordings docs; failed: callbacks only.
    phases = {"completed": Phase.COMPLETE, "absent": Phase.GONE, "deleted": Phase.GONE, "failed": Phase.GONE}

    def bounds_of(self, scope: Scope) -> Bounds:
        """Return the bounds: dates for a call's and a conference's list, seconds for the account's (OpenAPI)."""
        return self.bounds if scope.kind == "account" else DAYS

    def media_requests(self, recording: Recording, media_format: str) -> tuple[OwnMedia, ...]:
        """Request both channels if there are two: the default is mono; two of a mono one answer 400 (media docs)."""
        if media_format not in self.formats:
            return ()
        plain = self.own_media(recording, media_format)
        both = OwnMedia(f"{plain.text}?RequestedChannels=2", channels=2)
        return (both, plain) if recording.channels == 2 else (plain,)

    def read(self, row: JSON) -> Recording:
        found, external = super().read(row), self._external_location(row)
        return replace(found, external_location=external) if external else found

    def phase(self, row: JSON) -> Phase:
        """Return the phase. Rows of 2011 have no status (SDK's captured reply): only the media show it, as in 2008."""
        return super().phase(row) if "status" in row else Phase.COMPLETE

    def formats_of(self, row: JSON, phase: Phase) -> tuple[str, ...]:
        """Return the formats. Of an encrypted recording only WAV: its MP3 is error 16109 (Twilio error docs)."""
        found = super().formats_of(row, phase)
        return found[:1] if values.mapping(row.get("encryption_details")) else found

    def _external_location(self, row: JSON) -> str | None:
        """Return media_url if it names another host: the customer's own storage (recordings docs).

        It may also be the name of a gateway. The media are therefore requested anyway, and a 404 confirms it.
        """
        url = values.text(row.get("media_url")) or ""
        where = host(url)
        ours = not where or where == host(self.base_url) or f".{where}".endswith(f".{self.public}")
        return None if ours else bare(url)
