"""What `status` knows at one moment: the daemon, every feed with its health, what was archived, what needs
attention."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from recvault.ledger import Feed, running_daemon
from recvault.ledger.lateness import Late, late_fact, offered_fact
from recvault.models import unstamp
from recvault.monitoring.health import Condition

if TYPE_CHECKING:
    from recvault.app.source_status import Inquiry
    from recvault.ledger import ArchivedDay, FeedStatus, RunningDaemon, Stranded

DAYS = 30
UNCONFIGURED = "unconfigured"
_REASONS = 3
_WORST_FIRST = (*reversed([*Condition]), UNCONFIGURED)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedCondition:
    """A feed and how it does."""

    feed: FeedStatus
    condition: str
    words: str
    lookback: timedelta = timedelta()  # how far its watermark is behind where all is well

    @property
    def is_well(self) -> bool:
        return self.condition == Condition.OK and not self.words

    @property
    def is_safe(self) -> bool:
        """Whether nothing is lost or at risk: a slow scan still runs, and an empty list was read."""
        if self.condition == UNCONFIGURED:
            return not (self.feed.standing.pending or self.feed.standing.not_ready)
        if self.condition == Condition.NEW:
            return self.feed.last_success_at is not None
        return self.condition in (Condition.OK, Condition.SLOW)


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
    """What polls of an account have missed, as long as its lookback is too short for it."""

    source: str
    account_id: str
    late: Late
    lookback: timedelta

    @property
    def words(self) -> str:
        return f"{self.source} {self.account_id}: {self.late.words(self.lookback)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All of it."""

    now: datetime
    has_ledger: bool
    daemon: RunningDaemon | None
    sources: list[FeedCondition]
    days: list[ArchivedDay]
    hand: Hand
    missed: list[Missed] = field(default_factory=list)
    offered_since: dict[tuple[str, str], datetime] = field(default_factory=dict)  # by source and account

    @property
    def unsafe(self) -> list[str]:
        """Why recordings may be lost, worst first; empty if all is safe. The one judgement that all callers share."""
        reasons = [] if self.has_ledger else ["no pass has run yet"]
        reasons += [f"the daemon: {trouble}" for trouble in self.daemon_troubles]
        return reasons + [f"{each.feed.feed.source} {each.feed.feed.account_id}: {each.words}" for each in self.at_risk]

    @property
    def daemon_troubles(self) -> tuple[str, ...]:
        """Errors of the daemon itself, as last reported."""
        return self.daemon.troubles if self.daemon else ()

    @property
    def at_risk(self) -> list[FeedCondition]:
        """Of which recordings may be lost, worst first."""
        return [each for each in self.worst_first if not each.is_safe]

    @property
    def worst_first(self) -> list[FeedCondition]:
        """The sources as people read them."""
        return sorted(self.sources, key=lambda each: _WORST_FIRST.index(each.condition))

    @property
    def first_day(self) -> datetime:
        """The first of the days shown; today is the last."""
        return self.now - timedelta(days=DAYS - 1)


def look(inquiry: Inquiry, now: datetime) -> Overview:
    """Read the ledger, and whether a daemon uses it. Raises LedgerLocked if it is busy."""
    daemon = running_daemon(inquiry.settings.ledger.path)
    known = inquiry.has_ledger
    stranded = {(each.source, each.account_id): each for each in inquiry.stranded()}
    feeds = inquiry.feeds()
    met = {(each.feed.source, each.feed.account_id) for each in feeds}
    feeds += [
        inquiry.ledger.ask.unread(Feed(each.source, each.provider, each.account_id))
        for key, each in stranded.items()
        if key not in met
    ]
    return Overview(
        now=now,
        has_ledger=known,
        daemon=daemon,
        sources=[_standing(inquiry, feed, daemon, now, stranded) for feed in feeds],
        days=inquiry.ledger.ask.days((now - timedelta(days=DAYS - 1)).date()) if known else [],
        hand=_hand(inquiry, feeds) if known else Hand(),
        missed=list(_missed(inquiry, feeds)) if known else [],
        offered_since=dict(_offered(inquiry, feeds)) if known else {},
    )


def _offered(inquiry: Inquiry, feeds: list[FeedStatus]) -> Iterator[tuple[tuple[str, str], datetime]]:
    """Since when each account's list is offered, if the provider refused to list earlier recordings."""
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
