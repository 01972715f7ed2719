"""Shared by the providers' tests: an instance of each provider, golden bodies, and replies."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from recvault.models import ACCOUNT, Window
from recvault.providers import registry
from recvault.providers.base import Provider, Reply

SAMPLES = Path(__file__).parent.parent / "data" / "samples"
SETTINGS = {
    "account_sid": "AC309475e5fede1b49e100272a8640f438",
    "auth_token": "secret-token",
    "api_key": "KEY-secret-token",
    "space": "acme",
    "project_id": "720796a0-8ee9-4350-83bd-2d07a3121f1e",
    "api_token": "PT-secret-token",
    "account_id": "55555555",
    "username": "user",
    "password": "secret-token",
    "auth_id": "MANWVLYTK4ZWU1YTY4ZT",
}
NAMES = ("twilio", "twilio-legacy", "twilio-video", "telnyx", "signalwire", "plivo", "bandwidth")
ROWS: dict[str, dict[str, Any]] = {
    "twilio": {
        "sid": "RE41331862605f3d662488fdafda2e175f",
        "account_sid": "AC309475e5fede1b49e100272a8640f438",
        "date_created": "Fri, 14 Oct 2016 21:56:34 +0000",
        "status": "completed",
        "channels": 1,
    },
    "twilio-legacy": {
        "Sid": "RE41331862605f3d662488fdafda2e175f",
        "AccountSid": "AC309475e5fede1b49e100272a8640f438",
        "DateCreated": "Tue, 01 Apr 2008 01:07:15 -0400",
        "Duration": "123",
    },
    "twilio-video": {
        "sid": "RT41331862605f3d662488fdafda2e175f",
        "account_sid": "AC309475e5fede1b49e100272a8640f438",
        "date_created": "2015-07-30T20:00:00Z",
        "status": "completed",
        "type": "audio",
        "container_format": "mka",
    },
    "telnyx": {
        "id": "3fa85f64-5717-4562-b3fc-2c963f66afa6",
        "created_at": "2018-02-02T22:25:27.521Z",
        "status": "completed",
        "channels": "dual",
        "download_urls": {"wav": "https://s3.amazonaws.com/b/k.wav?X-Amz-Expires=600&X-Amz-Signature=abc"},
    },
    "signalwire": {
        "sid": "19e436af-5688-4307-b03b-bdb2b42b8142",
        "account_sid": "720796a0-8ee9-4350-83bd-2d07a3121f1e",
        "date_created": "Tue, 25 Sept 2018 23:00:00 +0000",
        "status": "completed",
    },
    "plivo": {
        "recording_id": "c2186400-1c8c-1124-a664-0026b945b522",
        "add_time": "2014-08-05 16:15:15.852059+05:30",
        "recording_format": "mp3",
        "recording_url": "http://s3.amazonaws.com/recordings_2013/c2186400-1c8c-1124-a664-0026b945b522.mp3",
    },
    "bandwidth": {
        "accountId": "55555555",
        "callId": "c-2a913f94-b6d25421-6fcf-429d-b4b4-fee83151a688",
        "recordingId": "r-357381a2-d189-4404-9aa4-6ac344d21621",
        "startTime": "2019-10-21T16:44:40.928Z",
        "fileFormat": "wav",
        "status": "complete",
        "mediaUrl": "https://voice.bandwidth.com/media",
    },
}
ROWS_KEY = {"telnyx": "data", "plivo": "objects", "bandwidth": ""}
STATUS_KEY = {"plivo": "recording_type"}  # its rows have no status
BAD_DATE = {"twilio-legacy": "DateCreated", "telnyx": "created_at", "plivo": "add_time", "bandwidth": "startTime"}
ID_KEY = {"twilio-legacy": "Sid", "telnyx": "id", "plivo": "recording_id", "bandwidth": "recordingId"}


def make(name: str, **settings: str) -> Provider:
    return registry()[name].from_settings("main", {**SETTINGS, **settings})


def answer(provider: Provider, body: bytes | str | Any, url: str | httpx.URL | None = None) -> Reply:
    """Return a 200 reply to the first page's request, or to the given URL."""
    raw = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    request = httpx.Request("GET", url) if url else provider.list_request(Window(), ACCOUNT)
    return Reply(request, 200, httpx.Headers(), raw)


def page_of(name: str, rows: list[Any], **extra: Any) -> Any:
    """Return a page in the provider's format."""
    if name == "twilio-legacy":
        return xml_page(rows, **extra)
    if name == "telnyx":
        return {"data": rows, "meta": {"page_number": 1, "total_pages": 1, "total_results": len(rows), **extra}}
    if name == "plivo":
        return {"objects": rows, "meta": {"limit": 20, "offset": 0, "next": None, "total_count": len(rows), **extra}}
    if name == "bandwidth":
        return rows
    if name == "twilio-video":
        return {"recordings": rows, "meta": {"key": "recordings", "next_page_url": None, **extra}}
    return {"recordings": rows, "next_page_uri": None, **extra}


def xml_page(rows: list[dict[str, str]], **attributes: str) -> str:
    paging = "".join(f' {name}="{value}"' for name, value in attributes.items())
    inner = "".join(f"<Recording>{_fields(row)}</Recording>" for row in rows)
    return f"<TwilioResponse><Recordings{paging}>{inner}</Recordings></TwilioResponse>"


def _fields(row: dict[str, str]) -> str:
    return "".join(f"<{name}>{value}</{name}>" if value is not None else f"<{name}/>" for name, value in row.items())


def sample(name: str) -> bytes:
    """Read a golden body; tests/data/samples/SOURCES.md says where each comes from."""
    return (SAMPLES / name).read_bytes()


WINDOW = Window(datetime(2026, 10, 1, 5, 0, 0, 500000, UTC), datetime(2026, 10, 2, 5, 0, 0, 1, UTC))
"""Bounds that are not on whole seconds."""
