"""The tests' forked processes begin and end like fresh Pythons."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import forked
from cli.commands import environment, kill, start, until, workers_of
from recvault.simulator import Simulator, Switches
from rig import Rig

_SEEN = """
import json, os, signal, sys, threading
streams = [(each.mode, each.encoding, each.errors, each.line_buffering, each.isatty())
           for each in (sys.stdin, sys.stdout, sys.stderr)]
print(json.dumps({
    "arguments": sys.argv, "path": sys.path, "folder": os.getcwd(), "environment": dict(os.environ), "streams": streams,
    "open": sorted(set(map(int, os.listdir("/proc/self/fd"))) & set(range(3))), "main": __name__,
    "signals": {number: str(signal.getsignal(number)) for number in map(int, signal.valid_signals())},
    "threads": threading.active_count(), "warnings": sys.warnoptions,
}))
"""
ENDS = {
    "at its end": ("print('said')", 0),
    "by a code": ("import sys; print('said'); sys.exit(75)", 75),
    "by a word": ("import sys; print('said'); sys.exit('no')", 1),
    "by an error": ("print('said'); raise ValueError('no')", 1),
    "by an interrupt": ("print('said'); raise KeyboardInterrupt", -signal.SIGINT),
    "by a signal": ("import os; print('said', flush=True); os.kill(os.getpid(), 15)", -signal.SIGTERM),
    "at once": ("import os; print('said', flush=True); os._exit(3)", 3),
}


@pytest.fixture(params=["forked", "fresh"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way to start a process."""
    monkeypatch.setattr(forked, "is_fresh", request.param == "fresh")
    return str(request.param)


def ran(root: Path, code: str, *words: str) -> tuple[int, str, str]:
    return forked.run([sys.executable, "-c", code, *words], environment(root, RECVAULT_X="é\n"), root, seconds=50)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere all are fresh")
def test_it_begins_as_a_fresh_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments, folder, environment, streams and signals are those of a fresh Python."""
    found: list[Any] = []
    for is_fresh in (True, False):
        monkeypatch.setattr(forked, "is_fresh", is_fresh)
        code, said, told = ran(tmp_path, _SEEN, "a word", "--flag")
        assert (code, told) == (0, "")
        found.append(json.loads(said))
    assert found[0] == found[1]
    assert found[0]["arguments"] == ["-c", "a word", "--flag"]


@pytest.mark.parametrize("end", ENDS)
def test_it_ends_as_a_fresh_one(way: str, tmp_path: Path, end: str) -> None:
    """Its exit code or signal is returned, and its output is not lost."""
    code, expected = ENDS[end]
    left, said, _ = ran(tmp_path, code)
    assert (left, said) == (expected, "said\n")


def test_what_python_reads_at_its_start_gets_a_fresh_one(tmp_path: Path) -> None:
    """A variable that Python reads at its start gets a fresh process."""
    for name, value in (("PYTHONOPTIMIZE", "2"), ("PYTHONUTF8", "0"), ("LC_ALL", "C")):
        code = f"import os, sys; print(os.environ[{name!r}], sys.flags.optimize)"
        process = forked.popen(
            [sys.executable, "-c", code], environment(tmp_path, **{name: value}), stdout=-1, text=True
        )
        assert process.communicate(timeout=50)[0].split() == [value, "2" if name == "PYTHONOPTIMIZE" else "0"]
        assert type(process) is subprocess.Popen


@pytest.fixture
def busy(rig: Rig, simulator: Simulator, way: str) -> Iterator[subprocess.Popen[str]]:
    """A pass with worker processes, during its transfers."""
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=40)
    simulator.switches = Switches(latency_seconds=0.5)
    rig.add_source("voice", "twilio", account)
    rig.transfer = {"processes": 2, "workers": 2}
    process = start(rig, "sync", "--json")
    until(lambda: len(workers_of(process.pid)) == 2)
    yield process
    kill(process)


def test_killed_it_leaves_nobody(busy: subprocess.Popen[str]) -> None:
    """If killed, its workers end with it."""
    members = workers_of(busy.pid)
    kill(busy)
    assert busy.returncode == -signal.SIGKILL
    until(lambda: not any(Path(f"/proc/{each}").exists() for each in [busy.pid, *members]))
