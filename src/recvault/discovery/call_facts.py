"""Join recordings with the provider's list of calls: who called whom.

The list is read by ranges of days, newest first, and no further than needed: about one request for each 1000 calls of
the days in question. The numbers that it holds stay in memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import cast

from recvault.discovery.endless import with_new_rows
from recvault.errors import NotFound
from recvault.http import Session
from recvault.models import JSON, Recording
from recvault.providers.base import Provider
from recvault.providers.calendar import moment_before
from recvault.providers.calls import (
    CallRow,
    calls_request,
    document,
    parse_calls,
    parse_participants,
    participants_request,
)
from recvault.providers.rest import Rest

Identity = tuple[str, str, str]

_BEFORE = timedelta(hours=4)  # a call began at most so long before its recording; Twilio's default limit of a call
_GAP = timedelta(days=7)  # without recordings: the days between are not read
_TIE = timedelta(minutes=1)  # a dialled call begins after the one that dialled it, by the provider's clocks
_KEPT = 200_000  # rows that may be another's parent: beyond, a parent listed before its child is not found


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A recording whose call is asked for."""

    identity: Identity
    call_id: str
    created_at: datetime
    began_at: datetime

    @classmethod
    def of(cls, recording: Recording) -> Wanted | None:
        """Return what to ask for; None for a recording that names no call."""
        if not recording.call_id:
            return None
        began_at = min(recording.created_at, recording.started_at or recording.created_at)
        return cls(
            identity=recording.identity, call_id=recording.call_id, created_at=recording.created_at, began_at=began_at
        )


@dataclass(frozen=True, slots=True)
class CallsTold:
    """The facts that a list of calls had, and how many requests that took."""

    facts: Mapping[Identity, JSON] = field(repr=False)
    requests: int


def ask_calls(provider: Provider, session: Session, wanted: Sequence[Wanted], now: datetime) -> CallsTold:
    """Read the list of calls for these recordings of one account. Raises what the session raises."""
    rest, facts, requests = cast("Rest", provider), dict[Identity, JSON](), 0
    for together in _ranges(wanted):
        join = _Join(together)
        since = moment_before(min(each.began_at for each in together), _BEFORE)
        newest = max(each.created_at for each in together)
        # A call in progress has no end; what is recent is at the head of the list, so that no bound is needed.
        until = newest if now - newest > timedelta(days=2) else None
        for rows in _new(session.follow(calls_request(rest, since, until), parse_calls(rest))):
            requests += 1
            if join.add(rows):
                break
        facts.update(join.facts(now))
    return CallsTold(facts, requests)


def ask_participants(provider: Provider, session: Session, recordings: Sequence[Recording], now: datetime) -> CallsTold:
    """Read who took part in the Video rooms of these recordings: a request a room, as no list has several rooms."""
    rest, facts, requests = cast("Rest", provider), dict[Identity, JSON](), 0
    rooms: defaultdict[str, list[Recording]] = defaultdict(list)
    for each in recordings:
        if each.room_id and each.participant_id:
            rooms[each.room_id].append(each)
    for room_id, tracks in rooms.items():
        listed: dict[str, CallRow] = {}
        try:
            for rows in _new(session.follow(participants_request(rest, room_id), parse_participants(rest))):
                requests += 1
                listed.update((row.call_id, row) for row in rows)
        except NotFound:
            requests += 1  # Twilio forgets a room's participants after a time
        for track in tracks:
            if (row := listed.get(track.participant_id or "")) is not None:
                facts[track.identity] = document(row, (), now)
    return CallsTold(facts, requests)


def listed_calls(provider: Provider, session: Session, since: datetime, until: datetime) -> Iterator[list[CallRow]]:
    """Yield the pages of calls that began from the day of `since` to the day of `until`. Raises what the session
    raises."""
    rest = cast("Rest", provider)
    for rows in _new(session.follow(calls_request(rest, since, until), parse_calls(rest))):
        yield list(rows)


def _new(pages: Iterator[tuple[CallRow, ...]]) -> Iterator[Sequence[CallRow]]:
    return with_new_rows(pages, lambda row: row.call_id, "calls")


def _ranges(wanted: Iterable[Wanted]) -> Iterator[list[Wanted]]:
    """Divide at long gaps without recordings."""
    together: list[Wanted] = []
    for each in sorted(wanted, key=lambda one: one.created_at):
        if together and each.began_at - together[-1].created_at > _GAP:
            yield together
            together = []
        together.append(each)
    if together:
        yield together


class _Join:
    """The rows of a list that matter for some recordings."""

    def __init__(self, wanted: Sequence[Wanted]) -> None:
        self._wanted = wanted
        self._ids = {each.call_id for each in wanted}
        self._open = set(self._ids)  # calls, and parents of calls, that no page had yet
        self._rows: dict[str, CallRow] = {}
        self._dialled: defaultdict[str, list[CallRow]] = defaultdict(list)
        self._others: dict[str, CallRow] = {}
        self._oldest: datetime | None = None  # of the rows that matter
        self._last: datetime | None = None
        self._falls = True  # the list is newest first, as far as it was read

    def add(self, rows: Iterable[CallRow]) -> bool:
        """Take a page; return whether no later page can have anything that matters."""
        for row in rows:
            self._take(row)
            if row.started_at is not None:
                self._falls = self._falls and (self._last is None or row.started_at <= self._last)
                self._last = row.started_at
        if self._open or not self._falls or self._last is None:
            return False
        return self._oldest is None or self._last < self._oldest - _TIE

    def _take(self, row: CallRow) -> None:
        parent = row.parent_call_id
        if parent in self._ids:
            self._dialled[parent].append(row)
        if row.call_id in self._ids:
            self._keep(row)
            if parent is not None and parent not in self._rows:
                if (found := self._others.get(parent)) is not None:
                    self._keep(found)
                else:
                    self._open.add(parent)
        elif row.call_id in self._open:
            self._keep(row)
        elif parent is None and len(self._others) < _KEPT:
            self._others[row.call_id] = row

    def _keep(self, row: CallRow) -> None:
        self._rows[row.call_id] = row
        self._open.discard(row.call_id)
        if row.started_at is not None:
            self._oldest = min(self._oldest or row.started_at, row.started_at)

    def facts(self, now: datetime) -> Iterator[tuple[Identity, JSON]]:
        """Return the facts of each recording whose call was listed."""
        for each in self._wanted:
            if (row := self._rows.get(each.call_id)) is not None:
                dialled = sorted(self._dialled.get(each.call_id, ()), key=lambda leg: leg.call_id)
                parent = self._rows.get(row.parent_call_id or "")
                yield each.identity, document(row, (*((parent,) if parent else ()), *dialled), now)
