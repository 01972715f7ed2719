"""Ten sources, four with problems: each problem is reported, none affects another source, and all recover."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cli.commands import run, until
from daemon.conftest import Start
from daemon.started import Started, archived, assert_truth, free_port, ids, lists
from recvault.simulator import SimAccount, Simulator
from rig import Rig
from strict_s3 import Bucket

pytestmark = pytest.mark.long

WELL = {
    "voice-1": ("twilio", "twilio", "voice", "wav"),
    "voice-2": ("twilio", "twilio", "voice", "wav"),
    "legacy": ("twilio-legacy", "twilio", "voice", "wav"),
    "video": ("twilio-video", "twilio", "video", "mka"),
    "telnyx": ("telnyx", "telnyx", "telnyx", "wav"),
    "signalwire": ("signalwire", "signalwire", "signalwire", "wav"),
}
LISTS = {"video": "/v1/Recordings", "telnyx": "/v2/recordings"}  # paths without the account
ILL = {"down": "stale", "throttled": "stale", "slow": "slow", "token": "stale"}
SAID = {"down": "cannot be reached", "throttled": "429", "slow": "longer than poll_every", "token": "401"}
WRONG = "f" * 32
POLL_SECONDS = 1.0


@dataclass
class World:
    """Ten sources and their true recordings."""

    rig: Rig
    bucket: Bucket
    simulator: Simulator
    away: Simulator  # not started yet
    accounts: dict[str, SimAccount]
    token: Path  # the file of the wrong one
    secret: str  # the right one

    def home(self, name: str) -> Simulator:
        return self.away if name == "down" else self.simulator

    def api(self, name: str) -> str:
        return WELL[name][2] if name in WELL else "voice"

    def asked(self, name: str) -> int:
        """Count the requests for a source's list."""
        return lists(self.simulator, LISTS.get(name, self.accounts[name].account_id))

    def add(self, name: str) -> None:
        """Add a recording, listed from now on."""
        now = self.simulator.now
        when = {"created_at": now - timedelta(minutes=5), "visible_at": now}
        self.home(name).add(self.accounts[name], self.api(name), **when)  # type: ignore[arg-type]

    def is_archived(self, *names: str) -> bool:
        wanted = [ids(self.home(name), self.accounts[name]) for name in names]
        return set().union(*wanted) <= archived(self.bucket)


@pytest.fixture
def world(rig: Rig, simulator: Simulator, strict_bucket: Bucket) -> Iterator[World]:
    """Six sources without problems; one down, one throttled, one slow, one with a wrong token."""
    rig.transfer["stall_timeout"] = "30s"
    rig.daemon["stale_after"] = "6s"
    simulator.switches = replace(simulator.switches, slow_seconds=2.5)
    accounts = {name: simulator.add_account(kind) for name, (_, kind, _, _) in WELL.items()}  # type: ignore[arg-type]
    accounts |= {name: simulator.add_account("twilio") for name in ("throttled", "slow", "token")}
    port = free_port()
    away = Simulator(seed=8, port=port)
    accounts["down"] = away.add_account("twilio")
    for name, account in accounts.items():
        base = {"base_url": f"http://127.0.0.1:{port}"} if name == "down" else {}
        rig.add_source(name, WELL.get(name, ("twilio",))[0], account, poll_every=f"{POLL_SECONDS:.0f}s", **base)
    token = Path(next(each for each in rig.sources if each["name"] == "token")["auth_token"]["file"])
    world = World(rig, strict_bucket, simulator, away, accounts, token, token.read_text())
    for name, account in accounts.items():
        api = world.api(name)
        only = {"formats": ("mka",)} if api == "video" else {"conference_share": 0.0}
        world.home(name).populate(account, api, count=4, **only)  # type: ignore[arg-type]
    for name, fault in (("throttled", "http_429"), ("slow", "slow")):
        simulator.faults.plan(fault, match=accounts[name].account_id, times=100_000)
    token.write_text(WRONG)
    yield world
    away.stop()


def test_each_source_for_itself(world: World, start: Start) -> None:
    """Six of ten keep their interval, four are reported everywhere, each recovers, nothing is lost."""
    daemon = start().ready()
    until(lambda: world.is_archived(*WELL))
    watch_the_six(world, daemon)
    everywhere_the_four_are_named(world, daemon)
    all_but_the_token_mend_themselves(world, daemon)
    world.token.write_text(world.secret)
    daemon.reload()
    until(lambda: set(daemon.conditions().values()) == {"ok"} and daemon.healthz()[0] == 200)
    until(lambda: world.is_archived(*world.accounts))
    ran = daemon.stopped()
    assert (ran.code, ran.document["failures"]) == (143, [])
    assert [secret for secret in (world.secret, WRONG) if secret in ran.stdout + ran.stderr] == []
    owned = [
        (world.home(name), account, "mka" if name == "video" else "wav") for name, account in world.accounts.items()
    ]
    assert_truth(world.rig, world.bucket, *owned)


def watch_the_six(world: World, daemon: Started) -> None:
    """Until all four show their problem, the six are polled at their interval and archive new recordings."""
    before, began = {name: world.asked(name) for name in WELL}, time.monotonic()
    for name in WELL:
        world.add(name)
    until(lambda: world.is_archived(*WELL), seconds=8 * POLL_SECONDS)
    until(lambda: daemon.conditions() == dict.fromkeys(WELL, "ok") | ILL and names_all(daemon.healthz()[1]), seconds=40)
    until(lambda: time.monotonic() - began > 4 * POLL_SECONDS)
    due = (time.monotonic() - began) / POLL_SECONDS
    asked = {name: world.asked(name) - before[name] for name in WELL}
    assert {name: count for name, count in asked.items() if not 0.7 * due - 2 <= count <= 1.2 * due + 2} == {}, due
    assert world.asked("slow") > 0


def names_all(document: dict[str, Any]) -> bool:
    """Whether each of the four is reported with its problem."""
    words = {row["source"]: row["words"] for row in document["sources"]}
    return all(said in words[name] for name, said in SAID.items())


def everywhere_the_four_are_named(world: World, daemon: Started) -> None:
    """Check condition and message in /healthz, `recvault status` and /metrics."""
    code, document = daemon.healthz()
    assert (code, document["status"], document["troubles"]) == (503, "failing", [])
    status = run(world.rig, "status", "--json")
    assert status.code == 0 and status.document["daemon"]["pid"] == daemon.process.pid
    for told in (document, status.document):
        assert names_all(told), told
        rows = {row["source"]: row for row in told["sources"]}
        assert {name: rows[name]["condition"] for name in ILL} == ILL
        assert {rows[name]["condition"] for name in WELL} == {"ok"}
    for name, condition in ILL.items():
        assert daemon.metric("recvault_source_condition", source=name, condition=condition) == 1
        assert daemon.metric("recvault_source_stale", source=name) == (condition == "stale")
    assert daemon.metric("recvault_source_condition", condition="ok") == len(WELL)
    assert daemon.metric("recvault_api_requests_total", source="throttled", status="429") > 0
    assert daemon.metric("recvault_polls_total", source="token", result="CredentialsRefused") > 0


def all_but_the_token_mend_themselves(world: World, daemon: Started) -> None:
    """Check that after a problem ends the next polls succeed by themselves."""
    world.simulator.faults.clear_plans()
    world.away.start()
    corrected = dict.fromkeys(world.accounts, "ok") | {"token": "stale"}
    until(lambda: daemon.conditions() == corrected)
    until(lambda: world.is_archived("down", "throttled", "slow"))
