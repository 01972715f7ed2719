"""Calls of Twilio and SignalWire: who called whom. They follow from the recordings, the seed and the switches.

Each recording with a call belongs to one: a plain call, one that dialled another (its legs), or one that was dialled.
There are calls without a recording too. Some are listed late or never, by the switches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from recvault.simulator import dates
from recvault.simulator.exchange import Request, SimulatedReply, error, json_reply, refuse
from recvault.simulator.recording import NEVER, Api, SimRecording
from recvault.simulator.twilio_common import encode, page_number, page_size
from recvault.simulator.world import SimAccount, World

JSON = dict[str, Any]
_HELD_SECONDS = 60.0  # at most, behind `calls_gate`
_RING = timedelta(seconds=3)  # from the call to the one that it dials, or to its recording


@dataclass(frozen=True, slots=True, kw_only=True)
class SimCall:
    """One call."""

    call_id: str
    from_: str
    to: str
    direction: str
    started_at: datetime
    ended_at: datetime
    parent_call_id: str | None = None
    is_listed: bool = True
    has_recording: bool = True


def numbers(world: World, call_id: str) -> tuple[str, str]:
    """Return the caller's and the called number: different ones for each call."""
    digits = f"{int(world.hex('numbers', call_id), 16) % 10**14:014d}"
    return f"+1{2 + int(digits[0]) % 8}{digits[1:7]}{digits[0:3]}", f"+4{digits[4:14]}"


def calls(world: World, account: SimAccount, api: Api) -> list[SimCall]:
    """Return all calls of the account's recordings in this API, newest first."""
    shelf = account.shelves[api]
    key = (account.account_id, api, len(shelf), world.switches.calls_missing_share)
    if world.calls.get(account.account_id, ((), []))[0] != key:
        made = {call.call_id: call for recording in shelf for call in _around(world, account, recording)}
        listed = sorted(made.values(), key=lambda call: (call.started_at, call.call_id), reverse=True)
        world.calls[account.account_id] = (key, listed)
    found: list[SimCall] = world.calls[account.account_id][1]
    return found


def _around(world: World, account: SimAccount, recording: SimRecording) -> Iterator[SimCall]:
    """Make the call of a recording, the ones connected to it, and sometimes one that nobody recorded."""
    if recording.call_id is None:
        return
    draw = int(world.hex("call", recording.call_id), 16)
    began, ended = recording.started_at - _RING, recording.ended_at + timedelta(seconds=recording.cut_seconds)
    kept = recording.visible_at < NEVER
    missing = draw % 10_000 < world.switches.calls_missing_share * 10_000
    other = _named(world, account, "leg", recording.call_id)
    kind = draw // 10_000 % 4
    if kind == 0:  # it was dialled by another call
        yield _call(world, other, "inbound", began - _RING, ended, missing=missing, recorded=kept)
        yield _call(
            world, recording.call_id, "outbound-dial", began, ended, parent=other, missing=missing, recorded=kept
        )
    else:
        yield _call(
            world,
            recording.call_id,
            "inbound" if kind < 3 else "outbound-api",
            began,
            ended,
            missing=missing,
            recorded=kept,
        )
        if kind == 1:  # it dialled another
            yield _call(
                world,
                other,
                "outbound-dial",
                began + _RING,
                ended,
                parent=recording.call_id,
                missing=missing,
                recorded=kept,
            )
    if draw // 40_000 % 4 == 0:
        alone = _named(world, account, "unrecorded", recording.call_id)
        yield _call(world, alone, "inbound", began, ended, recorded=False)


def _call(
    world: World,
    call_id: str,
    direction: str,
    began: datetime,
    ended: datetime,
    *,
    parent: str | None = None,
    missing: bool = False,
    recorded: bool = True,
) -> SimCall:
    caller, called = numbers(world, call_id)
    return SimCall(
        call_id=call_id,
        from_=caller,
        to=called,
        direction=direction,
        started_at=began.replace(microsecond=0),
        ended_at=ended.replace(microsecond=0),
        parent_call_id=parent,
        is_listed=not missing,
        has_recording=recorded,
    )


def _named(world: World, account: SimAccount, what: str, call_id: str) -> str:
    digits = (account.account_id, what, call_id)
    return "CA" + world.hex(*digits) if account.kind == "twilio" else world.uuid(*digits)


def answer(world: World, request: Request, account: SimAccount, api: Api) -> SimulatedReply:
    """Answer a page of the list of calls."""
    switches, now = world.switches, world.clock.now
    if switches.calls_gate is not None:
        switches.calls_gate.wait(_HELD_SECONDS)
    if switches.calls_reply is not None:
        return switches.calls_reply(request)
    if switches.calls_status != 200:
        status = switches.calls_status
        reply = error("json", status, 20000 + status, "The list of calls is not available")
        if switches.retry_after != "absent":
            reply.headers.append(("Retry-After", str(switches.retry_after_seconds)))
        return reply
    size = page_size(request.param("PageSize"), largest=1000, over="clamp", dialect="json")
    late = timedelta(seconds=switches.calls_list_delay_seconds)
    since, until = (_moment(request.param(name)) for name in ("StartTime>", "StartTime<"))
    shown = [
        call
        for call in calls(world, account, api)
        if call.is_listed
        and call.started_at + late <= now
        and (since is None or call.started_at >= since)
        and (until is None or call.started_at <= until)
    ]
    token = (request.param("PageToken") or "")[2:]
    start = next((place + 1 for place, call in enumerate(shown) if call.call_id == token), 0)
    return _page(request, [_row(account, call, now) for call in shown[start : start + size]], start, size, len(shown))


def _moment(text: str | None) -> datetime | None:
    try:
        return None if text is None else dates.read(text)
    except (ValueError, OverflowError):
        raise refuse("json", 400, 20001, f"Invalid date value: {text}") from None


def _page(request: Request, rows: list[JSON], start: int, size: int, total: int) -> SimulatedReply:
    kept = [(n, v) for n, v in request.params if n not in {"Page", "PageSize", "PageToken"}]
    number = page_number(request.param("Page"))

    def uri(page: int, token: str = "") -> str:
        pairs = [*kept, ("PageSize", str(size)), ("Page", str(page))]
        return f"{request.path}?{encode([*pairs, ('PageToken', token)] if token else pairs)}"

    more = start + len(rows) < total
    following = uri(number + 1, f"PA{rows[-1]['sid']}") if more else None
    own = uri(number, request.param("PageToken") or "")
    reply = json_reply(
        {
            "first_page_uri": uri(0),
            "end": start + len(rows) - 1 if rows else 0,
            "previous_page_uri": uri(number - 1, f"PB{rows[0]['sid']}") if number and rows else None,
            "calls": rows,
            "uri": own,
            "page_size": size,
            "start": start if rows else 0,
            "next_page_uri": following,
            "page": number,
        }
    )
    reply.next_link = (own, following) if following else None
    return reply


def _row(account: SimAccount, call: SimCall, now: datetime) -> JSON:
    over = call.ended_at <= now
    return {
        "sid": call.call_id,
        "account_sid": account.account_id,
        "parent_call_sid": call.parent_call_id,
        "from": call.from_,
        "to": call.to,
        "direction": call.direction,
        "status": "completed" if over else "in-progress",
        "date_created": dates.rfc2822(call.started_at),
        "start_time": dates.rfc2822(call.started_at),
        "end_time": dates.rfc2822(call.ended_at) if over else None,
        "duration": str(round((call.ended_at - call.started_at).total_seconds())) if over else None,
        "forwarded_from": None,
    }
