"""Judge whether everything is safe: for `status`, /healthz, `recvault_safe` and the alert rules.

Safe means: nothing is lost or at risk unless a provider deletes what could not have been archived yet. A slow scan, a
retried recording and an empty account are safe.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from recvault.ledger import FeedStatus, Ledger
from recvault.ledger.unlisted import COMPLETE_AT
from recvault.models import unstamp
from recvault.monitoring.health import Health
from recvault.monitoring.risks import Reason, Risk
from recvault.timefmt import span, when

MANIFESTS_LATE = timedelta(days=2)
BUCKET_ERROR = "bucket.error"  # the fact that says why the last pass could not use the bucket; empty if it could
_WORST_FIRST = {risk: place for place, risk in enumerate(Risk)}


@dataclass(frozen=True, slots=True)
class Judgement:
    """The reasons why not all is safe, worst first; empty if all is."""

    reasons: tuple[Reason, ...] = ()

    @property
    def is_safe(self) -> bool:
        return not self.reasons

    @property
    def is_critical(self) -> bool:
        """Whether immediate attention is needed."""
        return any(reason.risk.is_critical for reason in self.reasons)

    @property
    def risks(self) -> frozenset[Risk]:
        """The kinds of risk."""
        return frozenset(reason.risk for reason in self.reasons)

    def of(self, source: str) -> Judgement:
        """Return what concerns one source: its own reasons and the daemon's."""
        return Judgement(tuple(each for each in self.reasons if each.source in (source, None)))


def verdict(judged: Iterable[tuple[FeedStatus, Health]], beside: Iterable[Reason] = ()) -> Judgement:
    """Combine the feeds' reasons with others, e.g. of the daemon or of manifests."""
    found = dict.fromkeys([*beside, *(reason for _, health in judged for reason in health.reasons)])
    return Judgement(tuple(sorted(found, key=lambda each: _WORST_FIRST[each.risk])))


def bucket_at_last(ledger: Ledger) -> list[Reason]:
    """Return a reason if the last pass could not use the bucket; a daemon knows this by itself."""
    error = ledger.fact(BUCKET_ERROR)
    return [Reason(risk=Risk.BUCKET, message=f"bucket: {error}", command="recvault check")] if error else []


def late_manifests(ledger: Ledger, now: datetime, *, is_watched: bool) -> list[Reason]:
    """Return a reason if manifests were not complete for two days; without a daemon only if some were ever written."""
    noted = ledger.fact(COMPLETE_AT)
    complete_at = unstamp(noted) if noted else None
    since = complete_at or (ledger.born_at if is_watched else None)
    if since is None or now - since <= MANIFESTS_LATE:
        return []
    last = f"the last complete ones are of {when(since)}" if complete_at else "none since the ledger was created"
    message = f"no manifest was written for {span((now - since).total_seconds())}: {last}"
    return [Reason(risk=Risk.MANIFESTS, message=message, command="recvault manifest")]
