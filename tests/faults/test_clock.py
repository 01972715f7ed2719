"""The wall clock jumps a day either way: between passes, during one, and under a daemon."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from cli.commands import until
from daemon.started import Started, archived, assert_truth, free_port, ids, lists
from recvault.simulator import SimAccount, Simulator
from rig import START, Rig
from strict_s3 import Bucket

DAY = timedelta(days=1)
_JUMPING = """
import pathlib
from datetime import timedelta
from recvault.cli import run
read = run.now
run.now = lambda: read() + timedelta(days=int(pathlib.Path("days").read_text()))
"""
JUMPS = {
    "ahead": (0, 1, 1),
    "back": (0, -1, -1),
    "ahead and right again": (0, 1, 0),
    "back and right again": (0, -1, 0),
    "to and fro": (1, -1, 1, -1),
}


@pytest.fixture
def rig(tmp_path: Path, simulator: Simulator, strict_bucket: Bucket) -> Rig:
    rig = Rig(root=tmp_path, simulator=simulator, s3_url=strict_bucket.url, bucket=strict_bucket.name)
    rig.daemon = {"metrics_listen": f"127.0.0.1:{free_port()}", "drain_timeout": "20s"}
    return rig


@pytest.fixture
def account(rig: Rig, simulator: Simulator) -> SimAccount:
    account = simulator.add_account("twilio")
    rig.add_source("voice", "twilio", account, poll_every="1h")
    return account


def grow(simulator: Simulator, account: SimAccount, moment: datetime) -> None:
    """Add three recordings; one is listed and one is ready half an hour late."""
    for minutes, late in ((20, {}), (15, {"visible_at": moment + timedelta(minutes=20)}), (10, {})):
        simulator.add(account, "voice", created_at=moment - timedelta(minutes=minutes), channels=1, **late)
    begun = moment - timedelta(minutes=5)
    simulator.add(
        account, "voice", created_at=begun, channels=1, visible_at=begun, media_ready_at=moment + timedelta(minutes=25)
    )


def wrong_by(right: datetime, days: int) -> Callable[[], datetime]:
    return lambda: right + days * DAY


def torn(right: datetime, days: int) -> Callable[[], datetime]:
    """A clock that jumps during a pass."""
    readings = itertools.count()
    return lambda: right + (days * DAY if next(readings) >= 6 else timedelta())


@pytest.mark.parametrize("clock", [wrong_by, torn], ids=["between passes", "within a pass"])
@pytest.mark.parametrize("jumps", JUMPS.values(), ids=list(JUMPS))
def test_passes_under_a_clock_that_jumps(
    rig: Rig,
    simulator: Simulator,
    account: SimAccount,
    strict_bucket: Bucket,
    jumps: tuple[int, ...],
    clock: Callable[[datetime, int], Callable[[], datetime]],
) -> None:
    """Nothing is lost, wrong or twice, whatever our clock: the watermark follows the provider's."""
    moment = START
    for days in jumps:
        moment += timedelta(hours=2)
        simulator.set_now(moment)
        grow(simulator, account, moment)
        rig.sync(clock(moment, days))
    for hours in (2, 30):  # by then retries set by a fast clock are due
        simulator.set_now(moment + timedelta(hours=hours))
        rig.sync(wrong_by(moment + timedelta(hours=hours), 0))
    assert len(ids(simulator, account)) == 4 * len(jumps)
    assert_truth(rig, strict_bucket, (simulator, account, "wav"))


@pytest.fixture
def daemon(rig: Rig, account: SimAccount) -> Iterator[Started]:
    """A daemon that polls hourly, with a wall clock off by the days in the file `days`."""
    set_days(rig, 0)
    started = Started(rig, 1, _JUMPING, ("run", "--json"), {})
    yield started
    started.killed()


def set_days(rig: Rig, days: int) -> None:
    new = rig.root / "days.new"
    new.write_text(str(days))
    new.rename(rig.root / "days")


def test_a_daemon_under_a_clock_that_jumps(
    rig: Rig, simulator: Simulator, account: SimAccount, strict_bucket: Bucket, daemon: Started
) -> None:
    """Each jump is logged, new recordings are archived at once, and nothing twice."""
    daemon.ready()
    for number, days in enumerate((1, -1, 0), start=1):
        now = simulator.now
        simulator.add(account, "voice", created_at=now - timedelta(minutes=5), visible_at=now, channels=1)
        before = lists(simulator, account.account_id)
        set_days(rig, days)
        daemon.tells("clock.jumped", number)
        until(lambda before=before: lists(simulator, account.account_id) > before)  # type: ignore[misc]
        until(lambda: archived(strict_bucket) == ids(simulator, account))
    assert [round(each["seconds"] / 86400) for each in daemon.events("clock.jumped")] == [1, -2, 1]
    assert daemon.stopped().code == 143
    assert_truth(rig, strict_bucket, (simulator, account, "wav"))
