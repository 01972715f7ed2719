"""Twilio Voice, 2010-04-01: JSON lists with keyset pages, instances, media, deletion, sub-accounts."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from recvault.simulator import calls, dates
from recvault.simulator.exchange import (
    Dialect,
    Request,
    Route,
    SimulatedReply,
    error,
    json_reply,
    media_reply,
    refuse,
)
from recvault.simulator.recording import SimRecording
from recvault.simulator.shelf import Query, Slice
from recvault.simulator.twilio_common import account_of_path, created_between, encode, login, page_number, page_size
from recvault.simulator.world import SimAccount, World

PREFIX = "/2010-04-01/Accounts/"
JSON = dict[str, Any]


def route(world: World, request: Request) -> Route:
    """Route a path below /2010-04-01."""
    parts = request.path.removeprefix(PREFIX).split("/")
    dialect: Dialect = "json" if request.path.endswith(".json") else "xml"
    at = partial(Route, dialect)
    match parts:
        case ["", "2010-04-01", "Accounts.json"]:
            return at("other", partial(_accounts, world, request))
        case [account_id] if account_id.endswith(".json"):
            return at("other", partial(_account, world, request, account_id.removesuffix(".json")))
        case [account_id, "Recordings.json"]:
            return at("list", partial(_list, world, request, account_id, "", ""))
        case [account_id, "Calls.json"]:
            return at("other", partial(_calls, world, request, account_id))
        case [account_id, "Calls" | "Conferences" as kind, owner, "Recordings.json"]:
            return at("list", partial(_list, world, request, account_id, kind, owner))
        case [account_id, "Recordings", name] | [account_id, "Calls" | "Conferences", _, "Recordings", name]:
            return _one(world, request, account_id, *name.partition(".")[::2], dialect)
    return at("other", partial(error, dialect, 404, 20404, f"The requested resource {request.path} was not found"))


def _one(world: World, request: Request, account_id: str, recording_id: str, extension: str, dialect: Dialect) -> Route:
    """Route an instance: `.json` is metadata; no extension, `.wav` or `.mp3` is media."""
    find = partial(_find, world, request, account_id, recording_id, dialect)
    if request.method == "DELETE":
        return Route(dialect, "delete", partial(delete, world, find, dialect))
    if extension == "json":
        return Route(dialect, "instance", partial(_instance, world, request, find))
    return Route("xml", "media", partial(serve, world, request, find, extension or "wav"))


Find = Callable[[], SimRecording]


def _find(world: World, request: Request, account_id: str, recording_id: str, dialect: Dialect) -> SimRecording:
    account = account_of_path(world, request, account_id, dialect)
    recording = account.shelves["voice"].get(recording_id)
    if recording is None or recording.created_at > world.clock.now:
        raise not_found(request, dialect)
    return recording


def not_found(request: Request, dialect: Dialect) -> Exception:
    return refuse(dialect, 404, 20404, f"The requested resource {request.path} was not found")


def _instance(world: World, request: Request, find: Find) -> SimulatedReply:
    recording, now = find(), world.clock.now
    soft = _includes_deleted(request) and _remembered(world, recording, now)
    if recording.deleted(now) and not soft:
        raise not_found(request, "json")
    return json_reply(row(world, recording, now, "account"))


def _includes_deleted(request: Request) -> bool:
    return (request.param("IncludeSoftDeleted") or "").lower() == "true"


def _remembered(world: World, recording: SimRecording, now: datetime) -> bool:
    retention = world.accounts[recording.account_id].shelves["voice"].retention
    return recording.deleted_at is None or now < recording.deleted_at + retention


def delete(world: World, find: Find, dialect: Dialect) -> SimulatedReply:
    """Delete a recording: 204; 404 if it is deleted already; 409 if it is not final."""
    recording, now = find(), world.clock.now
    if recording.deleted(now):
        raise refuse(dialect, 404, 20404, "The requested resource was not found")
    if not recording.final(now):
        raise refuse(dialect, 409, 20409, "Only a completed recording can be deleted")
    world.accounts[recording.account_id].shelves["voice"].delete(recording.recording_id, now)
    return SimulatedReply(status=204, content_type="")


def serve(world: World, request: Request, find: Find, media_format: str) -> SimulatedReply:
    """Serve the media as wav or mp3, mono or dual."""
    recording, switches = find(), world.switches
    if not recording.fetchable(world.clock.now) or media_format not in {"wav", "mp3"}:
        raise not_found(request, "xml")
    if recording.encrypted and media_format == "mp3":
        raise refuse("xml", 400, 16109, "An encrypted recording is not available as mp3")
    wanted = request.param("RequestedChannels") or str(recording.default_channels)
    if wanted not in {"1", str(recording.channels)}:
        raise refuse("xml", 400, 20001, f"RequestedChannels={wanted} of a recording with {recording.channels}")
    channels = int(wanted)
    if switches.voice_media_from == "redirect":
        url = world.signed_url(recording, media_format, channels, 14400)
        return SimulatedReply(status=307, content_type="text/plain", headers=[("Location", url)])
    media = world.media(recording, media_format, channels)
    if recording.encrypted:
        media = replace(media, content_type="audio/x-wav")
    chunked = switches.voice_media_length == "chunked"
    reply = media_reply(request, media, ranged=switches.voice_media_range, chunked=chunked)
    reply.provable = not recording.encrypted
    return reply


def _list(world: World, request: Request, account_id: str, kind: str, owner: str) -> SimulatedReply:
    account = account_of_path(world, request, account_id, "json")
    shelf, now = account.shelves["voice"], world.clock.now
    size = page_size(request.param("PageSize"), largest=1000, over=world.switches.voice_page_size_over, dialect="json")
    query = _query(request, owner)
    soft = not kind and _includes_deleted(request)

    def shown(recording: SimRecording, at: datetime) -> bool:
        if recording.visible_at > at:
            return False
        return not recording.deleted(at) or (soft and _remembered(world, recording, at))

    after = _token(request.param("PageToken"), account)
    page = shelf.page("voice+deleted" if soft else "voice", shown, now, query, size=size, after=after)
    number = page_number(request.param("Page"))
    rows = [row(world, recording, now, kind.lower() or "account") for recording in page.recordings]
    return _page(request, page, rows, number, size)


def _calls(world: World, request: Request, account_id: str) -> SimulatedReply:
    return calls.answer(world, request, account_of_path(world, request, account_id, "json"), "voice")


def _query(request: Request, owner: str) -> Query:
    query = created_between(request, "json", days_only=bool(owner))
    call, conference = request.param("CallSid"), request.param("ConferenceSid")
    within = owner or call or conference
    if not owner and call and conference:
        return replace(query, within=call, where=lambda recording: recording.conference_id == conference)
    return replace(query, within=within) if within else query


def _token(token: str | None, account: SimAccount) -> str:
    """Read a page token: `PA` and the id of the last row of the previous page."""
    if not token:
        return ""
    if not token.startswith("PA") or account.shelves["voice"].get(token[2:]) is None:
        raise refuse("json", 400, 21481, "Invalid PageToken")
    return token[2:]


def _page(request: Request, page: Slice, rows: list[JSON], number: int, size: int) -> SimulatedReply:
    kept = [(n, v) for n, v in request.params if n not in {"Page", "PageSize", "PageToken"}]

    def uri(page_number: int, token: str = "") -> str:
        pairs = [*kept, ("PageSize", str(size)), ("Page", str(page_number))]
        return f"{request.path}?{encode([*pairs, ('PageToken', token)] if token else pairs)}"

    following = uri(number + 1, f"PA{page.recordings[-1].recording_id}") if page.more else None
    own = uri(number, request.param("PageToken") or "")
    start = number * size
    reply = json_reply(
        {
            "first_page_uri": uri(0),
            "end": start + len(rows) - 1 if rows else 0,
            "previous_page_uri": uri(number - 1, f"PB{page.recordings[0].recording_id}") if number and rows else None,
            "recordings": rows,
            "uri": own,
            "page_size": size,
            "start": start if rows else 0,
            "next_page_uri": following,
            "page": number,
        }
    )
    reply.next_link = (own, following) if following else None
    return reply


def row(world: World, recording: SimRecording, now: datetime, kind: str) -> JSON:
    """Return the JSON object; `kind` (account, calls or conferences) decides which keys it has."""
    base = f"{PREFIX}{recording.account_id}"
    resource = f"{base}/Recordings/{recording.recording_id}"
    offset = 1 if world.switches.voice_mixed_offsets and recording.recording_id[-1] in "05af" else 0
    done = recording.final(now)
    completed = done and recording.status_final == "completed"
    document: JSON = {
        "account_sid": recording.account_id,
        "api_version": "2010-04-01",
        "call_sid": recording.call_id,
        "conference_sid": recording.conference_id,
        "channels": recording.channels,
        "date_created": dates.rfc2822(recording.created_at, offset),
        "date_updated": dates.rfc2822(recording.updated_at(now), offset),
        "start_time": dates.rfc2822(recording.started_at, offset),
        "price": "-0.0025" if completed else None,
        "price_unit": "USD",
        "duration": str(round(recording.duration_seconds)) if completed else None,
        "sid": recording.recording_id,
        "source": recording.source,
        "status": recording.status(now),
        "error_code": recording.error_code if done else None,
        "encryption_details": encryption_details(world, recording) if recording.encrypted and completed else None,
        "uri": f"{resource}.json",
    }
    if kind == "account":
        document["subresource_uris"] = {
            "add_on_results": f"{resource}/AddOnResults.json",
            "transcriptions": f"{resource}/Transcriptions.json",
        }
        document["media_url"] = recording.external_location or f"{world.base_url}{resource}"
    elif kind == "calls":
        document |= {"track": "both", "price": -0.0025 if completed else None}
        document["uri"] = f"{base}/Calls/{recording.call_id}/Recordings/{recording.recording_id}.json"
    else:
        document["uri"] = f"{base}/Conferences/{recording.conference_id}/Recordings.json"
    if recording.malformed == "no_date":
        for name in ("date_created", "start_time"):
            document.pop(name, None)
    elif recording.malformed == "bad_date":
        document["date_created"] = "the day before yesterday"
    return document


def encryption_details(world: World, recording: SimRecording) -> JSON:
    """Return key fields of the right shape (a wrapped key of 2048 bits, an IV of 12 bytes), real ones with a sealer."""
    if world.sealer is not None:
        return world.sealer.seal(recording).call_fields
    wrapped = b"".join(bytes.fromhex(world.hex("cek", recording.recording_id, n)) for n in range(16))
    vector = bytes.fromhex(world.hex("iv", recording.recording_id))[:12]
    return {
        "encryption_public_key_sid": "CR" + world.hex("key", recording.account_id),
        "encryption_cek": base64.b64encode(wrapped).decode(),
        "encryption_iv": base64.b64encode(vector).decode(),
    }


def _accounts(world: World, request: Request) -> SimulatedReply:
    """List the main account and its sub-accounts, with their tokens; for a sub-account only itself."""
    caller = login(world, request, "json", keys=False)
    size = page_size(request.param("PageSize"), largest=1000, over="clamp", dialect="json")
    number = page_number(request.param("Page"))
    seen = [a for a in world.accounts.values() if a is caller or a.parent is caller]
    wanted = {"status": request.param("Status"), "name": request.param("FriendlyName")}
    seen = [a for a in seen if wanted["status"] in (None, a.status) and wanted["name"] in (None, _name(a))]
    rows = [_account_row(account) for account in seen[number * size : (number + 1) * size]]
    kept = [(n, v) for n, v in request.params if n not in {"Page", "PageSize", "PageToken"}]

    def uri(page_number: int) -> str:
        return f"{request.path}?{encode([*kept, ('PageSize', str(size)), ('Page', str(page_number))])}"

    more = (number + 1) * size < len(seen)
    return json_reply(
        {
            "first_page_uri": uri(0),
            "end": number * size + len(rows) - 1 if rows else 0,
            "previous_page_uri": uri(number - 1) if number else None,
            "accounts": rows,
            "uri": uri(number),
            "page_size": size,
            "start": number * size if rows else 0,
            "next_page_uri": f"{uri(number + 1)}&PageToken=PA{rows[-1]['sid']}" if more else None,
            "page": number,
        }
    )


def _account(world: World, request: Request, account_id: str) -> SimulatedReply:
    caller = login(world, request, "json", keys=False)
    account = world.accounts.get(account_id)
    if account is None or (account is not caller and account.parent is not caller):
        raise not_found(request, "json")
    return json_reply(_account_row(account))


def _name(account: SimAccount) -> str:
    return f"simulated {account.account_id[-6:]}"


def _account_row(account: SimAccount) -> JSON:
    return {
        "auth_token": account.secret,
        "date_created": dates.rfc2822(account.created_at),
        "date_updated": dates.rfc2822(account.created_at),
        "friendly_name": _name(account),
        "owner_account_sid": (account.parent or account).account_id,
        "sid": account.account_id,
        "status": account.status,
        "subresource_uris": {"recordings": f"{PREFIX}{account.account_id}/Recordings.json"},
        "type": "Full",
        "uri": f"{PREFIX}{account.account_id}.json",
    }
