"""Root beside the service: `sudo recvault status` never locks the daemon out of its own ledger."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.processes import Start, answer
from ledger.rows import NOW, many, register
from recvault.ledger import DaemonLock, Ledger, running_daemon
from recvault.ledger import leases as ownership_module
from recvault.ledger.leases import Owner

SERVICE = 54321  # a user that owns nothing else

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for another user")


@pytest.fixture
def path() -> Iterator[Path]:
    """A ledger's path in a service's own directory, which the service can reach, unlike pytest's."""
    directory = Path(tempfile.mkdtemp(prefix="service-"))
    os.chown(directory, SERVICE, SERVICE)
    before = os.umask(0o077)
    yield directory / "ledger.db"
    os.umask(before)
    shutil.rmtree(directory)


def standing(path: Path) -> dict[str, tuple[int, int, int]]:
    """Return owner and mode of each file in the directory."""
    found = {}
    for each in path.parent.rglob("*"):
        status = each.lstat()
        name = "owner" if each.parent.name == "ledger.db.owners" else each.name
        found[name] = (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode))
    return found


def test_what_root_makes_is_the_service_s(path: Path) -> None:
    """All files that root creates belong to the directory's owner, with no wider mode."""
    ledger, lock = Ledger.open(path, NOW), DaemonLock(path, NOW)
    register(ledger, *many(3))

    mine = (SERVICE, SERVICE)
    assert standing(path) == {
        "ledger.db": (*mine, 0o600),
        "ledger.db-wal": (*mine, 0o600),
        "ledger.db-shm": (*mine, 0o600),
        "ledger.db.commits": (*mine, 0o600),
        "ledger.db.owners": (*mine, 0o700),
        "owner": (*mine, 0o644),
        "ledger.db.daemon": (*mine, 0o644),
    }
    lock.close()
    ledger.close()


def test_the_service_works_beside_root(path: Path, start: Start) -> None:
    """While root uses the ledger, the service opens, claims and settles, except what root has leased."""
    ledger = Ledger.open(path, NOW)
    register(ledger, *many(5))
    mine = {job.recording.recording_id for job in ledger.claim("main", NOW, 2)}

    service = start("take", "9", at=path, uid=SERVICE)

    assert set(answer(service)) == {f"RE{number}" for number in range(5)} - mine
    assert service.wait() == 0
    assert ledger.ask.standing("main", "AC1").archived == 3
    ledger.close()


def test_the_service_takes_over_what_a_killed_root_had_leased(path: Path, start: Start) -> None:
    """A killed root process's owner file can be locked and removed by the service, and its leases are free."""
    ledger = Ledger.open(path, NOW)
    register(ledger, *many(5))
    ledger.close()
    root = start("hold", "5", at=path)
    assert len(answer(root)) == 5
    root.send_signal(signal.SIGKILL)
    root.wait()

    service = start("take", "9", at=path, uid=SERVICE)

    assert len(answer(service)) == 5
    assert service.wait() == 0
    assert list(path.with_name("ledger.db.owners").iterdir()) == []


def test_an_owner_file_that_stayed_root_s_is_asked_all_the_same(path: Path, start: Start) -> None:
    """An owner file that still belongs to root can be locked by reading, and removed from the directory."""
    Ledger.open(path, NOW).close()
    owners = path.with_name("ledger.db.owners")
    left = owners / "1-dead"
    left.touch()
    left.chmod(0o644)
    assert answer(start("take", "9", at=path, uid=SERVICE)) == []
    assert not left.exists()


def test_an_owner_that_is_removed_while_root_makes_it_begins_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the service removes root's owner file before it is locked, root makes another, and gives it away."""
    first = Owner(path)
    real, looked = os.fchmod, []

    def fchmod(descriptor: int, mode: int) -> None:
        real(descriptor, mode)
        if not looked:
            looked.append(first.dead())

    monkeypatch.setattr(ownership_module.os, "fchmod", fchmod)
    second = Owner(path)

    assert looked == [[second.name]]
    assert first.living() == [second.name]
    second.close()
    first.close()


def test_root_sees_the_service_s_daemon_and_the_service_root_s(path: Path, start: Start) -> None:
    """Root and service each see the other's daemon, and do not start a second one."""
    service = start("daemon", at=path, uid=SERVICE)
    answer(service)
    found = running_daemon(path)
    assert found is not None and found.pid == service.pid
    service.communicate("")

    lock = DaemonLock(path, NOW)
    refused = start("daemon", at=path, uid=SERVICE)
    [said] = answer(refused)
    assert f"process {os.getpid()}" in said
    lock.close()
    again = start("daemon", at=path, uid=SERVICE)
    assert answer(again) == [str(again.pid)]


def test_an_owner_that_cannot_be_asked_is_not_taken_for_dead(path: Path, start: Start) -> None:
    """An owner file that the service cannot open yet, as root is creating it, is not taken for dead."""
    ledger = Ledger.open(path, NOW)
    register(ledger, *many(5))
    assert len(ledger.claim("main", NOW, 2)) == 2
    [owner] = path.with_name("ledger.db.owners").iterdir()
    os.chown(owner, 0, 0)
    owner.chmod(0o600)

    assert len(answer(start("take", "9", at=path, uid=SERVICE))) == 3

    assert owner.exists()
    ledger.close()


def test_a_file_that_a_killed_root_left_behind_is_given_by_the_next(path: Path) -> None:
    """If root was killed between creating and giving, the next root process gives the file."""
    path.touch()
    path.with_name("ledger.db.owners").mkdir()
    Ledger.open(path, NOW).close()
    assert {status[:2] for status in standing(path).values()} == {(SERVICE, SERVICE)}


def test_a_link_in_the_service_s_directory_gives_nothing_away(path: Path) -> None:
    """Root neither gives away nor opens what a link in another user's directory leads to."""
    secret = Path(tempfile.mkdtemp()) / "secret"
    secret.write_text("root's")
    before = secret.stat()
    path.with_name("ledger.db.daemon").symlink_to(secret)
    with pytest.raises(Exception, match="cannot be used"):
        DaemonLock(path, NOW)
    path.with_name("ledger.db.owners").symlink_to(secret.parent)
    Owner(path).close()
    after = secret.stat()
    assert (after.st_uid, after.st_mode, secret.parent.stat().st_uid) == (before.st_uid, before.st_mode, 0)
    shutil.rmtree(secret.parent)
