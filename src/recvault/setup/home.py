"""Where recvault keeps its files: for one user below the XDG folders, or for a service of the machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from recvault import config
from recvault.errors import ConfigError

ROOT = Path("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """The places of one installation. At any time a secret is only in files of mode 0600."""

    is_system: bool
    config: Path
    state: Path
    credentials: Path  # systemd's credential store
    aws: Path  # the bucket's credentials, as an AWS credentials file
    units: Path  # where systemd looks for units

    @property
    def name(self) -> str:
        return "system" if self.is_system else "user"

    @property
    def folder(self) -> Path:
        return self.config.parent

    @property
    def ledger(self) -> Path:
        return self.state / "ledger.db"

    @property
    def spool(self) -> Path:
        return self.state / "spool"

    @property
    def environment(self) -> Path:
        """The file with the service's environment variables."""
        return self.folder / "environment"

    def secret(self, source: str, key: str) -> Path:
        return self.folder / "secrets" / f"{source}.{key}"

    def credential(self, name: str) -> Path:
        """Return the file that the unit loads as the credential of that name."""
        return self.credentials / f"recvault.{name}"


def system(path: Path | None = None) -> Home:
    """Return the places of a service of this machine, with its configuration in /etc or in `path`."""
    return Home(
        is_system=True,
        config=path or ROOT / config.SYSTEM.relative_to("/"),
        state=ROOT / "var/lib/recvault",
        credentials=ROOT / "etc/credstore",
        aws=ROOT / "etc/credstore/recvault.aws",
        units=ROOT / "etc/systemd/system",
    )


def user(path: Path | None = None) -> Home:
    """Return this user's places. ConfigError for a user without a home."""
    ours, home = config.user_config(), os.environ.get("HOME", "")
    if ours is None or not home.startswith("/"):
        raise ConfigError("HOME is not set: there is no place for a user's configuration", "set HOME, or use --system")
    state = os.environ.get("XDG_STATE_HOME", "")
    return Home(
        is_system=False,
        config=path or ours,
        state=Path(state if state.startswith("/") else f"{home}/.local/state") / "recvault",
        credentials=ours.parent / "credentials",
        aws=Path(home, ".aws/credentials"),
        units=ours.parents[1] / "systemd/user",
    )


def shown(path: Path) -> str:
    """Write a path with ~ for the home."""
    home = os.environ.get("HOME", "")
    return f"~/{path.relative_to(home)}" if home.startswith("/") and path.is_relative_to(home) else str(path)
