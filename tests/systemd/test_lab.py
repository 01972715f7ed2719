"""The unit under a real systemd: sandbox, secrets, watchdog, drain, restarts, reload, and manual commands."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from cli.commands import until
from recvault.simulator import SimAccount, Simulator
from rig import Rig
from strict_s3 import StrictS3
from systemd.lab import PATIENCE, UNITS, Lab, missing

pytestmark = [pytest.mark.systemd, pytest.mark.skipif(bool(missing()), reason=missing() or "-")]

UNIT = "recvault.service"
STATE = "/var/lib/recvault"
QUICK = """[Service]
WatchdogSec=4
TimeoutAbortSec=1
RestartSec=100ms
ExecStopPost=/bin/sh -c 'echo "ended: $SERVICE_RESULT $EXIT_CODE $EXIT_STATUS"'
"""  # no long waits, and results outlive systemd's memory of an inactive unit
BUCKETS_KEYS = "[default]\naws_access_key_id = test\naws_secret_access_key = test-secret-key\n"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Boot once for all of these tests."""
    with Lab(tmp_path_factory.mktemp("systemd")) as lab:
        lab.write(f"/etc/systemd/system/{UNIT}.d/quick.conf", QUICK)
        lab.write("/etc/credstore/recvault.aws", BUCKETS_KEYS, mode=0o600)
        lab.run("systemctl", "daemon-reload")
        yield lab


@dataclass
class Served:
    """The service in the lab, with provider and bucket."""

    lab: Lab
    rig: Rig
    simulator: Simulator
    account: SimAccount

    def configure(self) -> None:
        """Write the current configuration."""
        text = self.rig.config_path.read_text()
        self.lab.write("/etc/recvault/config.toml", f'{text}\n[daemon]\nmetrics_listen = ""\n')

    def start(self) -> None:
        started = self.lab.ran("systemctl", "start", UNIT)
        assert started.returncode == 0, "\n".join([*self.lab.journal(UNIT)][-20:])

    def show(self, name: str) -> str:
        return self.lab.property(UNIT, name)

    def events(self, event: str) -> list[dict[str, object]]:
        """Return the journal's entries of an event."""
        lines = [line for line in self.lab.journal(UNIT) if line.startswith("{")]
        return [entry for entry in map(json.loads, lines) if entry["event"] == event]

    def ends(self) -> list[str]:
        """Return how its processes ended, by systemd: result, code, status."""
        said = (line.partition("ended: ") for line in self.lab.journal(UNIT))
        return [words for _, found, words in said if found]

    def archived(self) -> int:
        return len([key for key in self.rig.objects() if key.endswith(".wav")])

    def add_one(self) -> None:
        """Add a final recording, listed late."""
        created = self.simulator.now - timedelta(hours=1)
        self.simulator.add(self.account, "voice", created_at=created, visible_at=self.simulator.now)

    def slow(self, seconds: float) -> None:
        self.simulator.switches = replace(self.simulator.switches, latency_seconds=seconds)

    def restarted(self, pid: str) -> bool:
        return self.show("MainPID") not in ("0", pid) and self.show("ActiveState") == "active"

    def bucket_is_truth(self) -> bool:
        """Whether every recording is in the bucket byte for byte, and nothing else is."""
        truth = self.simulator.truth(self.account)
        sidecars, objects = self.rig.sidecars(), self.rig.objects()
        keys = {name: sidecar["media"][0]["key"] for name, sidecar in sidecars.items()}
        return (
            set(keys) == {recording.recording_id for recording in truth}
            and {key for key in objects if key.endswith(".wav")} == set(keys.values())
            and all(objects[keys[each.recording_id]] == self.simulator.media(each, "wav").read() for each in truth)
        )


@pytest.fixture
def served(lab: Lab, tmp_path: Path, simulator: Simulator, strict_s3: StrictS3) -> Iterator[Served]:
    """A source of forty recordings, its secret in the credential store; not started."""
    rig = Rig(root=tmp_path, simulator=simulator, s3_url=strict_s3.url, bucket=strict_s3.bucket().name)
    rig.ledger = {"path": f"{STATE}/ledger.db"}
    rig.transfer = {"spool_dir": f"{STATE}/spool", "workers": 4, "stall_timeout": "30s"}
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=40, conference_share=0)
    rig.add_source("voice", "twilio", account, auth_token={"credential": "twilio-auth-token"}, poll_every="1s")
    lab.write("/etc/credstore/recvault.twilio-auth-token", account.credentials["auth_token"], mode=0o600)
    lab.run("journalctl", "--rotate")
    lab.run("journalctl", "--vacuum-time=1s", check=False)
    served = Served(lab, rig, simulator, account)
    served.configure()
    yield served
    print("\n".join([*lab.journal(UNIT)][-40:]))  # shown if the test fails
    lab.ran("systemctl", "kill", "--signal=KILL", UNIT)
    lab.ran("systemctl", "stop", UNIT)
    lab.ran("systemctl", "reset-failed", UNIT)
    lab.run("rm", "-rf", "/var/lib/private/recvault", STATE)


def test_it_becomes_ready_and_archives_in_its_sandbox(served: Served) -> None:
    """It archives as its own user, with a read-only system, private state, and secrets for it and root only."""
    served.start()
    assert (served.show("ActiveState"), served.show("SubState")) == ("active", "running")
    until(served.bucket_is_truth, PATIENCE)
    pid = served.show("MainPID")
    status = served.lab.run("cat", f"/proc/{pid}/status")
    (uid,) = re.findall(r"Uid:\t(\d+)", status)
    assert 61184 <= int(uid) <= 65519, "a dynamic user's"
    assert re.findall(r"(CapBnd|NoNewPrivs|Seccomp):\t(\w+)", status) == [
        ("CapBnd", "0" * 16),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ]
    mode, owner = served.lab.run("stat", "-c", "%a %u", "/var/lib/private/recvault").split()
    assert mode == "700"
    assert owner in (uid, "65534"), (
        "its own; where systemd maps ids, from 257 on, it is nobody's when seen from outside"
    )
    assert served.lab.run("stat", "-c", "%a %u", f"{STATE}/ledger.db").split() == ["600", owner]
    assert served.lab.run("ls", "/run/credentials/recvault.service").split() == ["aws", "twilio-auth-token"]
    assert "archived since start" in served.lab.run("systemctl", "status", UNIT)
    secret = served.account.credentials["auth_token"]
    assert not [line for line in served.lab.journal(UNIT) if secret in line or "test-secret-key" in line]


def test_what_hangs_is_restarted_by_the_watchdog(served: Served) -> None:
    """A hanging daemon is restarted by the watchdog, and continues."""
    served.slow(0.3)
    served.start()
    pid = served.show("MainPID")
    served.lab.run("systemctl", "kill", "--kill-whom=main", "--signal=STOP", UNIT)
    until(lambda: served.restarted(pid), PATIENCE)
    assert [end.split()[0] for end in served.ends()] == ["watchdog"]
    served.slow(0)
    until(served.bucket_is_truth, PATIENCE)


def test_a_stop_drains_and_counts_as_success(served: Served) -> None:
    """On SIGTERM transfers finish, the exit code 143 counts as success, and nothing is half done."""
    served.slow(0.4)
    served.start()
    until(lambda: served.archived() > 0, PATIENCE)
    served.lab.run("systemctl", "stop", UNIT)
    assert served.show("ActiveState") == "inactive"
    assert served.ends() == ["success exited 143"]
    assert served.archived() == len(served.rig.sidecars()) < 40
    assert len(served.events("daemon.stopped")) == 1
    served.slow(0)
    served.start()
    until(served.bucket_is_truth, PATIENCE)


def test_kill_9_is_restarted_and_loses_nothing(served: Served) -> None:
    """A killed daemon is restarted, and completes the bucket."""
    served.slow(0.2)
    served.start()
    for least in (3, 10):
        until(lambda least=least: served.archived() >= least, PATIENCE)  # type: ignore[misc]
        pid = served.show("MainPID")
        served.lab.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", UNIT)
        until(lambda pid=pid: served.restarted(pid), PATIENCE)  # type: ignore[misc]
    served.slow(0)
    until(served.bucket_is_truth, PATIENCE)
    assert served.ends() == ["signal killed KILL"] * 2


def test_a_reload_takes_a_good_configuration_and_refuses_a_bad_one(served: Served) -> None:
    """A bad configuration fails the reload with a reason; a good one needs no restart."""
    served.start()
    until(served.bucket_is_truth, PATIENCE)
    pid = served.show("MainPID")
    served.lab.write("/etc/recvault/config.toml", '[archive]\nbucket = "x"\nbukket = 1\n')
    assert served.lab.ran("systemctl", "reload", UNIT).returncode != 0
    assert "/etc/recvault/config.toml:3: archive.bukket: unknown key (did you mean bucket?)" in [
        *served.lab.journal(UNIT)
    ]
    assert served.events("config.refused") == [], "the daemon is not asked to read what is wrong"
    served.lab.run("systemctl", "kill", "--kill-whom=main", "--signal=HUP", UNIT)
    until(lambda: len(served.events("config.refused")) == 1, PATIENCE)
    served.add_one()
    until(served.bucket_is_truth, PATIENCE)

    secret = served.account.credentials["auth_token"]  # credentials are loaded at the start, so it must stay the same
    other = served.simulator.add_account("telnyx", secret=secret)
    served.simulator.populate(other, "telnyx", count=2)
    served.rig.add_source("second", "telnyx", other, api_key={"credential": "twilio-auth-token"})
    served.configure()
    served.lab.run("systemctl", "reload", UNIT)
    until(lambda: len(served.events("config.reloaded")) == 1, PATIENCE)
    until(lambda: len(served.rig.sidecars()) == 43, PATIENCE)
    assert (served.show("MainPID"), served.show("ActiveState")) == (pid, "active")
    assert served.ends() == []


def test_commands_by_hand_leave_the_service_able_to_go_on(served: Served) -> None:
    """Root's `status`, `sync` and `check` work beside the service, which can use their files."""
    served.start()
    until(served.bucket_is_truth, PATIENCE)
    recvault = "/opt/recvault/bin/recvault"
    status = json.loads(served.lab.run(recvault, "status", "--json"))
    assert [source["counts"]["archived"] for source in status["sources"]] == [40]
    served.lab.run("systemctl", "stop", UNIT)
    served.lab.run(recvault, "status", "--json")
    owners = served.lab.run("find", "/var/lib/private/recvault", "-user", "root")
    assert owners == ""
    served.add_one()
    served.start()
    until(served.bucket_is_truth, PATIENCE)


def test_a_wrong_configuration_is_not_tried_again(served: Served) -> None:
    """Exit code 78 ends the service without restarts."""
    served.lab.write("/etc/recvault/config.toml", '[archive]\nbucket = "x"\n')
    assert served.lab.ran("systemctl", "start", UNIT).returncode != 0
    assert served.show("ActiveState") == "failed"
    assert served.ends() == ["exit-code exited 78"]


def _commands(heading: str) -> list[str]:
    """Return the shell commands in a section of the guide, with continuation lines joined."""
    guide = (UNITS / "README.md").read_text()
    part = guide.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```sh\n(.*?)```", part, re.DOTALL)
    return [line for line in "".join(blocks).replace("\\\n", " ").splitlines() if line and not line.startswith("#")]


def test_the_guides_checks_work(served: Served) -> None:
    """`recvault check --as-service` and `sync` by hand work as in the guide, before the first start and beside it."""
    check, sync = _commands("By hand")[:2]
    assert check.endswith("check --as-service") and sync.endswith(" sync")
    assert "ok    source voice: list" in served.lab.run("sh", "-c", check)
    served.start()
    assert "ok    source voice: list" in served.lab.run("sh", "-c", check)
    until(served.bucket_is_truth, PATIENCE)
    served.add_one()
    served.lab.run("sh", "-c", sync)
    until(served.bucket_is_truth, PATIENCE)
    left = served.lab.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "recvault-check*")
    assert (left, served.lab.run("sh", "-c", "ls /run | grep recvault-check || true")) == ("", "")


def test_a_check_as_the_service_finds_what_only_the_service_lacks(served: Served) -> None:
    """Well by hand as root, but the unit's user cannot read the secret, or cannot even start: said, with its code."""
    recvault = "/opt/recvault/bin/recvault"
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test-secret-key"}
    served.lab.write("/etc/recvault/token", served.account.credentials["auth_token"], mode=0o600)
    served.rig.sources[0]["auth_token"] = {"file": "/etc/recvault/token"}
    served.configure()
    assert "ok    source voice: settings" in served.lab.ran(recvault, "check", "--offline", env=keys).stdout
    found = served.lab.ran(recvault, "check", "--offline", "--as-service", "--json", env=keys)
    document = json.loads(found.stdout)
    wrong = [each for each in document["checks"] if not each["ok"]]
    assert (found.returncode, [each["name"] for each in wrong]) == (78, ["source voice: settings"])
    assert "/etc/recvault/token cannot be read: Permission denied" in wrong[0]["detail"]
    drop_in = f"/etc/systemd/system/{UNIT}.d/broken.conf"
    served.lab.write(drop_in, "[Service]\nLoadCredential=none:/etc/recvault/none\n")
    served.lab.run("systemctl", "daemon-reload")
    broken = served.lab.ran(recvault, "check", "--as-service")
    served.lab.run("rm", drop_in, "/etc/recvault/token")
    served.lab.run("systemctl", "daemon-reload")
    assert (broken.returncode, broken.stdout) == (78, "")
    assert broken.stderr.startswith("FAIL  service: systemd cannot start it: ")


PIP = ("python3 -m venv ", "/opt/recvault/bin/pip ")
NEWER = """mkdir -p /opt/recvault/bin
sed s,/opt/recvault/,/opt/recvault.old/,g /opt/recvault.old/bin/recvault > /opt/recvault/bin/recvault
chmod 0755 /opt/recvault/bin/recvault
"""  # in place of pip and an index: the same program as the new one


def _typed(served: Served, commands: list[str]) -> None:
    """Run the guide's lines one by one; each must succeed."""
    for line in commands:
        done = served.lab.ran("sh", "-c", f"cd /checkout && {line}")
        assert done.returncode == 0, (line, done.stdout, done.stderr, [*served.lab.journal(UNIT)][-5:])


def test_the_guides_upgrade_and_rollback_work(served: Served) -> None:
    """The guide's upgrade and rollback work: the old version refuses a newer ledger, and the copy restores it."""
    served.start()
    until(served.bucket_is_truth, PATIENCE)
    for unit in [*UNITS.glob("*.service"), *UNITS.glob("*.timer")]:
        served.lab.write(f"/checkout/systemd/{unit.name}", unit.read_text())
    lines = [line for line in _commands("Upgrade and downgrade") if not line.startswith(PIP)]
    back = lines.index("systemctl stop recvault", 1)
    for _ in range(2):
        upgrade = [*lines[:back]]
        upgrade.insert(upgrade.index("mv /opt/recvault /opt/recvault.old") + 1, NEWER)
        _typed(served, upgrade)
        served.add_one()
        until(served.bucket_is_truth, PATIENCE)
        served.lab.run("systemctl", "stop", UNIT)
        _migrated_further(served)
        assert served.lab.ran("systemctl", "start", UNIT).returncode != 0
        _typed(served, lines[back:])
        until(served.bucket_is_truth, PATIENCE)
        served.add_one()
        until(served.bucket_is_truth, PATIENCE)
        assert served.show("ActiveState") == "active"


def _migrated_further(served: Served) -> None:
    """Change the ledger as a later version's first start would."""
    ledger = sqlite3.connect(served.lab.root / "var/lib/private/recvault/ledger.db")
    with contextlib.closing(ledger), ledger:
        ledger.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('recvault', 'm999_later', '')"
        )
