"""SignalWire's compatibility API (LaML): Twilio's shape under /api/laml, with its own types and links."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from recvault.simulator import calls, dates
from recvault.simulator.exchange import Request, Route, SimulatedReply, error, json_reply, media_reply, refuse
from recvault.simulator.recording import SimRecording
from recvault.simulator.shelf import Query, Slice
from recvault.simulator.twilio_common import encode, page_number, page_size
from recvault.simulator.world import SimAccount, World

ROOT = "/api/laml"
PREFIX = f"{ROOT}/2010-04-01/Accounts"
JSON = dict[str, Any]


def route(world: World, request: Request) -> Route:
    """Route a path below /api/laml. A list may end in `.json`; an instance without it is audio."""
    match request.path.removeprefix(PREFIX).split("/")[1:]:
        case [project, "Recordings" | "Recordings.json"]:
            return Route("json", "list", partial(_list, world, request, project, ""))
        case [project, "Calls" | "Calls.json"]:
            return Route("json", "other", partial(_calls, world, request, project))
        case [project, "Conferences", conference, "Recordings" | "Recordings.json"]:
            return Route("json", "list", partial(_list, world, request, project, conference))
        case [project, "Recordings", name] | [project, "Calls" | "Conferences", _, "Recordings", name]:
            recording_id, _, extension = name.partition(".")
            if request.method == "DELETE":
                return Route("json", "delete", partial(_delete, world, request, project, recording_id))
            if extension == "json":
                return Route("json", "instance", partial(_instance, world, request, project, recording_id))
            return Route("xml", "media", partial(_media, world, request, project, recording_id, extension or "wav"))
    return Route("json", "other", partial(error, "json", 404, 20404, f"{request.path} was not found"))


def _login(world: World, request: Request, project: str) -> SimAccount:
    account = world.logins.get(request.headers.get("authorization", ""))
    if account is None or account.account_id != project or account.status != "active":
        raise refuse("json", 401, 20003, "Authentication Error")
    return account


def _find(world: World, account: SimAccount | None, recording_id: str) -> SimRecording:
    recording = account.shelves["signalwire"].get(recording_id) if account and account.kind == "signalwire" else None
    now = world.clock.now
    if recording is None or recording.deleted(now) or min(recording.created_at, recording.started_at) > now:
        raise refuse("json", 404, 20404, f"Recording {recording_id} was not found")
    return recording


def _instance(world: World, request: Request, project: str, recording_id: str) -> SimulatedReply:
    recording = _find(world, _login(world, request, project), recording_id)
    return json_reply(_row(world, recording, world.clock.now))


def _delete(world: World, request: Request, project: str, recording_id: str) -> SimulatedReply:
    account = _login(world, request, project)
    _find(world, account, recording_id)
    account.shelves["signalwire"].delete(recording_id, world.clock.now)
    return SimulatedReply(status=204, content_type="")


def _media(world: World, request: Request, project: str, recording_id: str, media_format: str) -> SimulatedReply:
    """Serve media. Public by default: anyone who knows the id may listen."""
    if not world.switches.signalwire_media_public:
        _login(world, request, project)
    recording = _find(world, world.accounts.get(project), recording_id)
    if not recording.fetchable(world.clock.now) or media_format not in recording.formats:
        raise refuse("xml", 404, 20404, f"The requested resource {request.path} was not found")
    return media_reply(request, world.media(recording, media_format, recording.channels), ranged=False)


def _list(world: World, request: Request, project: str, conference: str) -> SimulatedReply:
    account, now, switches = _login(world, request, project), world.clock.now, world.switches
    if account.kind != "signalwire":
        raise refuse("json", 401, 20003, "Authentication Error")
    size = page_size(request.param("PageSize"), largest=1000, over="clamp", dialect="json")
    token = request.param("PageToken") or ""
    number = page_number(request.param("Page"))
    if token.startswith("PAempty"):
        return _empty_page(world, request, number, size, token)
    if (number and not token) or (token and account.shelves["signalwire"].get(token[2:]) is None):
        raise refuse("json", 400, 21481, "Invalid PageToken")
    within = conference or request.param("CallSid") or request.param("ConferenceSid")
    query = replace(_bounds(world, request), within=within)
    page = account.shelves["signalwire"].page("signalwire", SimRecording.listed, now, query, size=size, after=token[2:])
    rows = [_row(world, recording, now) for recording in page.recordings]
    return _page(world, request, rows, number, size, _next_token(page, number, switches.signalwire_empty_page))


def _calls(world: World, request: Request, project: str) -> SimulatedReply:
    return calls.answer(world, request, _login(world, request, project), "signalwire")


def _next_token(page: Slice, number: int, empty_page: bool) -> str:
    if not page.more:
        return ""
    return ("PAempty" if empty_page and number == 0 else "PA") + page.recordings[-1].recording_id


def _empty_page(world: World, request: Request, number: int, size: int, token: str) -> SimulatedReply:
    """Answer a page without rows that has a next link."""
    return _page(world, request, [], number, size, "PA" + token.removeprefix("PAempty"))


def _bounds(world: World, request: Request) -> Query:
    """Read `DateCreated>` and `DateCreated<`: dates, ISO or RFC 2822 date-times; inclusive or not by the switch."""
    after, before, on = (request.param(name) for name in ("DateCreated>", "DateCreated<", "DateCreated"))
    mode = world.switches.signalwire_date_filter
    if mode == "ignored":
        return Query()
    exclusive = mode == "exclusive"
    tick = timedelta(seconds=1)
    try:
        since = dates.read(after) + (tick if exclusive else timedelta()) if after else None
        until = dates.read(before) + (timedelta() if exclusive else tick) if before else None
        if on:
            since = dates.read(on)
            until = since + (timedelta(days=1) if dates.is_date(on) else tick)
    except (ValueError, OverflowError):
        raise refuse("json", 400, 20001, "Invalid date value") from None
    return Query(since=since, until=until)


def _page(world: World, request: Request, rows: list[JSON], number: int, size: int, token: str) -> SimulatedReply:
    kept = [(n, v) for n, v in request.params if n not in {"Page", "PageSize", "PageToken"}]
    path = request.path.removesuffix(".json")
    if not world.switches.signalwire_prefixed_links:
        path = path.removeprefix(ROOT)

    def uri(page_number: int, page_token: str = "") -> str:
        pairs = [*kept, ("Page", str(page_number)), ("PageSize", str(size))]
        return f"{path}?{encode([*pairs, ('PageToken', page_token)] if page_token else pairs)}"

    own = uri(number, request.param("PageToken") or "")
    following = uri(number + 1, token) if token else None
    if number == 1 and world.switches.signalwire_repeated_next:
        following = own
    reply = json_reply(
        {
            "uri": own,
            "first_page_uri": uri(0),
            "next_page_uri": following,
            "previous_page_uri": uri(number - 1, f"PB{rows[0]['sid']}") if number and rows else None,
            "page": number,
            "page_size": size,
            "recordings": rows,
        }
    )
    reply.next_link = (own, following) if following else None
    return reply


_PRICES: dict[str, Callable[[], object]] = {
    "string": lambda: "-0.0025",
    "float": lambda: 0.0,
    "null": lambda: None,
}


def _row(world: World, recording: SimRecording, now: datetime) -> JSON:
    switches = world.switches
    write = partial(dates.rfc2822, sept=switches.signalwire_sept)
    done = recording.final(now) and recording.status_final == "completed"
    base = f"{PREFIX}/{recording.account_id}"
    seconds = round(recording.duration_seconds)
    document: JSON = {
        "sid": recording.recording_id,
        "api_version": "2010-04-01",
        "account_sid": recording.account_id,
        "call_sid": recording.call_id,
        "conference_sid": recording.conference_id,
        "date_created": write(recording.created_at),
        "date_updated": write(recording.updated_at(now)),
        "duration": (str(seconds) if switches.signalwire_duration == "string" else seconds) if done else None,
        "start_time": write(recording.started_at),
        "end_time": write(recording.ended_at) if recording.ended_at <= now else None,
        "error_code": recording.error_code if recording.final(now) else None,
        "price": _PRICES[switches.signalwire_price]() if done else None,
        "price_unit": "USD",
        "source": recording.source,
        "status": _status(recording, now),
        "uri": f"{base}/Calls/{recording.call_id or recording.conference_id}/Recordings/{recording.recording_id}.json",
        "subresource_uris": {"transcriptions": f"{base}/Recordings/{recording.recording_id}/Transcriptions.json"},
    }
    if switches.signalwire_channels != "missing":
        channels = recording.channels if switches.signalwire_channels == "int" else str(recording.channels)
        document |= {"channel": channels, "channels": channels}
    if recording.malformed == "no_date":
        for name in ("date_created", "start_time"):
            document.pop(name, None)
    elif recording.malformed == "bad_date":
        document["date_created"] = "Tue, 31 Foo 2018 23:00:00 +0000"
    return document


def _status(recording: SimRecording, now: datetime) -> str:
    """Return the status: completed and absent are final, and there is no processing."""
    if not recording.final(now):
        return "in-progress" if now < recording.ended_at else "stopped"
    return "completed" if recording.status_final == "completed" else "absent"
