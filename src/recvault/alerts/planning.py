"""Decide which changes are notified, from earlier notices and the present state. Pure: no clock, no ledger.

A condition is notified once it has lasted long enough, and again only if it gets worse; its end is notified if it was
itself. A count is notified when it grows, at most once an hour.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from recvault.alerts.event import DEAD, QUARANTINED, QUIET, RECOVERED, STALE, SUSPECT, TROUBLE, Event
from recvault.ledger import FeedStatus, NoticeChanges, NoticeKey, NoticeState
from recvault.log.lines import redact_text
from recvault.monitoring.health import Health
from recvault.monitoring.report import iso
from recvault.monitoring.risks import Reason, Risk
from recvault.monitoring.verdict import Judgement

AGAIN = timedelta(hours=1)  # between two notices of one growing count
SOURCE = "source"  # the topic of a list that fails or is stale
DAY = "summary"  # the topic that remembers which day was summed up
_TOGETHER = 5  # accounts of one source up to which each gets its own notice
_NAMED = 5  # accounts named in a combined notice
_COUNTED = frozenset({Risk.DEAD, Risk.QUARANTINED})  # notified by number
_AT_ONCE = {Risk.STALE: STALE, Risk.QUIET: QUIET}  # these have already lasted long
_SEVERITY = {TROUBLE: 1, STALE: 2, QUIET: 1}
_COUNTS = {
    DEAD: "{count:,} dead (given up): `recvault failures --source {source}` says why",
    QUARANTINED: "{count:,} rows in quarantine (cannot be read): see `recvault failures --source {source}`",
    SUSPECT: "{count:,} archived but flagged (truncated, corrupt or not decryptable): `recvault retry --suspect` "
    "fetches them again",
}
_OVER = {
    SOURCE: "no longer failing or stale",
    QUIET: "there are new recordings again",
    DEAD: "no recording is dead any longer",
    QUARANTINED: "no row is in quarantine any longer",
    SUSPECT: "no archived recording is flagged any longer",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One problem at present: a condition, or a count."""

    topic: str
    kind: str
    source: str = ""
    account_id: str = ""
    message: str
    count: int | None = None  # None: a condition
    after: timedelta = timedelta()  # how long it must last before it is notified
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> NoticeKey:
        return (self.topic, f"{self.source}/{self.account_id}" if self.source else "")


def seen_of(
    found: Judgement,
    judged: Iterable[tuple[FeedStatus, Health]],
    suspects: Mapping[tuple[str, str], int],
    trouble_after: timedelta,
) -> list[Seen]:
    """Return all problems as `status` judges them, and the counts of dead, quarantined and flagged recordings."""
    seen: dict[NoticeKey, Seen] = {}
    for reason in found.reasons:  # worst first
        if reason.risk not in _COUNTED and reason.risk is not Risk.UNSEEN:  # a first scan takes its time
            each = _of_reason(reason, trouble_after)
            seen.setdefault(each.key, each)
    standing = {(feed.feed.source, feed.feed.account_id): feed.standing for feed, _ in judged}
    for (source, account_id), counts in standing.items():
        for kind, count in ((DEAD, counts.dead), (QUARANTINED, counts.quarantined)):
            if count:
                counted = _counted(kind, source, account_id, count)
                seen[counted.key] = counted
    for (source, account_id), count in suspects.items():
        counted = _counted(SUSPECT, source, account_id, count)
        seen[counted.key] = counted
    return list(seen.values())


def _of_reason(reason: Reason, trouble_after: timedelta) -> Seen:
    topic = SOURCE if reason.source and reason.risk is not Risk.QUIET else reason.risk.value
    return Seen(
        topic=topic,
        kind=_AT_ONCE.get(reason.risk, TROUBLE),
        source=reason.source or "",
        account_id=reason.account_id or "",
        message=reason.message,
        after=timedelta() if reason.risk in _AT_ONCE else trouble_after,
        facts={"risk": reason.risk.value, "command": reason.command},
    )


def _counted(kind: str, source: str, account_id: str, count: int) -> Seen:
    message = _COUNTS[kind].format(count=count, source=source)
    return Seen(topic=kind, kind=kind, source=source, account_id=account_id, message=message, count=count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner:
    """Decides what changes. `summary` is called for message and facts if a day has ended."""

    seen: Sequence[Seen]
    now: datetime
    origin: str
    kinds: Collection[str]
    new_id: Callable[[], str]
    summary: Callable[[], tuple[str, dict[str, Any]]]
    unknown: Collection[str] = ()  # topics that could not be checked: their state is kept

    def __call__(self, before: Mapping[NoticeKey, NoticeState]) -> NoticeChanges:
        states: dict[NoticeKey, NoticeState] = {}
        events: list[Event] = []
        for each in self.seen:
            state, event = self._one(each, before.get(each.key))
            if state != before.get(each.key):
                states[each.key] = state
            events += [event] if event else []
        seen = {each.key for each in self.seen}
        over = [key for key in before if key not in seen and key[0] != DAY and key[0] not in self.unknown]
        events += [self._recovered(key, before[key]) for key in over if before[key].told]
        day, summed = self._day(before.get((DAY, "")))
        states |= {(DAY, ""): day} if day else {}
        events = [*_gathered(events, self.new_id), *summed]
        bodies = tuple(each.body() for each in events if each.kind in self.kinds)
        return NoticeChanges(states=states, over=over, bodies=bodies)

    def _one(self, seen: Seen, before: NoticeState | None) -> tuple[NoticeState, Event | None]:
        state = before or NoticeState(since=self.now)
        if self.now < state.since:  # the clock was set back
            state = replace(state, since=self.now)
        tell = self._grew(seen, state) if seen.count is not None else self._worse(seen, state)
        if tell:
            told = seen.kind if seen.count is None else str(seen.count)
            return NoticeState(state.since, told, self.now), self._event(seen, state)
        if seen.count is not None and state.told and seen.count < int(state.told):
            return replace(state, told=str(seen.count)), None
        return state, None

    def _grew(self, seen: Seen, state: NoticeState) -> bool:
        told_lately = state.told_at is not None and timedelta() <= self.now - state.told_at < AGAIN
        return (seen.count or 0) > int(state.told or 0) and not told_lately

    def _worse(self, seen: Seen, state: NoticeState) -> bool:
        worse = _SEVERITY[seen.kind] > _SEVERITY.get(state.told, 0)
        return worse and self.now - state.since >= seen.after

    def _event(self, seen: Seen, state: NoticeState) -> Event:
        facts = {"since": iso(state.since), **seen.facts}
        if seen.count is not None:
            facts |= {"count": seen.count, "told_before": int(state.told or 0)}
        return self._made(seen.kind, seen.topic, seen.source, seen.account_id, seen.message, facts)

    def _recovered(self, key: NoticeKey, state: NoticeState) -> Event:
        topic, subject = key
        source, _, account_id = subject.partition("/")
        message = _OVER.get(topic) or f"{topic}: the error is over"
        facts = {
            "since": state.since.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "was": topic if state.told.isdigit() else state.told,
        }
        return self._made(RECOVERED, topic, source, account_id, message, facts)

    def _day(self, before: NoticeState | None) -> tuple[NoticeState | None, list[Event]]:
        """Sum up each day once, after its end; not the first day, which was seen only in part."""
        today = self.now.date().isoformat()
        if before is not None and before.told >= today:
            return None, []
        state = NoticeState(self.now, today, self.now)
        if before is None:
            return state, []
        message, facts = self.summary()
        return state, [self._made("summary", DAY, "", "", message, {"day": before.told, **facts})]

    def _made(
        self, kind: str, topic: str, source: str, account_id: str, message: str, facts: Mapping[str, Any]
    ) -> Event:
        return Event(
            id=self.new_id(),
            kind=kind,
            origin=self.origin,
            time=self.now,
            topic=topic,
            source=source,
            account_id=account_id,
            message=redact_text(message),
            facts=facts,
        )


def _gathered(events: Sequence[Event], new_id: Callable[[], str]) -> Iterator[Event]:
    """Combine notices of many accounts of a source at once: e.g. a wrong token concerns all of them."""
    groups: dict[tuple[str, str, str], list[Event]] = {}
    for each in events:
        groups.setdefault((each.kind, each.topic, each.source), []).append(each)
    for group in groups.values():
        if len(group) <= _TOGETHER or not group[0].source:
            yield from group
            continue
        names = ", ".join(each.account_id for each in group[:_NAMED])
        message = f"{len(group)} accounts ({names} …); the first: {group[0].message}"
        counts = [each.facts["count"] for each in group if "count" in each.facts]
        facts = {"accounts": len(group), **({"count": sum(counts)} if counts else {})}
        yield replace(group[0], id=new_id(), account_id="", message=message, facts=facts)
