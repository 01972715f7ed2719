"""Twilio's legacy API, 2008-08-01: the same recordings as XML, in offset pages, with six fields."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from xml.sax.saxutils import escape, quoteattr

from recvault.simulator import dates
from recvault.simulator.exchange import Request, Route, SimulatedReply, error, xml_reply
from recvault.simulator.recording import SimRecording
from recvault.simulator.shelf import Slice
from recvault.simulator.twilio_common import account_of_path, created_between, encode, page_number, page_size
from recvault.simulator.twilio_voice import delete, not_found, serve
from recvault.simulator.world import World

PREFIX = "/2008-08-01/Accounts/"


def route(world: World, request: Request) -> Route:
    """Route a path below /2008-08-01."""
    if world.switches.legacy_retired:
        return Route("xml", "other", partial(error, "xml", 410, 20006, "This API version is retired"))
    match request.path.removeprefix(PREFIX).split("/"):
        case [account_id, "Recordings"]:
            return Route("xml", "list", partial(_list, world, request, account_id))
        case [account_id, "Recordings", name]:
            recording_id, _, extension = name.partition(".")
            find = partial(_find, world, request, account_id, recording_id)
            if request.method == "DELETE":
                return Route("xml", "delete", partial(delete, world, find, "xml"))
            if extension == "xml":
                return Route("xml", "instance", partial(_instance, world, request, account_id, recording_id))
            without_query = Request(request.method, request.path, "", request.headers)
            return Route("xml", "media", partial(serve, world, without_query, find, extension or "wav"))
    return Route("xml", "other", partial(error, "xml", 404, 20404, f"{request.path} was not found"))


def _find(world: World, request: Request, account_id: str, recording_id: str) -> SimRecording:
    account = account_of_path(world, request, account_id, "xml")
    recording = account.shelves["voice"].get(recording_id)
    if recording is None or recording.created_at > world.clock.now:
        raise not_found(request, "xml")
    return recording


def _instance(world: World, request: Request, account_id: str, recording_id: str) -> SimulatedReply:
    recording, now = _find(world, request, account_id, recording_id), world.clock.now
    if recording.deleted(now):
        raise not_found(request, "xml")
    return xml_reply(f"<TwilioResponse>{_row(world, recording, now)}</TwilioResponse>")


def _list(world: World, request: Request, account_id: str) -> SimulatedReply:
    account = account_of_path(world, request, account_id, "xml")
    now, size = world.clock.now, _size(world, request)
    number = page_number(request.param("page") or request.param("Page"))
    query = created_between(request, "xml", days_only=True)
    page = account.shelves["voice"].page("legacy", SimRecording.listed, now, query, size=size, start=number * size)
    attributes = _attributes(world, request, page, number, size)
    written = " ".join(f"{name}={quoteattr(value)}" for name, value in attributes.items())
    rows = "".join(_row(world, recording, now) for recording in page.recordings)
    reply = xml_reply(f"<TwilioResponse><Recordings {written}>{rows}</Recordings></TwilioResponse>")
    if attributes.get("nextpageuri"):
        reply.next_link = (escape(attributes["uri"]), escape(attributes["nextpageuri"]))
    return reply


def _size(world: World, request: Request) -> int:
    over = world.switches.voice_page_size_over
    return page_size(request.param("num"), largest=1000, over=over, dialect="xml", name="num")


def _attributes(world: World, request: Request, page: Slice, number: int, size: int) -> dict[str, str]:
    pages = max(1, -(-page.total // size))
    attributes = {
        "page": str(number),
        "numpages": str(pages),
        "pagesize": str(size),
        "total": str(page.total),
        "start": str(page.start if page.recordings else 0),
        "end": str(page.start + len(page.recordings) - 1 if page.recordings else 0),
    }
    if not world.switches.legacy_nextpageuri:
        return attributes
    kept = [(n, v) for n, v in request.params if n not in {"page", "Page", "num"}]

    def uri(page_number: int) -> str:
        return f"{request.path}?{encode([*kept, ('num', str(size)), ('page', str(page_number))])}"

    return attributes | {
        "uri": uri(number),
        "firstpageuri": uri(0),
        "previouspageuri": uri(number - 1) if number else "",
        "nextpageuri": uri(number + 1) if page.more else "",
        "lastpageuri": uri(pages - 1),
    }


def _row(world: World, recording: SimRecording, now: datetime) -> str:
    offset = world.switches.legacy_offset_hours
    created = f"<DateCreated>{dates.rfc2822(recording.created_at, offset)}</DateCreated>"
    if recording.malformed:
        created = "" if recording.malformed == "no_date" else "<DateCreated>yesterday</DateCreated>"
    done = recording.final(now) and recording.status_final == "completed"
    duration = f"<Duration>{round(recording.duration_seconds)}</Duration>" if done else "<Duration/>"
    call = f"<CallSid>{recording.call_id}</CallSid>" if recording.call_id else "<CallSid/>"
    updated = dates.rfc2822(recording.updated_at(now), offset)
    return (
        f"<Recording><Sid>{recording.recording_id}</Sid><AccountSid>{recording.account_id}</AccountSid>"
        f"{call}{duration}{created}<DateUpdated>{updated}</DateUpdated></Recording>"
    )
