"""One judgement of a feed: the worst condition, with a message that an operator can act on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from recvault.ledger import Feed, FeedStatus, StateCounts
from recvault.monitoring.health import Condition, Health, judge
from recvault.monitoring.risks import Risk
from recvault.timefmt import span, when

NOW = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def a_feed(**values: Any) -> FeedStatus:
    """A healthy feed: scanned a minute ago, with archived recordings."""
    well = {
        "watermark": NOW - 26 * HOUR,
        "last_success_at": NOW - MINUTE,
        "scan_seconds": 2.0,
        "standing": StateCounts(archived=7),
        "last_archived_at": NOW - MINUTE,
    }
    return FeedStatus(feed=Feed("main", "twilio", "AC1"), **(well | values))


def judged(watched_since: datetime | None = None, **values: Any) -> Health:
    return judge(a_feed(**values), now=NOW, watched_since=watched_since, poll_every=5 * MINUTE, stale_after=24 * HOUR)


def test_ok_says_nothing() -> None:
    """A healthy feed has no message."""
    assert judged() == Health(Condition.OK, "")


def test_lag_is_no_trouble() -> None:
    """An account that was quiet for a year has a year's lag, and is ok."""
    assert judged(watermark=NOW - 365 * DAY, last_archived_at=NOW - 365 * DAY) == Health(Condition.OK)


@pytest.mark.parametrize("closed", [False, True])
def test_a_silent_account_wants_attention(closed: bool) -> None:
    """Silence is said, is attention and is not safe; a closed account may be silent."""
    feed = a_feed(closed_at=NOW - DAY if closed else None)
    given = {"now": NOW, "watched_since": None, "poll_every": 5 * MINUTE, "stale_after": 24 * HOUR}
    found = judge(feed, **given, quiet="no new recording for 2 h")
    expected = (Condition.OK, []) if closed else (Condition.ATTENTION, [Risk.QUIET])
    assert (found.condition, [each.risk for each in found.reasons]) == expected
    assert found.words.startswith("no new recording for 2 h") != closed


@pytest.mark.parametrize(
    ("last_success", "watched", "expected"),
    [
        pytest.param(24 * HOUR, HOUR, "stale", id="the last success counts, not the watch"),
        pytest.param(24 * HOUR - MINUTE, 99 * DAY, "ok", id="just in time"),
        pytest.param(None, 24 * HOUR, "stale", id="never a success since the watch began"),
        pytest.param(None, 23 * HOUR, "ok", id="watched for less"),
        pytest.param(None, None, "ok", id="nobody knows since when"),
    ],
)
def test_stale_without_a_whole_scan(last_success: timedelta | None, watched: timedelta | None, expected: str) -> None:
    """A feed is stale stale_after since the last complete scan, or since the daemon's start."""
    health = judged(
        watched_since=None if watched is None else NOW - watched,
        last_success_at=None if last_success is None else NOW - last_success,
    )
    assert health.condition == expected


@pytest.mark.parametrize(
    ("waiting", "archived", "watched", "expected"),
    [
        pytest.param(24 * HOUR, 24 * HOUR, HOUR, "stale", id="recordings wait and none is archived"),
        pytest.param(None, 24 * HOUR, DAY, "ok", id="nothing waits"),
        pytest.param(23 * HOUR, 9 * DAY, 9 * DAY, "ok", id="what waits came today"),
        pytest.param(9 * DAY, HOUR, 9 * DAY, "ok", id="others are archived meanwhile"),
        pytest.param(9 * DAY, None, 24 * HOUR, "stale", id="never one since the watch began"),
        pytest.param(9 * DAY, None, 23 * HOUR, "ok", id="watched for less"),
        pytest.param(24 * HOUR, None, None, "stale", id="counted from the waiting itself"),
    ],
)
def test_stale_without_an_archived_recording(
    waiting: timedelta | None, archived: timedelta | None, watched: timedelta | None, expected: str
) -> None:
    """A feed is also stale if scans succeed but ready recordings are not archived."""
    waiting_since, last_archived_at, watched_since = (
        None if age is None else NOW - age for age in (waiting, archived, watched)
    )
    health = judged(watched_since=watched_since, waiting_since=waiting_since, last_archived_at=last_archived_at)
    assert health.condition == expected


def test_stale_says_which_since_when_and_why() -> None:
    """The message has both reasons of staleness, a running scan, and the last error."""
    health = judged(
        last_success_at=NOW - 26 * HOUR,
        scan_started_at=NOW - 3 * HOUR,
        waiting_since=NOW - 3 * DAY,
        last_archived_at=NOW - 2 * DAY,
        error="api.twilio.com refuses the credentials (check the source's credentials)",
        error_at=NOW - HOUR,
    )
    assert health.words == (
        "no complete scan for 1 d 2 h: the last one ended 2026-11-01 10:00 UTC; one has been running for 3 h; "
        "nothing was archived for 2 d: the last one was 2026-10-31 12:00 UTC, although recordings have been waiting "
        "since "
        "2026-10-30 12:00 UTC; `recvault failures` says why; "
        "the last scan failed: api.twilio.com refuses the credentials (check the source's credentials)"
    )


def test_stale_that_never_was_well() -> None:
    """Without any success the message says since when."""
    health = judged(
        watched_since=NOW - 25 * HOUR, last_success_at=None, waiting_since=NOW - 25 * HOUR, last_archived_at=None
    )
    assert health.words == (
        "no complete scan for 1 d 1 h: none since 2026-11-01 11:00 UTC; nothing was archived for 1 d 1 h: "
        "none since 2026-11-01 11:00 UTC, although recordings have been waiting since 2026-11-01 11:00 UTC; "
        "`recvault failures` says why"
    )


@pytest.mark.parametrize(
    ("values", "words"),
    [
        pytest.param(
            {"error_at": NOW - MINUTE, "last_success_at": NOW - HOUR},
            "the last scan failed: no answer (wait); "
            "tried at 2026-11-02 11:59 UTC, last complete scan: 2026-11-02 11:00 UTC",
            id="after a success",
        ),
        pytest.param(
            {"last_success_at": None},
            "the last scan failed: no answer (wait); last complete scan: never",
            id="never a success",
        ),
        pytest.param(
            {"error_at": NOW, "scan_started_at": NOW - HOUR, "scan_seconds": 3600.0},
            "the last scan failed: no answer (wait); "
            "tried at 2026-11-02 12:00 UTC, last complete scan: 2026-11-02 11:59 UTC",
            id="worse than slow",
        ),
    ],
)
def test_failing(values: dict[str, Any], words: str) -> None:
    """A failed scan's message has its error, a hint, and the last complete scan."""
    assert judged(error="no answer (wait)", **values) == Health(Condition.FAILING, words)


ADVICE = "set a longer poll_every, raise requests_per_second, or ask the provider for a higher limit"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        pytest.param(
            {"scan_started_at": NOW - 9 * MINUTE},
            f"a scan has been running for 9 min, longer than poll_every, 5 min: {ADVICE}",
            id="running",
        ),
        pytest.param(
            {"scan_seconds": 425.0},
            f"the last scan took 7 min 5 s, longer than poll_every, 5 min: {ADVICE}",
            id="the last one",
        ),
        pytest.param(
            {"scan_started_at": NOW - 2 * HOUR, "last_success_at": None, "watermark": None, "standing": StateCounts()},
            "a scan has been running for 2 h, longer than poll_every, 5 min: the first scan lists all history, later "
            "ones only new recordings",
            id="the first",
        ),
    ],
)
def test_slow(values: dict[str, Any], words: str) -> None:
    """A scan longer than the poll interval is slow, with both lengths and a hint."""
    assert judged(**values) == Health(Condition.SLOW, words)


@pytest.mark.parametrize("values", [{"scan_seconds": 300.0}, {"scan_started_at": NOW - 5 * MINUTE}], ids=str)
def test_as_long_as_the_interval_is_not_slow(values: dict[str, Any]) -> None:
    """A scan as long as the interval is ok."""
    assert judged(**values) == Health(Condition.OK)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param({"last_success_at": None}, Health(Condition.NEW, "not scanned yet"), id="never scanned"),
        pytest.param({}, Health(Condition.NEW, "scanned, but nothing was listed yet"), id="an empty account"),
        pytest.param({"standing": StateCounts(gone=1)}, Health(Condition.OK), id="a row was listed"),
        pytest.param({"watermark": NOW}, Health(Condition.OK), id="a scan met rows before start_from"),
        pytest.param({"error": "x", "last_success_at": None}, None, id="failing is worse"),
    ],
)
def test_new(values: dict[str, Any], expected: Health | None) -> None:
    """A feed is new until its list has shown anything."""
    health = judged(**({"watermark": None, "standing": StateCounts(), "scan_seconds": None} | values))
    assert health == (expected or Health(Condition.FAILING, "the last scan failed: x; last complete scan: never"))


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(None, "-"), (0.4, "0 s"), (-5, "0 s"), (185, "3 min 5 s"), (93600, "1 d 2 h"), (86400 + 300, "1 d 5 min")],
)
def test_lengths_of_time(seconds: float | None, expected: str) -> None:
    """Durations have at most two units."""
    assert span(seconds) == expected


def test_moments_are_utc() -> None:
    """Times of other zones are shown in UTC."""
    assert when(datetime.fromisoformat("2026-11-02T01:30:00+02:00")) == "2026-11-01 23:30 UTC"


def test_a_closed_account_is_not_stale() -> None:
    """A closed account is not stale for lack of scans, with a message; its waiting recordings are an alarm."""
    closed = {"closed_at": NOW - timedelta(days=9), "last_success_at": NOW - timedelta(days=9)}
    assert judged(**closed).condition is Condition.OK
    assert "account not active since" in judged(**closed).words
    waiting = {"waiting_since": NOW - timedelta(days=9), "last_archived_at": NOW - timedelta(days=9)}
    assert judged(**closed, **waiting).condition is Condition.STALE


def test_what_fails_is_told_before_it_is_dead() -> None:
    """Failing recordings are no alarm, but are named with the command that lists them."""
    words = "2 recordings failing (will be tried again): `recvault failures --source main`"
    assert judged(standing=StateCounts(pending=3, failing=2)) == Health(Condition.OK, words)


@pytest.mark.parametrize(("minutes", "condition"), [(4, Condition.OK), (5, Condition.SLOW)])
def test_a_transfer_that_does_not_end_is_named(minutes: int, condition: Condition) -> None:
    """A transfer of five minutes or more is named with its recording."""
    health = judged(transfer_since=NOW - minutes * MINUTE, transfer_of="RE7")
    hint = "see `recvault show RE7`; transfer.min_rate sets the slowest rate allowed"
    told = f"a transfer has been running for 5 min: {hint}"
    assert health == Health(condition, told if condition is Condition.SLOW else "")


@pytest.mark.parametrize(
    ("standing", "words"),
    [
        (StateCounts(dead=800), "800 recordings dead (given up): `recvault failures --source main`"),
        (StateCounts(dead=1, archived=5), "1 recording dead (given up): `recvault failures --source main`"),
        (StateCounts(quarantined=2), "2 rows in quarantine: `recvault failures --source main`"),
        (
            StateCounts(dead=1, quarantined=1),
            "1 recording dead (given up), 1 row in quarantine: `recvault failures --source main`",
        ),
    ],
)
def test_what_is_lost_unless_somebody_acts(standing: StateCounts, words: str) -> None:
    """Dead recordings and unreadable rows need attention, however healthy the list."""
    assert judged(standing=standing) == Health(Condition.ATTENTION, words)
