"""Start recvault as scripts and people do: as a process of its own, with pipes or a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import forked
from forked import popen
from real_s3.fixtures import LACKS
from rig import Rig

_BETWEEN = "=== the next command ==="
_EACH = f"""
import contextlib, json, sys
from recvault.cli import main
for words in json.loads(sys.argv[1]):
    print({_BETWEEN!r}, flush=True)
    with contextlib.suppress(SystemExit):
        main(words)
"""
_EACH_APART = """
import contextlib, io, json, sys
from recvault.cli import main
ran = []
for words in json.loads(sys.argv[1]):
    out, err, code = io.StringIO(), io.StringIO(), None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(words)
        except SystemExit as left:
            code = left.code
    ran.append((code, out.getvalue(), err.getvalue()))
print(json.dumps(ran))
"""
PATIENCE = 50.0  # seconds for one command
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH", "COVERAGE_PROCESS_START")


@dataclass(frozen=True)
class Ran:
    """The result of a finished command."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        """Return the only content of stdout, one JSON document."""
        document: dict[str, Any] = json.loads(self.stdout)
        return document

    @property
    def log(self) -> list[dict[str, Any]]:
        """Return the log on stderr: every line is an object with time, level and event."""
        lines = [json.loads(line) for line in self.stderr.splitlines()]
        assert all({"ts", "level", "event"} <= set(line) for line in lines)
        return lines


def environment(root: Path, **more: str) -> dict[str, str]:
    """Return the environment of a command, without this machine's credentials or configuration."""
    return {
        **{name: os.environ[name] for name in _KEPT if name in os.environ},
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test-secret-key",
        "AWS_CONFIG_FILE": str(root / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(root / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONWARNINGS": "error::ResourceWarning",
        **more,
    }


def arguments(rig: Rig | None, *words: str) -> list[str]:
    configured = ["--config", str(rig.config_path)] if rig else []
    return [sys.executable, "-m", "recvault", *configured, *words]


def start(rig: Rig, *words: str, **more: str) -> subprocess.Popen[str]:
    """Start a command and leave it running."""
    pipe, surroundings = subprocess.PIPE, environment(rig.root, **more)
    return popen(arguments(rig, *words), surroundings, stdout=pipe, stderr=pipe, text=True, cwd=rig.root)


def finish(process: subprocess.Popen[str]) -> Ran:
    """Wait for a command's end."""
    try:
        stdout, stderr = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    return Ran(process.returncode, stdout, stderr)


def run(rig: Rig, *words: str, **more: str) -> Ran:
    """Run a command to its end."""
    return finish(start(rig, *words, **more))


def run_each(rig: Rig, *commands: list[str]) -> list[Ran]:
    """Run read-only commands one after another in one process, which starts once."""
    asked = json.dumps([["--config", str(rig.config_path), *words] for words in commands])
    command = [sys.executable, "-c", _EACH_APART, asked]
    code, stdout, stderr = forked.run(command, environment(rig.root), rig.root, PATIENCE)
    assert code == 0, stderr
    return [Ran(*each) for each in json.loads(stdout)]


def bare(root: Path, *words: str, **more: str) -> Ran:
    """Run a command without naming a configuration."""
    return Ran(*forked.run(arguments(None, *words), environment(root, **more), root, seconds=120))


def until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until the condition holds."""
    limit = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.01)


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a process and its children with SIGKILL."""
    process.send_signal(signal.SIGKILL)
    process.communicate()


def children(pid: int) -> dict[int, bytes]:
    """Return the children of a process, with their command lines."""
    found = {}
    with contextlib.suppress(OSError):  # it ended, or one of them did
        for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
            found[child] = Path(f"/proc/{child}/cmdline").read_bytes()
    return found


def fork_server(pid: int) -> int:
    """Return the process that forks a command's workers; 0 if there is none."""
    return next((child for child, called in children(pid).items() if b"forkserver" in called), 0)


def workers_of(pid: int) -> list[int]:
    """Return the worker processes of a command."""
    return list(children(fork_server(pid)))


def on_terminal(rig: Rig, *words: str, columns: int = 100, env: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run a command on a terminal; return its exit code and everything that it displayed."""
    return _shown(rig, arguments(rig, *words), columns, env or {})


def each_on_terminal(
    rig: Rig, *commands: list[str], columns: int = 100, env: Mapping[str, str] | None = None
) -> list[str]:
    """Run commands on a terminal in one process, which starts once; return what each displayed."""
    asked = json.dumps([["--config", str(rig.config_path), *words] for words in commands])
    shown = _shown(rig, [sys.executable, "-c", _EACH, asked], columns, env or {})[1]
    return shown.split(_BETWEEN)[1:]


def open_terminal(rows: int, columns: int) -> tuple[int, int]:
    """Open a terminal of that size; return both ends. Skips the test if the machine has none."""
    try:
        ours, theirs = pty.openpty()
    except OSError as error:
        pytest.skip(f"{LACKS}a terminal: {error.strerror or error}; mount -t devpts devpts /dev/pts")
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    return ours, theirs


def _shown(rig: Rig, command: list[str], columns: int, env: Mapping[str, str]) -> tuple[int, str]:
    ours, theirs = open_terminal(50, columns)
    surroundings = environment(rig.root, TERM="xterm-256color", **env)
    process = popen(command, surroundings, stdin=theirs, stdout=theirs, stderr=theirs, cwd=rig.root)
    os.close(theirs)
    try:
        return _read_to_the_end(process, ours)
    finally:
        process.kill()
        os.close(ours)


def _read_to_the_end(process: subprocess.Popen[bytes], terminal: int) -> tuple[int, str]:
    shown, limit = b"", time.monotonic() + PATIENCE
    while time.monotonic() < limit:
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            more = os.read(terminal, 65536)
        except OSError:  # EIO: the other side is closed
            more = b""
        if not more:
            break
        shown += more
    return process.wait(PATIENCE), shown.decode("utf-8", "replace")
