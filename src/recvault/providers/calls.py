"""Calls: who called whom. Twilio's list of calls, which SignalWire has too, and rows that name the numbers themselves.

Rows of recordings hold no phone number, but at Telnyx. The list of calls is read by days, at most 1000 rows a page.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from recvault.models import JSON, Recording, stamp
from recvault.providers import values
from recvault.providers.base import UNREADABLE, Provider, Reply, read_list
from recvault.providers.rest import Rest
from recvault.providers.twilio_account import PAGING
from recvault.providers.urls import address, request, segment

if TYPE_CHECKING:
    import httpx

PAGE_SIZE = 1000  # OpenAPI: the most
PARTICIPANTS = 100  # a page; OpenAPI: the most


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRow:
    """A call as its provider lists it. Numbers are personal data: they are not shown."""

    call_id: str
    from_: str | None = field(default=None, repr=False)  # a phone number, a SIP address or a client
    to: str | None = field(default=None, repr=False)
    direction: str | None = None
    status: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    seconds: float | None = None
    parent_call_id: str | None = None
    forwarded_from: str | None = field(default=None, repr=False)


def lists_participants(provider: Provider) -> bool:
    """Whether this provider's recordings belong to participants of rooms, which are listed room by room."""
    return provider.name == "twilio-video"


def lists_calls(provider: object) -> bool:
    """Whether this provider has a list of calls."""
    return bool(getattr(provider, "calls", ""))


def calls_request(provider: Rest, since: datetime, until: datetime | None) -> httpx.Request:
    """Request the first page of the calls that began from the day of `since` to the day of `until`, inclusive.

    Filters are days, from midnight (OpenAPI). SignalWire's docs leave open whether its bounds are inclusive: where
    they are not, a call at midnight is not listed, and counts as one that the list does not have.
    """
    pairs: list[tuple[str, str | int]] = [("StartTime>", values.day(since))]
    if until is not None:
        pairs.append(("StartTime<", values.day(until, 1)))
    place = provider.calls.format(account=segment(provider.account_id))
    url = address(provider.base_url, place, [*pairs, ("PageSize", PAGE_SIZE)])
    return request("GET", url, headers={"Accept": "application/json"})


def parse_calls(provider: Rest) -> Callable[[Reply], tuple[tuple[CallRow, ...], httpx.URL | None]]:
    """Return what reads a page of calls: its rows and the next page. A row that cannot be read is left out."""

    def parse(reply: Reply) -> tuple[tuple[CallRow, ...], httpx.URL | None]:
        page, rows = read_list(reply, "calls", "page_size")
        following, _ = provider.following(reply, page, len(rows), PAGING, PAGE_SIZE)
        return tuple(row for each in rows if (row := _row(each)) is not None), following

    return parse


def _row(row: Any) -> CallRow | None:
    try:
        return CallRow(
            call_id=values.identifier(row, "sid"),
            from_=values.text(row.get("from")),
            to=values.text(row.get("to")),
            direction=values.text(row.get("direction")),
            status=values.text(row.get("status")),
            started_at=values.moment_or_none(row.get("start_time") or row.get("date_created")),
            ended_at=values.moment_or_none(row.get("end_time")),
            seconds=_seconds(row),
            parent_call_id=values.text(row.get("parent_call_sid")),
            forwarded_from=values.text(row.get("forwarded_from")),
        )
    except UNREADABLE:
        return None


def _seconds(row: Any) -> float | None:
    """Return a call's length: `duration`, else from its times; None for one that is not over."""
    began, ended = values.moment_or_none(row.get("start_time")), values.moment_or_none(row.get("end_time"))
    told = values.number(row.get("duration"))
    return told if told is not None or not (began and ended) else (ended - began).total_seconds()


def participants_request(provider: Rest, room_id: str) -> httpx.Request:
    """Request the first page of a Video room's participants, of any status (Video docs)."""
    pairs = [("PageSize", PARTICIPANTS)]
    url = address(provider.base_url, f"/v1/Rooms/{segment(room_id)}/Participants", pairs)
    return request("GET", url, headers={"Accept": "application/json"})


def parse_participants(provider: Rest) -> Callable[[Reply], tuple[tuple[CallRow, ...], httpx.URL | None]]:
    """Return what reads a page of participants: each as a call from its identity."""

    def parse(reply: Reply) -> tuple[tuple[CallRow, ...], httpx.URL | None]:
        page, rows = read_list(reply, "participants", "meta")
        following, _ = provider.following(reply, page, len(rows), provider.paging, PARTICIPANTS)
        return tuple(row for each in rows if (row := _participant(each)) is not None), following

    return parse


def _participant(row: Any) -> CallRow | None:
    try:
        return CallRow(
            call_id=values.identifier(row, "sid"),
            from_=values.text(row.get("identity")),
            status=values.text(row.get("status")),
            started_at=values.moment_or_none(row.get("start_time")),
            ended_at=values.moment_or_none(row.get("end_time")),
        )
    except UNREADABLE:
        return None


def call_in_row(recording: Recording, now: datetime) -> JSON | None:
    """Return the facts of the call that a recording's own row holds (Telnyx); None if it names no number."""
    row = recording.raw
    if recording.provider != "telnyx" or not (row.get("from") or row.get("to")):
        return None
    told = CallRow(call_id=recording.call_id or "", from_=values.text(row.get("from")), to=values.text(row.get("to")))
    return document(told, (), now)


def document(row: CallRow, legs: tuple[CallRow, ...], now: datetime) -> JSON:
    """Return the facts of a call as the sidecar has them."""
    return {
        "from": row.from_,
        "to": row.to,
        "direction": row.direction,
        "status": row.status,
        "started_at": _iso(row.started_at),
        "ended_at": _iso(row.ended_at),
        "parent_call_id": row.parent_call_id,
        "forwarded_from": row.forwarded_from,
        "legs": [{"call_id": leg.call_id, "from": leg.from_, "to": leg.to} for leg in legs],
        "told_at": _iso(now),
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else stamp(moment).replace(".000000Z", "Z")
