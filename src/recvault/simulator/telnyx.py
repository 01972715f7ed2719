"""Telnyx v2: offset pages over the live set, deepObject filters, new download URLs in each reply."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from recvault.simulator import dates
from recvault.simulator.calls import numbers
from recvault.simulator.exchange import Request, Route, SimulatedReply, error, json_reply, refuse
from recvault.simulator.recording import SimRecording
from recvault.simulator.shelf import Query, Slice
from recvault.simulator.world import SimAccount, World

JSON = dict[str, Any]
_TICK = timedelta(microseconds=1)


def route(world: World, request: Request) -> Route:
    """Route a path below /v2."""
    match (request.method, request.path.split("/")[2:]):
        case ("GET", ["recordings"]):
            return Route("telnyx", "list", partial(_list, world, request))
        case ("POST", ["recordings", "actions", "delete"]):
            return Route("telnyx", "delete", partial(_delete_many, world, request))
        case ("GET", ["recordings", recording_id]):
            return Route("telnyx", "instance", partial(_instance, world, request, recording_id))
        case ("DELETE", ["recordings", recording_id]):
            return Route("telnyx", "delete", partial(_delete, world, request, recording_id))
    return Route("telnyx", "other", partial(error, "telnyx", 404, "10005", "Resource not found"))


def _login(world: World, request: Request) -> SimAccount:
    account = world.logins.get(request.headers.get("authorization", ""))
    if account is None or account.kind != "telnyx" or account.status != "active":
        raise refuse("telnyx", 401, "401", "Unauthorized")
    return account


def _find(world: World, account: SimAccount, recording_id: str) -> SimRecording:
    recording, now = account.shelves["telnyx"].get(recording_id), world.clock.now
    if recording is None or recording.deleted(now) or min(recording.created_at, recording.visible_at) > now:
        raise refuse("telnyx", 404, "10005", "Resource not found")
    return recording


def _instance(world: World, request: Request, recording_id: str) -> SimulatedReply:
    recording = _find(world, _login(world, request), recording_id)
    return json_reply({"data": _row(world, recording, world.clock.now)})


def _delete(world: World, request: Request, recording_id: str) -> SimulatedReply:
    """Delete a recording; answers 200 with the recording, not 204."""
    account, now = _login(world, request), world.clock.now
    document = _row(world, _find(world, account, recording_id), now)
    account.shelves["telnyx"].delete(recording_id, now)
    return json_reply({"data": document})


def _delete_many(world: World, request: Request) -> SimulatedReply:
    account = _login(world, request)
    try:
        wanted = json.loads(request.body)["ids"]
    except (ValueError, KeyError, TypeError):
        raise refuse("telnyx", 422, "10015", "ids is required") from None
    for recording_id in wanted:
        _find(world, account, recording_id)
        account.shelves["telnyx"].delete(recording_id, world.clock.now)
    return json_reply({"status": "ok"})


def _list(world: World, request: Request) -> SimulatedReply:
    account, now = _login(world, request), world.clock.now
    number = _number(request.param("page[number]"), 1, None, world)
    size = _number(request.param("page[size]"), 20, 250, world)
    query = replace(_query(world, request), order=world.switches.telnyx_order)
    page = account.shelves["telnyx"].page(
        "telnyx", SimRecording.listed, now, query, size=size, start=(number - 1) * size
    )
    rows = [_row(world, recording, now) for recording in page.recordings]
    if world.switches.telnyx_nested:
        rows = [{"data": row} for row in rows]
    return json_reply({"data": rows, "meta": _meta(page, number, size)})


def _meta(page: Slice, number: int, size: int) -> JSON:
    return {
        "page_number": number,
        "page_size": size,
        "total_pages": -(-page.total // size),
        "total_results": page.total,
    }


def _number(text: str | None, default: int, largest: int | None, world: World) -> int:
    if text is None:
        return default
    over = largest is not None and text.isdecimal() and int(text) > largest
    if not text.isdecimal() or int(text) < 1 or (over and world.switches.telnyx_page_size_over == "refuse"):
        raise refuse("telnyx", 400, "10015", f"Bad page parameter: {text}")
    return min(int(text), largest) if largest else int(text)


def _query(world: World, request: Request) -> Query:
    """Read `filter[...]`: created_at by inclusive bounds, ids by equality. Other filters are ignored."""
    try:
        since, until = _bounds(request, "created_at")
        started = _bounds(request, "start_time")
        ended = _bounds(request, "end_time")
    except (ValueError, OverflowError) as problem:
        raise refuse("telnyx", 400, "10015", f"Bad date: {problem}") from None
    wanted = {
        name: value
        for name in (
            "call_leg_id",
            "call_session_id",
            "call_control_id",
            "conference_id",
            "connection_id",
            "from",
            "to",
        )
        if (value := request.param(f"filter[{name}]")) is not None
    }
    return Query(since=since, until=until, where=_where(world, wanted, started, ended))


def _bounds(request: Request, name: str) -> tuple[datetime | None, datetime | None]:
    since, until = (request.param(f"filter[{name}][{bound}]") for bound in ("gte", "lte"))
    return dates.read(since) if since else None, dates.read(until) + _TICK if until else None


def _where(
    world: World, wanted: dict[str, str], started: tuple[datetime | None, ...], ended: tuple[datetime | None, ...]
) -> Callable[[SimRecording], bool] | None:
    if not wanted and not any(started) and not any(ended):
        return None

    def within(moment: datetime, bounds: tuple[datetime | None, ...]) -> bool:
        since, until = bounds
        return (since is None or since <= moment) and (until is None or moment < until)

    def where(recording: SimRecording) -> bool:
        named = _names(world, recording)
        return (
            all(named[name] == value for name, value in wanted.items())
            and within(recording.started_at, started)
            and within(recording.ended_at, ended)
        )

    return where


def _names(world: World, recording: SimRecording) -> JSON:
    caller, called = numbers(world, recording.call_id or "")
    return {
        "call_control_id": f"v3:{recording.call_id}",
        "call_leg_id": recording.call_id,
        "call_session_id": recording.call_id,
        "conference_id": recording.conference_id,
        "connection_id": "175237942907135762",
        "from": caller,
        "to": called,
    }


def _row(world: World, recording: SimRecording, now: datetime) -> JSON:
    switches, digits = world.switches, world.switches.telnyx_fraction_digits
    document = _names(world, recording) | {
        "channels": "dual" if recording.channels == 2 else "single",
        "created_at": dates.iso(recording.created_at, digits),
        "download_urls": _download_urls(world, recording, switches.telnyx_url_seconds),
        "duration_millis": round(recording.duration_seconds * 1000),
        "id": recording.recording_id,
        "initiated_by": recording.source,
        "record_type": "recording",
        "recording_ended_at": dates.iso(recording.ended_at, digits),
        "recording_started_at": dates.iso(recording.started_at, digits),
        "source": "conference" if recording.conference_id else "call",
        "status": "completed" if recording.final(now) else "processing",
        "updated_at": dates.iso(recording.updated_at(now), digits),
    }
    if recording.malformed == "no_date":
        for name in ("created_at", "recording_started_at", "recording_ended_at"):
            del document[name]
    elif recording.malformed == "bad_date":
        document["created_at"] = "2018-02-30T22:25:27.521Z"
    return document


def _download_urls(world: World, recording: SimRecording, seconds: int) -> JSON:
    if not recording.final(world.clock.now):
        return {}
    if recording.external_location:
        return {recording.formats[0]: recording.external_location}
    return {name: world.signed_url(recording, name, recording.channels, seconds) for name in recording.formats}
