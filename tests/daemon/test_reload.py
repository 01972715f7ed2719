"""SIGHUP reloads the configuration at work; an invalid one is refused, and nothing is lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from cli.commands import until
from daemon.conftest import Start
from daemon.started import Started, archived, asked, assert_truth, free_port, ids, lists
from recvault.simulator import SimAccount, Simulator
from rig import Rig
from strict_s3 import Bucket


@pytest.fixture
def account(rig: Rig, simulator: Simulator) -> SimAccount:
    """Make one source's account, with a few recordings."""
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=5, conference_share=0)
    rig.add_source("voice", "twilio", account, poll_every="0.4s")
    return account


def reloaded(daemon: Started, times: int = 1) -> list[str]:
    """Reload, wait for it, and return the reported changes."""
    daemon.reload()
    changes: list[str] = daemon.tells("config.reloaded", times)["changes"]
    return changes


def success(daemon: Started) -> tuple[float, float]:
    names = ("recvault_config_last_reload_successful", "recvault_config_last_reload_success_timestamp_seconds")
    flag, moment = (daemon.metric(name) for name in names)
    return flag, moment


def still_polls(simulator: Simulator, account: SimAccount) -> None:
    """Wait for two more polls."""
    seen = lists(simulator, account.account_id)
    until(lambda: lists(simulator, account.account_id) >= seen + 2)


def test_what_changed_is_told_in_words(
    rig: Rig, simulator: Simulator, account: SimAccount, strict_bucket: Bucket, start: Start
) -> None:
    """An interval, a new or removed source, or nothing is reported by path; a removed source's recordings stay."""
    rig.sources[0]["poll_every"] = "1s"
    daemon = start().ready()
    until(lambda: archived(strict_bucket) == ids(simulator, account))
    assert reloaded(daemon, 1) == ["nothing"]

    rig.sources[0]["poll_every"] = "2s"
    other = simulator.add_account("telnyx")
    simulator.populate(other, "telnyx", count=3)
    rig.add_source("telnyx", "telnyx", other, poll_every="0.4s")
    assert reloaded(daemon, 2) == ["sources.telnyx: added", "sources.voice.poll_every: 1 s -> 2 s"]
    until(lambda: archived(strict_bucket) == ids(simulator, account, other))
    assert set(daemon.conditions()) == {"voice", "telnyx"}

    del rig.sources[0]
    assert reloaded(daemon, 3) == ["sources.voice: removed"]
    seen = lists(simulator, account.account_id)
    polls = lists(simulator, "/v2/recordings")
    until(lambda: lists(simulator, "/v2/recordings") >= polls + 4)
    assert lists(simulator, account.account_id) == seen
    assert set(daemon.conditions()) == {"telnyx"}
    ran = daemon.stopped()
    assert ran.code == 143
    assert {row["source"]: row["archived"] for row in ran.document["sources"]} == {"voice": 5, "telnyx": 3}
    assert_truth(rig, strict_bucket, (simulator, account, "wav"), (simulator, other, "wav"))


def test_a_changed_secret_is_used_and_not_told(
    rig: Rig, simulator: Simulator, account: SimAccount, strict_bucket: Bucket, start: Start
) -> None:
    """A corrected token is used after the reload; the log says that it changed, without its value."""
    token = Path(rig.sources[0]["auth_token"]["file"])
    right, wrong = token.read_text(), "e" * 32
    token.write_text(wrong)
    daemon = start().ready()
    until(lambda: daemon.conditions() == {"voice": "failing"})
    token.write_text(right)
    assert reloaded(daemon) == ["sources.voice.auth_token: changed"]
    until(lambda: archived(strict_bucket) == ids(simulator, account))
    until(lambda: daemon.conditions() == {"voice": "ok"})
    page = daemon.get("/metrics")[1] + daemon.get("/healthz")[1]
    ran = daemon.stopped()
    assert [secret for secret in (right, wrong) if secret in ran.stdout + ran.stderr + page] == []


def test_another_address_to_listen_on(rig: Rig, account: SimAccount, start: Start) -> None:
    """A new metrics_listen is served at once, and the old port is free."""
    daemon = start().ready()
    before, after = rig.daemon["metrics_listen"], f"127.0.0.1:{free_port()}"
    rig.daemon["metrics_listen"] = after
    assert reloaded(daemon) == [f"daemon.metrics_listen: {before} -> {after}"]
    assert daemon.healthz()[0] == 200
    assert daemon.metric("recvault_archived_recordings_total", source="voice") >= 0
    rig.daemon["metrics_listen"] = before
    with pytest.raises(OSError, match="refused"):
        daemon.get("/healthz")
    assert daemon.stopped().code == 143


def test_another_ledger(
    rig: Rig, simulator: Simulator, account: SimAccount, strict_bucket: Bucket, start: Start
) -> None:
    """A new ledger is filled by listing and fetching again, no byte is written twice, and the old one is released."""
    old, new = rig.root / "ledger.db", rig.root / "other.db"
    daemon = start().ready()
    until(lambda: archived(strict_bucket) == ids(simulator, account))
    rig.ledger = {"path": str(new)}
    assert reloaded(daemon) == [f"ledger.path: {old} -> {new}"]
    until(lambda: daemon.metric("recvault_recordings", source="voice", state="archived") == 5)
    rig.daemon["metrics_listen"] = f"127.0.0.1:{free_port()}"
    second = start().ended()
    assert second.code == 75 and f"process {daemon.process.pid}" in second.stderr
    rig.ledger = {"path": str(old)}
    assert start().ready().stopped().code == 143
    daemon.process.terminate()
    ran = daemon.ended()
    assert ran.code == 143
    (row,) = ran.document["sources"]
    assert (row["archived"], row["already_archived"]) == (5, 5)
    assert set(asked(simulator).values()) == {2}
    assert_truth(rig, strict_bucket, (simulator, account, "wav"))


def wrong_key(rig: Rig) -> None:
    rig.daemon |= {"nosuch": 1, "other": 2}


def no_ledger(rig: Rig) -> None:
    rig.ledger = {"path": str(rig.root / "none" / "ledger.db")}


def no_bucket(rig: Rig) -> None:
    rig.bucket = "no-such-bucket"


def no_secret(rig: Rig) -> None:
    token = Path(rig.sources[0]["auth_token"]["file"])
    token.rename(token.with_suffix(".away"))


def no_address(rig: Rig) -> None:
    rig.daemon["metrics_listen"] = f"{rig.s3_url.removeprefix('http://')}"


WRONG = {
    "key": (wrong_key, "nosuch"),
    "ledger": (no_ledger, "none"),
    "bucket": (no_bucket, "no-such-bucket"),
    "secret": (no_secret, "voice can no longer be used"),
    "address": (no_address, "metrics_listen"),
}


def test_a_wrong_configuration_is_refused(
    rig: Rig, simulator: Simulator, account: SimAccount, strict_bucket: Bucket, start: Start
) -> None:
    """An invalid configuration is reported and counted, and the old one stays in use."""
    rig.add_source("spare", "telnyx", simulator.add_account("telnyx"), poll_every="1h")
    daemon = start().ready()
    until(lambda: archived(strict_bucket) == ids(simulator, account))
    table, bucket, token = dict(rig.daemon), rig.bucket, Path(rig.sources[0]["auth_token"]["file"])
    for number, (spoil, word) in enumerate(WRONG.values(), start=1):
        spoil(rig)
        daemon.reload()
        said = daemon.tells("config.refused", number)
        assert word in said["error"], said
        assert "\n" not in said["error"], "a log shows a line break as two characters"
        rig.daemon, rig.ledger, rig.bucket = dict(table), {}, bucket
        if not token.exists():
            token.with_suffix(".away").rename(token)
        assert success(daemon)[0] == 0
        until(lambda: "the last reload was refused" in str(daemon.healthz()[1]["warnings"]))
        assert daemon.healthz()[0] == 200
        # A poll may have met the missing secret, too: the next one finds it again.
        until(lambda: [each["risk"] for each in daemon.healthz()[1]["reasons"]] == ["reload"])
        assert (daemon.metric("recvault_safe"), daemon.metric("recvault_risk", reason="reload")) == (0, 1)
    still_polls(simulator, account)
    now = simulator.now
    simulator.add(account, "voice", created_at=now - timedelta(minutes=5), visible_at=now)
    until(lambda: len(archived(strict_bucket)) == 6)

    assert reloaded(daemon) == ["nothing"]
    assert success(daemon)[0] == 1
    assert daemon.healthz()[1]["warnings"] == []
    assert (daemon.metric("recvault_safe"), daemon.metric("recvault_risk")) == (1, 0)
    ran = daemon.stopped()
    assert (ran.code, {row["source"]: row["archived"] for row in ran.document["sources"]}) == (
        143,
        {"voice": 6, "spare": 0},
    )
    assert_truth(rig, strict_bucket, (simulator, account, "wav"))


def test_in_the_midst_of_transfers(
    rig: Rig, simulator: Simulator, account: SimAccount, strict_bucket: Bucket, start: Start
) -> None:
    """Reloads during transfers do not fetch, write or count any recording twice."""
    simulator.populate(account, "voice", count=60, conference_share=0)
    rig.transfer = {"workers": 4, "stall_timeout": "30s"}
    simulator.switches = replace(simulator.switches, latency_seconds=0.15)
    daemon = start().ready()
    for number, least in enumerate((5, 20, 40), start=1):
        until(lambda least=least: len(asked(simulator)) >= least)  # type: ignore[misc]
        reloaded(daemon, number)
        assert len(archived(strict_bucket)) < 65
    until(lambda: archived(strict_bucket) == ids(simulator, account))
    ran = daemon.stopped()
    assert (ran.code, ran.document["failures"]) == (143, [])
    assert [row["archived"] for row in ran.document["sources"]] == [65]
    assert daemon.events("config.refused") == daemon.events("job.failed") == []
    assert set(asked(simulator).values()) == {1}
    assert_truth(rig, strict_bucket, (simulator, account, "wav"))


def test_a_stop_right_after_a_reload(
    rig: Rig, simulator: Simulator, account: SimAccount, strict_bucket: Bucket, start: Start
) -> None:
    """Transfers of the old configuration may finish, and are in the report, even if their source is removed."""
    simulator.populate(account, "voice", count=20, conference_share=0)
    rig.add_source("spare", "telnyx", simulator.add_account("telnyx"), poll_every="1h")
    rig.transfer = {"workers": 4, "stall_timeout": "30s"}
    simulator.switches = replace(simulator.switches, latency_seconds=0.3)
    daemon = start()
    until(lambda: len(asked(simulator)) >= 4)
    simulator.switches = replace(simulator.switches, latency_seconds=2.0)
    daemon.ready()
    seen = len(archived(strict_bucket))
    del rig.sources[0]
    reloaded(daemon)
    ran = daemon.stopped()
    done = len(archived(strict_bucket))
    assert ran.code == 143
    assert seen < done < 25
    assert {row["source"]: row["archived"] for row in ran.document["sources"]} == {"voice": done, "spare": 0}
