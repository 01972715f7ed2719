"""`recvault install`: the service, with each step printed before it is done; and what `uninstall` shares with it."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from recvault.cli.app import App, now, question
from recvault.errors import ConfigError

if TYPE_CHECKING:
    from recvault.config import Config
    from recvault.setup.home import Home
    from recvault.setup.installing import Installing, Machine

_SYSTEMD = Path("/run/systemd/system")
_ASK_SECONDS = 20


@click.command("install")
@click.option("--user", "whom", flag_value="user", help="For this user, under their own systemd; needs no root.")
@click.option("--system", "whom", flag_value="system", help="For this machine; the default for root.")
@click.option("--dry-run", is_flag=True, help="Print the steps and do nothing.")
@question
def command(app: App, whom: str | None, dry_run: bool) -> int:
    """Install the systemd service and start it. Each step is printed as a command before it is done.

    It can be run again at any time, e.g. after an upgrade or a new source. A unit that was changed is kept as a copy.
    """
    from recvault.setup.actions import WriteFile, carry_out

    home = home_of(app, whom)
    installing = plan_of(home, dry_run=dry_run)
    if home.is_system and not dry_run:
        _check_reach(installing)
    actions = installing.install()
    if not any(isinstance(each, WriteFile) for each in actions):
        click.echo(f"The units in {home.units} are as they should be.")
    carry_out(actions, click.echo, dry_run=dry_run, prompt=installing.prompt)
    for note in installing.notes(_environment(home)):
        click.echo(f"\nnote: {note}")
    _say_what_next(installing)
    return 0


def home_of(app: App, whom: str | None) -> Home:
    """Where it is or will be installed."""
    from recvault.setup import home

    named = app.config.expanduser().absolute() if app.config else None
    chosen = whom or ("system" if os.geteuid() == 0 else "user")
    return home.system(named) if chosen == "system" else home.user(named)


def plan_of(home: Home, *, dry_run: bool, lenient: bool = False) -> Installing:
    """Plan the installation. NoSystemd if systemd cannot be used; ConfigError, unless `lenient`, if the configuration
    is invalid.
    """
    from recvault.setup.installing import Installing, NoSystemd

    if not dry_run and (missing := _missing(home)):
        raise NoSystemd(
            missing, "run `recvault run` under your own supervisor, or see systemd/README.md for containers"
        )
    if not dry_run and home.is_system and os.geteuid() != 0:
        raise click.UsageError("only root can install for the machine: use sudo, or --user")
    return Installing(
        home=home,
        program=_program(),
        settings=_settings(home, lenient=lenient),
        machine=_machine(home),
        now=now(),
    )


def _settings(home: Home, *, lenient: bool) -> Config | None:
    from recvault import config

    if not home.config.exists():
        return None
    try:
        return config.load(home.config)
    except ConfigError:
        if lenient:
            return None
        raise


def _missing(home: Home) -> str:
    """Say why systemd cannot be used; empty if it can."""
    if not _SYSTEMD.is_dir() or shutil.which("systemctl") is None:
        return "this machine was not started with systemd"
    if not home.is_system and _asked(home, "show-environment") is None:
        return f"there is no systemd of user {os.geteuid()}: log in as that user, not through su or sudo"
    return ""


def _asked(home: Home, *words: str) -> str | None:
    """Return what systemctl answers; None if it fails."""
    command = ["systemctl", *([] if home.is_system else ["--user"]), *words]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_SECONDS, check=False)  # noqa: S603
        if done.returncode == 0:
            return done.stdout.strip()
    return None


def _machine(home: Home) -> Machine:
    from recvault.setup.installing import DAEMON, TIMER, Machine

    user_id = None
    with contextlib.suppress(KeyError):
        user_id = pwd.getpwnam("recvault").pw_uid
    is_permanent = Path("/usr/lib/sysusers.d/recvault.conf").exists()  # otherwise it is the running service's
    return Machine(
        is_active=_asked(home, "is-active", DAEMON) == "active",
        has_timer=home.is_system and _asked(home, "is-enabled", TIMER) == "enabled",
        user_id=user_id if is_permanent else None,
    )


def _program() -> str:
    """Return the command that starts this recvault, as written in a unit."""
    from recvault.setup.installing import word

    called, beside = Path(sys.argv[0]), Path(sys.executable).with_name("recvault")
    for each in (called, beside):
        if each.name == "recvault" and (found := shutil.which(each)):
            return word(str(Path(found).absolute()))
    return f"{word(sys.executable)} -m recvault"


def _check_reach(installing: Installing) -> None:
    from recvault.setup.installing import check_reach

    check_reach(Path(installing.program.strip('"').removesuffix(" -m recvault")))


def _environment(home: Home) -> str:
    try:
        return home.environment.read_text(encoding="utf-8")
    except OSError:
        return ""


def _say_what_next(installing: Installing) -> None:
    home, program = installing.home, installing.program
    init = f"{program} init --{home.name}"
    if installing.settings is None:
        click.echo(f"\nThere is no {home.config} yet. Make it, then run this again:\n  {init}")
        return
    systemctl = " ".join(installing.systemctl)
    click.echo(
        "\nTo look at it\n"
        f"  {systemctl} status recvault\n"
        f"  {program} --config {home.config} status\n"
        f"  {program} check --as-service\n"
        f"  {installing.journal.replace(' -e', ' -f')}"
    )
