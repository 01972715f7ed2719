"""The /healthz document: the daemon's health and what is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterable

from recvault.daemon.endpoint import EndpointAnswer
from recvault.ledger import FeedStatus
from recvault.log.lines import redact_text
from recvault.models import JSON
from recvault.monitoring.health import Condition, Health
from recvault.monitoring.report import iso
from recvault.monitoring.verdict import Judgement

_ORDER = tuple(Condition)


def healthz(judged: Iterable[tuple[FeedStatus, Health]], found: Judgement) -> EndpointAnswer:
    """Return 503 if the verdict is critical, else 200; with the verdict and each source with its message, worst first.

    Errors and warnings are the daemon's own; warnings, e.g. a refused reload, do not stop it. A slow source is
    degraded, but safe.
    """
    feeds = sorted(judged, key=lambda each: -_ORDER.index(each[1].condition))
    slow = any(health.condition is Condition.SLOW for _, health in feeds)
    own = [each for each in found.reasons if each.source is None]
    reasons = [
        {"risk": each.risk.value, "source": each.source, "message": redact_text(each.sentence), "command": each.command}
        for each in found.reasons
    ]
    document = {
        "status": "failing" if found.is_critical else "ok" if found.is_safe and not slow else "degraded",
        "safe": found.is_safe,
        "reasons": reasons,
        "errors": (errors := [redact_text(each.message) for each in own if each.risk.is_critical]),
        "troubles": errors,  # deprecated: errors
        "warnings": [redact_text(each.message) for each in own if not each.risk.is_critical],
        "sources": [_source(feed, health) for feed, health in feeds],
    }
    body = json.dumps(document, indent=2).encode() + b"\n"
    return EndpointAnswer(503 if found.is_critical else 200, "application/json", body)


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
