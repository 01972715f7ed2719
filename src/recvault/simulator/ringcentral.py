"""RingCentral: an account's call log with recordings, access tokens for a JWT, media by the same token."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

from recvault.simulator import dates
from recvault.simulator.calls import numbers
from recvault.simulator.exchange import Request, Route, SimulatedReply, error, json_reply, media_reply, refuse
from recvault.simulator.recording import SimRecording
from recvault.simulator.shelf import Query
from recvault.simulator.twilio_common import encode
from recvault.simulator.world import SimAccount, World

JSON = dict[str, Any]
_LARGEST = 1000
_OWN = "/restapi/v1.0/account/~"


def route(world: World, request: Request) -> Route:
    """Route a path below /restapi."""
    if (request.method, request.path) == ("POST", "/restapi/oauth/token"):
        return Route("plain", "other", partial(_token, world, request))
    if request.method == "GET" and request.path.startswith(f"{_OWN}/"):
        match request.path.removeprefix(f"{_OWN}/").split("/"):
            case ["call-log"]:
                return Route("plain", "list", partial(_list, world, request))
            case ["call-log", name]:
                return Route("plain", "instance", partial(_instance, world, request, name))
            case ["recording", name, "content"]:
                return Route("plain", "media", partial(_media, world, request, name))
    return Route("plain", "other", partial(error, "plain", 404, "", "Resource not found"))


def _token(world: World, request: Request) -> SimulatedReply:
    form = dict(parse_qsl(request.body.decode()))
    account = next((each for each in world.accounts.values() if _opens(each, request, form)), None)
    if account is None:
        return json_reply({"error": "invalid_grant", "error_description": "Invalid client or assertion"}, 400)
    token, seconds = world.mint(account)
    return json_reply({"access_token": token, "token_type": "bearer", "expires_in": seconds, "scope": "ReadCallLog"})


def _opens(account: SimAccount, request: Request, form: dict[str, str]) -> bool:
    if account.kind != "ringcentral" or account.client != request.headers.get("authorization"):
        return False
    wanted = ("urn:ietf:params:oauth:grant-type:jwt-bearer", account.credentials["jwt"])
    return (form.get("grant_type"), form.get("assertion")) == wanted


def _login(world: World, request: Request) -> SimAccount:
    account = world.bearer(request.headers.get("authorization", ""))
    if account is None or account.kind != "ringcentral" or account.status != "active":
        raise refuse("plain", 401, "", "Access token is invalid or expired")
    return account


def _find(world: World, account: SimAccount, name: str) -> SimRecording:
    recording = account.shelves["ringcentral"].get(name)
    if recording is None or not recording.listed(world.clock.now):
        raise refuse("plain", 404, "", "Resource not found")
    return recording


def _instance(world: World, request: Request, name: str) -> SimulatedReply:
    return json_reply(_row(world, _find(world, _login(world, request), name.removeprefix("log-"))))


def _media(world: World, request: Request, name: str) -> SimulatedReply:
    recording = _find(world, _login(world, request), name)
    if not recording.fetchable(world.clock.now):
        raise refuse("plain", 404, "", "Resource not found")
    return media_reply(request, world.media(recording, recording.formats[0], recording.channels), ranged=False)


def _list(world: World, request: Request) -> SimulatedReply:
    account, now = _login(world, request), world.clock.now
    number, size = (_number(request, name, default) for name, default in (("page", 1), ("perPage", 100)))
    if size > _LARGEST or request.param("recordingType") != "All":
        raise refuse("plain", 400, "", "Parameter value is invalid")
    query = Query(since=_bound(request, "dateFrom"), until=_bound(request, "dateTo"))
    page = account.shelves["ringcentral"].page(
        "ringcentral", SimRecording.listed, now, query, size=size, start=(number - 1) * size
    )
    navigation = {"firstPage": {"uri": _link(world, request, 1)}}
    following = _link(world, request, number + 1) if page.more else None
    if following:
        navigation["nextPage"] = {"uri": following}
    rows = [_row(world, recording) for recording in page.recordings]
    own = _link(world, request, number)
    paging = {"page": number, "perPage": size, "pageStart": page.start, "pageEnd": page.start + len(rows) - 1}
    reply = json_reply({"uri": own, "records": rows, "paging": paging, "navigation": navigation})
    reply.next_link = (own, following) if following else None
    return reply


def _link(world: World, request: Request, number: int) -> str:
    kept = [(name, value) for name, value in request.params if name != "page"]
    return f"{world.base_url}{request.path}?{encode([*kept, ('page', str(number))])}"


def _number(request: Request, name: str, default: int) -> int:
    text = request.param(name)
    if text is not None and not (text.isdecimal() and int(text) > 0):
        raise refuse("plain", 400, "", f"Parameter {name} is invalid")
    return default if text is None else int(text)


def _bound(request: Request, name: str) -> datetime | None:
    try:
        text = request.param(name)
        return dates.read_zoned(text) if text else None
    except ValueError:
        raise refuse("plain", 400, "", f"Parameter {name} is invalid") from None


def _row(world: World, recording: SimRecording) -> JSON:
    name = recording.recording_id
    caller, called = numbers(world, recording.call_id or "")
    below = f"{world.base_url}{_OWN}"
    row = {
        "uri": f"{below}/call-log/log-{name}",
        "id": f"log-{name}",
        "sessionId": recording.call_id,
        "startTime": dates.iso(recording.created_at, 3),
        "duration": round(recording.duration_seconds) + 7,  # the call's
        "type": "Voice",
        "direction": "Inbound",
        "action": "Phone Call",
        "result": "Accepted",
        "to": {"phoneNumber": called},
        "from": {"phoneNumber": caller},
        "recording": {
            "uri": f"{below}/recording/{name}",
            "id": name,
            "type": recording.source,
            "contentUri": f"{below}/recording/{name}/content",
        },
    }
    if recording.malformed == "no_date":
        del row["startTime"]
    elif recording.malformed == "bad_date":
        row["startTime"] = "2018-02-30T22:25:27.521Z"
    return row
