"""Backfills and passes over lists that refuse old bounds, fail if wide, or break midway."""

from __future__ import annotations

import functools
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cli.commands import run
from discovery.rules import fails_beyond, fails_on_page, lay, refuses_before
from recvault.app import wiring
from recvault.dispatch.backfill import Asked
from recvault.http import Timing
from recvault.models import Window
from recvault.monitoring.report import Report
from recvault.simulator import SimAccount, Simulator
from rig import Rig
from strict_s3 import Bucket

DAY = timedelta(days=1)


@pytest.fixture
def rig(tmp_path: Path, simulator: Simulator, strict_bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """A recvault over the strict S3 server; failed requests are retried at once."""
    monkeypatch.setattr(wiring, "Timing", functools.partial(Timing, tries=2, backoff_base=0.001))
    return Rig(root=tmp_path, simulator=simulator, s3_url=strict_bucket.url, bucket=strict_bucket.name)


@pytest.fixture
def account(rig: Rig) -> SimAccount:
    """An account with a recording every 60 days, for 600 days."""
    account = rig.simulator.add_account("twilio")
    for number in range(10):
        rig.simulator.add(account, "voice", created_at=rig.simulator.now - (number * 60 + 2) * DAY)
    rig.add_source("voice", "twilio", account)
    return account


def backfill(rig: Rig, since: datetime | None = None, **asked: Any) -> Report:
    with rig.runtime(lambda: rig.simulator.now) as runtime:
        return runtime.backfill("voice", Asked(window=Window(since), **asked))


def stored(rig: Rig) -> set[str]:
    return {sidecar["recording_id"] for sidecar in rig.sidecars().values()}


def within(rig: Rig, account: SimAccount, days: int) -> set[str]:
    found = rig.simulator.recordings(account)
    return {each.recording_id for each in found if each.created_at >= rig.simulator.now - days * DAY}


@pytest.mark.parametrize("oldest_first", [False, True], ids=["newest first", "oldest first"])
@pytest.mark.parametrize("since", [None, 3000], ids=["all history", "a bound"])
def test_a_backfill_takes_what_is_offered_and_tells_the_rest(
    rig: Rig, account: SimAccount, monkeypatch: pytest.MonkeyPatch, oldest_first: bool, since: int | None
) -> None:
    """If bounds older than 400 days are refused, younger recordings are archived, and the report has the bound."""
    lay(monkeypatch, refuses_before(rig.simulator.now - 400 * DAY))
    start = rig.simulator.now - since * DAY if since else None

    report = backfill(rig, start, oldest_first=oldest_first)

    [row] = report.accounts.values()
    assert (report.exit_code, row.error) == (0, None)
    assert stored(rig) == within(rig, account, 400)
    assert row.offered_since is not None
    assert abs(row.offered_since - (rig.simulator.now - 400 * DAY)) < DAY
    asked = rig.simulator.count(lambda each: each.path.endswith("Recordings.json"))
    assert asked < 250


@pytest.mark.parametrize(("oldest_first", "days"), [(False, None), (True, 650)], ids=["newest first", "oldest first"])
def test_a_backfill_of_a_list_that_fails_when_it_is_wide_is_whole(
    rig: Rig, account: SimAccount, monkeypatch: pytest.MonkeyPatch, oldest_first: bool, days: int | None
) -> None:
    """If windows over 120 days or without lower bound fail, slices are halved, and nothing is left out."""
    lay(monkeypatch, fails_beyond(120 * DAY, rig.simulator.now + DAY))
    report = backfill(rig, days and rig.simulator.now - days * DAY, oldest_first=oldest_first)
    [row] = report.accounts.values()
    assert (report.exit_code, row.error, row.offered_since) == (0, None, None)
    assert stored(rig) == within(rig, account, 9999)
    assert (row.watermark is None) is bool(days)  # which only all history moves


def test_a_first_sync_of_a_list_that_fails_when_it_is_wide_is_whole(
    rig: Rig, account: SimAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If wide lists fail, a first sync still archives all in one pass, and the next lists only the lookback."""
    lay(monkeypatch, fails_beyond(31 * DAY, rig.simulator.now + DAY))
    report = rig.sync_at(rig.simulator.now)
    assert (report.exit_code, stored(rig)) == (0, within(rig, account, 9999))
    rig.simulator.clear_requests()
    rig.sync_at(rig.simulator.now)
    assert rig.simulator.count(lambda each: each.path.endswith("Recordings.json")) == 1


def test_a_refused_page_is_temporary_for_a_backfill_too(
    rig: Rig, account: SimAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If page 2 of every list is refused, a backfill exits 75, not 78."""
    monkeypatch.setattr("recvault.providers.twilio.Twilio.page_size", 1)
    for number in range(3):
        rig.simulator.add(account, "voice", created_at=rig.simulator.now - 5 * DAY - timedelta(seconds=number))
    lay(monkeypatch, fails_on_page(1))
    report = backfill(rig)
    [row] = report.accounts.values()
    assert (report.exit_code, "page 2 of a list was refused" in str(row.error)) == (75, True)
    assert "base_url" not in str(row.error)


def test_status_names_what_is_not_offered(rig: Rig, account: SimAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    """`status` reports the refused bound while it is refused, as text and in the document."""
    lay(monkeypatch, refuses_before(rig.simulator.now - 400 * DAY))
    since = (rig.simulator.now - 900 * DAY).date()
    ran = run(rig, "backfill", "--source", "voice", "--since", str(since))
    assert (ran.code, "lists nothing before" in ran.stderr) == (0, True), ran
    shown = run(rig, "status")
    assert "lists nothing before" in shown.stderr + shown.stdout
    [source] = run(rig, "status", "--json").document["sources"]
    assert source["offered_since"].startswith(str((rig.simulator.now - 400 * DAY).year))


def test_video_behind_an_edge_reads_every_page(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Next links to Video's public host are requested from base_url, and no request goes elsewhere."""
    monkeypatch.setattr("recvault.providers.twilio_video.TwilioVideo.page_size", 2)
    account = rig.simulator.add_account("twilio")
    for number in range(5):
        rig.simulator.add(account, "video", created_at=rig.simulator.now - (number + 1) * DAY)
    rig.add_source("video", "twilio-video", account)

    def edit(page: Any, request: Any) -> Any:
        link = page["meta"]["next_page_url"]
        public = link and link.replace(rig.simulator.base_url, "https://video.twilio.com")
        return {**page, "meta": {**page["meta"], "next_page_url": public}}

    lay(monkeypatch, edit=edit)
    report = rig.sync_at(rig.simulator.now)
    assert (report.exit_code, len(stored(rig))) == (0, 5)
