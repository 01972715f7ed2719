"""The temporary directory of copies: removed at the end, and by the next process after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from recvault.browse.copies import Copies

_HOLDS = """
import sys, time
from pathlib import Path
from recvault.browse.copies import Copies
print((made := Copies(Path(sys.argv[1]))).path, flush=True)
time.sleep(600)
"""


@pytest.fixture
def dead_pid() -> int:
    """The id of a process that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def stale(top: Path, pid: int, name: str = "abc") -> Path:
    """Leave a directory as a killed process does."""
    left = top / f"recvault-browse-{pid}-{name}"
    left.mkdir(mode=0o700)
    (left / "x.parquet").write_bytes(b"x")
    return left


def test_it_is_private_and_removed_at_the_end(tmp_path: Path) -> None:
    """Only its user reads it, and nothing remains."""
    copies = Copies(tmp_path)
    assert copies.path.stat().st_mode & 0o777 == 0o700
    (copies.path / "x").write_bytes(b"x")
    copies.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.process
def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    """While a process lives its directory stays; after kill -9 the next start removes it."""
    with subprocess.Popen([sys.executable, "-c", _HOLDS, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        left = Path(holder.stdout.readline().strip())
        Copies(tmp_path).close()
        assert list(tmp_path.iterdir()) == [left]
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    Copies(tmp_path).close()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_protects_what_another_container_uses(tmp_path: Path, dead_pid: int) -> None:
    """A directory whose process id is not known here stays while its lock is held."""
    copies = Copies(tmp_path)
    foreign = copies.path.rename(tmp_path / f"recvault-browse-{dead_pid}-abc")
    Copies(tmp_path).close()
    assert foreign.is_dir()
    copies.close()
    Copies(tmp_path).close()
    assert not foreign.exists()


def test_nothing_else_is_removed(tmp_path: Path, dead_pid: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Links, files, other names, and other users' directories stay, and what a link points to."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "x").write_bytes(b"x")
    (tmp_path / f"recvault-browse-{dead_pid}-link").symlink_to(precious)
    (tmp_path / f"recvault-browse-{dead_pid}-file").write_bytes(b"x")
    stale(tmp_path, os.getppid())
    (tmp_path / "recvault-browse-abc").mkdir()
    (tmp_path / f"recvault-browse-0{dead_pid}-abc").mkdir()
    before = sorted(tmp_path.rglob("*"))
    Copies(tmp_path).close()
    assert sorted(tmp_path.rglob("*")) == before
    theirs = stale(tmp_path, dead_pid, "theirs")
    monkeypatch.setattr(os, "getuid", lambda: os.geteuid() + 1)
    Copies(tmp_path).close()
    assert theirs.is_dir()


def test_a_container_that_starts_again_has_the_same_id(tmp_path: Path) -> None:
    """What an earlier process of this one's id left is removed, and what this process uses is not."""
    used = Copies(tmp_path)
    left = stale(tmp_path, os.getpid())
    Copies(tmp_path).close()
    assert list(tmp_path.iterdir()) == [used.path]
    assert not left.exists()
    used.close()


def test_a_link_in_what_was_left_is_not_followed(tmp_path: Path, dead_pid: int) -> None:
    """Of a stale directory a link is removed, and not what it points to."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "x").write_bytes(b"x")
    left = stale(tmp_path, dead_pid)
    (left / "link").symlink_to(precious)
    Copies(tmp_path).close()
    assert not left.exists()
    assert (precious / "x").exists()
