"""--since and --until outside the calendar are limited or refused with a message, by every verb."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cli.commands import run_each
from recvault.config.units import parse_time
from recvault.providers.calendar import EARLIEST, LATEST, clamped, moment_before
from recvault.simulator import Simulator
from rig import Rig
from strict_s3 import Bucket

VERBS = ("reconcile", "backfill --source voice", "backfill --source voice --dry-run", "verify")
WINDOWS = {
    "--since 0001-01-01": (0, "1970-01-01"),
    "--since 0001-01-01T00:00:00+14:00": (0, "1970-01-01"),
    "--since 1969-12-31T23:59:59Z": (0, "1970-01-01"),
    "--since 1970-01-01": (0, ""),
    "--since 2001-01-01 --until 9999-12-31T23:59:59.5": (0, "2200-01-01"),
    "--since 2001-01-01 --until 9999-12-31T23:59:59-14:00": (0, "2200-01-01"),
    "--since 0001-01-01 --until 9999-12-31T23:59:59.999999Z": (0, "2200-01-01"),
    "--since 9999-12-31T23:59:59.5": (2, "in the future"),
    "--since 2026-01-02 --until 2026-01-01": (2, "before --until"),
    "--until 0001-01-01": (2, "no provider has recordings"),
    "--since 10000-01-01": (2, "is not a date"),
    "--since -0001-01-01": (2, "is not a date"),
    "--since 2026-02-30": (2, "is not a date"),
}


@pytest.fixture
def rig(tmp_path: Path, simulator: Simulator, strict_bucket: Bucket) -> Rig:
    """A recvault that has archived one recording."""
    rig = Rig(root=tmp_path, simulator=simulator, s3_url=strict_bucket.url, bucket=strict_bucket.name)
    account = simulator.add_account("twilio")
    simulator.add(account, "voice", created_at=simulator.now - timedelta(days=2))
    rig.add_source("voice", "twilio", account)
    return rig


@pytest.mark.parametrize("verb", VERBS)
def test_extreme_dates_are_clamped_or_refused_in_words(rig: Rig, verb: str) -> None:
    """Extreme dates give each verb's exit code and message, never a traceback."""
    given = [f"{verb} {window}".split() for window in WINDOWS]
    for (window, (code, said)), ran in zip(WINDOWS.items(), run_each(rig, ["sync"], *given)[1:], strict=True):
        assert (ran.code, said in ran.stderr, "Traceback" in ran.stderr) == (code, True, False), (window, ran)


def test_an_end_before_start_from_is_refused(rig: Rig) -> None:
    """An --until before start_from is refused, because nothing would be listed."""
    rig.sources[0]["start_from"] = "2026-06-01"
    [ran] = run_each(rig, ["backfill", "--source", "voice", "--until", "2026-05-01"])
    assert (ran.code, "before start_from of voice, 2026-06-01" in ran.stderr) == (2, True), ran


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("0001-01-01T00:00:00+05:00", EARLIEST),
        ("9999-12-31T23:59:59-05:00", LATEST),
        ("1970-01-01T00:00:00+01:00", EARLIEST),
        ("2026-10-01T02:00:00+02:00", datetime(2026, 10, 1, tzinfo=UTC)),
        ("2026-10-01", datetime(2026, 10, 1, tzinfo=UTC)),
    ],
)
def test_a_moment_beyond_the_calendar_becomes_its_end(given: str, taken: datetime) -> None:
    """A time beyond the calendar becomes its end, in commands and configuration, in any time zone."""
    assert (clamped(datetime.fromisoformat(given)), parse_time(given)) == (taken, taken)


def test_a_span_longer_than_the_calendar_ends_where_it_begins() -> None:
    """A `lookback` or `reconcile_window` longer than the calendar reaches to its beginning."""
    now = datetime(2026, 10, 1, tzinfo=UTC)
    assert (moment_before(now, timedelta.max), moment_before(now, timedelta(days=1))) == (
        EARLIEST,
        now - timedelta(days=1),
    )
