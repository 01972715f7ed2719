"""Faults of a ledger's files: a small disk, a read-only mount, a lock, a copy at an instant."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

_HOLDER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""
_WAL_HEADER, _FRAME_HEADER = 32, 24


@dataclass(frozen=True)
class Disk:
    """A file system in memory, mounted at a directory."""

    place: Path

    @classmethod
    @contextlib.contextmanager
    def mounted(cls, place: Path, size: str) -> Iterator[Disk]:
        """Mount it, or skip the test visibly if that is not allowed."""
        place.mkdir()
        if os.geteuid() != 0 or _mount("-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(place)) != 0:
            pytest.skip("NOT TESTED: a disk of a size can be mounted by root alone")
        try:
            yield cls(place)
        finally:
            subprocess.run(["umount", "-l", str(place)], check=True)

    def remount(self, options: str) -> None:
        assert _mount("-o", f"remount,{options}", str(self.place)) == 0

    def fill(self) -> None:
        """Use up all space."""
        with (self.place / "filler").open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))

    def free(self) -> None:
        (self.place / "filler").unlink()


def _mount(*words: str) -> int:
    return subprocess.run(["mount", *words], capture_output=True).returncode


@contextlib.contextmanager
def held(ledger: Path) -> Iterator[None]:
    """Keep a transaction of another process open."""
    command = [sys.executable, "-c", _HOLDER, str(ledger)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield
        finally:
            process.kill()


@dataclass(frozen=True)
class Copy:
    """The files of a ledger at one instant, without the shared memory, which is not on disk."""

    ledger: Path
    keys: frozenset[str]  # in the bucket at that instant

    @property
    def wal(self) -> Path:
        return self.ledger.with_name(f"{self.ledger.name}-wal")

    def again(self, into: Path) -> Copy:
        """Copy the copy."""
        return Copy(_copied(self.ledger, into), self.keys)

    def last_commit(self) -> int:
        """Return the length of the WAL up to its last committed transaction; 0 if there is none."""
        body = self.wal.read_bytes() if self.wal.exists() else b""
        if len(body) < _WAL_HEADER:
            return 0
        frame, salts, end = int.from_bytes(body[8:12]) + _FRAME_HEADER, body[16:24], 0
        for start in range(_WAL_HEADER, len(body) - frame + 1, frame):
            if body[start + 8 : start + 16] != salts:
                break
            if int.from_bytes(body[start + 4 : start + 8]):
                end = start + frame
        return end


def copied_at_an_instant(process: subprocess.Popen[str], ledger: Path, into: Path, keys: dict[str, object]) -> Copy:
    """Stop the process, copy, and continue it; the copy is what a power cut would leave."""
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    try:
        return Copy(_copied(ledger, into), frozenset(keys))
    finally:
        process.send_signal(signal.SIGCONT)


def _copied(ledger: Path, into: Path) -> Path:
    into.mkdir()
    for path in ledger.parent.glob(f"{ledger.name}*"):
        if path.is_file() and not path.name.endswith("-shm"):
            shutil.copy2(path, into / path.name)
    return into / ledger.name


def is_sound(ledger: Path) -> bool:
    """Whether SQLite's own check passes."""
    with contextlib.closing(sqlite3.connect(ledger)) as db:
        return bool(db.execute("PRAGMA integrity_check").fetchall() == [("ok",)])
