"""Run a check as the service: by a copy of its unit, with every drop-in, that runs `check` once instead.

So user, sandbox, environment and credentials are those of the unit itself, whatever was changed in it. The copy is
transient: it is removed at the end, and does not survive a reboot.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from recvault.errors import ConfigError, RecvaultError
from recvault.setup.home import ROOT
from recvault.setup.installing import DAEMON, NoSystemd

_SECONDS = 400
_START = re.compile(r"^\s*ExecStart\s*=[-@:+!]*(.*?)\s+(?:run|sync)(?:\s.*)?$", re.MULTILINE)
_OTHERWISE = """
[Unit]
OnFailure=
OnSuccess=

[Service]
Type=oneshot
NotifyAccess=none
RemainAfterExit=no
Restart=no
WatchdogSec=0
TimeoutStartSec=5min
SuccessExitStatus=
ExecCondition=
ExecStartPre=
ExecStartPost=
ExecReload=
ExecStop=
ExecStopPost=
ExecStart=
ExecStart={command}
StandardOutput=truncate:{out}
StandardError=truncate:{err}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceChecked:
    """The check's output and exit code. `trouble`: why systemd could not even start it."""

    stdout: str
    stderr: str
    exit_code: int
    trouble: str = ""


def transient(unit: str, words: Sequence[str], out: Path, err: Path) -> str:
    """Return the unit with another command that runs once. ConfigError if its own command is not recognised."""
    started = _START.findall(unit)
    if not started:
        raise ConfigError(
            f"{DAEMON} does not start `recvault run` or `recvault sync`",
            f"systemctl cat {DAEMON}; recvault install",
        )
    command = " ".join([started[-1], "check", *words])
    return unit + _OTHERWISE.format(command=command, out=out, err=err)


def run(words: Sequence[str]) -> ServiceChecked:
    """Run `check` with these options as this machine's service, or without root as this user's."""
    systemd = _Systemd(is_user=os.geteuid() != 0)
    unit = systemd.unit()
    name = f"recvault-check-{os.getpid()}.service"
    with tempfile.TemporaryDirectory(dir=systemd.runtime, prefix="recvault-check-") as scratch:
        out, err = Path(scratch, "out"), Path(scratch, "err")
        with systemd.started(name, transient(unit, words, out, err)) as (code, trouble):
            return ServiceChecked(stdout=_text(out), stderr=_text(err), exit_code=code, trouble=trouble)


class _Systemd:
    """The system's or the user's manager."""

    def __init__(self, *, is_user: bool) -> None:
        given = os.environ.get("XDG_RUNTIME_DIR", "")
        self.runtime = Path(given) if is_user else ROOT / "run"
        self._units = self.runtime / "systemd" / ("user" if is_user else "system")
        self._flags = ("--user",) if is_user else ()
        if shutil.which("systemctl") is None or not self.runtime.is_dir() or (is_user and not given):
            raise NoSystemd("there is no systemd here that runs the service", "use `recvault check`")

    def unit(self) -> str:
        """Return the unit with its drop-ins, as systemd reads them."""
        done = self._ask("systemctl", "cat", DAEMON)
        if done.returncode != 0:
            whose = "this user has" if self._flags else "this machine has"
            hint = "install it: recvault install" + ("; for the machine's, run this as root" if self._flags else "")
            raise ConfigError(f"{whose} no {DAEMON}", hint)
        return done.stdout

    @contextlib.contextmanager
    def started(self, name: str, text: str) -> Iterator[tuple[int, str]]:
        """Run a transient unit to its end; yield its exit code, and why systemd could not start it, if so."""
        path = self._units / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            self._ask("systemctl", "daemon-reload")
            started = self._ask("systemctl", "start", name)
            yield (0, "") if started.returncode == 0 else self._failed(name)  # systemd forgets one that succeeded
        except OSError as error:
            raise RecvaultError(f"{path} cannot be written: {error.strerror}", "run it as root") from error
        finally:
            path.unlink(missing_ok=True)
            self._ask("systemctl", "reset-failed", name)
            self._ask("systemctl", "daemon-reload")

    def _failed(self, name: str) -> tuple[int, str]:
        """Return exit code and problem; statuses from 200 on are of systemd's own steps: user, sandbox, credentials."""
        shown = self._ask("systemctl", "show", name, "-p", "ExecMainStatus,ExecMainCode,Result").stdout
        found = dict(line.partition("=")[::2] for line in shown.splitlines())
        code, result = int(found.get("ExecMainStatus") or 0), found.get("Result", "")
        if found.get("ExecMainCode") == "1" and 0 < code < 200:
            return code, ""
        lines = self._ask("journalctl", "-u", name, "-n", "5", "-o", "cat", "--no-pager").stdout.splitlines()
        return ConfigError.exit_code, f"{result}, status {code}: {' | '.join(lines) or 'see the journal'}"

    def _ask(self, program: str, *words: str) -> subprocess.CompletedProcess[str]:
        command = [program, *self._flags, *words]
        try:
            return subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)  # noqa: S603
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RecvaultError(f"`{' '.join(command)}` could not be run: {error}") from error


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
