"""Notice which sources become stale and which recover: log each change, and ping at every check."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from recvault.http import Ping
from recvault.ledger import FeedStatus
from recvault.log.lines import get_logger
from recvault.monitoring.health import Condition, Health
from recvault.monitoring.metrics import Metrics

log = get_logger("recvault.daemon.vigil")


class Vigil:
    """Remembers what was stale at the last check. For one thread at a time."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._stale: set[tuple[str, str]] = set()
        self._begun = False

    def look(self, judged: Iterable[tuple[FeedStatus, Health]], troubles: Sequence[str], ping: Ping) -> None:
        """Log what changed since the last check, and ping."""
        stale = {
            (status.feed.source, status.feed.account_id): health.words
            for status, health in judged
            if health.condition is Condition.STALE
        }
        for (source, account_id), words in stale.items():
            if (source, account_id) not in self._stale:
                log.error("source.stale", source=source, account_id=account_id, message=words, words=words)
        for source, account_id in self._stale - stale.keys():
            log.info("source.recovered", source=source, account_id=account_id)
        self._stale = set(stale)
        said = [f"{source} {account_id}: {words}" for (source, account_id), words in stale.items()]
        self._ping(ping, [*troubles, *said])

    def _ping(self, ping: Ping, wrong: Sequence[str]) -> None:
        heard = [] if self._begun else [ping.start()]
        heard.append(ping.fail("\n".join(wrong)) if wrong else ping.success())
        self._begun = True
        if not all(heard):
            self._metrics.ping_failed()
