"""What is timed: an installed, compiled copy of recvault, by a Python built with optimisations; and its cost.

An editable install with PYTHONDONTWRITEBYTECODE would compile recvault at each start of each process.
"""

from __future__ import annotations

import argparse
import compileall
import ctypes
import os
import resource
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
_DEBIANS = "/usr/bin/python3"
_OURS = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONWARNINGS")
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER


@dataclass(frozen=True)
class Cost:
    """The cost of a command and all its descendants."""

    code: int
    seconds: float
    cpu: float  # user and system


def add_python(parser: argparse.ArgumentParser) -> None:
    """Add the option for an interpreter."""
    parser.add_argument("--python", default=None, help="that runs recvault; Debian's, where it is one of this version")


def installed(asked: argparse.Namespace, root: Path, source: Path = CHECKOUT) -> str:
    """Install a checkout into an environment of its own, with this one's libraries; return its Python."""
    python, home = asked.python or _python(), root / "venv"
    environment = plain(os.environ)
    subprocess.run([python, "-m", "venv", "--without-pip", home], check=True, env=environment)
    target = str(home / "bin/python")
    pip = [sys.executable, "-m", "pip", "--python", target, "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", str(source)], check=True, env=environment)
    found = [target, "-c", "import sys, sysconfig; print(sys.version_info[:2], sysconfig.get_path('purelib'))"]
    version, _, site = subprocess.check_output(found, text=True, env=environment).strip().rpartition(" ")
    if version != str(sys.version_info[:2]):
        raise SystemExit(f"{python} is another version than {sys.executable}, whose libraries it is to use")
    beside = sysconfig.get_path("purelib")
    (Path(site) / "beside.pth").write_text(f"{beside}\n")  # only a path: editable installs in it are ignored
    compileall.compile_dir(beside, quiet=2)
    where = subprocess.check_output(
        [target, "-c", "import recvault; print(recvault.__file__)"], text=True, env=environment
    )
    assert Path(where.strip()).is_relative_to(home), f"it would run {where.strip()}"
    return target


def plain(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without variables that make Python recompile or look elsewhere."""
    return {name: value for name, value in environment.items() if name not in _OURS}


def spent(
    command: Sequence[str | Path],
    environment: Mapping[str, str],
    on_start: Callable[[int], object] = lambda pid: None,
    errors: int | None = None,
) -> Cost:
    """Run a command, and wait for all it left behind, such as a fork server, which ends after it."""
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)  # orphans become our children
    ours, before, began = set(children(os.getpid())), resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    process = subprocess.Popen(command, env=plain(environment), stdout=subprocess.DEVNULL, stderr=errors)
    on_start(process.pid)
    code, seconds = process.wait(), time.monotonic() - began
    for left in set(children(os.getpid())) - ours:
        os.waitpid(left, 0)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(code, seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def children(pid: int) -> list[int]:
    """Return the running children of a process, of any of its threads."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(each) for each in path.read_text().split()]
        except OSError:
            continue
    return found


def below(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    return [pid, *(each for child in children(pid) for each in below(child))]


def _python() -> str:
    """Return Debian's, if it has this version: it can use our libraries, and is built with optimisations."""
    asking = "import sys, venv; print(sys.version_info[:2])"
    try:
        said = subprocess.check_output([_DEBIANS, "-c", asking], text=True, stderr=subprocess.DEVNULL).strip()
    except (OSError, subprocess.CalledProcessError):
        said = ""
    return _DEBIANS if said == str(sys.version_info[:2]) else sys.executable
