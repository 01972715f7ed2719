"""A new ledger for each test."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.processes import Start, start_worker
from ledger.rows import NOW
from recvault.ledger import Ledger


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of the ledger's file."""
    return tmp_path / "ledger.db"


@pytest.fixture
def start(path: Path) -> Iterator[Start]:
    """Start worker.py on the ledger; processes that still run at the end are killed."""
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str, at: Path = path, uid: int | None = None) -> subprocess.Popen[str]:
        started.append(start_worker(at, *arguments, uid=uid))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    """An open ledger, created at NOW."""
    opened = Ledger.open(path, NOW)
    yield opened
    opened.close()
