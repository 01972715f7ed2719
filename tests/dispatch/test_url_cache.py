"""Listed media URLs are lent to their jobs: once, while fresh, and only from memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recvault.dispatch import url_cache
from recvault.dispatch.url_cache import Minted
from recvault.models import Job, Phase, Recording
from recvault.providers.telnyx import Telnyx
from recvault.simulator import Simulator
from rig import Rig
from strict_s3 import Bucket

NOW = datetime(2026, 10, 1, 9, tzinfo=UTC)
TELNYX = Telnyx("https://api.telnyx.com", "a")
URLS = {"wav": "https://media.example/1.wav?X-Amz-Signature=5"}


def a_recording(name: str = "1", urls: dict[str, str] | None = None) -> Recording:
    return Recording(
        provider="telnyx",
        api="v2",
        account_id="a",
        recording_id=name,
        created_at=NOW,
        status="completed",
        phase=Phase.COMPLETE,
        formats=("wav",),
        media_urls=URLS if urls is None else urls,
    )


def a_job(name: str = "1") -> Job:
    return Job(source="telnyx", recording=a_recording(name, {}), attempt=1, maybe_archived=False)


def test_a_job_gets_what_was_minted_for_it_once() -> None:
    """A URL is lent once: a second try requests a new one, since the URL may have been the cause."""
    kept = Minted(lambda: NOW)
    kept.note(TELNYX, [a_recording()])
    assert kept.lend(a_job("2")).recording.media_urls == {}
    assert kept.lend(a_job()).recording.media_urls == URLS
    assert kept.lend(a_job()).recording.media_urls == {}


@pytest.mark.parametrize(("later", "lent"), [(299, URLS), (300, {}), (-1, {})])
def test_what_may_have_expired_is_not_lent(later: int, lent: dict[str, str]) -> None:
    """A URL is lent for half of its lifetime, and not if the clock went back."""
    moments = iter([NOW, NOW + timedelta(seconds=later)])
    kept = Minted(lambda: next(moments))
    kept.note(TELNYX, [a_recording()])
    assert kept.lend(a_job()).recording.media_urls == lent


@pytest.mark.parametrize(("later", "lent"), [(29, URLS), (30, {})])
def test_how_long_an_address_is_good_for_is_the_providers_fact(later: int, lent: dict[str, str]) -> None:
    """A URL that is valid for a minute is lent for half of it."""

    class Brief(Telnyx):
        media_url_lifetime = timedelta(minutes=1)

    moments = iter([NOW, NOW + timedelta(seconds=later)])
    kept = Minted(lambda: next(moments))
    kept.note(Brief("https://api.telnyx.com", "a"), [a_recording()])
    assert kept.lend(a_job()).recording.media_urls == lent


def test_it_does_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its size is limited: old entries are removed, and those listed first stay."""
    monkeypatch.setattr(url_cache, "_MOST", 2)
    now = [NOW]
    kept = Minted(lambda: now[0])
    kept.note(TELNYX, [a_recording("1"), a_recording("none", {}), a_recording("2"), a_recording("3")])
    assert [kept.lend(a_job(name)).recording.media_urls for name in "13"] == [URLS, {}]
    now[0] += timedelta(minutes=5)
    kept.note(TELNYX, [a_recording("4"), a_recording("5")])
    assert [kept.lend(a_job(name)).recording.media_urls for name in "245"] == [{}, URLS, URLS]


def test_what_is_fetched_right_after_its_listing_costs_no_further_question(
    tmp_path: Path, simulator: Simulator, strict_bucket: Bucket
) -> None:
    """Telnyx needs one list and one GET per recording, like providers with permanent URLs."""
    rig = Rig(root=tmp_path, simulator=simulator, s3_url=strict_bucket.url, bucket=strict_bucket.name)
    account = simulator.add_account("telnyx")
    simulator.populate(account, "telnyx", 5)
    rig.add_source("telnyx", "telnyx", account)
    report = rig.sync()
    assert (report.exit_code, [row.archived for row in report.accounts.values()]) == (0, [5])
    assert [each.path for each in simulator.requests if each.path.startswith("/v2/recordings/")] == []
    assert "Signature" not in "".join(
        each.read_text("latin-1") for each in tmp_path.glob("ledger.db*") if each.is_file()
    )
