"""The /healthz document: its status code pages somebody, so it gives the reasons."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from recvault.daemon.endpoint import EndpointAnswer
from recvault.daemon.healthz import healthz
from recvault.ledger import Feed, FeedStatus
from recvault.monitoring.health import Condition, Health
from recvault.monitoring.risks import Reason, Risk
from recvault.monitoring.verdict import verdict

SUCCESS = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)


def judged(*conditions: Condition, words: str = "") -> list[tuple[FeedStatus, Health]]:
    return [
        (
            FeedStatus(feed=Feed(f"source-{number}", "twilio", "AC1"), last_success_at=SUCCESS),
            Health(each, words, (because(RISKS[each], words, f"source-{number}"),) if each in RISKS else ()),
        )
        for number, each in enumerate(conditions)
    ]


def because(risk: Risk, words: str, source: str | None = None) -> Reason:
    return Reason(risk=risk, message=words, command="recvault check", source=source, account_id=source and "AC1")


def answer(feeds: list[tuple[FeedStatus, Health]], *beside: Reason) -> EndpointAnswer:
    return healthz(feeds, verdict(feeds, beside))


OK, NEW, SLOW, ATTENTION, FAILING, STALE = Condition
RISKS = {ATTENTION: Risk.DEAD, FAILING: Risk.FAILING, STALE: Risk.STALE}


@pytest.mark.parametrize(
    ("conditions", "risk", "code", "status"),
    [
        ([], None, 200, "ok"),
        ([OK, NEW], None, 200, "ok"),
        ([OK, SLOW], None, 200, "degraded"),
        ([OK, ATTENTION], None, 200, "degraded"),
        ([OK, FAILING], None, 200, "degraded"),
        ([FAILING, STALE], None, 503, "failing"),
        ([OK], Risk.STUCK, 503, "failing"),
        ([OK], Risk.BUCKET, 503, "failing"),
        ([OK], Risk.LEDGER, 503, "failing"),
        ([OK], Risk.RELOAD, 200, "degraded"),
        ([OK], Risk.BUG, 200, "degraded"),
        ([OK], Risk.MANIFESTS, 200, "degraded"),
    ],
)
def test_what_pages_somebody(conditions: list[Condition], risk: Risk | None, code: int, status: str) -> None:
    """503 exactly where a source is stale or the daemon has an error; what is slow degrades, and is safe."""
    told = answer(judged(*conditions, words="its"), *([because(risk, "the daemon's")] if risk else []))
    assert (told.status, told.content_type) == (code, "application/json")
    document: dict[str, Any] = json.loads(told.body)
    assert document["status"] == status
    assert document["safe"] is (not set(conditions) & set(RISKS) and risk is None)
    own = ["the daemon's"] if risk else []
    assert document["errors"] == document["troubles"] == (own if code == 503 else [])
    assert document["warnings"] == ([] if code == 503 else own)
    risks = [*([risk] if risk else []), *(RISKS[each] for each in conditions if each in RISKS)]
    assert [each["risk"] for each in document["reasons"]] == sorted(risks, key=[*Risk].index)


def test_each_source_is_named() -> None:
    """Each source has its account, list, condition, message and last success."""
    feed = FeedStatus(feed=Feed("never", "twilio", "AC2"))
    sources = json.loads(answer([*judged(SLOW, words="too slow"), (feed, Health(NEW, "new"))]).body)["sources"]
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
    body = answer(judged(STALE, words=quoted), because(Risk.BUCKET, quoted)).body.decode()
    assert body.count("https://x.example/a?[cut] from +[number]") == 6
    assert "0123" not in body
