"""The /healthz document: its status code pages somebody, so it gives the reasons."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from recvault.daemon.healthz import healthz
from recvault.ledger import Feed, FeedStatus
from recvault.monitoring.health import Condition, Health

SUCCESS = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)


def judged(*conditions: Condition, words: str = "") -> list[tuple[FeedStatus, Health]]:
    return [
        (FeedStatus(feed=Feed(f"source-{number}", "twilio", "AC1"), last_success_at=SUCCESS), Health(each, words))
        for number, each in enumerate(conditions)
    ]


OK, NEW, SLOW, ATTENTION, FAILING, STALE = Condition


@pytest.mark.parametrize(
    ("conditions", "troubles", "code", "status"),
    [
        ([], [], 200, "ok"),
        ([OK, NEW], [], 200, "ok"),
        ([OK, SLOW], [], 200, "degraded"),
        ([OK, FAILING], [], 200, "degraded"),
        ([FAILING, STALE], [], 503, "failing"),
        ([OK], ["the scheduler has been stuck"], 503, "failing"),
    ],
    ids=["no source", "ok and new", "slow", "failing", "stale", "trouble"],
)
def test_what_pages_somebody(conditions: list[Condition], troubles: list[str], code: int, status: str) -> None:
    """The status is 503 only if a source is stale or the daemon has a problem; failing and slow are degraded."""
    answer = healthz(judged(*conditions), troubles)
    assert (answer.status, answer.content_type) == (code, "application/json")
    document: dict[str, Any] = json.loads(answer.body)
    assert (document["status"], document["errors"], document["troubles"]) == (status, troubles, troubles)


def test_each_source_is_named() -> None:
    """Each source has its account, list, condition, message and last success."""
    feed = FeedStatus(feed=Feed("never", "twilio", "AC2"))
    sources = json.loads(healthz([*judged(SLOW, words="too slow"), (feed, Health(NEW, "new"))], []).body)["sources"]
    assert sources == [
        {
            "source": "source-0",
            "account_id": "AC1",
            "list": "account",
            "condition": "slow",
            "message": "too slow",
            "words": "too slow",
            "last_success_at": "2026-11-02T12:00:00Z",
        },
        {
            "source": "never",
            "account_id": "AC2",
            "list": "account",
            "condition": "new",
            "message": "new",
            "words": "new",
            "last_success_at": None,
        },
    ]


def test_nothing_secret_is_told() -> None:
    """Messages are redacted, whatever an error quotes."""
    quoted = "https://x.example/a?X-Amz-Signature=0123 from +14155550100"
    body = healthz(judged(STALE, words=quoted), [quoted]).body.decode()
    assert body.count("https://x.example/a?[cut] from +[number]") == 4
    assert "0123" not in body
