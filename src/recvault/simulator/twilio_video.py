"""Twilio Video, v1: track recordings, absolute page links, media behind a redirect to a signed host."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from recvault.simulator import dates
from recvault.simulator.exchange import Request, Route, SimulatedReply, error, json_reply, media_reply, refuse
from recvault.simulator.recording import SimRecording
from recvault.simulator.shelf import Query, Slice
from recvault.simulator.twilio_common import check_active, encode, login, page_number, page_size
from recvault.simulator.world import SimAccount, World

JSON = dict[str, Any]
_CODECS = {"mka": ("audio", "OPUS"), "mkv": ("video", "VP8")}


def route(world: World, request: Request) -> Route:
    """Route a path below /v1."""
    match request.path.split("/")[2:]:
        case ["Recordings"]:
            return Route("json", "list", partial(_list, world, request, ""))
        case ["Rooms", room_id, "Recordings"]:
            return Route("json", "list", partial(_list, world, request, room_id))
        case ["Rooms", room_id, "Participants"]:
            return Route("json", "other", partial(_participants, world, request, room_id))
        case ["Recordings", recording_id] | ["Rooms", _, "Recordings", recording_id]:
            room = request.path.split("/")[3] if "/Rooms/" in request.path else ""
            if request.method == "DELETE":
                return Route("json", "delete", partial(_delete, world, request, recording_id))
            return Route("json", "instance", partial(_instance, world, request, recording_id, room))
        case ["Recordings", recording_id, "Media"] | ["Rooms", _, "Recordings", recording_id, "Media"]:
            return Route("json", "media", partial(_media, world, request, recording_id))
        case ["RecordingSettings", "Default"]:
            return Route("json", "other", partial(_settings, world, request))
    return Route("json", "other", partial(error, "json", 404, 20404, f"{request.path} was not found"))


def _login(world: World, request: Request) -> SimAccount:
    """Return the account of the credentials, which must be its own: a parent's have no access to a sub-account here."""
    account = login(world, request, "json")
    check_active(account, "json")
    return account


def _find(world: World, request: Request, recording_id: str) -> SimRecording:
    recording = _login(world, request).shelves["video"].get(recording_id)
    if recording is None or recording.created_at > world.clock.now:
        raise refuse("json", 404, 20404, f"The requested resource {request.path} was not found")
    return recording


def identity(world: World, participant_id: str) -> str:
    """Return who a participant said to be."""
    return f"guest-{world.hex('identity', participant_id)[:12]}"


def _participants(world: World, request: Request, room_id: str) -> SimulatedReply:
    """Answer the participants of a room, on one page."""
    if world.switches.calls_reply is not None:
        return world.switches.calls_reply(request)
    tracks = [each for each in _login(world, request).shelves["video"] if each.room_id == room_id]
    if not tracks:
        raise refuse("json", 404, 20404, f"The requested resource {request.path} was not found")
    rows = [
        {
            "sid": each.participant_id,
            "room_sid": room_id,
            "account_sid": each.account_id,
            "identity": identity(world, each.participant_id or ""),
            "status": "disconnected",
            "start_time": dates.iso(each.started_at),
            "end_time": dates.iso(each.ended_at),
        }
        for each in tracks
    ]
    meta = {"page": 0, "page_size": 100, "key": "participants", "next_page_url": None, "url": None}
    return json_reply({"participants": rows, "meta": meta})


def _instance(world: World, request: Request, recording_id: str, room_id: str) -> SimulatedReply:
    return json_reply(_row(world, _find(world, request, recording_id), world.clock.now, room_id))


def _delete(world: World, request: Request, recording_id: str) -> SimulatedReply:
    recording, now = _find(world, request, recording_id), world.clock.now
    if recording.deleted(now):
        raise refuse("json", 404, 20404, f"The requested resource {request.path} was not found")
    if not recording.final(now):
        raise refuse("json", 409, 20409, "Only a completed recording can be deleted")
    world.accounts[recording.account_id].shelves["video"].delete(recording_id, now)
    return SimulatedReply(status=204, content_type="")


def _media(world: World, request: Request, recording_id: str) -> SimulatedReply:
    recording = _find(world, request, recording_id)
    if not recording.fetchable(world.clock.now):
        raise refuse("json", 404, 20404, f"The requested resource {request.path} was not found")
    if world.switches.video_media_from == "direct":
        return stored(world, request, recording, recording.formats[0], recording.channels)
    ttl = request.param("Ttl") or "600"
    if not ttl.isdecimal() or not 1 <= int(ttl) <= 3600:
        raise refuse("json", 400, 20001, f"Ttl must be from 1 to 3600, and is {ttl}")
    url = world.signed_url(recording, recording.formats[0], recording.channels, int(ttl))
    reply = json_reply({"redirect_to": url}, 302)
    reply.headers.append(("Location", url))
    return reply


def stored(world: World, request: Request, recording: SimRecording, media_format: str, channels: int) -> SimulatedReply:
    """Serve an object as S3 does: with ranges, an ETag, and the key material of an encrypted Video recording."""
    media = world.media(recording, media_format, channels)
    tag = f'"{world.hex("etag", recording.recording_id, media_format, channels)}"'
    reply = media_reply(request, media, ranged=True, etag=tag)
    reply.headers.append(("Last-Modified", dates.http_date(recording.completed_at)))
    if recording.encrypted and recording.api == "video":
        wrapped = b"".join(bytes.fromhex(world.hex("cek", recording.recording_id, n)) for n in range(16))
        vector = bytes.fromhex(world.hex("iv", recording.recording_id))
        if world.sealer is not None:
            seal = world.sealer.seal(recording)
            wrapped, vector = seal.wrapped, seal.vector
        reply.headers += [
            ("x-amz-meta-x-amz-key", base64.b64encode(wrapped).decode()),
            ("x-amz-meta-x-amz-iv", base64.b64encode(vector).decode()),
            ("x-amz-meta-x-amz-unencrypted-content-length", str(world.plain_length(recording))),
            ("x-amz-meta-x-amz-matdesc", "{}"),
        ]
    return reply


def _list(world: World, request: Request, room_id: str) -> SimulatedReply:
    account, now, switches = _login(world, request), world.clock.now, world.switches
    size = page_size(
        request.param("PageSize"),
        largest=1000 if room_id else 100,
        over=switches.video_page_size_over,
        dialect="json",
    )
    shelf, status = account.shelves["video"], request.param("Status")
    query = replace(_bounds(request), order=switches.video_order, within=room_id or None)
    query = _filtered(request, query, now, in_room=bool(room_id))

    def shown(recording: SimRecording, at: datetime) -> bool:
        if recording.visible_at > at or recording.deleted(at) != (status == "deleted"):
            return False
        return recording.deleted_at is None or at < recording.deleted_at + shelf.retention

    after = _token(request.param("PageToken"), account)
    name = "deleted" if status == "deleted" else "video"
    page = shelf.page(name, shown, now, query, size=size, after=after)
    rows = [_row(world, recording, now, room_id) for recording in page.recordings]
    return _page(world, request, page, rows, size)


def _bounds(request: Request) -> Query:
    """Read `DateCreatedAfter` (inclusive) and `DateCreatedBefore` (exclusive); both must have a zone."""
    try:
        after, before = request.param("DateCreatedAfter"), request.param("DateCreatedBefore")
        return Query(
            since=dates.read_zoned(after) if after else None, until=dates.read_zoned(before) if before else None
        )
    except (ValueError, OverflowError) as problem:
        raise refuse("json", 400, 20001, f"Invalid date value: {problem}") from None


def _filtered(request: Request, query: Query, now: datetime, *, in_room: bool) -> Query:
    status, track = request.param("Status"), request.param("SourceSid")
    groups = set() if in_room else {value for name, value in request.params if name == "GroupingSid"}
    kind = None if in_room else request.param("MediaType")
    if not (track or groups or kind or status not in (None, "deleted")):
        return query

    def where(recording: SimRecording) -> bool:
        return (
            status in (None, "deleted", _status(recording, now))
            and track in (None, recording.track_id)
            and (not groups or bool(groups & {recording.room_id, recording.participant_id}))
            and kind in (None, _CODECS[recording.formats[0]][0])
        )

    return replace(query, where=where)


def _token(token: str | None, account: SimAccount) -> str:
    if not token:
        return ""
    if not token.startswith("PA") or account.shelves["video"].get(token[2:]) is None:
        raise refuse("json", 400, 21481, "Invalid PageToken")
    return token[2:]


def _page(world: World, request: Request, page: Slice, rows: list[JSON], size: int) -> SimulatedReply:
    number = page_number(request.param("Page"))
    kept = [(n, v) for n, v in request.params if n not in {"Page", "PageSize", "PageToken"}]

    def url(page_number: int, token: str = "") -> str:
        pairs = [*kept, ("PageSize", str(size)), ("Page", str(page_number))]
        query = encode([*pairs, ("PageToken", token)] if token else pairs)
        return f"{world.base_url}{request.path}?{query}"

    following = url(number + 1, f"PA{page.recordings[-1].recording_id}") if page.more else None
    if following and world.switches.video_hostile_next:
        following = following.replace(world.base_url, "https://video.twilio.com.example.net")
    own = url(number, request.param("PageToken") or "")
    meta = {
        "page": number,
        "page_size": size,
        "first_page_url": url(0),
        "previous_page_url": url(number - 1, f"PB{page.recordings[0].recording_id}") if number and rows else None,
        "url": own,
        "next_page_url": following,
        "key": "recordings",
    }
    reply = json_reply({"recordings": rows, "meta": meta})
    reply.next_link = (own, following) if following else None
    return reply


def _status(recording: SimRecording, now: datetime) -> str:
    if recording.deleted(now):
        return "deleted"
    if not recording.final(now):
        return "processing"
    return "completed" if recording.status_final == "completed" else "failed"


def _row(world: World, recording: SimRecording, now: datetime, room_id: str) -> JSON:
    media_format = recording.formats[0]
    kind, codec = _CODECS[media_format]
    where = f"{world.base_url}/v1" + (f"/Rooms/{room_id}" if room_id else "")
    url = f"{where}/Recordings/{recording.recording_id}"
    done = _status(recording, now) in {"completed", "deleted"}
    document: JSON = {
        "account_sid": recording.account_id,
        "status": _status(recording, now),
        "date_created": dates.iso(recording.created_at),
        "sid": recording.recording_id,
        "source_sid": recording.track_id,
        "size": world.media(recording, media_format, recording.channels).length if done else 0,
        "url": url,
        "type": kind,
        "duration": max(1, round(recording.duration_seconds)) if done else 0,
        "container_format": media_format,
        "codec": codec if world.switches.video_codec_case == "upper" else codec.lower(),
        "track_name": recording.track_id,
        "offset": 10,
        "grouping_sids": {"room_sid": recording.room_id, "participant_sid": recording.participant_id},
        "media_external_location": recording.external_location,
        "links": {"media": f"{url}/Media"},
    }
    document |= {"room_sid": room_id} if room_id else {"status_callback": None, "status_callback_method": "POST"}
    if recording.malformed == "no_date":
        del document["date_created"]
    elif recording.malformed == "bad_date":
        document["date_created"] = "0000-00-00T00:00:00Z"
    return document


def _settings(world: World, request: Request) -> SimulatedReply:
    account = _login(world, request)
    return json_reply(
        {
            "account_sid": account.account_id,
            "friendly_name": "simulated",
            "aws_credentials_sid": None,
            "encryption_key_sid": None,
            "aws_s3_url": None,
            "aws_storage_enabled": False,
            "encryption_enabled": any(recording.encrypted for recording in account.shelves["video"]),
            "url": f"{world.base_url}/v1/RecordingSettings/Default",
        }
    )
