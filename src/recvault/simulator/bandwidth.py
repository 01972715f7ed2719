"""Bandwidth Voice v2: bare lists with a most of rows, oldest first, and media below each call."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any

from recvault.simulator import dates
from recvault.simulator.calls import numbers
from recvault.simulator.exchange import Request, Route, SimulatedReply, error, json_reply, media_reply, refuse
from recvault.simulator.recording import SimRecording
from recvault.simulator.shelf import Query
from recvault.simulator.world import SimAccount, World

JSON = dict[str, Any]
_WORDS = {"completed": "complete", "absent": "error", "failed": "error"}  # its statuses for Twilio's


def route(world: World, request: Request) -> Route:
    """Route a path below /api/v2."""
    match (request.method, request.path.split("/")[3:]):
        case ("GET", ["accounts", account_id, "recordings"]):
            return Route("plain", "list", partial(_list, world, request, account_id, None))
        case ("GET", ["accounts", account_id, "calls", call_id, "recordings"]):
            return Route("plain", "list", partial(_list, world, request, account_id, call_id))
        case ("GET", ["accounts", account_id, "calls", call_id, "recordings", name]):
            return Route("plain", "instance", partial(_instance, world, request, account_id, call_id, name))
        case ("DELETE", ["accounts", account_id, "calls", call_id, "recordings", name]):
            return Route("plain", "delete", partial(_delete, world, request, account_id, call_id, name))
        case ("GET", ["accounts", account_id, "calls", call_id, "recordings", name, "media"]):
            return Route("plain", "media", partial(_media, world, request, account_id, call_id, name))
    return Route("plain", "other", partial(error, "plain", 404, "", "not found"))


def _login(world: World, request: Request, account_id: str) -> SimAccount:
    account = world.logins.get(request.headers.get("authorization", ""))
    if account is None or account.kind != "bandwidth" or account.status != "active":
        raise refuse("plain", 401, "", "Authentication Failed")
    if account.account_id != account_id:
        raise refuse("plain", 403, "", "Access Denied")
    return account


def _find(world: World, account: SimAccount, call_id: str, name: str) -> SimRecording:
    recording = account.shelves["bandwidth"].get(name)
    if recording is None or not recording.listed(world.clock.now) or recording.call_id != call_id:
        raise refuse("plain", 404, "", "not found")
    return recording


def _instance(world: World, request: Request, account_id: str, call_id: str, name: str) -> SimulatedReply:
    return json_reply(_row(world, _find(world, _login(world, request, account_id), call_id, name)))


def _delete(world: World, request: Request, account_id: str, call_id: str, name: str) -> SimulatedReply:
    account = _login(world, request, account_id)
    account.shelves["bandwidth"].delete(_find(world, account, call_id, name).recording_id, world.clock.now)
    return SimulatedReply(status=204)


def _media(world: World, request: Request, account_id: str, call_id: str, name: str) -> SimulatedReply:
    recording = _find(world, _login(world, request, account_id), call_id, name)
    if not recording.fetchable(world.clock.now):
        raise refuse("plain", 404, "", "not found")
    return media_reply(request, world.media(recording, recording.formats[0], recording.channels), ranged=False)


def _list(world: World, request: Request, account_id: str, call_id: str | None) -> SimulatedReply:
    account, now = _login(world, request, account_id), world.clock.now
    try:
        since, until = (_bound(request.param(name)) for name in ("minStartTime", "maxStartTime"))
    except ValueError as problem:
        raise refuse("plain", 400, "", f"bad time: {problem}") from None
    query = Query(since=since, until=until, within=call_id, order="oldest")
    most = world.switches.bandwidth_most
    page = account.shelves["bandwidth"].page("bandwidth", SimRecording.listed, now, query, size=most)
    return json_reply([_row(world, recording) for recording in page.recordings])


def _bound(text: str | None) -> datetime | None:
    return dates.read_zoned(text) if text else None


def _row(world: World, recording: SimRecording) -> JSON:
    now, account, name = world.clock.now, recording.account_id, recording.recording_id
    caller, called = numbers(world, recording.call_id or "")
    final = recording.final(now)
    below = f"{world.base_url}/api/v2/accounts/{account}/calls/{recording.call_id}/recordings/{name}/media"
    row = {
        "accountId": account,
        "callId": recording.call_id,
        "parentCallId": None,
        "recordingId": name,
        "to": called,
        "from": caller,
        "transferCallerId": None,
        "transferTo": None,
        "duration": f"PT{recording.duration_seconds:g}S",
        "direction": recording.source,
        "channels": recording.channels,
        "startTime": dates.iso(recording.created_at, 3),
        "endTime": dates.iso(recording.ended_at, 3),
        "fileFormat": recording.formats[0],
        "status": _WORDS[recording.status_final] if final else "processing",
        "mediaUrl": below if final and recording.fetchable(now) else None,
        "transcription": None,
    }
    if recording.malformed == "no_date":
        del row["startTime"]
    elif recording.malformed == "bad_date":
        row["startTime"] = "2018-02-30T22:25:27.521Z"
    return row
