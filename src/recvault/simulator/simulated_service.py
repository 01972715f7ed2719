"""Answer requests: route, limit, apply a fault, log, deliver."""

from __future__ import annotations

import gzip
import itertools
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from recvault.simulator import (
    bandwidth,
    plivo,
    ringcentral,
    signalwire,
    signed_host,
    telnyx,
    twilio_legacy,
    twilio_video,
    twilio_voice,
)
from recvault.simulator.dates import http_date
from recvault.simulator.delivery import deliver
from recvault.simulator.exchange import Dialect, Refusal, Request, Route, SimulatedReply, error
from recvault.simulator.faults import UNPROCESSED, Faults, Shot, suits
from recvault.simulator.wire import Wire
from recvault.simulator.world import World

Host = Literal["api", "media"]

_FORMATS: dict[str, Callable[[World, Request], Route]] = {
    "2010-04-01": twilio_voice.route,
    "2008-08-01": twilio_legacy.route,
    "v1": twilio_video.route,
    "v1/Account": plivo.route,
    "v2": telnyx.route,
    "api": signalwire.route,
    "api/v2": bandwidth.route,
    "restapi": ringcentral.route,
}
_SERVER_ERRORS: dict[Dialect, int | str] = {
    "json": 20500,
    "xml": 20500,
    "telnyx": "10007",
    "plain": "",
    "s3": "InternalError",
}
_DENIALS: dict[Dialect, int | str] = {"json": 20003, "xml": 20003, "telnyx": "10009", "plain": "", "s3": "AccessDenied"}
_HTML = b"<!DOCTYPE html><html><head><title>Gateway</title></head><body><h1>Please stand by</h1></body></html>"


@dataclass(frozen=True, slots=True)
class Logged:
    """An answered request. `time` is the simulator's."""

    time: datetime
    host: Host
    method: str
    path: str
    query: str
    has_authorization: bool
    status: int
    fault: str | None


class SimulatedService:
    """The service behind one port."""

    def __init__(self, host: Host, world: World, faults: Faults, log: deque[Logged]) -> None:
        self._host = host
        self._world = world
        self._faults = faults
        self._log = log
        self._turns = itertools.count()
        self._lock = threading.Lock()
        self._busy: Counter[str] = Counter()
        self._date = (0, "")

    def answer(self, wire: Wire, request: Request) -> bool:
        """Answer one request; return False if the connection must close."""
        login = request.headers.get("authorization", "")
        with self._lock:
            self._busy[login] += 1
            busy = self._busy[login]
        try:
            if self._world.switches.latency_seconds:
                wire.pause(self._world.switches.latency_seconds)
            return self._answer(wire, request, busy)
        finally:
            with self._lock:
                self._busy[login] -= 1

    def _answer(self, wire: Wire, request: Request, busy: int) -> bool:
        route = self._route(request)
        shot = self._faults.choose(request, route.kind, route.dialect)
        limit = self._world.switches.concurrency_limit
        if limit is not None and busy > limit and self._host == "api":
            if shot is not None:
                self._faults.record(shot, happened=False)
            reply, shot = self._too_many(route.dialect), None
        else:
            reply, shot = self._reply(request, route, shot)
        now = self._world.clock.now
        self._log.append(
            Logged(
                now,
                self._host,
                request.method,
                request.path,
                request.query,
                "authorization" in request.headers,
                reply.status,
                shot.name if shot else None,
            )
        )
        switches = self._world.switches
        close = request.headers.get("connection", "").lower() == "close"
        return deliver(
            wire,
            reply,
            shot,
            self._headers(route.dialect, now, busy),
            close=close,
            stall=switches.stall_seconds,
            slow=switches.slow_seconds,
        )

    def _route(self, request: Request) -> Route:
        if self._host == "media":
            return signed_host.route(self._world, request)
        parts = request.path.split("/", 3)[1:3] if request.path.startswith("/") else [""]
        find = _FORMATS.get("/".join(parts)) or _FORMATS.get(parts[0])
        if find is None or request.method not in {"GET", "DELETE", "POST"}:
            status = 405 if find else 404
            reply = error("json", status, 20000 + status, "The requested resource was not found")
            reply.body = b"" if request.method == "HEAD" else reply.body
            return Route("json", "other", lambda: reply)
        return find(self._world, request)

    def _reply(self, request: Request, route: Route, shot: Shot | None) -> tuple[SimulatedReply, Shot | None]:
        """Return the answer and the fault that really applies to it."""
        if shot is not None and shot.name in UNPROCESSED:
            self._faults.record(shot, happened=True)
            return self._refused(route.dialect, shot.name), shot
        try:
            reply = route.respond()
        except Refusal as refusal:
            reply = refusal.reply
        if request.method == "HEAD":
            reply.media, reply.body = None, b""
        if shot is None:
            return reply, None
        happens = suits(shot, reply, request)
        self._faults.record(shot, happened=happens)
        return (self._spoiled(reply, shot), shot) if happens else (reply, None)

    def _refused(self, dialect: Dialect, name: str) -> SimulatedReply:
        if name == "http_429":
            return self._too_many(dialect)
        if name == "expired_url":
            return error(dialect, 403, "AccessDenied", "Request has expired")
        if name == "http_403":
            return error(dialect, 403, _DENIALS[dialect], "Access to this resource is denied")
        status = 503 if name == "http_503" else 500
        reply = error(
            dialect,
            status,
            _SERVER_ERRORS[dialect],
            "Service unavailable" if status == 503 else "Internal Server Error",
        )
        if status == 503:
            reply.headers += self._retry_after()
        return reply

    def _too_many(self, dialect: Dialect) -> SimulatedReply:
        """Answer 429; the request is not processed."""
        reply = error(dialect, 429, "10011" if dialect == "telnyx" else 20429, "Too Many Requests")
        reply.headers += self._retry_after()
        if dialect == "telnyx":
            seconds = self._world.switches.retry_after_seconds
            epoch = self._world.switches.telnyx_reset == "epoch"
            reset = int(self._world.clock.now.timestamp()) + seconds if epoch else seconds
            reply.headers += [("x-ratelimit-limit", "200"), ("x-ratelimit-remaining", "0")]
            reply.headers.append(("x-ratelimit-reset", str(reset)))
        return reply

    def _retry_after(self) -> list[tuple[str, str]]:
        switches = self._world.switches
        mode: str = switches.retry_after
        if mode == "mixed":
            mode = ("absent", "seconds", "http_date")[next(self._turns) % 3]
        if mode == "absent":
            return []
        seconds = switches.retry_after_seconds
        moment = self._world.clock.now + timedelta(seconds=seconds)
        return [("Retry-After", str(seconds) if mode == "seconds" else http_date(moment))]

    def _spoiled(self, reply: SimulatedReply, shot: Shot) -> SimulatedReply:
        """Return the answer with a content fault; `deliver` applies transport faults."""
        match shot.name:
            case "html_200":
                return SimulatedReply(content_type="text/html", body=_HTML)
            case "error_body_200":
                dialect: Dialect = "xml" if shot.draw < 0.5 else "json"
                return replace(error(dialect, 500, 20500, "An internal error occurred"), status=200)
            case "malformed_page":
                return replace(reply, body=reply.body[: len(reply.body) * 2 // 3] + b"\x00}")
            case "page_loop" if reply.next_link is not None:
                own, following = (text.encode() for text in reply.next_link)
                return replace(reply, body=reply.body.replace(following, own))
            case "gzip_json":
                headers = [*reply.headers, ("Content-Encoding", "gzip")]
                return replace(reply, body=gzip.compress(reply.body, 1), headers=headers)
        return reply

    def _headers(self, dialect: Dialect, now: datetime, busy: int) -> list[tuple[str, str]]:
        second = int(now.timestamp())
        if self._date[0] != second:
            self._date = (second, http_date(now))
        headers = [("Date", self._date[1])]
        if dialect == "s3":
            return [*headers, ("Server", "AmazonS3")]
        if dialect == "plain":
            return headers
        if dialect == "telnyx":
            return [*headers, ("x-request-id", f"{next(self._turns):032x}")]
        return [
            *headers,
            ("Twilio-Concurrent-Requests", str(busy)),
            ("Twilio-Request-Id", f"RQ{next(self._turns):032x}"),
            ("Twilio-Request-Duration", "0.001"),
        ]
