"""One daemon per ledger, in real processes."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import threading
from pathlib import Path

import pytest

from ledger.processes import Start, answer
from ledger.rows import NOW
from recvault.errors import ConfigError, LedgerLocked
from recvault.ledger import DaemonLock, DaemonTrouble, DeadDaemon, RunningDaemon, dead_daemon, running_daemon
from recvault.ledger import daemon_lock as daemon_lock_module
from recvault.models import stamp


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for a lock that is never released."""
    monkeypatch.setattr(daemon_lock_module, "PATIENCE_SECONDS", 0.05)


def test_a_second_daemon_is_told_of_the_first(path: Path, start: Start) -> None:
    """A second daemon exits 75 with the first one's pid, start and a hint; the first is not disturbed."""
    first = start("daemon")
    [pid] = answer(first)

    second = start("daemon")
    [said] = answer(second)

    assert second.wait() == 75
    assert f"process {pid}, since 2026-10-01 09:00:00 UTC" in said
    assert "another daemon already uses the ledger" in said and "stop it first" in said
    assert first.poll() is None
    assert running_daemon(path) == RunningDaemon(pid=int(pid), started_at=NOW)


def test_a_killed_daemon_s_lock_needs_no_hand(path: Path, start: Start) -> None:
    """After kill -9 the kernel releases the lock, and the remaining file names no running daemon."""
    first = start("daemon")
    answer(first)
    first.send_signal(signal.SIGKILL)
    first.wait()

    assert path.with_name("ledger.db.daemon").exists()
    assert running_daemon(path) is None
    assert dead_daemon(path) == DeadDaemon(pid=first.pid, started_at=NOW)
    second = start("daemon")
    assert answer(second) == [str(second.pid)]
    assert dead_daemon(path) is None
    assert running_daemon(path) == RunningDaemon(pid=second.pid, started_at=NOW)


def test_a_daemon_that_ends_gives_its_lock_back(path: Path, start: Start) -> None:
    """After a clean end the next daemon starts at once."""
    first = start("daemon")
    answer(first)
    first.communicate("")
    assert first.returncode == 0
    lock = DaemonLock(path, NOW)
    assert running_daemon(path) == RunningDaemon(pid=os.getpid(), started_at=NOW)
    lock.close()
    lock.close()
    assert (running_daemon(path), dead_daemon(path)) == (None, None)


def test_an_error_that_ended_a_daemon_is_left_behind(path: Path) -> None:
    """The error that ended a daemon can be read until the next one starts."""
    DaemonLock(path, NOW).close("the bucket refuses the credentials" + "." * 999)
    dead = dead_daemon(path)
    assert dead is not None and dead.error is not None
    assert (dead.pid, dead.error[:34], len(dead.error)) == (os.getpid(), "the bucket refuses the credentials", 500)
    DaemonLock(path, NOW).close()
    assert dead_daemon(path) is None


def test_what_a_daemon_tells_is_read_as_it_was(path: Path) -> None:
    """A daemon's problems are read with kind and command, also those of an earlier version, which are plain text."""
    trouble = DaemonTrouble("bucket", "bucket: AccessDenied", "recvault check")
    lock = DaemonLock(path, NOW)
    lock.tell([trouble])
    assert running_daemon(path) == RunningDaemon(os.getpid(), NOW, (trouble,))
    beside = path.with_name("ledger.db.daemon")
    beside.write_text(f'{{"pid": 7, "started_at": "{stamp(NOW)}", "troubles": ["bucket: AccessDenied"]}}')
    earlier = DaemonTrouble("daemon", "bucket: AccessDenied", "recvault check")
    assert running_daemon(path) == RunningDaemon(7, NOW, (earlier,))
    lock.close()


def test_two_locks_of_one_process_exclude_each_other(path: Path) -> None:
    """The lock belongs to the descriptor, not to the process."""
    lock = DaemonLock(path, NOW)
    with pytest.raises(LedgerLocked, match=f"process {os.getpid()}") as caught:
        DaemonLock(path, NOW)
    assert caught.value.exit_code == 75
    assert running_daemon(path) == RunningDaemon(pid=os.getpid(), started_at=NOW)
    lock.close()
    DaemonLock(path, NOW).close()


def test_who_only_asks_refuses_nobody(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that starts while somebody checks the lock retries, and gets it."""
    monkeypatch.setattr(daemon_lock_module, "PATIENCE_SECONDS", 30.0)
    DaemonLock(path, NOW).close()
    asking = path.with_name("ledger.db.daemon").open()
    fcntl.flock(asking, fcntl.LOCK_SH)
    real, refused = daemon_lock_module._try, threading.Event()

    def met(descriptor: int, kind: int) -> bool:
        taken = real(descriptor, kind)
        if not taken and not refused.is_set():
            refused.set()
            asking.close()
        return taken

    monkeypatch.setattr(daemon_lock_module, "_try", met)
    lock = DaemonLock(path, NOW)
    assert refused.is_set()
    lock.close()


def test_a_lock_without_a_name_is_no_daemon_s_answer(path: Path) -> None:
    """If somebody else locks the file, no daemon is reported, and none starts."""
    beside = path.with_name("ledger.db.daemon")
    for text in ("", "[]", '{"pid": "x"}', '{"pid": 1}', "nothing"):
        beside.write_text(text)
        with beside.open() as foreign:
            fcntl.flock(foreign, fcntl.LOCK_EX)
            assert running_daemon(path) is None
            with pytest.raises(LedgerLocked, match="another process"):
                DaemonLock(path, NOW)


def test_where_no_daemon_ever_ran_none_runs(path: Path) -> None:
    """Checking for a daemon creates nothing."""
    assert (running_daemon(path), dead_daemon(path)) == (None, None)
    assert list(path.parent.iterdir()) == []


def test_the_lock_may_be_asked_by_whoever_may_enter(path: Path) -> None:
    """The lock file has mode 0644 whatever the umask; the directory keeps others out."""
    before = os.umask(0o077)
    try:
        lock = DaemonLock(path, NOW)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.with_name("ledger.db.daemon").stat().st_mode) == 0o644
    lock.close()


def test_a_missing_directory_is_a_matter_of_configuration(tmp_path: Path) -> None:
    """A missing directory of the ledger is a configuration error for a daemon, too."""
    with pytest.raises(ConfigError, match="does not exist"):
        DaemonLock(tmp_path / "none" / "ledger.db", NOW)
