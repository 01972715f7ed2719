"""Make recordings: one with chosen details, or thousands that depend only on the seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict, Unpack

from recvault.simulator.details import Details
from recvault.simulator.recording import NEVER, Api, SimRecording
from recvault.simulator.switches import Switches
from recvault.simulator.world import SimAccount, World

_SOURCES: dict[Api, tuple[tuple[str, ...], str]] = {
    "voice": (("DialVerb", "OutboundAPI", "Trunking", "RecordVerb", "StartCallRecordingAPI"), "Conference"),
    "video": (("",), ""),
    "telnyx": (("DialVerb", "StartCallRecordingAPI"), "StartConferenceRecordingAPI"),
    "signalwire": (("DialVerb", "OutBoundApi", "StartCallRecordingApi"), "StartConferenceRecording"),
    "plivo": (("normal",), "conference"),
    "bandwidth": (("inbound", "outbound"), "inbound"),
    "ringcentral": (("Automatic", "OnDemand"), "Automatic"),
}
_TRACKS_A_ROOM = 4
AT_END: frozenset[Api] = frozenset({"plivo", "ringcentral"})  # created and listed at the recording's end
ONE_FORMAT: frozenset[Api] = AT_END | {"bandwidth"}  # each recording in its own


class _Times(TypedDict):
    started_at: datetime
    ended_at: datetime
    completed_at: datetime


def make(world: World, account: SimAccount, api: Api, number: int, **details: Unpack[Details]) -> SimRecording:
    """Make one recording. Missing details follow from the given ones, the switches, and its number."""
    if api not in account.shelves:
        raise ValueError(f"a {account.kind} account has no {api} recordings")
    created_at = _utc(details.get("created_at")) or world.clock.now
    seconds = details.get("duration_seconds", 1.0)
    times = _times(world.switches, api, created_at, seconds, _utc(details.get("completed_at")))
    encrypted = details.get("encrypted", False)
    return SimRecording(
        api=api,
        account_id=account.account_id,
        recording_id=details.get("recording_id") or _name(world, account, api, "recording", number),
        created_at=created_at,
        **times,
        visible_at=NEVER
        if details.get("lost")
        else _utc(details.get("visible_at")) or _visible_at(world.switches, api, created_at, times),
        cut_seconds=details.get("cut_seconds", 0.0),
        media_ready_at=_utc(details.get("media_ready_at")) or times["completed_at"] + _media_lag(world.switches, api),
        deleted_at=_utc(details.get("deleted_at")),
        duration_seconds=seconds,
        channels=details.get("channels", 1),
        formats=details.get("formats") or _formats(api, encrypted),
        status_final=details.get("status_final", "completed"),
        error_code=details.get("error_code"),
        encrypted=encrypted,
        external_location=details.get("external_location"),
        source=details.get("source") or _SOURCES[api][0][0],
        malformed=details.get("malformed"),
        **_names(world, account, api, number, details),
    )


def populate(
    world: World,
    account: SimAccount,
    api: Api,
    *,
    count: int,
    start: datetime,
    every: timedelta,
    durations: tuple[float, float],
    conference_share: float,
    encrypted_share: float,
    details: Details,
) -> Iterator[SimRecording]:
    """Make many recordings at regular times; the same ones for the same seed and account."""
    first = len(account.shelves[api])
    draw = random.Random(world.hex("populate", account.account_id, api, first))  # noqa: S311 - a test wants it so
    calls, conference = _SOURCES[api]
    for number in range(first, first + count):
        meeting = api != "video" and draw.random() < conference_share
        chosen: Details = {
            "created_at": start + (number - first) * every,
            "duration_seconds": round(draw.uniform(*durations), 2),
            "channels": 1 if api == "video" else draw.choice((1, 2)),
            "source": conference if meeting else draw.choice(calls),
            "encrypted": api in {"voice", "video"} and draw.random() < encrypted_share,
        }
        if meeting:
            chosen["conference_id"] = _name(world, account, api, "conference", number)
        if api == "video":
            chosen["formats"] = (draw.choice(("mka", "mka", "mkv")),)
        if api in ONE_FORMAT:
            chosen["formats"] = (draw.choice(("wav", "mp3")) if api != "ringcentral" else "mp3",)
        if draw.random() < world.switches.malformed_share:
            chosen["malformed"] = draw.choice(("no_date", "bad_date"))
        chosen.update(details)
        yield make(world, account, api, number, **chosen)


def _utc(moment: datetime | None) -> datetime | None:
    if moment is not None and moment.tzinfo is None:
        raise ValueError("a time needs a time zone")
    return None if moment is None else moment.astimezone(UTC)


def _times(switches: Switches, api: Api, created_at: datetime, seconds: float, completed_at: datetime | None) -> _Times:
    """Return its start, end and completion: created_at is the start or the end."""
    length = timedelta(seconds=seconds)
    processing = timedelta(seconds=switches.voice_processing_seconds if api == "voice" else 0)
    at_end = (
        api == "telnyx"
        or api in AT_END
        or {
            "voice": switches.voice_created_at,
            "signalwire": switches.signalwire_created_at,
        }.get(api)
        == "end"
    )
    if at_end:
        started_at, ended_at = created_at - length, created_at
    elif completed_at is None:
        started_at, ended_at = created_at, created_at + length
    else:
        started_at, ended_at = created_at, max(created_at, completed_at - processing)
    return {"started_at": started_at, "ended_at": ended_at, "completed_at": completed_at or ended_at + processing}


def _visible_at(switches: Switches, api: Api, created_at: datetime, times: _Times) -> datetime:
    if api == "voice":
        return created_at + timedelta(seconds=switches.voice_list_delay_seconds)
    if api in AT_END or (api == "telnyx" and switches.telnyx_visible == "completion"):
        return max(created_at, times["completed_at"])
    return created_at


def _media_lag(switches: Switches, api: Api) -> timedelta:
    return timedelta(seconds=switches.voice_media_lag_seconds if api == "voice" else 0)


def _formats(api: Api, encrypted: bool) -> tuple[str, ...]:
    if api == "video":
        return ("mka",)
    if api in ONE_FORMAT:
        return ("mp3",)
    return ("wav",) if encrypted else ("wav", "mp3")


def _names(world: World, account: SimAccount, api: Api, number: int, details: Details) -> dict[str, Any]:
    """Return the call, conference, room, participant and track that it belongs to."""
    if api == "video":
        room = _name(world, account, api, "room", number // _TRACKS_A_ROOM)
        return {
            "room_id": details.get("room_id") or room,
            "participant_id": _name(world, account, api, "participant", number),
            "track_id": _name(world, account, api, "track", number),
        }
    call: str | None = details.get("call_id") or _name(world, account, api, "call", number)
    conference = details.get("conference_id")
    if api == "signalwire" and conference and not details.get("call_id"):
        call = None  # in SignalWire a conference's recording has no call
    return {"call_id": call, "conference_id": conference}


_PREFIXES = {
    "voice recording": "RE",
    "video recording": "RT",
    "call": "CA",
    "conference": "CF",
    "room": "RM",
    "participant": "PA",
    "track": "MT",
}


def _name(world: World, account: SimAccount, api: Api, what: str, number: int) -> str:
    """Make a Twilio SID or a UUID."""
    if account.kind != "twilio":
        return world.uuid(account.account_id, what, number)
    prefix = _PREFIXES[f"{api} recording" if what == "recording" else what]
    return prefix + world.hex(account.account_id, api, what, number)
