"""The second host, with objects behind signed URLs, as S3 serves them."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

from recvault.simulator import plivo
from recvault.simulator.exchange import Request, Route, SimulatedReply, refuse
from recvault.simulator.recording import Api
from recvault.simulator.twilio_video import stored
from recvault.simulator.world import World

_APIS: dict[str, Api] = {"voice": "voice", "video": "video", "telnyx": "telnyx", "signalwire": "signalwire"}


def route(world: World, request: Request) -> Route:
    return Route("s3", "media", partial(_object, world, request))


def _object(world: World, request: Request) -> SimulatedReply:
    """Serve the object if the URL is signed and not expired, and no Authorization header was sent."""
    if "authorization" in request.headers:
        raise refuse("s3", 400, "InvalidArgument", "Only one auth mechanism allowed")
    match request.path.split("/"):
        case ["", "public", account_id, name] if account_id in world.accounts:
            return plivo.media(world, request, world.accounts[account_id], name)
    _check_signature(world, request)
    match request.path.split("/"):
        case ["", "recordings", account_id, api, recording_id, name] if account_id in world.accounts and api in _APIS:
            shelf = world.accounts[account_id].shelves.get(_APIS[api])
            recording = shelf.get(recording_id) if shelf else None
            channels, _, media_format = name.partition(".")
            if recording is not None and not recording.deleted(world.clock.now):
                return stored(world, request, recording, media_format, int(channels))
    raise refuse("s3", 404, "NoSuchKey", "The specified key does not exist.")


def _check_signature(world: World, request: Request) -> None:
    date, seconds = request.param("X-Amz-Date") or "", request.param("X-Amz-Expires") or ""
    signed = request.param("X-Amz-Signature")
    if request.method != "GET" or signed != world.signature(request.path, date, seconds):
        raise refuse("s3", 403, "SignatureDoesNotMatch", "The request signature does not match.")
    minted = datetime.fromisoformat(date)
    if world.clock.now.replace(microsecond=0) > minted + timedelta(seconds=int(seconds)):
        raise refuse("s3", 403, "AccessDenied", "Request has expired")
