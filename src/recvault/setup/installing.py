"""Plan how the service is installed and removed. Plans only: `actions` carries them out.

Invariants: a file that differs from ours is copied before it is replaced or removed; no recording is ever removed.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from recvault.config import Config, SecretRef
from recvault.errors import ConfigError, RecvaultError
from recvault.setup.actions import Action, Backup, Folder, Remove, RemoveEmpty, RunCommand, WriteFile
from recvault.setup.home import ROOT, Home
from recvault.setup.shipped import unit

DAEMON, BACKFILL, TIMER = "recvault.service", "recvault-backfill@.service", "recvault.timer"
OURS = "recvault-install.conf"  # the drop-in for what a configuration needs of the units
_PROGRAM, _CONFIG, _ENVIRONMENT = "/opt/recvault/bin/recvault", "/etc/recvault/config.toml", "/etc/recvault/environment"
_HOMES = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - closed to the service by its sandbox
_LOADED = re.compile(r"^LoadCredential(?:Encrypted)?=([^:\s]+)", re.MULTILINE)
_ARCHIVE_MARK = ".recvault"


class NoSystemd(RecvaultError):
    """This machine has no systemd to install into."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What was found on this machine."""

    is_active: bool = False  # the daemon runs
    has_timer: bool = False  # passes are started by the timer
    user_id: int | None = None  # of the permanent user, if there is one


@dataclass(frozen=True, slots=True, kw_only=True)
class Installing:
    """One installation. `settings` is None where there is no configuration yet."""

    home: Home
    program: str
    settings: Config | None
    machine: Machine
    now: datetime

    @property
    def systemctl(self) -> tuple[str, ...]:
        return ("systemctl",) if self.home.is_system else ("systemctl", "--user")

    def files(self) -> dict[Path, str]:
        """Return every unit file by its path."""
        names = (DAEMON, BACKFILL, TIMER) if self.home.is_system else (DAEMON,)
        folder = "" if self.home.is_system else "user/"
        found = {self.home.units / name: self._ours(unit(folder + name)) for name in names}
        drop_in = self._drop_in()
        if self.home.is_system and drop_in:
            found |= {self.home.units / f"{name}.d" / OURS: drop_in for name in (DAEMON, BACKFILL)}
        return found

    def install(self) -> list[Action]:
        """Return the actions for everything that is not as it should be."""
        files = list(self._write())
        closed = [self.home.credentials, self.home.credentials.with_name("credstore.encrypted")]
        folders = closed if self.home.is_system else [self.home.state]
        plan: list[Action] = [Folder(path=each, mode=0o700) for each in folders if not each.exists()]
        plan += [*files, *self._permanent_user()]
        changed = any(isinstance(each, WriteFile | Remove) for each in plan)
        if changed:
            plan.append(RunCommand(command=(*self.systemctl, "daemon-reload")))
        if self.settings is None or self.machine.has_timer:
            return plan
        plan.append(RunCommand(command=(*self.systemctl, "enable", DAEMON)))
        if not self.home.is_system:
            hint = "without it the service runs only while you are logged in"
            plan.append(RunCommand(command=("loginctl", "enable-linger"), optional=True, hint=hint))
        if changed or not self.machine.is_active:
            plan.append(RunCommand(command=(*self.systemctl, "restart", DAEMON), hint=f"{self.journal} says why"))
        return plan

    @property
    def prompt(self) -> str:
        """What a shell shows before a command of whoever installs."""
        return "#" if self.home.is_system else "$"

    @property
    def journal(self) -> str:
        return f"journalctl {'-u' if self.home.is_system else '--user -u'} recvault -e"

    def uninstall(self, *, purge: bool) -> list[Action]:
        """Return the actions that stop and remove the service; `purge`: also its data, but never recordings."""
        there = [path for path in self._known() if path.exists()]
        plan: list[Action] = []
        if units := [path.name for path in there if path.parent == self.home.units and "@" not in path.name]:
            plan.append(RunCommand(command=(*self.systemctl, "disable", "--now", *units)))
        if self.home.units / BACKFILL in there:
            plan.append(RunCommand(command=(*self.systemctl, "stop", "recvault-backfill@*")))
        expected = self.files()
        for path in there:
            if path.name != OURS and path.read_text(encoding="utf-8") != expected.get(path):
                plan.append(self._backup(path))
            plan.append(Remove(path=path))
        folders = {path.parent for path in there if path.name == OURS}
        plan += [RemoveEmpty(path=folder) for folder in sorted(folders)]
        if there:
            plan.append(RunCommand(command=(*self.systemctl, "daemon-reload")))
        return [*plan, *(self._purge() if purge else ())]

    def kept(self) -> list[Path]:
        """Return what an uninstall leaves and a purge removes."""
        places = [self.home.folder, self.home.state]
        if self.home.is_system:
            places += [self.home.state.parent / "private/recvault", *sorted(self.home.credentials.glob("recvault.*"))]
        return [path for path in places if path.exists() or path.is_symlink()]

    def notes(self, environment: str) -> Iterator[str]:
        """Yield what the service lacks that this shell may have. `environment` is the text of its EnvironmentFile."""
        known = set(re.findall(r"^\s*([A-Za-z_][A-Za-z0-9_]*)=", environment, re.MULTILINE))
        for secret in secrets(self.settings) if self.settings else ():
            if secret.env is not None and secret.env not in known:
                yield f"{secret.owner} is in {secret.env}: put it into {self.home.environment}, mode 0600"
            if secret.file is not None and self.home.is_system:
                yield f"{secret.owner} is in {secret.file}: the user recvault must be able to read it"

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _ours(self, text: str) -> str:
        """Return a shipped unit with the paths of this installation."""
        for shipped, here in (
            (_PROGRAM, self.program),
            (_CONFIG, word(str(self.home.config))),
            (_ENVIRONMENT, str(self.home.environment).replace("%", "%%")),
        ):
            text = text.replace(shipped, here)
        return text

    def _drop_in(self) -> str:
        """Return the drop-in that the configuration needs: credentials of other names, and a writable directory."""
        known = set(_LOADED.findall(unit(DAEMON)))
        names = [each.credential for each in secrets(self.settings)] if self.settings else []
        lines = [
            f"LoadCredential={name}:recvault.{name}" for name in dict.fromkeys(names) if name and name not in known
        ]
        directory = self.settings.archive.directory if self.settings else None
        if directory is not None:
            lines += [f"ReadWritePaths={_path(directory)}", "UMask=0027"]
        if not lines:
            return ""
        mounts = ["[Unit]", f"RequiresMountsFor={_path(directory)}", ""] if directory is not None else []
        head = f"# Written by `recvault install` for {self.home.config}; it is written anew by the next one."
        return "\n".join([head, *mounts, "[Service]", *lines, ""])

    def _write(self) -> Iterator[Action]:
        wanted = self.files()
        for path in self._known():
            there = path.read_text(encoding="utf-8") if path.exists() else None
            text = wanted.get(path)
            if text is None and there is not None:
                yield Remove(path=path)
            elif text is not None and there != text:
                if not path.parent.exists():
                    yield Folder(path=path.parent, mode=0o755 if self.home.is_system else 0o700)
                if there is not None and path.name != OURS:
                    yield self._backup(path)
                yield WriteFile(path=path, text=text)

    def _known(self) -> list[Path]:
        """Return every unit file of ours that may exist."""
        names = (DAEMON, BACKFILL, TIMER) if self.home.is_system else (DAEMON,)
        drop_ins = [self.home.units / f"{name}.d" / OURS for name in (DAEMON, BACKFILL)] if self.home.is_system else []
        return [*(self.home.units / name for name in names), *drop_ins]

    def _backup(self, path: Path) -> Backup:
        return Backup(path=path, copy=path.with_name(f"{path.name}.before-{self.now:%Y%m%dT%H%M%S}"))

    def _permanent_user(self) -> Iterator[Action]:
        """Yield the actions that create a permanent user, needed as owner of an archive's directory."""
        directory = self.settings.archive.directory if self.settings else None
        if directory is None or not self.home.is_system:
            return
        if self.machine.user_id is None:
            yield WriteFile(path=ROOT / "usr/lib/sysusers.d/recvault.conf", text=unit("recvault.sysusers.conf"))
            yield RunCommand(command=("systemd-sysusers", "recvault.conf"))
        if directory.exists() and directory.stat().st_uid != self.machine.user_id:
            yield RunCommand(command=("chown", "-R", "recvault:recvault", str(directory)))

    def _purge(self) -> Iterator[Action]:
        places = self.kept()
        archive = self.settings.archive.directory if self.settings else None
        for place in places:
            inside = archive is not None and archive.resolve().is_relative_to(place.resolve())
            if inside or any(place.rglob(_ARCHIVE_MARK)):
                raise ConfigError(f"{place} contains an archive of recordings", "move the archive away first")
        yield from (Remove(path=place, whole=True) for place in places)


def secrets(found: Any) -> Iterator[SecretRef]:
    """Yield every reference to a secret in a configuration or a part of it."""
    if isinstance(found, SecretRef):
        yield found
        return
    parts: Iterable[Any] = ()
    if fields := getattr(type(found), "model_fields", None):
        parts = (getattr(found, name) for name in fields)
    elif isinstance(found, Mapping):
        parts = found.values()
    elif isinstance(found, tuple):
        parts = found
    for part in parts:
        yield from secrets(part)


def word(text: str) -> str:
    """Quote an argument of a command in a unit."""
    escaped = text.replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if re.search(r"\s", escaped) else escaped


def _path(path: Path) -> str:
    """Quote a path in a list of a unit, where a $ stands for itself."""
    escaped = str(path).replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"' if re.search(r"[\s\\\"']", escaped) else escaped


def check_reach(program: Path) -> None:
    """Raise ConfigError if the service's user cannot run that program: it is in a home, or closed to others."""
    for path in {program.absolute(), program.resolve()}:
        if any(path.is_relative_to(home) for home in _HOMES):
            raise ConfigError(f"{path} is in {path.parents[-2]}, which is closed to the service", _elsewhere())
        for each in (path, *path.parents):
            if not each.stat().st_mode & stat.S_IXOTH:
                raise ConfigError(f"{each} is closed to the service's user", f"chmod o+x {each}; or {_elsewhere()}")


def _elsewhere() -> str:
    return (
        "install it for everyone: python3 -m venv /opt/recvault, /opt/recvault/bin/pip install recvault, "
        "/opt/recvault/bin/recvault install --system; or use --user"
    )
