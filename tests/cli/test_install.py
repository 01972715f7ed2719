"""`recvault install` and `uninstall` with a systemd that only records commands; a real one is used in systemd/."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from recvault.cli import install, main
from recvault.setup import home as homes
from recvault.setup import installing
from systemd.lab import UNITS

ARCHIVE = '[archive]\nbucket = "acme-recordings"\n'
SOURCE = '[[sources]]\nname = "main"\nprovider = "telnyx"\napi_key = {{ {} }}\n'
CREDENTIAL = ARCHIVE + SOURCE.format('credential = "telnyx-api-key"')
PROGRAM = "/opt/recvault/bin/recvault"
RECORDER = """#!/bin/sh
echo "$(basename "$0") $*" >> "{log}"
case "$*" in {answers} esac
exit 0
"""


class Machine:
    """A machine's folders below the test's, and a systemd that records its commands."""

    def __init__(self, root: Path) -> None:
        self.root, self.log = root / "root", root / "commands"
        self.bin, self.answers = root / "bin", ""
        for folder in (self.bin, self.root / "etc/recvault", self.root / "usr/lib/sysusers.d"):
            folder.mkdir(parents=True)
        self.home, self.user = homes.system(), homes.user()
        self.commands()

    def answer(self, words: str, code: int, says: str = "") -> None:
        """Set the answer to commands with these words."""
        self.answers += f"*'{words}'*) echo '{says}'; exit {code};; "
        self.commands()

    def commands(self) -> None:
        for name in ("systemctl", "loginctl", "systemd-sysusers", "chown"):
            path = self.bin / name
            path.write_text(RECORDER.format(log=self.log, answers=self.answers + "*is-*) exit 3;;"))
            path.chmod(0o755)

    @property
    def told(self) -> list[str]:
        """Return the commands that changed something since the last call."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return [line for line in lines if not any(word in line for word in ("is-active", "is-enabled", "show-env"))]

    def configure(self, text: str, home: homes.Home | None = None) -> Path:
        path = (home or self.home).config
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(homes, "ROOT", tmp_path / "root")
    monkeypatch.setattr(installing, "ROOT", tmp_path / "root")
    monkeypatch.setattr(install, "_SYSTEMD", tmp_path)
    monkeypatch.setattr(install, "_program", lambda: PROGRAM)
    monkeypatch.setattr(install, "_check_reach", lambda plan: None)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    made = Machine(tmp_path)
    monkeypatch.setenv("PATH", f"{made.bin}:{os.environ['PATH']}")
    return made


def run(*words: str, says: str = "") -> Result:
    return CliRunner().invoke(main, list(words), input=says)


def files(folder: Path) -> dict[str, str]:
    return {str(each.relative_to(folder)): each.read_text() for each in sorted(folder.rglob("*")) if each.is_file()}


def test_the_units_are_those_that_are_shipped(machine: Machine) -> None:
    """In the default places the units equal the shipped ones; each step is printed, and the service starts."""
    machine.configure(CREDENTIAL)
    ran = run("install", "--system")
    assert ran.exit_code == 0, ran.output
    text = (machine.home.units / "recvault.service").read_text().replace(str(machine.root), "")
    assert text == (UNITS / "recvault.service").read_text()
    assert set(files(machine.home.units)) >= {"recvault.service", "recvault-backfill@.service", "recvault.timer"}
    assert machine.told == [
        "systemctl daemon-reload",
        "systemctl enable recvault.service",
        "systemctl restart recvault.service",
    ]
    steps = [line for line in ran.output.splitlines() if line.startswith("# ")]
    assert steps[-1] == "# systemctl restart recvault.service"
    assert f"  systemctl status recvault\n  {PROGRAM} --config {machine.home.config} status\n" in ran.output


def test_a_dry_run_only_prints(machine: Machine) -> None:
    """A dry run prints the same steps and does nothing."""
    machine.configure(CREDENTIAL)
    dry = run("install", "--system", "--dry-run").output
    assert (machine.told, machine.home.units.exists(), machine.home.credentials.exists()) == ([], False, False)
    assert dry == run("install", "--system").output


def test_doing_it_again_changes_nothing(machine: Machine) -> None:
    """A second run changes nothing, and does not restart a running service."""
    machine.configure(CREDENTIAL)
    assert run("install", "--system").exit_code == 0
    before, _ = files(machine.root), machine.told
    machine.answer("is-active", 0, "active")
    ran = run("install", "--system")
    assert (ran.exit_code, files(machine.root)) == (0, before)
    assert machine.told == ["systemctl enable recvault.service"]
    assert f"The units in {machine.home.units} are as they should be." in ran.output


def test_a_changed_unit_is_kept_as_a_copy(machine: Machine) -> None:
    """A changed unit is copied before it is replaced or removed, and both are printed."""
    machine.configure(CREDENTIAL)
    run("install", "--system")
    unit = machine.home.units / "recvault.service"
    for verb in ("install", "uninstall"):
        unit.write_text(f"# mine, before {verb}\n")
        ran = run(verb, "--system")
        assert ran.exit_code == 0, ran.output
        (copy,) = machine.home.units.glob("recvault.service.before-*")
        assert copy.read_text() == f"# mine, before {verb}\n"
        assert f"# cp -p {unit} {copy}    # it was changed: kept" in ran.output
        copy.unlink()
    assert not unit.exists()


def test_a_configuration_gets_the_credentials_and_the_directory_that_it_names(machine: Machine, tmp_path: Path) -> None:
    """A drop-in for both units gives access to them while they are configured; a directory belongs to the permanent
    user."""
    archive = tmp_path / "recordings"
    archive.mkdir()
    machine.configure(f'[archive]\nbucket = "file://{archive}"\n' + SOURCE.format('credential = "acme-key"'))
    assert run("install", "--system").exit_code == 0
    for unit in ("recvault.service.d", "recvault-backfill@.service.d"):
        drop_in = (machine.home.units / unit / "recvault-install.conf").read_text()
        assert "LoadCredential=acme-key:recvault.acme-key\n" in drop_in
        assert f"RequiresMountsFor={archive}\n" in drop_in and f"ReadWritePaths={archive}\n" in drop_in
    assert machine.told[:2] == ["systemd-sysusers recvault.conf", f"chown -R recvault:recvault {archive}"]
    machine.configure(CREDENTIAL)
    assert run("install", "--system").exit_code == 0
    assert list(machine.home.units.rglob("recvault-install.conf")) == []
    assert machine.told[0] == "systemctl daemon-reload"


def test_without_a_configuration_nothing_is_started(machine: Machine) -> None:
    """Without a configuration units are installed, nothing starts, and it says how to continue."""
    ran = run("install", "--system")
    assert (ran.exit_code, machine.told) == (0, ["systemctl daemon-reload"])
    assert f"There is no {machine.home.config} yet" in ran.output and f"{PROGRAM} init --system" in ran.output


def test_a_wrong_configuration_installs_nothing(machine: Machine) -> None:
    """A wrong configuration is exit code 78 with its lines, and nothing is done."""
    machine.configure("[archive]\n")
    ran = run("install", "--system")
    assert (ran.exit_code, machine.told, machine.home.units.exists()) == (78, [], False)
    assert f"{machine.home.config}:1: archive.bucket: is missing" in ran.output


def test_where_the_timer_starts_passes_the_daemon_is_not_enabled(machine: Machine) -> None:
    """With the timer the daemon is not enabled, as each would refuse to run beside the other."""
    machine.configure(CREDENTIAL)
    machine.answer("is-enabled recvault.timer", 0, "enabled")
    run("install", "--system")
    assert machine.told == ["systemctl daemon-reload"]


def test_a_start_that_fails_says_where_to_look(machine: Machine) -> None:
    """A failed start prints systemd's message and the journal's command."""
    machine.configure(CREDENTIAL)
    machine.answer("restart", 1, "Job failed")
    ran = run("install", "--system")
    assert ran.exit_code == 1
    assert "`systemctl restart recvault.service` ended with 1: Job failed" in ran.output
    assert "journalctl -u recvault -e says why" in ran.output


def test_a_user_s_service_needs_no_root(machine: Machine) -> None:
    """A user's unit has the user's paths; missing variables are printed; a refused linger is only a note."""
    path = machine.configure(ARCHIVE + SOURCE.format('env = "TELNYX_API_KEY"'), machine.user)
    machine.answer("enable-linger", 1, "Access denied")
    ran = run("install", "--user")
    assert ran.exit_code == 0, ran.output
    text = (machine.user.units / "recvault.service").read_text()
    assert f"ExecStart={PROGRAM} --config {path} run\n" in text
    assert f"EnvironmentFile=-{path.parent}/environment\n" in text
    assert "User=" not in text and "/etc/recvault" not in text
    assert machine.told == [
        "systemctl --user daemon-reload",
        "systemctl --user enable recvault.service",
        "loginctl enable-linger",
        "systemctl --user restart recvault.service",
    ]
    assert "$ systemctl --user restart recvault.service\n" in ran.output
    assert "without it the service runs only while you are logged in" in ran.output
    assert f"note: main: api_key is in TELNYX_API_KEY: put it into {path.parent}/environment" in ran.output
    (path.parent / "environment").write_text("TELNYX_API_KEY=k\n")
    assert "note: main" not in run("install", "--user").output
    assert stat.S_IMODE(machine.user.state.stat().st_mode) == 0o700


def test_uninstall_keeps_what_was_archived_and_known(machine: Machine) -> None:
    """Only units are removed: ledger, configuration and secrets stay; a second run has nothing to do."""
    path = machine.configure(CREDENTIAL)
    run("install", "--system")
    machine.home.state.mkdir(parents=True)
    (machine.home.state / "ledger.db").touch()
    _ = machine.told
    ran = run("uninstall", "--system")
    assert ran.exit_code == 0, ran.output
    assert files(machine.home.units) == {}
    assert machine.told == [
        "systemctl disable --now recvault.service recvault.timer",
        "systemctl stop recvault-backfill@*",
        "systemctl daemon-reload",
    ]
    assert path.exists() and (machine.home.state / "ledger.db").exists()
    assert f"Kept: {path.parent}, {machine.home.state}" in ran.output
    ran = run("uninstall", "--system")
    assert (ran.exit_code, machine.told) == (0, [])
    assert f"Nothing is installed in {machine.home.units}." in ran.output


@pytest.mark.parametrize("says", ["n\n", "y\n"])
def test_a_purge_asks_and_removes_all_but_recordings(machine: Machine, says: str) -> None:
    """A purge removes configuration, recvault's secrets and the ledger, also in systemd's state directory."""
    path = machine.configure(CREDENTIAL)
    run("install", "--system")
    private = machine.home.state.parent / "private/recvault"
    private.mkdir(parents=True)
    machine.home.state.symlink_to(private)
    for name in ("recvault.telnyx-api-key", "other.secret"):
        (machine.home.credentials / name).touch()
    ran = run("uninstall", "--system", "--purge", says=says)
    gone = says == "y\n"
    assert ran.exit_code == (0 if gone else 1)
    left = [path.parent, machine.home.state, private, machine.home.credentials / "recvault.telnyx-api-key"]
    assert [each.exists() or each.is_symlink() for each in left] == [not gone] * 4
    assert (machine.home.credentials / "other.secret").exists()
    assert all(str(each) in ran.output for each in left)


@pytest.mark.parametrize("configured", [True, False])
def test_a_purge_never_removes_an_archive(machine: Machine, configured: bool) -> None:
    """An archive in the folders to remove, configured or not, stops a purge before anything is done."""
    archive = machine.home.state / "archive"
    (archive / ".recvault").mkdir(parents=True)
    machine.configure(f'[archive]\nbucket = "file://{archive}"\n' + SOURCE.format('env = "K"') if configured else "")
    run("install", "--system", "--dry-run")
    ran = run("uninstall", "--system", "--purge", "--yes")
    assert (ran.exit_code, archive.exists(), machine.home.config.exists()) == (78, True, True)
    assert f"{machine.home.state} contains an archive of recordings" in ran.output


def test_a_machine_without_systemd_is_told_so(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without systemd it is exit code 2 with a clear message; a dry run still prints the steps."""
    monkeypatch.setattr(install, "_SYSTEMD", machine.root / "none")
    for verb in ("install", "uninstall"):
        ran = run(verb, "--system")
        assert (ran.exit_code, machine.told) == (2, [])
        assert "this machine was not started with systemd" in ran.output
    assert "# systemctl daemon-reload" in run("install", "--system", "--dry-run").output


def test_a_user_without_a_systemd_is_told_so(machine: Machine) -> None:
    """A user without a systemd manager, e.g. after su, gets a clear message."""
    machine.answer("show-environment", 1)
    ran = run("install", "--user")
    assert ran.exit_code == 2 and "log in as that user, not through su or sudo" in ran.output


def test_only_root_installs_for_the_machine(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other users are told to use sudo or --user."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    ran = run("install", "--system")
    assert ran.exit_code == 2 and "use sudo, or --user" in ran.output


@pytest.mark.parametrize(("place", "says"), [("home", "is in /home"), ("closed", "is closed to the service's user")])
def test_a_program_that_the_service_cannot_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, says: str
) -> None:
    """A program in a home, hidden by the sandbox, or one that others cannot run is refused with a hint."""
    program = tmp_path / "bin" / "recvault"
    program.parent.mkdir(mode=0o755)
    program.touch(mode=0o755)
    monkeypatch.setattr(installing, "_HOMES", ("/none",))
    for each in (program, *program.parents):
        if each.is_relative_to("/tmp") and each != Path("/tmp"):
            each.chmod(0o755)
    installing.check_reach(program)
    if place == "closed":
        program.parent.chmod(0o700)
    else:
        monkeypatch.setattr(installing, "_HOMES", (str(tmp_path),))
        says = "which is closed to the service"
    with pytest.raises(Exception, match=says):
        installing.check_reach(program)


def test_units_carry_unusual_paths(tmp_path: Path) -> None:
    """Spaces and specifiers in paths are escaped for systemd."""
    words: Callable[[str], str] = installing.word
    found: list[Any] = [words("/a b/c"), words("/50%/x"), words("/$HOME/x"), words("/plain")]
    assert found == ['"/a b/c"', "/50%%/x", "/$$HOME/x", "/plain"]


def test_a_directory_of_an_unusual_name_is_escaped(machine: Machine, tmp_path: Path) -> None:
    """The drop-in names a directory with a space, a specifier and a dollar sign as systemd reads it."""
    archive = tmp_path / "call archive" / "100%n$x"
    archive.mkdir(parents=True)
    machine.configure(f"[archive]\nbucket = 'file://{archive}'\n" + SOURCE.format('credential = "acme-key"'))
    assert run("install", "--system").exit_code == 0
    drop_in = (machine.home.units / "recvault.service.d/recvault-install.conf").read_text()
    quoted = f'"{tmp_path}/call archive/100%%n$x"'
    assert f"RequiresMountsFor={quoted}\n" in drop_in and f"ReadWritePaths={quoted}\n" in drop_in
