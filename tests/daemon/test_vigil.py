"""What turns stale and what recovers is told once each; the ping hears how all is, every time."""

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
    """Where a ping goes: what it heard, and whether it takes it."""

    heard: list[tuple[str, str]] = field(default_factory=list)
    takes: bool = True


@pytest.fixture
def monitor(monkeypatch: pytest.MonkeyPatch) -> Monitor:
    """Stands where the wire of a ping begins."""
    monitor = Monitor()

    def ping(_: Ping, what: str, text: str) -> bool:
        monitor.heard.append((what, text))
        return monitor.takes

    monkeypatch.setattr(Ping, "_ping", ping)
    return monitor


def judged(**sources: Health) -> list[tuple[FeedStatus, Health]]:
    return [(FeedStatus(feed=Feed(name, "twilio", "AC1")), health) for name, health in sources.items()]


def test_stale_and_recovered_are_told_once(monitor: Monitor, told: Told) -> None:
    """However often one looks: once in the log when it turns stale, once when it recovers, and again the next time."""
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
    """What is not watched any more leaves the ping well."""
    vigil, ping = Vigil(Metrics()), Ping("")
    vigil.look(judged(main=STALE, other=OK), [], ping)
    vigil.look(judged(other=OK), [], ping)
    assert monitor.heard[-1] == ("", "")


def test_the_ping_hears_how_all_is(monitor: Monitor) -> None:
    """A start, once; then success or failure each time, with all that is wrong: the daemon's troubles first."""
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
    """A monitor's trouble is a number, and no trouble of ours."""
    metrics = Metrics()
    vigil, monitor.takes = Vigil(metrics), False
    vigil.look(judged(main=OK), [], Ping("https://monitor.example.com/key"))
    monitor.takes = True
    vigil.look(judged(main=OK), [], Ping("https://monitor.example.com/key"))
    assert b"\nrecvault_pings_failed_total 1.0\n" in metrics.text()
