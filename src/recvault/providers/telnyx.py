"""Telnyx v2: JSON pages by number, ISO dates, and media at signed URLs that are valid for ten minutes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from recvault.models import JSON, Phase, Recording, Scope
from recvault.providers import values
from recvault.providers.base import Page, Reply, Setting
from recvault.providers.hints import FORM, Hint, HintRequest, Verified, fields_of, refuse_unsigned_ed25519
from recvault.providers.rest import TELEPHONY, Bounds, Paging, Rest
from recvault.providers.urls import bare, fetchable

if TYPE_CHECKING:
    import httpx

CONTROL = re.compile(r"v\d+:")  # the start of a call_control_id in the OpenAPI's samples; the other ids are UUIDs
ELSEWHERE = re.compile(r"(?!https?:)[a-z][a-z0-9+.-]*://", re.IGNORECASE)
SAVED = re.compile(r"\brecording[._]saved$")  # call.recording.saved; recording_saved in a captured webhook
CHANNELS = {"single": 1, "dual": 2}  # OpenAPI
SESSION, LEG = "filter%5Bcall_session_id%5D=", "filter%5Bcall_leg_id%5D="


def _seconds(millis: Any) -> float | None:
    found = values.length(millis)
    return None if found is None else found / 1000


def _channels(told: Any) -> int | None:
    return CHANNELS.get(str(told).lower()) or values.whole(told)


class Telnyx(Rest):
    """One API key's recordings. Telnyx has no account id: the source's configured name is used."""

    name = "telnyx"
    provider = "telnyx"
    api = "v2"
    settings: ClassVar[Mapping[str, Setting]] = {
        "api_key": Setting(secret=True, doc="an API v2 key, KEY…"),
        "webhook_public_key": Setting(doc="the account's public key, which verifies webhooks; for hints only"),
    }
    credentials: ClassVar[tuple[tuple[str, ...], ...]] = (("api_key",),)
    hint_settings: ClassVar[tuple[str, ...]] = ("webhook_public_key",)
    hint_headers: ClassVar[tuple[str, ...]] = ("telnyx-signature-ed25519",)
    formats: ClassVar[tuple[str, ...]] = ("wav", "mp3")  # OpenAPI: download_urls
    bytes_per_second = TELEPHONY  # assumed to be as Twilio's
    scopes: ClassVar[tuple[str, ...]] = ("account", "call", "conference")
    page_size = 250  # OpenAPI: the most
    # Rows seem to appear at completion (OpenAPI has no other status). If created_at is nevertheless the start, a
    # recording of 24 hours is listed a day late: the lookback covers that, at the cost of about one more page.
    default_lookback = timedelta(hours=26)
    offset_pages = True  # OpenAPI: page[number]
    lists_unfinished = False  # OpenAPI: "completed" is the only status
    media_url_lifetime: ClassVar[timedelta | None] = timedelta(
        minutes=10
    )  # knowledge base: counted from the listing; a refresh returns new ones

    home = "https://api.telnyx.com"
    root = "/v2"
    lists = {"account": "/recordings"}
    bounds = Bounds("filter[created_at][gte]", "filter[created_at][lte]")  # both inclusive (OpenAPI)
    paging = Paging(size="page[size]", within="meta", number="page[number]")
    rows = "data"
    marks = ("meta",)
    instance = "/recordings/{recording}"  # a DELETE is answered 200 with the row (OpenAPI); it is final
    deletes = True

    fields = {
        "recording_id": "id",
        "created_at": ("created_at", "recording_ended_at", "recording_started_at"),
        "status": "status",
        "call_id": "call_control_id",
        "conference_id": "conference_id",
        "leg_id": "call_leg_id",
        "session_id": "call_session_id",
        "started_at": "recording_started_at",
        "ended_at": "recording_ended_at",
        "duration_seconds": "duration_millis",
        "channels": "channels",
        "recorded_by": "source",
    }
    readers = {"duration_seconds": _seconds, "channels": _channels}
    phases = {"completed": Phase.COMPLETE, "absent": Phase.GONE, "deleted": Phase.GONE, "failed": Phase.GONE}

    @staticmethod
    def authorization(values: Mapping[str, str]) -> str:
        return f"Bearer {values['api_key']}"

    def filter_of(self, scope: Scope) -> str:
        """Return the filter. A call is a session of legs (docs), unless the id is clearly one of call control."""
        if scope.kind == "conference":
            return "filter[conference_id]"
        return "filter[call_control_id]" if CONTROL.match(scope.id) else "filter[call_session_id]"

    def parse_page(self, reply: Reply) -> Page:
        """Parse a page. If no session has the requested id, it may be a leg's: request that leg's list next."""
        page = super().parse_page(reply)
        empty = not (page.recordings or page.rejected or page.total)
        leg = _as_leg(reply.request.url) if empty else None
        return Page(recordings=(), next=leg) if leg else page

    def unwrap(self, row: Any) -> Any:
        """Return the row: docs of 2024 wrap each in a `data` object, the OpenAPI does not; both are accepted."""
        inner = row.get("data") if isinstance(row, dict) else None
        return self.unwrap(inner) if isinstance(inner, dict) else row

    def read(self, row: JSON) -> Recording:
        found, urls = super().read(row), values.mapping(row.get("download_urls")) or {}
        web = {name: urls[name] for name in self.formats if fetchable(urls.get(name))}
        external, phase = None if web else _external_location(urls), found.phase
        if phase is Phase.COMPLETE and not web:
            phase = Phase.EXTERNAL if external else Phase.UNFINISHED
        return replace(
            found,
            phase=phase,
            formats=() if phase is Phase.GONE else tuple(web),
            external_location=external,
            raw=_without_signatures(found.raw),
            media_urls=web,
        )

    def phase(self, row: JSON) -> Phase:
        return super().phase(row) if "status" in row else Phase.COMPLETE

    def hint(self, received: HintRequest, values: Mapping[str, str]) -> Verified:
        """call.recording.saved and its like; TeXML's recording callback is a form (webhook docs)."""
        signature = received.headers.get("telnyx-signature-ed25519", "")
        timestamp = received.headers.get("telnyx-timestamp", "")
        proof = refuse_unsigned_ed25519(received, signature, timestamp, values["webhook_public_key"])
        if received.headers.get("content-type", "").startswith(FORM):
            found = dict(fields_of(received)).get("RecordingSid")
            return Verified(hint=Hint(recording_id=found) if found else None, proof=proof)
        return Verified(hint=_saved(received.body), proof=proof)


def _saved(body: bytes) -> Hint | None:
    """The recording that an event names; the OpenAPI's sample has no recording_id, but ids of its call."""
    try:
        document = values.mapping(json.loads(body)) or {}
        event = values.mapping(document.get("data")) or document
        payload = values.mapping(event.get("payload")) or {}
        kind, recording_id = values.text(event.get("event_type")) or "", values.text(payload.get("recording_id"))
        call_id = values.text(payload.get("call_session_id"))
    except (ValueError, RecursionError):
        return None
    if not SAVED.search(kind):
        return None
    if recording_id:
        return Hint(recording_id=recording_id)
    return Hint(call_id=call_id) if call_id else None


def _as_leg(url: httpx.URL) -> httpx.URL | None:
    """Turn a session's first page into the first page of a leg's list; None for any other URL."""
    query = url.query.decode("ascii")
    first = url.params.get("page[number]") == "1"
    return url.copy_with(query=query.replace(SESSION, LEG).encode("ascii")) if first and SESSION in query else None


def _external_location(urls: JSON) -> str | None:
    """Return a URL in the customer's own storage, such as s3:// or gs:// (knowledge base), without its query."""
    found = [url for _, url in sorted(urls.items(), reverse=True) if isinstance(url, str) and ELSEWHERE.match(url)]
    return bare(found[0]) if found else None


def _without_signatures(row: JSON) -> JSON:
    urls = row.get("download_urls")
    if isinstance(urls, dict):
        return {**row, "download_urls": {key: bare(url) if isinstance(url, str) else url for key, url in urls.items()}}
    return row
