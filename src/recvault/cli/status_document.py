"""`status --json`: one document of all that is known."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from recvault.monitoring.report import iso

if TYPE_CHECKING:
    from recvault.cli.overview import FeedCondition, Overview
    from recvault.ledger import Feed

SCHEMA = "recvault/status/v1"
_STATES = ("pending", "failing", "not_ready", "archived", "gone", "external", "dead", "accepted")
COUNTS = (*_STATES, "erased", "quarantined")


def document(overview: Overview, failing: list[dict[str, Any]] | None) -> dict[str, Any]:
    """Return what `status` knows; for one source also its failures by reason."""
    daemon, hand = overview.daemon, overview.hand
    attention = {
        "dead": hand.dead,
        "failing": hand.failing,
        "quarantined": hand.quarantined,
        "reasons": [{"reason": reason, "count": count} for reason, count in hand.reasons],
    }
    return {
        "schema": SCHEMA,
        "verdict": {
            "safe": overview.verdict.is_safe,
            "reasons": [each.sentence for each in overview.verdict.reasons],
            "details": [{**asdict(each), "risk": each.risk.value} for each in overview.verdict.reasons],
        },
        "daemon": None
        if daemon is None
        else {
            "pid": daemon.pid,
            "started_at": iso(daemon.started_at),
            "errors": (errors := [each.message for each in daemon.troubles]),
            "troubles": errors,  # deprecated: errors
        },
        "catalog": {"written_at": iso(overview.catalog_written_at)} if overview.has_catalog else None,
        "sources": [_source(each, overview) for each in overview.sources],
        "needs_attention": attention,
        "needs_hand": attention,  # deprecated: needs_attention
        "missed_by_polls": [
            {
                "source": each.source,
                "account_id": each.account_id,
                "recordings": each.late.recordings,
                "lateness_seconds": round(each.late.lateness.total_seconds()),
                "lookback_seconds": round(each.lookback.total_seconds()),
                "lookback_needed_seconds": round(each.late.needed.total_seconds()),
                "found_at": iso(each.late.found_at),
            }
            for each in overview.missed
        ],
        "open_erasures": overview.open_erasures,
        **({} if failing is None else {"failure_reasons": failing}),
    }


def _pruned(feed: Feed, overview: Overview) -> dict[str, Any]:
    """Return what was deleted at the provider so far, and what came of the daemon's last prune."""
    done, last = overview.pruned.get((feed.source, feed.account_id)), overview.last_prunes.get(feed.source)
    return {
        "recordings": done.recordings if done else 0,
        "bytes": done.bytes if done else 0,
        "last_at": iso(done.last_at) if done else None,
        "last_run": None if last is None else {**asdict(last), "at": iso(last.at)},
    }


def _source(each: FeedCondition, overview: Overview) -> dict[str, Any]:
    feed, counts = each.feed.feed, asdict(each.feed.standing)
    days = [day for day in overview.days if (day.source, day.account_id) == (feed.source, feed.account_id)]
    return {
        "source": feed.source,
        "provider": feed.provider,
        "account_id": feed.account_id,
        "condition": each.condition,
        "message": each.words,
        "words": each.words,  # deprecated: message
        "watermark": iso(each.feed.watermark),
        "lag_seconds": _lag(each, overview.now),
        "lag_beyond_lookback_seconds": lag_beyond_lookback(each, overview.now),
        "last_success_at": iso(each.feed.last_success_at),
        "last_archived_at": iso(each.feed.last_archived_at),
        "counts": {name: counts[name] for name in COUNTS},
        "oldest_pending_at": iso(each.feed.oldest_pending_at),
        "next_attempt_at": iso(each.feed.next_attempt_at),
        "offered_since": iso(overview.offered_since.get((feed.source, feed.account_id))),
        "error": each.feed.error,
        "pruned": _pruned(feed, overview),
        "archived_per_day": [
            {"day": day.day.isoformat(), "recordings": day.recordings, "bytes": day.bytes} for day in days
        ],
    }


def lag_beyond_lookback(each: FeedCondition, moment: datetime) -> int | None:
    """Return seconds; 0 if all is well: a watermark stays a lookback behind on purpose."""
    lag = _lag(each, moment)
    return None if lag is None else max(0, lag - round(each.lookback.total_seconds()))


def _lag(each: FeedCondition, moment: datetime) -> int | None:
    watermark = each.feed.watermark
    return None if watermark is None else max(0, round((moment - watermark).total_seconds()))
