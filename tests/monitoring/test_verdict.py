"""One judgement for `status`, /healthz, metrics and alert rules: what is safe, what is not, and which is worst."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from recvault.ledger import Feed, FeedStatus, Ledger, StateCounts
from recvault.ledger.unlisted import COMPLETE_AT
from recvault.models import stamp
from recvault.monitoring.health import judge
from recvault.monitoring.risks import Reason, Risk
from recvault.monitoring.verdict import Judgement, late_manifests, verdict

NOW = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BUCKET = Reason(risk=Risk.BUCKET, message="the bucket answered AccessDenied", command="recvault check")
RELOAD = Reason(risk=Risk.RELOAD, message="the last reload was refused", command="recvault check --config-only")


def of(*feeds: dict[str, Any], beside: tuple[Reason, ...] = (), is_watched: bool = True) -> Judgement:
    """Return the verdict over feeds a, b, …, which are ok except for these values."""
    well = {"watermark": NOW - DAY, "last_success_at": NOW - HOUR, "standing": StateCounts(archived=7)}
    judged = []
    for name, values in zip("abcdefghij", feeds, strict=False):
        feed = FeedStatus(feed=Feed(name, "twilio", "AC1"), **(well | values))  # type: ignore[arg-type]
        since = NOW - 9 * DAY if is_watched else None
        health = judge(feed, now=NOW, watched_since=since, poll_every=HOUR, stale_after=DAY)
        judged.append((feed, health))
    return verdict(judged, beside)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"scan_seconds": 99_999.0},
        {"standing": StateCounts(pending=5, failing=5)},
        {"standing": StateCounts(), "watermark": None},
        {"closed_at": NOW - 9 * DAY, "last_success_at": NOW - 9 * DAY},
    ],
    ids=["well", "slow", "tried again", "empty", "closed"],
)
def test_what_is_safe(values: dict[str, Any]) -> None:
    """A slow scan, retried recordings, an empty account and a closed one are safe."""
    assert of(values) == Judgement(())
    assert of(values).is_safe and not of(values).is_critical


@pytest.mark.parametrize(
    ("values", "is_watched", "risk", "command"),
    [
        ({"last_success_at": NOW - 2 * DAY}, True, Risk.STALE, "recvault check"),
        ({"last_success_at": NOW - 2 * DAY}, False, Risk.STALE, "recvault sync --source a"),
        (
            {"waiting_since": NOW - 2 * DAY, "last_archived_at": NOW - 2 * DAY},
            True,
            Risk.STALE,
            "recvault failures --source a",
        ),
        ({"error": "401"}, True, Risk.FAILING, "recvault check"),
        ({"by_configuration": ("media.unsafe_address",)}, True, Risk.CONFIGURATION, "recvault failures --source a"),
        ({"error": "401", "by_configuration": ("credentials.refused",)}, True, Risk.FAILING, "recvault check"),
        ({"standing": StateCounts(dead=800)}, True, Risk.DEAD, "recvault failures --source a"),
        ({"standing": StateCounts(quarantined=1)}, True, Risk.QUARANTINED, "recvault failures --source a"),
        (
            {"standing": StateCounts(), "watermark": None, "last_success_at": None},
            False,
            Risk.UNSEEN,
            "recvault sync --source a",
        ),
    ],
    ids=[
        *("silent", "silent without a daemon", "nothing archived", "refused", "misconfigured", "refused for both"),
        *("dead", "quarantined", "never scanned"),
    ],
)
def test_what_is_not_safe(values: dict[str, Any], is_watched: bool, risk: Risk, command: str) -> None:
    """Each reason names its source, the problem, and a command."""
    (reason,) = of(values, is_watched=is_watched).reasons
    assert (reason.risk, reason.command, reason.source, reason.account_id) == (risk, command, "a", "AC1")
    assert reason.sentence == f"a AC1: {reason.message}"


def test_the_worst_comes_first() -> None:
    """The bucket comes before a stale source, that before dead recordings, those before a refused reload."""
    dead, stale = {"standing": StateCounts(dead=1)}, {"last_success_at": NOW - 2 * DAY}
    found = of(dead, stale, {"error": "401"}, beside=(RELOAD, BUCKET))
    assert [(each.risk, each.source) for each in found.reasons] == [
        (Risk.BUCKET, None),
        (Risk.STALE, "b"),
        (Risk.FAILING, "c"),
        (Risk.DEAD, "a"),
        (Risk.RELOAD, None),
    ]
    assert found.is_critical
    assert [each.risk for each in found.of("a").reasons] == [Risk.BUCKET, Risk.DEAD, Risk.RELOAD]


def test_dead_recordings_of_a_source_that_is_silent_are_told_too() -> None:
    """A source may have several reasons, each with its own command."""
    found = of({"last_success_at": NOW - 2 * DAY, "error": "401", "standing": StateCounts(dead=1, quarantined=1)})
    assert [each.risk for each in found.reasons] == [Risk.STALE, Risk.FAILING, Risk.DEAD, Risk.QUARANTINED]


def test_every_kind_of_risk_is_critical_or_not_on_purpose() -> None:
    """A risk is critical only if nothing is archived any more."""
    assert {risk for risk in Risk if risk.is_critical} == {
        Risk.LEDGER,
        Risk.BUCKET,
        Risk.STUCK,
        Risk.DAEMON,
        Risk.STALE,
    }


@pytest.mark.parametrize(
    ("complete", "is_watched", "age", "expected"),
    [
        (None, True, timedelta(hours=49), "none since the ledger was created"),
        (None, True, timedelta(hours=48), None),
        (None, False, timedelta(hours=49), None),
        (NOW, False, timedelta(hours=49), "the last complete ones are of 2026-11-02 12:00 UTC"),
        (NOW, True, timedelta(hours=48), None),
    ],
    ids=["never", "young", "a timer writes none", "a timer wrote some", "in time"],
)
def test_late_manifests(
    tmp_path: Path, complete: datetime | None, is_watched: bool, age: timedelta, expected: str | None
) -> None:
    """Manifests are late after two days; without a daemon only if some were ever written."""
    ledger = Ledger.open(tmp_path / "ledger.db", NOW)
    if complete:
        ledger.remember(COMPLETE_AT, stamp(complete))
    found = late_manifests(ledger, NOW + age, is_watched=is_watched)
    ledger.close()
    assert [each.command for each in found] == (["recvault manifest"] if expected else [])
    assert all(each.message.endswith(f": {expected}") for each in found)
