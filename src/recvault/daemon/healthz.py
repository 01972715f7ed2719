"""The /healthz document: the daemon's health and what is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from recvault.daemon.endpoint import EndpointAnswer
from recvault.ledger import FeedStatus
from recvault.log.lines import redact_text
from recvault.models import JSON
from recvault.monitoring.health import Condition, Health
from recvault.monitoring.report import iso

_ORDER = tuple(Condition)
_DEGRADED = frozenset({Condition.FAILING, Condition.ATTENTION, Condition.SLOW})


def healthz(
    judged: Iterable[tuple[FeedStatus, Health]], troubles: Sequence[str], warnings: Sequence[str] = ()
) -> EndpointAnswer:
    """503 if a source is stale or the daemon has an error, else 200; each source with its message, worst first.

    Warnings do not stop the daemon: a refused reload.
    """
    feeds = sorted(judged, key=lambda each: -_ORDER.index(each[1].condition))
    conditions = {health.condition for _, health in feeds}
    failing = bool(troubles) or Condition.STALE in conditions
    document = {
        "status": "failing" if failing else "degraded" if conditions & _DEGRADED or warnings else "ok",
        "errors": (errors := [redact_text(trouble) for trouble in troubles]),
        "troubles": errors,  # deprecated: errors
        "warnings": [redact_text(warning) for warning in warnings],
        "sources": [_source(feed, health) for feed, health in feeds],
    }
    body = json.dumps(document, indent=2).encode() + b"\n"
    return EndpointAnswer(503 if failing else 200, "application/json", body)


def _source(feed: FeedStatus, health: Health) -> JSON:
    return {
        "source": feed.feed.source,
        "account_id": feed.feed.account_id,
        "list": feed.feed.list,
        "condition": health.condition.value,
        "message": redact_text(health.words),
        "words": redact_text(health.words),  # deprecated: message
        "last_success_at": iso(feed.last_success_at),
    }
