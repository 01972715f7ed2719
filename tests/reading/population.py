"""Twenty thousand recordings of five lists, as sidecars, and what is true of them."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

BUCKET = "acme-recordings"
NUMBER = "15551234567"
ACCOUNT = "AC0123456789abcdef0123456789abcdef"
LISTS = {
    # source: provider, api, account, format
    "voice": ("twilio", "twilio", ACCOUNT, "wav"),
    "legacy": ("twilio", "twilio-legacy", "AC" + "1" * 32, "mp3"),
    "video": ("twilio", "twilio-video", "AC" + "2" * 32, "mka"),
    "telnyx": ("telnyx", "telnyx", "telnyx", "wav"),
    "signalwire": ("signalwire", "signalwire", "5d0c1c0e-0000-4000-8000-000000000001", "wav"),
}
BEGIN, DAYS = datetime(2026, 9, 1, tzinfo=UTC), 91

Sidecar = dict[str, Any]


def body_of(sidecar: Sidecar) -> bytes:
    """Return the bytes of a recording's only medium."""
    return b"RIFF" + sidecar["recording_id"].encode() * 9


def iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def sidecars(count: int, seed: int = 7) -> list[Sidecar]:
    """Return sidecars of recordings at any second of three months; some without a duration or a known number."""
    chance = random.Random(seed)
    seconds = DAYS * 86400
    return [
        _sidecar(chance, source, BEGIN + timedelta(seconds=chance.randrange(seconds)), index)
        for index, source in zip(range(count), itertools.cycle(LISTS), strict=False)
    ]


def _sidecar(chance: random.Random, source: str, created: datetime, index: int) -> Sidecar:
    provider, api, account, media_format = LISTS[source]
    recording_id = f"{'RT' if api == 'twilio-video' else 'RE'}{hashlib.md5(f'{source}{index}'.encode()).hexdigest()}"
    path = f"recordings/provider={provider}/account={account}/date={created:%Y-%m-%d}/{recording_id}"
    lasted = None if index % 50 == 7 else float(chance.randrange(5, 1800))
    document: Sidecar = {
        "schema": "recvault/sidecar/v1",
        "provider": provider,
        "api": api,
        "account_id": account,
        "source": source,
        "recording_id": recording_id,
        "call_id": f"CA{index:032x}",
        "conference_id": None,
        "room_id": None,
        "participant_id": None,
        "leg_id": None,
        "session_id": None,
        "status": "completed" if provider == "twilio" else None,
        "created_at": iso(created),
        "started_at": iso(created),
        "ended_at": None,
        "duration_seconds": lasted,
        "channels": 2,
        "recorded_by": None,
        "track": None,
        "price": None,
        "price_unit": "USD",
        "encryption": None,
        "raw": {"sid": recording_id, "odd": None if index % 2 else "text", "n": index},
    }
    body = body_of(document)
    document["media"] = [
        {
            "key": f"{path}.{media_format}",
            "media_format": media_format,
            "bytes": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
            "content_type": "audio/wav",
            "codec": "pcm",
            "sample_rate": 8000,
            "channels": 2,
            "duration_seconds": lasted or 4.0,
            "requested": None,
            "checked": {
                "status": "suspect" if index % 97 == 1 else "ok",
                "method": "container",
                "reason": "4 s short" if index % 97 == 1 else None,
            },
        }
    ]
    archived = created + timedelta(seconds=chance.randrange(60, 4000))
    document["archive"] = {"archived_at": iso(archived), "version": "0.1.0", "fetched_from": None, "attempts": 1}
    if index % 3:
        other = f"1555{chance.randrange(10**6):07}"
        known = NUMBER if chance.randrange(400) == 0 else f"1555{chance.randrange(10**6):07}"
        document["call"] = {
            "from": f"+{known}",
            "to": f"+{other}",
            "direction": "inbound",
            "status": "completed",
            "started_at": iso(created),
            "ended_at": None,
            "parent_call_id": None,
            "forwarded_from": None,
            "legs": [],
            "told_at": iso(archived),
        }
    return document


def key_of(sidecar: Sidecar) -> str:
    return str(sidecar["media"][0]["key"].rpartition(".")[0] + ".json")


def encoded(sidecar: Sidecar) -> bytes:
    return json.dumps(sidecar, separators=(",", ":")).encode() + b"\n"


def hours(known: Iterable[Sidecar], month: str) -> dict[tuple[str, str], tuple[int, float]]:
    """Return the recordings and hours of each day and source of a month: the truth."""
    counted: dict[tuple[str, str], list[float]] = defaultdict(list)
    for each in known:
        if each["created_at"].startswith(month):
            counted[each["created_at"][:10], each["source"]].append(each["duration_seconds"] or 0)
    return {where: (len(lasted), round(sum(lasted) / 3600, 6)) for where, lasted in counted.items()}


def calls(known: Iterable[Sidecar], month: str, number: str) -> list[tuple[str, str]]:
    """Return recording and first medium of a number's calls in a month: the truth."""
    return sorted(
        (each["recording_id"], each["media"][0]["key"])
        for each in known
        if each["created_at"].startswith(month) and f"+{number}" in (_call(each).get("from"), _call(each).get("to"))
    )


def _call(sidecar: Sidecar) -> dict[str, Any]:
    return sidecar.get("call") or {}
