"""What the providers still store and what it costs, against the simulator's truth."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from cli.commands import run
from operations.prune.lab import NOW, OLD, archived, listed, prune
from recvault.operations.cost import cost
from recvault.simulator import SimAccount
from rig import Rig

DURATIONS = (0.2, 59.6, 61.0)  # 1, 1 and 2 minutes


def estimate(rig: Rig, name: str | None = None) -> dict[str, Any]:
    with rig.runtime(lambda: NOW) as runtime:
        return cost(runtime, name).document()


def filled(rig: Rig, provider: str = "twilio", **options: Any) -> SimAccount:
    """Archive three recordings of known lengths; a fourth is listed, and its media are not there yet."""
    account = archived(rig, 0, provider, **options)
    rig.simulator.set_now(OLD)
    for number, seconds in enumerate(DURATIONS):
        at = OLD - timedelta(days=40 * number + 1)
        rig.simulator.add(account, "voice", created_at=at, duration_seconds=seconds, media_ready_at=OLD)
    rig.simulator.add(
        account,
        "voice",
        created_at=OLD - timedelta(hours=1),
        duration_seconds=150.0,
        media_ready_at=NOW + timedelta(days=9),
    )
    rig.sync_at(OLD)
    listed(rig)
    return account


def truth(rig: Rig, account: SimAccount) -> int:
    """Return the minutes that the provider stores, each recording rounded up."""
    left = [each for each in rig.simulator.recordings(account) if not each.deleted(rig.simulator.now)]
    return sum(max(1, -(-round(each.duration_seconds) // 60)) for each in left)


def total(document: dict[str, Any], name: str) -> int:
    return sum(int(each[name]) for each in document["months"])


def test_it_equals_the_truth_before_and_after_a_prune(rig: Rig) -> None:
    """Minutes, recordings and months are the simulator's; after a prune what it deleted is gone, the bucket's stay."""
    account = filled(rig)
    before = estimate(rig)
    assert total(before, "minutes") == truth(rig, account) == 7
    assert (total(before, "recordings"), total(before, "archived"), total(before, "prunable")) == (4, 3, 3)
    assert [each["month"] for each in before["months"]] == ["2024-02", "2024-04", "2024-05"]
    [bill] = before["providers"]
    assert (bill["prunable_minutes"], bill["sources"], bill["account_id"]) == (4, ["acme"], account.account_id)
    media = sum(medium["bytes"] for each in rig.sidecars().values() for medium in each["media"])
    assert before["bucket"]["bytes"] == media
    assert prune(rig)["deleted"] == 3
    after = estimate(rig)
    assert total(after, "minutes") == truth(rig, account) == 3
    assert (total(after, "recordings"), total(after, "archived"), total(after, "prunable")) == (1, 0, 0)
    assert after["bucket"]["bytes"] == media


def test_what_is_free_and_what_is_not(rig: Rig) -> None:
    """Minutes beyond those that are free cost their price; a prune saves what falls away of these."""
    rig.cost = {"per_minute": {"twilio": 0.5}, "free_minutes": {"twilio": 5}, "bucket_per_gb": 1024}
    filled(rig)
    document = estimate(rig)
    [bill] = document["providers"]
    assert (bill["monthly_cost"], bill["monthly_saving"]) == (1.0, 1.0)  # 7 - 5 minutes; afterwards 3, all free
    assert bill["price_source"] == "configuration"
    assert document["bucket"]["monthly_cost"] == round(document["bucket"]["bytes"] / 2**20, 4)


def test_known_prices_name_their_source(rig: Rig) -> None:
    """Twilio's price has a source and a date; where none is known, also of a bucket that is not AWS's, it says so."""
    filled(rig)
    document = estimate(rig)
    [bill] = document["providers"]
    assert (bill["per_minute"], bill["free_minutes"]) == (0.0005, 10_000)
    assert "2026-12-01" in bill["price_source"]
    assert bill["monthly_cost"] == 0.0
    assert (document["bucket"]["monthly_cost"], document["bucket"]["price_source"]) == (None, None)


@pytest.mark.parametrize("provider", ["telnyx", "signalwire", "twilio-video"])
def test_an_unknown_price_is_not_nothing(rig: Rig, provider: str) -> None:
    """Of a provider without a known price the cost is not known, never 0."""
    archived(rig, 2, provider)
    [bill] = estimate(rig)["providers"]
    assert (bill["recordings"], bill["per_minute"]) == (2, None)
    assert (bill["monthly_cost"], bill["monthly_saving"]) == (None, None)


def test_sources_of_one_login_share_what_is_free(rig: Rig) -> None:
    """Two sources of one account are one bill; another account has its own."""
    account = filled(rig)
    rig.add_source("also", "twilio", account)
    rig.add_source("other", "twilio", other := rig.simulator.add_account("twilio"))
    rig.simulator.add(other, "voice", created_at=OLD - timedelta(days=1), duration_seconds=0.2)
    rig.sync_at(OLD + timedelta(days=3))
    bills = {each["account_id"]: each["recordings"] for each in estimate(rig)["providers"]}
    assert bills == {account.account_id: 4, other.account_id: 1}
    assert [each["source"] for each in estimate(rig, "other")["months"]] == ["other"]


def test_the_command(rig: Rig) -> None:
    """A table for people, one document for scripts; an unknown source is wrong usage."""
    filled(rig)
    shown = run(rig, "cost")
    assert shown.code == 0
    assert shown.stdout.splitlines()[0].split("\t")[:3] == ["source", "account", "month"]
    assert "7 minutes" in shown.stdout and "not known a month" in shown.stdout
    document = run(rig, "cost", "--json").document
    assert json.dumps(document) and document["schema"] == "recvault/cost/v1"
    assert run(rig, "cost", "--source", "nobody").code == 2
