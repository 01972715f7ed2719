"""What `status` shows, at one time: the daemon, every feed with its health, what was archived, what needs attention."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from recvault.ledger import Feed, dead_daemon, running_daemon
from recvault.ledger.lateness import Late, late_fact, offered_fact
from recvault.ledger.pruned import last_prune
from recvault.ledger.uncatalogued import CATALOG_WRITTEN_AT
from recvault.models import unstamp
from recvault.monitoring.health import Condition
from recvault.monitoring.risks import Reason, Risk
from recvault.timefmt import when

if TYPE_CHECKING:
    from recvault.app.source_status import Inquiry
    from recvault.ledger import ArchivedDay, DeadDaemon, FeedStatus, Prunings, RunningDaemon, Stranded
    from recvault.ledger.pruned import LastPrune
    from recvault.monitoring.verdict import Judgement

DAYS = 30
UNCONFIGURED = "unconfigured"
_REASONS = 3
_WORST_FIRST = (*reversed([*Condition]), UNCONFIGURED)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedCondition:
    """A feed and its condition."""

    feed: FeedStatus
    condition: str
    words: str
    lookback: timedelta = timedelta()  # how far its watermark is behind if all is well

    @property
    def is_well(self) -> bool:
        return self.condition == Condition.OK and not self.words


@dataclass(frozen=True, slots=True, kw_only=True)
class Hand:
    """What needs attention now or soon: totals over all sources, and the most frequent reasons."""

    dead: int = 0
    failing: int = 0
    quarantined: int = 0
    reasons: list[tuple[str, int]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.dead or self.failing or self.quarantined)


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """What polls of an account have missed, while its lookback is too short for it."""

    source: str
    account_id: str
    late: Late
    lookback: timedelta

    @property
    def words(self) -> str:
        return f"{self.source} {self.account_id}: {self.late.words(self.lookback)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Everything that `status` shows."""

    now: datetime
    has_ledger: bool
    daemon: RunningDaemon | None
    verdict: Judgement
    sources: list[FeedCondition]
    days: list[ArchivedDay]
    hand: Hand
    missed: list[Missed] = field(default_factory=list)
    open_erasures: list[dict[str, Any]] = field(default_factory=list)  # path, why, until
    offered_since: dict[tuple[str, str], datetime] = field(default_factory=dict)  # by source and account
    has_catalog: bool = False  # whether the daemon is to write one
    catalog_written_at: datetime | None = None
    pruned: dict[tuple[str, str], Prunings] = field(default_factory=dict)  # likewise
    last_prunes: dict[str, LastPrune] = field(default_factory=dict)  # by source

    @property
    def worst_first(self) -> list[FeedCondition]:
        """The sources, those in the worst condition first."""
        return sorted(self.sources, key=lambda each: _WORST_FIRST.index(each.condition))

    @property
    def first_day(self) -> datetime:
        """The first day shown; today is the last."""
        return self.now - timedelta(days=DAYS - 1)


def look(inquiry: Inquiry, now: datetime, name: str | None = None) -> Overview:
    """Read the ledger, and whether a daemon uses it; only of one source if `name` is given.

    Raises LedgerLocked if the ledger is busy, UnknownName if the source is unknown.
    """
    path = inquiry.settings.ledger.path
    daemon = running_daemon(path)
    known = inquiry.has_ledger
    watched = {source.name: daemon.started_at for source in inquiry.settings.sources} if daemon else None
    beside = [*_of_the_daemon(daemon, None if daemon else dead_daemon(path)), *([] if known else [_NO_PASS])]
    stranded = {(each.source, each.account_id): each for each in inquiry.stranded()}
    feeds = inquiry.feeds()
    met = {(each.feed.source, each.feed.account_id) for each in feeds}
    feeds += [
        inquiry.ledger.ask.unread(Feed(each.source, each.provider, each.account_id))
        for key, each in stranded.items()
        if key not in met
    ]
    verdict = inquiry.verdict(beside, watched)
    if name is not None:
        feeds, verdict = _of_one(inquiry, name, feeds), verdict.of(name)
    return Overview(
        now=now,
        has_ledger=known,
        daemon=daemon,
        verdict=verdict,
        sources=[_standing(inquiry, feed, daemon, now, stranded) for feed in feeds],
        days=_days(inquiry, now, name) if known else [],
        hand=_hand(inquiry, feeds) if known else Hand(),
        missed=list(_missed(inquiry, feeds)) if known else [],
        open_erasures=inquiry.ledger.custody.open_erasures() if known else [],
        offered_since=dict(_offered(inquiry, feeds)) if known else {},
        has_catalog=inquiry.settings.catalog.enabled,
        catalog_written_at=_catalog_written_at(inquiry) if known else None,
        pruned={(each.source, each.account_id): each for each in inquiry.ledger.pruned.so_far()} if known else {},
        last_prunes=dict(_last_prunes(inquiry)) if known else {},
    )


def _catalog_written_at(inquiry: Inquiry) -> datetime | None:
    noted = inquiry.ledger.fact(CATALOG_WRITTEN_AT)
    return unstamp(noted) if noted else None


def _last_prunes(inquiry: Inquiry) -> Iterator[tuple[str, LastPrune]]:
    """Yield what came of the daemon's last prune of each source that it prunes."""
    for source in inquiry.settings.sources:
        if source.prune_after is not None and (last := last_prune(inquiry.ledger, source.name)) is not None:
            yield source.name, last


def _of_one(inquiry: Inquiry, name: str, feeds: list[FeedStatus]) -> list[FeedStatus]:
    """Return the accounts of one source, even if it is no longer configured. UnknownName if it is unknown."""
    found = [each for each in feeds if each.feed.source == name]
    if not found:
        inquiry.source(name)
    return found


def _days(inquiry: Inquiry, now: datetime, name: str | None) -> list[ArchivedDay]:
    found = inquiry.ledger.ask.days((now - timedelta(days=DAYS - 1)).date())
    return [each for each in found if name in (None, each.source)]


_NO_PASS = Reason(risk=Risk.UNSEEN, message="no pass has run yet", command="recvault sync")


def _of_the_daemon(running: RunningDaemon | None, dead: DeadDaemon | None) -> Iterator[Reason]:
    """Yield the problems that a running daemon reports, or that it ended unexpectedly."""
    for trouble in running.troubles if running else ():
        risk = next((each for each in Risk if each.value == trouble.kind), Risk.DAEMON)  # a newer version has others
        yield Reason(risk=risk, message=trouble.message, command=trouble.command)
    if dead is not None:
        words = f"the daemon that started at {when(dead.started_at)} (pid {dead.pid})"
        end = f"ended with an error: {dead.error}" if dead.error else "died: it was killed, or the machine went down"
        yield Reason(
            risk=Risk.DAEMON, message=f"{words} {end}; nothing is polled automatically", command="recvault run"
        )


def _offered(inquiry: Inquiry, feeds: list[FeedStatus]) -> Iterator[tuple[tuple[str, str], datetime]]:
    """Yield since when each account's list is offered, if the provider refused to list earlier recordings."""
    for name, account_id in dict.fromkeys((each.feed.source, each.feed.account_id) for each in feeds):
        if remembered := inquiry.ledger.fact(offered_fact(name, account_id)):
            yield (name, account_id), unstamp(remembered)


def _missed(inquiry: Inquiry, feeds: list[FeedStatus]) -> Iterator[Missed]:
    lookbacks = {source.name: source.lookback for source in inquiry.settings.sources}
    for name, account_id in dict.fromkeys((each.feed.source, each.feed.account_id) for each in feeds):
        remembered = inquiry.ledger.fact(late_fact(name, account_id)) if name in lookbacks else None
        if remembered and (late := Late.from_json(remembered)).needed > lookbacks[name]:
            yield Missed(source=name, account_id=account_id, late=late, lookback=lookbacks[name])


def _standing(
    inquiry: Inquiry,
    feed: FeedStatus,
    daemon: RunningDaemon | None,
    now: datetime,
    stranded: Mapping[tuple[str, str], Stranded],
) -> FeedCondition:
    if not inquiry.is_configured(feed.feed):
        words = "no longer in the configuration: nothing is discovered or archived for it"
        if waits := stranded.get((feed.feed.source, feed.feed.account_id)):
            words = str(waits.error)
        elif feed.standing.pending or feed.standing.not_ready:
            words = (
                "no longer in the configuration: the source that now lists its account takes over the waiting "
                "recordings"
            )
        return FeedCondition(feed=feed, condition=UNCONFIGURED, words=words)
    source = inquiry.source(feed.feed.source)
    health = inquiry.health(feed, now, daemon.started_at if daemon else None)
    return FeedCondition(feed=feed, condition=str(health.condition), words=health.words, lookback=source.lookback)


def _hand(inquiry: Inquiry, feeds: list[FeedStatus]) -> Hand:
    accounts = {(each.feed.source, each.feed.account_id): each.standing for each in feeds}
    dead = sum(each.dead for each in accounts.values())
    failing = sum(each.failing for each in accounts.values())
    reasons: Counter[str] = Counter()
    for row in inquiry.ledger.ask.failure_reasons() if dead or failing else []:
        reasons[str(row["reason"])] += row["count"]
    return Hand(
        dead=dead,
        failing=failing,
        quarantined=sum(each.quarantined for each in accounts.values()),
        reasons=reasons.most_common(_REASONS),
    )
