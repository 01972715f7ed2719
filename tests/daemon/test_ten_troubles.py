"""A problem with one recording, page or sub-account affects nothing else, and is reported everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from cli.commands import on_terminal, run_each, until
from daemon.conftest import Start
from daemon.started import Started, archived, ids, lists
from recvault.simulator import SimAccount, SimRecording, Simulator
from rig import Rig
from strict_s3 import Bucket

pytestmark = pytest.mark.long

WELL = {
    "voice-1": ("twilio", "twilio", "voice"),
    "voice-2": ("twilio", "twilio", "voice"),
    "legacy": ("twilio-legacy", "twilio", "voice"),
    "video": ("twilio-video", "twilio", "video"),
    "telnyx": ("telnyx", "telnyx", "telnyx"),
    "signalwire": ("signalwire", "signalwire", "signalwire"),
}
ILL = {"refused": "ok", "dripping": "slow", "unreadable": "attention", "parent": "failing"}
SAID = {
    "refused": "1 recording failing (will be tried again): `recvault failures --source refused`",
    "dripping": "a transfer has been running for ",
    "unreadable": "1,000 rows in quarantine: `recvault failures --source unreadable`",
    "parent": "not active (suspended)",
}
EXPECTED = {name: {"ok"} for name in WELL} | {name: {condition} for name, condition in ILL.items()}
EXPECTED["parent"] = {"ok", "failing"}
UNREADABLE = 1000
RETRIED = "1 due now: the running daemon takes them\n"
STYLE = re.compile(r"\x1b\[[0-9;]*m")
POLL_SECONDS = 1.0
STALL_SECONDS = 3.0
PATIENCE = 60.0  # seconds until new recordings are archived, on a busy machine


@dataclass
class World:
    """Ten sources; four of them have a problem with a recording, a body, a page or a sub-account."""

    rig: Rig
    bucket: Bucket
    simulator: Simulator
    accounts: dict[str, SimAccount]
    suspended: SimAccount  # a sub-account of `parent`
    refused: SimRecording
    dripping: SimRecording

    def asked(self, name: str) -> int:
        """Count the requests for a source's list."""
        paths = {"video": "/v1/Recordings", "telnyx": "/v2/recordings"}  # paths without the account
        return lists(self.simulator, paths.get(name, self.accounts[name].account_id))

    def add(self, name: str) -> None:
        """Add a recording, listed from now on."""
        now, api = self.simulator.now, WELL[name][2] if name in WELL else "voice"
        when = {"created_at": now - timedelta(minutes=5), "visible_at": now}
        self.simulator.add(self.accounts[name], api, **when)  # type: ignore[arg-type]

    def is_archived(self) -> bool:
        """Whether all are archived except the two with problems."""
        wanted = ids(self.simulator, *self.accounts.values(), self.suspended)
        return wanted - {self.refused.recording_id, self.dripping.recording_id} <= archived(self.bucket)


@pytest.fixture
def world(rig: Rig, simulator: Simulator, strict_bucket: Bucket) -> Iterator[World]:
    """All recordings of the ten exist; the problems exist from the start, except the sub-account's."""
    rig.transfer |= {"stall_timeout": f"{STALL_SECONDS:.0f}s", "workers": 4, "max_attempts": 1000}
    rig.daemon["drain_timeout"] = "1s"
    simulator.switches = replace(simulator.switches, inactive_accounts="refused", slow_seconds=600.0)
    accounts = {name: simulator.add_account(kind) for name, (_, kind, _) in WELL.items()}  # type: ignore[arg-type]
    accounts |= {name: simulator.add_account("twilio") for name in ILL}
    suspended = simulator.add_account("twilio", parent=accounts["parent"])
    for name, account in accounts.items():
        more: dict[str, Any] = {"subaccounts": True} if name == "parent" else {}
        more |= {"max_concurrency": 4} if name == "dripping" else {}
        rig.add_source(name, WELL.get(name, ("twilio",))[0], account, poll_every=f"{POLL_SECONDS:.0f}s", **more)
        api = WELL[name][2] if name in WELL else "voice"
        only = {"formats": ("mka",)} if api == "video" else {"conference_share": 0.0}
        simulator.populate(account, api, count=3, **only)  # type: ignore[arg-type]
    simulator.populate(suspended, "voice", count=2, conference_share=0.0)
    simulator.populate(accounts["unreadable"], "voice", count=UNREADABLE, malformed="no_date")
    yesterday = simulator.now - timedelta(days=1)
    refused = simulator.add(accounts["refused"], "voice", created_at=yesterday)
    dripping = simulator.add(accounts["dripping"], "voice", created_at=yesterday, duration_seconds=110.0)
    simulator.faults.plan("http_403", match=refused.recording_id, times=100_000)
    simulator.faults.plan("slow", match=dripping.recording_id, times=100_000, kind="media")  # 3 KB/s, for 10 minutes
    yield World(rig, strict_bucket, simulator, accounts, suspended, refused, dripping)


def test_one_of_many_in_trouble(world: World, start: Start) -> None:
    """All ten are polled equally often and archive new recordings; each problem is reported with a hint."""
    daemon = start().ready()
    until(world.is_archived, PATIENCE)
    object.__setattr__(world.suspended, "status", "suspended")
    all_ten_go_on(world)
    until(lambda: conditions(daemon.healthz()[1]) == EXPECTED and names_all(daemon.healthz()[1]), PATIENCE)
    everywhere_each_trouble_is_named(world, daemon)
    a_terminal_of_100_columns_shows_a_table(world)
    what_is_hinted_works_as_it_is_typed(world, daemon)
    daemon.stopped()


def all_ten_go_on(world: World) -> None:
    """While the others are polled five times, none is polled less than half as often; new recordings arrive."""
    before = {name: world.asked(name) for name in world.accounts}
    for name in world.accounts:
        world.add(name)

    def polls() -> dict[str, int]:
        return {name: world.asked(name) - before[name] for name in world.accounts}

    until(lambda: min(polls()[name] for name in WELL) >= 5, PATIENCE)
    counts = polls()
    most = max(counts[name] for name in WELL)
    assert {name: count for name, count in counts.items() if count < most / 2 - 1} == {}, counts
    until(world.is_archived, PATIENCE)


def conditions(document: dict[str, Any]) -> dict[str, set[str]]:
    """Return each source's conditions, including its sub-accounts'."""
    found: dict[str, set[str]] = {}
    for row in document["sources"]:
        found.setdefault(row["source"], set()).add(row["condition"])
    return found


def names_all(document: dict[str, Any]) -> bool:
    """Whether each of the four is reported with its problem."""
    words: dict[str, str] = {}
    for row in document["sources"]:
        words[row["source"]] = words.get(row["source"], "") + row["words"]
    return all(said in words[name] for name, said in SAID.items())


def everywhere_each_trouble_is_named(world: World, daemon: Started) -> None:
    """Check /healthz, `recvault status` and /metrics."""
    code, document = daemon.healthz()
    assert (code, document["status"], document["troubles"]) == (200, "degraded", [])
    assert document["sources"][0]["account_id"] == world.suspended.account_id  # the worst first
    (status,) = run_each(world.rig, ["status", "--json"])
    assert conditions(status.document) == EXPECTED and names_all(status.document)
    assert [reason.split(" ")[0] for reason in status.document["verdict"]["reasons"]] == ["parent", "unreadable"]
    drips, parent = {"source": "dripping"}, {"source": "parent", "account_id": world.suspended.account_id}
    assert daemon.metric("recvault_recordings", source="refused", state="failing") == 1
    assert daemon.metric("recvault_failures_total", source="refused", reason="provider.denied") > 0
    assert daemon.metric("recvault_oldest_transfer_age_seconds", **drips) >= 5 * STALL_SECONDS
    assert daemon.metric("recvault_source_condition", condition="slow", **drips) == 1
    assert daemon.metric("recvault_recordings", source="unreadable", state="quarantined") == UNREADABLE
    assert daemon.metric("recvault_source_condition", condition="failing", **parent) == 1
    assert (
        daemon.metric("recvault_source_condition", condition="ok") == len(WELL) + 2
    )  # refused's, and the parent's own
    drip = next(row for row in status.document["sources"] if row["source"] == "dripping")
    assert (drip["counts"]["pending"], drip["next_attempt_at"]) == (1, None)  # it is running


def a_terminal_of_100_columns_shows_a_table(world: World) -> None:
    """Check a verdict on two lines, one line per row despite long account ids, and each message below."""
    lines = STYLE.sub("", on_terminal(world.rig, "status", columns=100)[1]).replace("\r", "").split("\n")
    assert max(len(line) for line in lines if "recvault --config" not in line) <= 100  # a command is copied whole
    short = world.suspended.account_id[:8]
    assert lines[0].startswith(
        f"not safe: parent {short}...: the last scan failed: the sub-account is not active (susp"
    )
    assert lines[1].endswith(" (and 1 more)") or lines[2].endswith(" (and 1 more)"), lines[:3]
    rows = {line.split()[0]: line for line in lines if re.match(r"\S+ +\S+\.\.\. +\w+ +\d|telnyx +telnyx ", line)}
    assert set(rows) == set(world.accounts)
    assert f"{world.accounts['refused'].account_id[:8]}..." in rows["refused"]
    words = " ".join(line.strip() for line in lines)
    assert all(said.partition(": `")[0] in words for said in SAID.values())
    configured = f"recvault --config {world.rig.config_path}"
    assert f"    {configured} failures --source unreadable" in lines


def what_is_hinted_works_as_it_is_typed(world: World, daemon: Started) -> None:
    """Check the hinted commands: they list the recording; a retry is refused again, accepting it settles it."""
    recording_id, rig = world.refused.recording_id, world.rig
    listed, unreadable = run_each(rig, ["failures", "--source", "refused"], ["failures", "--source", "unreadable"])
    rig_id = f"refused:{recording_id}"
    assert recording_id in listed.stdout and f"accept {rig_id} --reason 'nobody may read it'`" in listed.stdout
    assert "only this recording is refused, not the account's list" in listed.stdout
    assert unreadable.stderr.startswith(f"20 of {UNREADABLE:,} rows in quarantine: ")
    assert len(unreadable.stdout.splitlines()) == 21 and max(map(len, unreadable.stdout.splitlines())) < 500
    (retried,) = run_each(rig, ["retry", recording_id])
    assert (retried.code, retried.stdout) == (0, RETRIED)
    until(lambda: accepted(world), PATIENCE)
    until(lambda: conditions(daemon.healthz()[1])["refused"] == {"ok"} and words_of(daemon, "refused") == "", PATIENCE)
    assert daemon.metric("recvault_recordings", source="refused", state="accepted") == 1


def accepted(world: World) -> bool:
    """Whether it is accepted; while the daemon tries it, the command says so."""
    (ran,) = run_each(world.rig, ["failures", "accept", world.refused.recording_id, "--reason", "nobody may read it"])
    assert ran.code == 0
    return ran.stdout == "1 recording accepted as lost\n"


def words_of(daemon: Started, name: str) -> str:
    return next(str(row["words"]) for row in daemon.healthz()[1]["sources"] if row["source"] == name)
