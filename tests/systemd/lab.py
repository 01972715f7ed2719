"""A real systemd for the units: a container made of this machine's own /usr, so that nothing is downloaded.

    with Lab(tmp_path) as lab:
        lab.write("/etc/recvault/config.toml", text)
        lab.run("systemctl", "start", "recvault")

It shares this machine's network: servers on loopback can be reached from inside. /opt/recvault is this Python
environment, read-only. RECVAULT_TEST_ROOTFS names another root file system whose /usr (and systemd) is used.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import recvault
from cli.commands import until

UNITS = Path(recvault.__file__).parents[2] / "systemd"
EXAMPLE = UNITS.parent / "config.example.toml"
SWITCH = "RECVAULT_TEST_SYSTEMD"
PATIENCE = 60.0
_PYTHON = Path(getattr(sys, "_base_executable", sys.executable)).resolve().relative_to(Path(sys.base_prefix).resolve())
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LAUNCHER = f"""#!/bin/sh
export LD_LIBRARY_PATH=/opt/python/lib PYTHONPATH=/opt/recvault/src:/opt/recvault/site-packages
exec /opt/python/{_PYTHON} -c 'import sys
from recvault.__main__ import main
sys.argv[:1] = []
main()' "$0" "$@"
"""
_FILES = {
    "etc/os-release": "ID=lab\n",
    "etc/machine-id": "5f0c1e5e0b1c4b0f8f1d6d7c1a2b3c4d\n",
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "etc/group": "root:x:0:\n",
    "etc/nsswitch.conf": "passwd: files systemd\ngroup: files systemd\nhosts: files\n",
    "etc/hosts": "127.0.0.1 localhost\n",
    "opt/recvault/bin/recvault": _LAUNCHER,
}


def missing() -> str:
    """Return why it cannot run here; empty if it can."""
    if not os.environ.get(SWITCH):
        return f"set {SWITCH}=1, and pytest -n 0, to run the unit under a real systemd (root, a minute)"
    if "PYTEST_XDIST_WORKER" in os.environ:
        return "two containers would share their cgroups: pytest -n 0 tests/systemd"
    if os.geteuid() != 0:
        return "systemd-nspawn needs root"
    tools = [tool for tool in ("systemd-nspawn", "nsenter") if shutil.which(tool) is None]
    if tools:
        return f"{', '.join(tools)} not installed (Debian: systemd-container, util-linux)"
    return "" if (_usr() / "lib/systemd/systemd").exists() else f"{_usr()} holds no systemd"


def _usr() -> Path:
    return Path(os.environ.get("RECVAULT_TEST_ROOTFS", "/")) / "usr"


class Lab:
    """Boots on entering, is powered off on leaving."""

    def __init__(self, place: Path) -> None:
        self.root = place / "lab"
        self._console = place / "console.log"
        self._nspawn: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._furnish()
        switches = {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1", "SYSTEMD_NSPAWN_LOCK": "0"}
        with self._console.open("ab") as console:
            self._nspawn = subprocess.Popen(
                self._boot(),
                env={**os.environ, **switches},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            until(lambda: self._state() in ("running", "degraded"), PATIENCE)
        except BaseException:
            self.__exit__(None, None, None)
            print(self._console.read_text(errors="replace")[-3000:])
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._nspawn is not None
        with contextlib.suppress(ProcessLookupError, IndexError):
            os.kill(self._leader, signal.SIGRTMIN + 4)  # poweroff
        try:
            self._nspawn.wait(20)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait()

    # -- what it is made of --------------------------------------------------------------------------------------------

    def _furnish(self) -> None:
        for folder in ("usr", "var/log/journal", "run", "tmp", "proc", "sys", "dev", "root", "opt/python"):
            (self.root / folder).mkdir(parents=True)
        for folder in ("opt/recvault/src", "opt/recvault/site-packages", "etc/systemd/system"):
            (self.root / folder).mkdir(parents=True)
        for link in ("bin", "sbin", "lib", "lib64"):
            (self.root / link).symlink_to(f"usr/{link}")
        for path, text in _FILES.items():
            self.write(path, text)
        (self.root / "opt/recvault/bin/recvault").chmod(0o755)
        for unit in UNITS.glob("*.service"):
            shutil.copy(unit, self.root / "etc/systemd/system")

    def _boot(self) -> list[str]:
        binds = {
            _usr(): "/usr",
            Path(sys.base_prefix).resolve(): "/opt/python",
            Path(sysconfig.get_path("purelib")): "/opt/recvault/site-packages",
            Path(recvault.__file__).parents[1]: "/opt/recvault/src",
            UNITS: "/opt/recvault/systemd",
            EXAMPLE: "/opt/recvault/config.example.toml",
        }
        return [
            *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--machine=recvault-lab"),
            *("--directory", str(self.root), "--resolv-conf=off", "--timezone=off", "--link-journal=no"),
            *("--console=pipe", "--capability=CAP_BPF,CAP_PERFMON,CAP_SYS_RESOURCE,CAP_NET_ADMIN"),
            *("--system-call-filter=@keyring bpf perf_event_open",),
            *(f"--bind-ro={here}:{there}" for here, there in binds.items()),
            *("--boot", "--", "--unit=basic.target"),
        ]

    # -- what is done in it --------------------------------------------------------------------------------------------

    @property
    def _leader(self) -> int:
        """Return the container's PID 1 in this machine's numbering."""
        assert self._nspawn is not None
        pid = self._nspawn.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])

    def _state(self) -> str:
        assert self._nspawn is not None and self._nspawn.poll() is None, "the container ended"
        with contextlib.suppress(IndexError):
            return self.run("systemctl", "is-system-running", check=False).strip()
        return ""

    def run(self, *command: str, check: bool = True) -> str:
        """Return the stdout of a command run as root inside."""
        done = self.ran(*command)
        assert done.returncode == 0 or not check, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def ran(self, *command: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command as root inside, to its end."""
        enter = ["nsenter", "-t", str(self._leader), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--"]
        inside = {"PATH": _PATH, "HOME": "/root", "LANG": "C.UTF-8", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}
        words = [f"{name}={value}" for name, value in {**inside, **(env or {})}.items()]
        return subprocess.run([*enter, "env", "-i", *words, *command], capture_output=True, text=True, timeout=PATIENCE)

    def write(self, path: str, text: str, mode: int = 0o644) -> Path:
        """Write a file inside, by its path there."""
        there = self.root / path.lstrip("/")
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_text(text)
        there.chmod(mode)
        return there

    def property(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.run("systemctl", "show", unit, "-P", name).strip()

    def journal(self, unit: str) -> Iterator[str]:
        """Return a unit's log lines."""
        yield from self.run("journalctl", "-u", unit, "-o", "cat", "--no-pager").splitlines()
