"""A contrary provider: for hours or forever it refuses, shortens, empties, contradicts, suspends, or is down.

A mood is between client and simulated service, and changes answers during its hours. What was served completely
nevertheless is remembered: the archive must have it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx

from faults.near import Honest

OF_ONE = ("refused", "refused_media", "missing", "failing", "empty", "short", "cut")  # of one recording
OF_ALL = ("suspended", "throttled", "down", "unreachable", "list_down", "null_list", "cut_list", "page_400")
_HEADER_ONLY = b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data\0\0\0\0"
_SUSPENDED = {"code": 20003, "message": "Authenticate", "status": 401}


@dataclass(frozen=True, kw_only=True)
class Mood:
    """What a provider does from now on for that many hours; None: forever."""

    what: str
    which: int = 0  # index of the recording, if it concerns one
    hours: int | None = None


@dataclass
class _Held:
    """A mood that has begun."""

    what: str
    recording_id: str  # "" for all
    until: datetime | None

    def holds(self, now: datetime) -> bool:
        return self.until is None or now < self.until


@dataclass
class Contrary:
    """Applies moods between client and service. `now` is the provider's clock."""

    now: Callable[[], datetime]
    held: list[_Held] = field(default_factory=list)
    served: set[str] = field(default_factory=set)  # ids served completely in this pass
    ids: Callable[[], Sequence[str]] = lambda: ()
    own: dict[str, float] = field(default_factory=dict)  # hours of each recording's own problems

    def begin(self, mood: Mood) -> None:
        """Begin a mood, if there is anything that it can concern."""
        until = None if mood.hours is None else self.now() + timedelta(hours=mood.hours)
        if mood.what in OF_ALL:
            self.held.append(_Held(mood.what, "", until))
        elif ids := self.ids():
            recording_id = ids[mood.which % len(ids)]
            self.held.append(_Held(mood.what, recording_id, until))
            self.own[recording_id] = self.own.get(recording_id, 0) + (math.inf if mood.hours is None else mood.hours)

    def end_all(self) -> None:
        """End all moods that are not forever."""
        self.held = [each for each in self.held if each.until is None and each.recording_id]

    def lasting(self, recording_id: str) -> set[str]:
        """Return a recording's moods that never end."""
        return {each.what for each in self.held if each.recording_id == recording_id and each.until is None}

    def __call__(self, kind: str, request: httpx.Request, honest: Honest) -> httpx.Response:
        """Answer a request, with the current moods."""
        path, now = request.url.path, self.now()
        for each in self.held:
            concerned = each.holds(now) and each.recording_id in path
            if concerned and (answer := _bent(each.what, kind, request, honest)) is not None:
                return answer
        answer = honest()
        if kind != "media" or answer.status_code != 200:
            return answer
        body = b"".join(answer.iter_raw())  # if that fails, it was not served completely
        self.served.update(each for each in self.ids() if each in path)
        return httpx.Response(200, headers=answer.headers, stream=httpx.ByteStream(body))


def _bent(what: str, kind: str, request: httpx.Request, honest: Honest) -> httpx.Response | None:
    """Return a mood's answer; None if it does not concern this request."""
    match what, kind:
        case ("throttled", _):
            return _refused(429, {"code": 20429, "message": "Too Many Requests"})
        case ("down", _):
            return _refused(503, {"message": "Service Unavailable"})
        case ("unreachable", _):
            raise httpx.ConnectError("planned")
        case ("suspended", _) if "X-Amz-Signature" not in str(request.url):
            return _refused(401, _SUSPENDED)
        case ("list_down", "list"):
            return _refused(500, {"message": "Internal Server Error"})
        case ("null_list" | "cut_list" | "page_400", "list"):
            return _spoilt_page(what, request, honest)
        case ("refused", "instance" | "media") | ("refused_media", "media"):
            return _refused(403, {"code": 20003, "message": "Forbidden"})
        case ("missing", "instance" | "media"):
            return _refused(404, {"code": 20404, "message": "not found"})
        case ("failing", "media"):
            return _refused(500, {"message": "Internal Server Error"})
        case ("empty" | "short", "media") if honest().status_code == 200:
            return _served(b"" if what == "empty" else _HEADER_ONLY, {"Content-Type": "audio/x-wav"})
        case ("cut", "media") if (answer := honest()).status_code == 200:
            body = b"".join(answer.iter_raw())
            return _served(body[: len(body) * 2 // 3], {"Content-Type": answer.headers["content-type"]})
    return None


def _served(body: bytes, headers: dict[str, str], status: int = 200) -> httpx.Response:
    """An answer that is streamed, like one from the network."""
    headers = {**headers, "Content-Length": str(len(body))}
    return httpx.Response(status, headers=headers, stream=httpx.ByteStream(body))


def _refused(status: int, said: dict[str, Any]) -> httpx.Response:
    return _served(json.dumps(said).encode(), {"Content-Type": "application/json"}, status)


def _spoilt_page(what: str, request: httpx.Request, honest: Honest) -> httpx.Response | None:
    """Return a page with null for its rows, without its rows, or a refusal."""
    params = request.url.params
    first = not ({"Page", "PageToken"} & set(params)) and params.get("page[number]", "1") == "1"
    if what == "page_400":
        return None if first else _refused(400, {"code": 20006, "message": "Invalid page token"})
    answer = honest()
    if answer.status_code != 200 or "json" not in answer.headers.get("content-type", ""):
        return answer
    page: Any = json.loads(answer.read())
    rows = "data" if "data" in page else "recordings"
    if what == "null_list":
        page[rows] = None
        page.update({name: None for name in ("next_page_uri",) if name in page})
    elif "total_results" in page.get("meta", {}):  # no other list has a total
        page[rows] = []
    headers = {
        name: value for name, value in answer.headers.items() if name not in ("content-length", "content-encoding")
    }
    return _served(json.dumps(page).encode(), headers)
