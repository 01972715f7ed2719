"""The ledger's file: permissions, migrations, locks."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import sqlite3
import stat
import threading
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from ledger.rows import NOW, many, recording, register, rejected, row
from recvault.errors import ConfigError, LedgerDamaged, LedgerLocked, LedgerUnavailable, RecvaultError
from recvault.ledger import Ledger
from recvault.ledger import connection as connection_module
from recvault.ledger import leases as leases_module


def test_nobody_else_reads_the_ledger(ledger: Ledger, path: Path) -> None:
    """The ledger, its journals and the owners' directory are accessible only to their owner."""
    register(ledger, recording(1))
    files = [path, *path.parent.glob("ledger.db-*")]
    assert len(files) == 3
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE(path.with_name("ledger.db.owners").stat().st_mode) == 0o700


def test_a_missing_directory_is_a_matter_of_configuration(tmp_path: Path) -> None:
    """A missing directory is an error with a hint; nothing is created."""
    with pytest.raises(ConfigError, match="does not exist") as caught:
        Ledger.open(tmp_path / "none" / "ledger.db", NOW)
    assert (caught.value.exit_code, "ledger.path" in caught.value.hint) == (78, True)
    assert not (tmp_path / "none").exists()


def test_the_schema_is_made_once(path: Path, ledger: Ledger) -> None:
    """A second opening migrates nothing, and finds everything, including the creation time."""
    register(ledger, recording(1), rejected=[rejected("bad", "RE2")])
    ledger.remember("store", "asked")
    ledger.remember("store", "asked again")
    before = dump(path)
    ledger.close()

    opened = Ledger.open(path, NOW + timedelta(days=9))
    assert dump(path) == before
    assert opened.fact("store") == "asked again"
    assert opened.fact("nothing") is None
    assert opened.ask.feeds() == []
    opened.close()


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as plain, plain:
        lines = list(plain.iterdump())
    plain.close()
    return [line for line in lines if "'commits'" not in line]  # opening is a transaction, too


def test_two_processes_may_make_the_schema_at_once(path: Path) -> None:
    """Two processes that start at once on a new machine make one schema."""
    errors: list[BaseException] = []
    gate = threading.Barrier(4)

    def open_it() -> None:
        try:
            gate.wait()
            Ledger.open(path, NOW).close()
        except BaseException as error:  # noqa: BLE001 - told below
            errors.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


# -- locks and troubles ------------------------------------------------------------------------------------------------


def test_a_locked_ledger_is_temporary(path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock held beyond the busy timeout exits 75."""
    monkeypatch.setattr(connection_module, "BUSY_SECONDS", 0.05)
    second = Ledger.open(path, NOW)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    for attempt in (lambda: register(second, recording(1)), lambda: Ledger.open(path, NOW)):
        with pytest.raises(LedgerLocked, match="locked") as caught:
            attempt()
        assert caught.value.exit_code == 75

    other.execute("ROLLBACK")
    other.close()
    assert register(second, recording(1)).new == 1
    second.close()


def test_a_full_disk_is_temporary(ledger: Ledger) -> None:
    """On a full disk nothing of the page is written, exit 75 asks for space, and with space it continues."""
    register(ledger, recording(1))
    plain = ledger._connection._db.conn
    [pages] = plain.execute("PRAGMA page_count").fetchone()
    plain.execute(f"PRAGMA max_page_count={pages + 2}").fetchall()

    with pytest.raises(LedgerUnavailable, match="disk is full") as caught:
        register(ledger, *many(900))

    assert (caught.value.exit_code, "free space" in caught.value.hint) == (75, True)
    assert ledger.ask.standing("main", "AC1").pending == 1
    plain.execute("PRAGMA max_page_count=100000").fetchall()
    assert register(ledger, *many(900)).new == 899


def test_no_room_for_a_file_beside_the_ledger_is_temporary(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up at the start is reported the same way."""

    def no_room(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(leases_module, "open_lockable", no_room)
    with pytest.raises(LedgerUnavailable, match="disk is full"):
        Ledger.open(path, NOW)


def test_a_ledger_that_may_only_be_read_says_whose_it_must_be(ledger: Ledger) -> None:
    """For a wrong user or a read-only disk the error names the directory and what to check."""
    ledger._connection._db.conn.execute("PRAGMA query_only=ON")
    with pytest.raises(RecvaultError, match="readonly") as caught:
        register(ledger, recording(1))
    assert (caught.value.exit_code, "mounted read-only" in caught.value.hint) == (1, True)


def test_a_disk_that_fails_is_told(ledger: Ledger) -> None:
    """An I/O error is reported with a hint, its transaction is not stored, and the ledger works afterwards."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, limits[1]))  # writes beyond it fail
    try:
        with pytest.raises(RecvaultError, match="disk I/O error") as caught:
            register(ledger, *many(900))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (caught.value.exit_code, "kernel log" in caught.value.hint) == (1, True)
    assert register(ledger, *many(3)).new == 3


def test_a_failed_opening_leaves_no_owner(path: Path) -> None:
    """A failed opening leaves no lock and no file descriptor."""
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(LedgerDamaged):
        Ledger.open(path, NOW)
    owners = path.with_name("ledger.db.owners")
    assert not owners.exists() or list(owners.iterdir()) == []
    path.unlink()
    ledger = Ledger.open(path, NOW)
    assert row_count(ledger) == 0
    ledger.close()


def row_count(ledger: Ledger) -> int:
    register(ledger)
    return len(ledger.ask.find("RE1"))


def test_a_closed_ledger_leaves_no_owner(ledger: Ledger, path: Path) -> None:
    """A clean end leaves only the database."""
    register(ledger, recording(1))
    assert row(ledger)["state"] == "pending"
    ledger.close()
    assert list(path.with_name("ledger.db.owners").iterdir()) == []


def test_a_ledger_of_a_newer_version_is_refused(path: Path) -> None:
    """An older recvault writes nothing into a newer ledger, and names the required version: exit 78."""
    Ledger.open(path, NOW).close()
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO _sqlite_migrations (migration_set, name) VALUES ('recvault', 'ninetyninth')")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"newer recvault \(ninetyninth\)"):
        Ledger.open(path, NOW)
    assert path.read_bytes() == before
