"""Plivo v1: pages by offset, a window of 30 days, media at public addresses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import Any

from recvault.simulator.exchange import Request, Route, SimulatedReply, error, json_reply, media_reply, refuse
from recvault.simulator.recording import SimRecording
from recvault.simulator.shelf import Query
from recvault.simulator.world import SimAccount, World

JSON = dict[str, Any]
_LARGEST = 20
_TICK = timedelta(microseconds=1)
_INDIA = timezone(timedelta(hours=5, minutes=30))  # the zone of add_time in the documents' samples


def route(world: World, request: Request) -> Route:
    """Route a path below /v1/Account."""
    match (request.method, request.path.split("/")[3:]):
        case ("GET", [account_id, "Recording", ""]):
            return Route("plain", "list", partial(_list, world, request, account_id))
        case ("GET", [account_id, "Recording", recording_id, ""]):
            return Route("plain", "instance", partial(_instance, world, request, account_id, recording_id))
        case ("DELETE", [account_id, "Recording", recording_id, ""]):
            return Route("plain", "delete", partial(_delete, world, request, account_id, recording_id))
    return Route("plain", "other", partial(error, "plain", 404, "", "not found"))


def media(world: World, request: Request, account: SimAccount, name: str) -> SimulatedReply:
    """Serve a recording's file, whose address needs no credentials."""
    recording_id, _, media_format = name.rpartition(".")
    recording, now = account.shelves["plivo"].get(recording_id), world.clock.now
    if recording is None or not recording.fetchable(now) or media_format not in recording.formats:
        raise refuse("s3", 403, "AccessDenied", "Access Denied")
    return media_reply(request, world.media(recording, media_format, recording.channels), ranged=True)


def _login(world: World, request: Request, account_id: str) -> SimAccount:
    account = world.logins.get(request.headers.get("authorization", ""))
    if account is None or account.kind != "plivo" or account.account_id != account_id or account.status != "active":
        raise refuse("plain", 401, "", "Could not verify your access level for that URL.")
    return account


def _find(world: World, account: SimAccount, recording_id: str) -> SimRecording:
    recording = account.shelves["plivo"].get(recording_id)
    if recording is None or not recording.listed(world.clock.now):
        raise refuse("plain", 404, "", "not found")
    return recording


def _instance(world: World, request: Request, account_id: str, recording_id: str) -> SimulatedReply:
    return json_reply(_row(world, _find(world, _login(world, request, account_id), recording_id)))


def _delete(world: World, request: Request, account_id: str, recording_id: str) -> SimulatedReply:
    account = _login(world, request, account_id)
    account.shelves["plivo"].delete(_find(world, account, recording_id).recording_id, world.clock.now)
    return SimulatedReply(status=204)


def _list(world: World, request: Request, account_id: str) -> SimulatedReply:
    account, now = _login(world, request, account_id), world.clock.now
    size, start = _number(request, "limit", _LARGEST), _number(request, "offset", 0)
    if not 0 < size <= _LARGEST:
        raise refuse("plain", 400, "", f"limit must be from 1 to {_LARGEST}")
    page = account.shelves["plivo"].page(
        "plivo", SimRecording.listed, now, _query(world, request, now), size=size, start=start
    )
    following = f"{_link(world, request)}limit={size}&offset={start + size}" if page.more else None
    meta = {"limit": size, "offset": start, "previous": None, "next": following, "total_count": page.total}
    rows = [_row(world, recording) for recording in page.recordings]
    reply = json_reply({"api_id": world.hex("api", request.target), "meta": meta, "objects": rows})
    own = f"{_link(world, request)}limit={size}&offset={start}"
    reply.next_link = (own, following) if following else None
    return reply


def _link(world: World, request: Request) -> str:
    """Return a link's beginning; in the SDK's sample it has no parameters but the page's."""
    pairs = [pair for pair in request.query.split("&") if not pair.startswith(("limit=", "offset="))]
    kept = "".join(f"{pair}&" for pair in pairs if pair) if world.switches.plivo_link_repeats_filter else ""
    return f"{request.path}?{kept}"


def _number(request: Request, name: str, default: int) -> int:
    text = request.param(name)
    if text is not None and not text.isdecimal():
        raise refuse("plain", 400, "", f"{name} must be a number")
    return default if text is None else int(text)


def _query(world: World, request: Request, now: datetime) -> Query:
    try:
        told = {name: _bound(request.param(f"add_time__{name}")) for name in ("gt", "gte", "lt", "lte")}
    except ValueError as problem:
        raise refuse("plain", 400, "", f"Invalid add_time: {problem}") from None
    since = told["gte"] or (told["gt"] and told["gt"] + _TICK)
    until = told["lt"] or (told["lte"] and told["lte"] + _TICK)
    most = world.switches.plivo_window_days
    if since is None and until is None:
        since = now - timedelta(days=world.switches.plivo_unbounded_days)
    if most and (until or now) - (since or datetime(2000, 1, 1, tzinfo=UTC)) > timedelta(days=most):
        raise refuse("plain", 400, "", f"add_time must be within {most} days")
    return Query(since=since, until=until)


def _bound(text: str | None) -> datetime | None:
    """Read `YYYY-MM-DD HH:MM[:ss[.uuuuuu]]`, in UTC."""
    if not text:
        return None
    if "T" in text or len(text) < 16:
        raise ValueError(text)
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _row(world: World, recording: SimRecording) -> JSON:
    account, name, media_format = recording.account_id, recording.recording_id, recording.formats[0]
    millis = {
        f"recording_{what}_ms": f"{moment.timestamp() * 1000:.5f}"
        for what, moment in (("start", recording.started_at), ("end", recording.ended_at))
    }
    row = {
        "add_time": recording.created_at.astimezone(_INDIA).isoformat(sep=" ", timespec="microseconds"),
        "call_uuid": recording.call_id,
        "conference_name": recording.conference_id,
        "recording_duration_ms": f"{recording.duration_seconds * 1000:.5f}",
        "recording_format": media_format,
        "recording_id": name,
        "recording_storage_duration": 1,
        "recording_type": recording.source,
        "recording_url": f"http://{world.media_host}/public/{account}/{name}.{media_format}",
        "resource_uri": f"/v1/Account/{account}/Recording/{name}/",
        "rounded_recording_duration": 60 * -int(-recording.duration_seconds // 60),
        **millis,
    }
    if recording.malformed == "no_date":
        del row["add_time"]
    elif recording.malformed == "bad_date":
        row["add_time"] = "2018-02-30 22:25:27+05:30"
    return row
