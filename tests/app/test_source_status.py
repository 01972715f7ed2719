"""What the ledger knows about a source, judged by that source's settings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from recvault.daemon.healthz import healthz
from recvault.monitoring.metrics import Metrics
from recvault.monitoring.risks import Risk
from recvault.simulator import SimAccount, Simulator
from rig import Rig

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MONDAY = datetime(2026, 9, 28, tzinfo=UTC)


def workdays(simulator: Simulator, account: SimAccount, until: datetime) -> None:
    """Add a recording at 10, 11, 12 and 13 o'clock on each workday of the four weeks before that Monday, and after."""
    first = MONDAY - 28 * DAY
    for at in (first + day * DAY + hour * HOUR for day in range(40) for hour in (10, 11, 12, 13)):
        if at.weekday() < 5 and at < until:
            simulator.add(account, "voice", created_at=at + timedelta(minutes=9), duration=20.0)


def test_a_source_that_falls_silent_on_a_tuesday_is_told_that_day(rig: Rig, simulator: Simulator) -> None:
    """Told in the verdict, /healthz and metrics after quiet_after of usual hours; not at night, nor on a Sunday."""
    tuesday = MONDAY + DAY
    for name, last, options in (
        ("silent", tuesday + 11 * HOUR, {"quiet_after": "2h"}),
        ("well", tuesday + 30 * DAY, {"quiet_after": "2h"}),
        ("unwatched", tuesday + 11 * HOUR, {}),
    ):
        account = simulator.add_account("twilio")
        workdays(simulator, account, last)
        rig.add_source(name, "twilio", account, call_facts=False, **options)
    told = []
    for moment in (
        MONDAY - 5 * HOUR,  # Sunday evening
        MONDAY + 9 * HOUR,
        MONDAY + 14 * HOUR,
        tuesday + 4 * HOUR,
        tuesday + 13 * HOUR,
        tuesday + 13.5 * HOUR,
        tuesday + 20 * HOUR,
        MONDAY + 6 * DAY + 20 * HOUR,  # the next Sunday: still, and of the silent source alone
    ):
        assert rig.sync_at(moment).exit_code == 0
        with rig.runtime(lambda moment=moment: moment) as runtime:
            found = runtime.verdict(watched_since={})
            metrics = Metrics()
            judged = runtime.judged({})
            metrics.observe_feeds(lambda judged=judged: judged, lambda moment=moment: moment)
            quiet = [each.source for each in found.reasons if each.risk is Risk.QUIET]
            assert (b"are calls still recorded?" in healthz(judged, found).body) == bool(quiet)
            series = [each for each in metrics.text().decode().splitlines() if each.startswith("recvault_source_quiet")]
            assert [each.split('source="')[1].split('"')[0] for each in series if each.endswith(" 1.0")] == quiet
        told.append(quiet)
    assert told == [[], [], [], [], [], ["silent"], ["silent"], ["silent"]]
