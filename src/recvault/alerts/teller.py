"""Check for changes, store notices, and send them with back-off until they are accepted or too old."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from recvault.alerts.channels import Channel
from recvault.alerts.event import TEST, TROUBLE, Event, OutgoingEvent
from recvault.alerts.planning import Planner, seen_of
from recvault.errors import LedgerDamaged, RecvaultError
from recvault.ledger import FeedStatus, Ledger, WaitingNotice
from recvault.log.lines import get_logger
from recvault.monitoring.health import Health
from recvault.monitoring.verdict import Judgement

log = get_logger("recvault.alerts")

FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=30), timedelta(hours=1)  # between two attempts of one channel
TOO_OLD = timedelta(days=1)  # a notice that is not accepted for so long is given up
TURN_SECONDS = 45.0  # after which a turn begins no further attempt
SENT, FAILED, DROPPED = "sent", "failed", "dropped"
RESULTS = (SENT, FAILED, DROPPED)

Judged = Iterable[tuple[FeedStatus, Health]]


@dataclass(slots=True, kw_only=True)
class Teller:
    """Notifies about one ledger. For one thread at a time."""

    ledger: Ledger
    channels: Sequence[Channel]
    kinds: Collection[str]
    trouble_after: timedelta
    origin: str
    clock: Callable[[], datetime]
    on_result: Callable[[str, str, int], None] = lambda channel, result, count: None  # for metrics
    check_stop: Callable[[], None] = lambda: None  # raises Interrupted if a stop was requested
    new_id: Callable[[], str] = lambda: str(uuid.uuid4())
    _unwritten: bool = field(default=False, init=False)  # the ledger's problem was notified without the ledger

    def __post_init__(self) -> None:
        for channel in self.channels:
            for result in RESULTS:
                self.on_result(channel.name, result, 0)  # creates the series: one that begins at 1 is easily missed

    def look(self, judged: Judged, found: Judgement) -> None:
        """Store new notices. If the ledger cannot be written, that is notified at once, and only once."""
        try:
            self._look(list(judged), found)
        except LedgerDamaged:
            raise
        except RecvaultError as error:
            if not self._unwritten:
                self._unwritten = True
                self.tell_now(TROUBLE, "ledger", f"ledger: {error}")
            raise
        self._unwritten = False

    def _look(self, judged: Sequence[tuple[FeedStatus, Health]], found: Judgement) -> None:
        now = self.clock()
        seen = seen_of(found, judged, self.ledger.ask.suspects(), self.trouble_after)
        planner = Planner(
            seen=seen,
            now=now,
            origin=self.origin,
            kinds=self.kinds,
            new_id=self.new_id,
            summary=lambda: self._summary(judged, found, now),
        )
        dropped = self.ledger.notices.change(planner, [each.name for each in self.channels], now)
        if dropped:
            log.error(
                "notify.dropped",
                notices=sum(dropped.values()),
                hint="a channel has accepted nothing for long: see the log",
            )
            for name, count in dropped.items():
                self.on_result(name, DROPPED, count)

    def deliver(self) -> int:
        """Send due notices; return how many were accepted. A channel that fails is left alone for a while."""
        until, accepted = time.monotonic() + TURN_SECONDS, 0
        self.ledger.notices.forget_channels(each.name for each in self.channels)
        for channel in self.channels:
            for notice in self.ledger.notices.due(channel.name, self.clock()):
                if time.monotonic() >= until:
                    return accepted
                self.check_stop()
                if not self._deliver(channel, notice):
                    break
                accepted += 1
        return accepted

    def _deliver(self, channel: Channel, notice: WaitingNotice) -> bool:
        told = OutgoingEvent(notice.body)
        if error := channel.send(told):
            self._failed(channel, notice, error)
            return False
        self.ledger.notices.forget(notice)
        self.on_result(channel.name, SENT, 1)
        log.info("notify.sent", channel=channel.name, id=told.id, title=told.title)
        return True

    def _failed(self, channel: Channel, notice: WaitingNotice, error: str) -> None:
        now = self.clock()
        self.on_result(channel.name, FAILED, 1)
        wait = min(FIRST_WAIT * 2 ** min(notice.failures, 10), LONGEST_WAIT)
        told = {
            "channel": channel.name,
            "id": OutgoingEvent(notice.body).id,
            "error": error,
            "attempts": notice.attempts + 1,
        }
        if now - notice.noted_at >= TOO_OLD:
            self.ledger.notices.forget(notice)
            self.on_result(channel.name, DROPPED, 1)
            log.error("notify.given_up", **told)
        else:
            log.warning("notify.failed", **told, next_attempt_seconds=round(wait.total_seconds()))
        self.ledger.notices.postpone(notice, now + wait)

    def tell_now(self, kind: str, topic: str, message: str) -> dict[str, str]:
        """Send to each channel without the ledger, once: tests, and errors of the ledger itself. Returns errors by
        channel."""
        event = Event(id=self.new_id(), kind=kind, origin=self.origin, time=self.clock(), topic=topic, message=message)
        if kind != TEST and kind not in self.kinds:
            return {}
        results = {}
        for channel in self.channels:
            results[channel.name] = error = channel.send(OutgoingEvent(event.body()))
            self.on_result(channel.name, FAILED if error else SENT, 1)
            if error and kind != TEST:
                log.warning("notify.failed", channel=channel.name, id=event.id, error=error)
        return results

    def _summary(
        self, judged: Sequence[tuple[FeedStatus, Health]], found: Judgement, now: datetime
    ) -> tuple[str, dict[str, Any]]:
        yesterday = now.date() - timedelta(days=1)
        days = [each for each in self.ledger.ask.days(yesterday) if each.day == yesterday]
        recordings, size = sum(each.recordings for each in days), sum(each.bytes for each in days)
        standing = {(feed.feed.source, feed.feed.account_id): feed.standing for feed, _ in judged}.values()
        counts = {
            name: sum(getattr(each, name) for each in standing) for name in ("pending", "failing", "not_ready", "dead")
        }
        wrong = [each.sentence for each in found.reasons]
        state = "safe" if found.is_safe else f"not safe, {len(wrong)} reasons, first: {wrong[0]}"
        message = (
            f"{recordings:,} recordings ({size:,} bytes) archived on {yesterday}; {counts['pending']:,} waiting, "
            f"{counts['dead']:,} dead; {state}"
        )
        return message, {"archived": recordings, "bytes": size, **counts, "safe": found.is_safe, "reasons": len(wrong)}
