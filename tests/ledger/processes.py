"""Start worker.py and read its output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

TESTS = Path(__file__).parent.parent
Start = Callable[..., subprocess.Popen[str]]


def start_worker(path: Path, *arguments: str, uid: int | None = None) -> subprocess.Popen[str]:
    """Start a process on that ledger, as this user or, if started by root, as the given one."""
    command = [sys.executable, str(TESTS / "ledger" / "worker.py"), str(path), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    if uid is not None:
        environment["WORKER_UID"] = str(uid)
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def answer(process: subprocess.Popen[str]) -> list[str]:
    """Return the line that it prints."""
    assert process.stdout is not None
    said: list[str] = json.loads(process.stdout.readline())
    return said
