"""`recvault init`, `install` and `uninstall` under a real systemd: from nothing to archived recordings, and back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.commands import until
from recvault.simulator import SimAccount, Simulator
from strict_s3 import Bucket
from systemd.lab import PATIENCE, UNITS, Lab, missing

pytestmark = [pytest.mark.systemd, pytest.mark.skipif(bool(missing()), reason=missing() or "-")]

RECVAULT = "/opt/recvault/bin/recvault"
SYSTEM = "/etc/systemd/system"
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test-secret-key"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A machine with the program and nothing else of it."""
    with Lab(tmp_path_factory.mktemp("install")) as lab:
        for unit in UNITS.glob("*.service"):
            (lab.root / f"etc/systemd/system/{unit.name}").unlink()
        lab.run("systemctl", "daemon-reload")
        yield lab


@pytest.fixture
def account(simulator: Simulator) -> SimAccount:
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=5, conference_share=0)
    return account


def answers(simulator: Simulator, account: SimAccount, bucket: Bucket) -> list[str]:
    sets = {
        "account_sid": account.credentials["account_sid"],
        "base_url": simulator.base_url,
        "media_hosts": json.dumps([simulator.media_host]),
        "poll_every": "1s",
    }
    named = [word for key, value in sets.items() for word in ("--set", f"{key}={value}")]
    return ["--provider", "twilio", *named, "--bucket", bucket.name, "--endpoint-url", bucket.url]


def done(lab: Lab, *words: str, env: dict[str, str] | None = None) -> str:
    """Return the output of a command that must succeed."""
    ran = lab.ran(RECVAULT, *words, env=env)
    assert ran.returncode == 0, (words, ran.stdout, ran.stderr, [*lab.journal("recvault")][-10:])
    return ran.stdout


def archived(bucket: Bucket) -> int:
    return len([key for key in bucket.objects if key.endswith(".wav")])


def test_from_nothing_to_a_service_and_back(
    lab: Lab, simulator: Simulator, account: SimAccount, strict_bucket: Bucket
) -> None:
    """After init and install as root the service archives in its sandbox; a changed unit is kept; uninstall; purge."""
    secret = account.credentials["auth_token"]
    lab.write("/etc/credstore/recvault.twilio-auth-token", secret, mode=0o600)
    words = ["init", "--system", "--yes", *answers(simulator, account, strict_bucket), "--bucket-credentials", "copy"]
    said = done(lab, *words, "--sync", env=KEYS)
    assert "ok    to archive: 5 recordings" in said and secret not in said
    assert "# systemctl restart recvault.service" in said
    until(lambda: archived(strict_bucket) == 5, PATIENCE)
    assert lab.property("recvault", "ActiveState") == "active"
    assert lab.run("systemctl", "is-enabled", "recvault").strip() == "enabled"
    pid = lab.property("recvault", "MainPID")
    assert "ok    source twilio: list" in done(lab, "check", "--as-service")

    assert "are as they should be" in done(lab, "install")
    assert lab.property("recvault", "MainPID") == pid, "nothing changed, so nothing is restarted"
    unit = lab.root / "etc/systemd/system/recvault.service"
    unit.write_text(f"{unit.read_text()}# mine\n")
    assert "# it was changed: kept" in done(lab, "install")
    (copy,) = unit.parent.glob("recvault.service.before-*")
    assert copy.read_text().endswith("# mine\n") and not unit.read_text().endswith("# mine\n")

    done(lab, "uninstall")
    assert lab.ran("systemctl", "is-active", "recvault").stdout.strip() == "inactive"
    assert not unit.exists() and (lab.root / "var/lib/private/recvault/ledger.db").exists()
    done(lab, "uninstall", "--purge", "--yes")
    left = ("var/lib/recvault", "var/lib/private/recvault", "etc/recvault", "etc/credstore/recvault.aws")
    assert [place for place in left if (lab.root / place).exists()] == []
    assert archived(strict_bucket) == 5


def test_a_user_s_own_service(lab: Lab, simulator: Simulator, account: SimAccount, strict_bucket: Bucket) -> None:
    """Without root: init, install under the user's systemd, and uninstall."""
    home, runtime = Path("/home/ann"), "/run/user/1000"
    for file, line in (("passwd", f"ann:x:1000:1000::{home}:/bin/sh"), ("group", "ann:x:1000:")):
        with (lab.root / "etc" / file).open("a") as opened:
            opened.write(f"{line}\n")
    lab.run("install", "-d", "-o", "1000", "-g", "1000", "-m", "0700", str(home), runtime)
    session = ["--uid=1000", "--gid=1000", "-E", f"HOME={home}", "-E", f"XDG_RUNTIME_DIR={runtime}"]
    manager = ["-p", "Delegate=yes", "--unit=manager-of-ann", "/usr/lib/systemd/systemd", "--user"]
    lab.run("systemd-run", "--quiet", *session, *manager)
    until(lambda: lab.ran("test", "-S", f"{runtime}/systemd/private").returncode == 0, PATIENCE)

    def ann(*words: str, **env: str) -> str:
        given = [word for name, value in env.items() for word in ("-E", f"{name}={value}")]
        ran = lab.ran("systemd-run", "--quiet", "--wait", "--pipe", "--collect", *session, *given, *words)
        assert ran.returncode == 0, (words, ran.stdout, ran.stderr)
        return ran.stdout

    lab.write(f"{home}/token", account.credentials["auth_token"], mode=0o600)
    lab.run("chown", "1000", f"{home}/token")
    words = ["init", "--user", "--yes", *answers(simulator, account, strict_bucket), "--secret", f"file:{home}/token"]
    ann(RECVAULT, *words, "--bucket-credentials", "copy", **KEYS)
    said = ann(RECVAULT, "install", "--user")
    assert "systemctl --user status recvault" in said
    until(lambda: archived(strict_bucket) == 5, PATIENCE)
    assert ann("systemctl", "--user", "is-active", "recvault").strip() == "active"
    assert "ok    source twilio: list" in ann(RECVAULT, "check", "--as-service")
    ann(RECVAULT, "uninstall", "--user", "--purge", "--yes")
    assert lab.ran("test", "-e", f"{home}/.config/recvault").returncode != 0
    assert archived(strict_bucket) == 5
