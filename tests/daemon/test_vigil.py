"""Becoming stale and recovering are logged once each; the ping reports the state every time."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from daemon.conftest import Told
from recvault.daemon.vigil import Vigil
from recvault.http import Ping
from recvault.ledger import Feed, FeedStatus
from recvault.monitoring.health import Condition, Health
from recvault.monitoring.metrics import Metrics

OK, STALE = Health(Condition.OK), Health(Condition.STALE, "no complete scan for 30 h")
FAILING = Health(Condition.FAILING, "the last scan failed")


@dataclass
class Monitor:
    """A ping target that records pings, and may refuse them."""

    heard: list[tuple[str, str]] = field(default_factory=list)
    takes: bool = True


@pytest.fixture
def monitor(monkeypatch: pytest.MonkeyPatch) -> Monitor:
    """Replaces the network side of a ping."""
    monitor = Monitor()

    def ping(_: Ping, what: str, text: str) -> bool:
        monitor.heard.append((what, text))
        return monitor.takes

    monkeypatch.setattr(Ping, "_ping", ping)
    return monitor


def judged(**sources: Health) -> list[tuple[FeedStatus, Health]]:
    return [(FeedStatus(feed=Feed(name, "twilio", "AC1")), health) for name, health in sources.items()]


def test_stale_and_recovered_are_told_once(monitor: Monitor, told: Told) -> None:
    """However often it is checked, becoming stale and recovering are each logged once."""
    vigil, ping = Vigil(Metrics()), Ping("")
    for health in (OK, STALE, STALE, STALE, FAILING, OK, STALE):
        vigil.look(judged(main=health, other=OK), [], ping)
    stale, recovered = told("source.stale"), told("source.recovered")
    assert [(each["source"], each["account_id"], each["message"]) for each in stale] == [
        ("main", "AC1", STALE.words)
    ] * 2
    assert [each["level"] for each in stale] == ["error"] * 2
    assert [(each["source"], each["account_id"], each["level"]) for each in recovered] == [("main", "AC1", "info")]


def test_a_source_that_is_removed_is_not_stale_any_more(monitor: Monitor, told: Told) -> None:
    """A removed source no longer makes the ping fail."""
    vigil, ping = Vigil(Metrics()), Ping("")
    vigil.look(judged(main=STALE, other=OK), [], ping)
    vigil.look(judged(other=OK), [], ping)
    assert monitor.heard[-1] == ("", "")


def test_the_ping_hears_how_all_is(monitor: Monitor) -> None:
    """One start ping, then success or failure each time with all problems, the daemon's first."""
    vigil, ping = Vigil(Metrics()), Ping("https://monitor.example.com/key")
    vigil.look(judged(main=OK), [], ping)
    vigil.look(judged(main=STALE, other=FAILING), ["bucket: refused"], ping)
    vigil.look(judged(main=FAILING), [], ping)
    assert monitor.heard == [
        ("/start", ""),
        ("", ""),
        ("/fail", f"bucket: refused\nmain AC1: {STALE.words}"),
        ("", ""),
    ]


def test_a_ping_that_does_not_arrive_is_counted(monitor: Monitor) -> None:
    """A failed ping is only counted."""
    metrics = Metrics()
    vigil, monitor.takes = Vigil(metrics), False
    vigil.look(judged(main=OK), [], Ping("https://monitor.example.com/key"))
    monitor.takes = True
    vigil.look(judged(main=OK), [], Ping("https://monitor.example.com/key"))
    assert b"\nrecvault_pings_failed_total 1.0\n" in metrics.text()
