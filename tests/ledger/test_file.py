"""The ledger's file: rights, migrations, indexes, locks, damage."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import sqlite3
import stat
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from ledger.rows import NOW, POLICIES, failure, many, receipt, recording, register, rejected, row
from recvault.errors import ConfigError, LedgerDamaged, LedgerLocked, LedgerUnavailable, RecvaultError
from recvault.ledger import Feed, Ledger
from recvault.ledger import connection as connection_module
from recvault.ledger import leases as leases_module

FEED_OTHER = Feed("main", "twilio", "AC2")


def test_nobody_else_reads_the_ledger(ledger: Ledger, path: Path) -> None:
    """Call ids and numbers stand in it: the file and its journals are the owner's alone, the owners' directory too."""
    register(ledger, recording(1))
    files = [path, *path.parent.glob("ledger.db-*")]
    assert len(files) == 3
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE(path.with_name("ledger.db.owners").stat().st_mode) == 0o700


def test_a_missing_directory_is_a_matter_of_configuration(tmp_path: Path) -> None:
    """The error names the directory and says what to do; nothing is created."""
    with pytest.raises(ConfigError, match="does not exist") as caught:
        Ledger.open(tmp_path / "none" / "ledger.db", NOW)
    assert (caught.value.exit_code, "ledger.path" in caught.value.hint) == (78, True)
    assert not (tmp_path / "none").exists()


def test_the_schema_is_made_once(path: Path, ledger: Ledger) -> None:
    """Opening again migrates nothing, and finds everything as it was, the ledger's birth included."""
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
    with sqlite3.connect(path) as plain:
        lines = list(plain.iterdump())
    plain.close()
    return lines


def test_two_processes_may_make_the_schema_at_once(path: Path) -> None:
    """Daemon and backfill that start together on a new machine: both find one schema."""
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


# -- indexes -----------------------------------------------------------------------------------------------------------


def plans_of(ledger: Ledger, ask: Callable[[Ledger], object]) -> list[str]:
    """How SQLite goes about every statement that a question or a verb needs."""
    plain = ledger._connection._db.conn
    seen: list[str] = []
    plain.set_trace_callback(seen.append)
    ask(ledger)
    plain.set_trace_callback(None)
    asked = [text for text in seen if text.lstrip().split()[0] in {"SELECT", "UPDATE", "INSERT", "DELETE"}]
    return [step[3] for text in asked for step in plain.execute(f"EXPLAIN QUERY PLAN {text}").fetchall()]


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda ledger: ledger.claim("main", NOW, 16), id="claim"),
        pytest.param(lambda ledger: ledger.ask.find("RE7"), id="find"),
        pytest.param(lambda ledger: ledger.ask.find("RE7", "main"), id="find in a source"),
        pytest.param(lambda ledger: ledger.ask.failures(), id="failures"),
        pytest.param(lambda ledger: ledger.ask.feeds(), id="feeds"),
        pytest.param(lambda ledger: ledger.ask.accounts("main"), id="accounts"),
        pytest.param(lambda ledger: ledger.ask.next_due(["main", "other"]), id="next due"),
        pytest.param(lambda ledger: ledger.ask.days(NOW.date()), id="days"),
        pytest.param(lambda ledger: ledger.note_scan_error(FEED_OTHER, "down", NOW), id="scan error"),
        pytest.param(lambda ledger: ledger.free_dead_leases(NOW), id="free dead leases"),
        pytest.param(lambda ledger: register(ledger, *many(3)), id="register"),
        pytest.param(
            lambda ledger: ledger.settle([failure(recording(1)), receipt_of(ledger)], NOW, POLICIES), id="settle"
        ),
    ],
)
def test_no_question_reads_the_whole_ledger(ledger: Ledger, ask: Callable[[Ledger], object]) -> None:
    """At ten million recordings each answer is as quick: every step over recordings goes by an index, sorts nothing."""
    register(ledger, *many(20))
    ledger.settle([failure(job) for job in ledger.claim("main", NOW, 3)], NOW, POLICIES)
    for feed in (Feed("main", "twilio", "AC1"), FEED_OTHER):
        ledger.advance(feed, NOW, NOW)

    plans = plans_of(ledger, ask)

    assert plans
    whole = [step for step in plans if step.startswith("SCAN recordings") and "INDEX recordings_" not in step]
    assert whole == []
    assert [step for step in plans if "recordings" in step and "AUTOMATIC" in step] == []


def receipt_of(ledger: Ledger) -> object:
    [job] = ledger.claim("main", NOW, 1)
    return receipt(job)


def test_claims_and_failures_come_sorted_from_their_indexes(ledger: Ledger) -> None:
    """The oldest due and the longest failing are found without sorting a backlog of millions."""
    register(ledger, *many(20))
    for ask in (lambda each: each.claim("main", NOW, 2), lambda each: each.ask.failures(limit=5)):
        assert not [step for step in plans_of(ledger, ask) if "TEMP B-TREE" in step]


def test_a_feed_s_oldest_and_its_latest_day_are_found_by_key(ledger: Ledger) -> None:
    """However many wait for their provider, and however many days there are: nothing is walked, nothing is sorted."""
    register(ledger, *many(5))
    ledger.advance(Feed("main", "twilio", "AC1"), NOW, NOW)

    plans = plans_of(ledger, lambda each: each.ask.feeds())

    assert [step for step in plans if "TEMP B-TREE" in step] == []
    by_key = {step for step in plans if "recordings" in step or "days" in step}
    assert by_key == {
        "SEARCH recordings USING INDEX recordings_waiting (source=? AND account_id=? AND state=?)",
        "SEARCH recordings USING COVERING INDEX recordings_next (source=? AND account_id=? AND next_attempt_at>?)",
        "SEARCH days USING PRIMARY KEY (source=? AND account_id=?)",
    }


def test_days_are_found_by_their_key(ledger: Ledger) -> None:
    """Ten years of a hundred accounts: the last days are read, not all."""
    plans = plans_of(ledger, lambda each: each.ask.days(NOW.date()))
    assert [step for step in plans if "days" in step] == [
        "SEARCH days USING PRIMARY KEY (source=? AND account_id=? AND day>?)"
    ]


# -- locks and damage --------------------------------------------------------------------------------------------------


def test_a_locked_ledger_is_temporary(path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process that does not let go within the busy timeout: exit 75, try again later."""
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
    """Nothing of the page is written, the error says to make room, exit 75; with room again all goes on."""
    register(ledger, recording(1))
    plain = ledger._connection._db.conn
    [pages] = plain.execute("PRAGMA page_count").fetchone()
    plain.execute(f"PRAGMA max_page_count={pages + 2}").fetchall()

    with pytest.raises(LedgerUnavailable, match="disk is full") as caught:
        register(ledger, *many(900))

    assert (caught.value.exit_code, "make room" in caught.value.hint) == (75, True)
    assert ledger.ask.standing("main", "AC1").pending == 1
    plain.execute("PRAGMA max_page_count=100000").fetchall()
    assert register(ledger, *many(900)).new == 899


def test_no_room_for_a_file_beside_the_ledger_is_temporary(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up as a process starts is told alike."""

    def no_room(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(leases_module, "open_lockable", no_room)
    with pytest.raises(LedgerUnavailable, match="disk is full"):
        Ledger.open(path, NOW)


def test_a_ledger_that_may_only_be_read_says_whose_it_must_be(ledger: Ledger) -> None:
    """The wrong user, or a disk that was mounted read-only: the error names the directory and what to look at."""
    ledger._connection._db.conn.execute("PRAGMA query_only=ON")
    with pytest.raises(RecvaultError, match="readonly") as caught:
        register(ledger, recording(1))
    assert (caught.value.exit_code, "mounted read-only" in caught.value.hint) == (1, True)


def test_a_disk_that_fails_is_told(ledger: Ledger) -> None:
    """An I/O error says where to look; what was being written is not there afterwards, and the ledger works again."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, limits[1]))  # each write beyond it fails
    try:
        with pytest.raises(RecvaultError, match="disk I/O error") as caught:
            register(ledger, *many(900))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (caught.value.exit_code, "kernel's log" in caught.value.hint) == (1, True)
    assert register(ledger, *many(3)).new == 3


def full(path: Path) -> None:
    ledger = Ledger.open(path, NOW)
    register(ledger, *many(300))
    ledger.settle([failure(job) for job in ledger.claim("main", NOW, 50)], NOW, POLICIES)
    ledger.close()
    assert not path.with_name("ledger.db-wal").exists()


def truncate(body: bytes) -> bytes:
    return body[: len(body) // 2 - 100]


def flip(body: bytes) -> bytes:
    """Every page but the first few is spoiled in its head."""
    return body[: 4 * 4096] + bytes(byte ^ 0xFF for byte in body[4 * 4096 :])


DAMAGES = {
    "not SQLite": lambda _: b"this was a ledger once, and is none any longer\n" * 200,
    "a header alone": lambda body: body[:16] + b"\xff" * 4096,
    "truncated": truncate,
    "flipped bytes": flip,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_ledger_says_how_to_rebuild_it(path: Path, damage: str) -> None:
    """Never a traceback, never a silently empty ledger: the error names the file and `rebuild`, exit 1."""
    full(path)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))

    with pytest.raises(LedgerDamaged, match=r"ledger\.db is damaged") as caught:
        use(path)

    assert (caught.value.exit_code, "recvault rebuild" in caught.value.hint) == (1, True)


def use(path: Path) -> None:
    ledger = Ledger.open(path, NOW)
    try:
        register(ledger, *many(400))
        ledger.settle([failure(job) for job in ledger.claim("main", NOW + timedelta(days=1), 400)], NOW, POLICIES)
        ledger.ask.failures()
    finally:
        ledger.close()


def test_another_program_s_database_is_not_touched(path: Path) -> None:
    """ledger.path that points at somebody else's SQLite file: an error, and the file as it was."""
    with sqlite3.connect(path) as plain:
        plain.execute("CREATE TABLE recordings (title TEXT)")
        plain.execute("INSERT INTO recordings VALUES ('Kind of Blue')")
    plain.close()

    with pytest.raises(RecvaultError):
        Ledger.open(path, NOW)

    with sqlite3.connect(path) as plain:
        assert plain.execute("SELECT * FROM recordings").fetchall() == [("Kind of Blue",)]
        assert plain.execute("SELECT count(*) FROM sqlite_master WHERE name = 'tallies'").fetchall() == [(0,)]
    plain.close()


def test_a_directory_in_the_ledger_s_place_is_told(tmp_path: Path) -> None:
    """Whatever SQLite says, the operator is told which ledger and what to look at."""
    (tmp_path / "ledger.db").mkdir()
    with pytest.raises(RecvaultError, match=r"ledger\.db cannot be used") as caught:
        Ledger.open(tmp_path / "ledger.db", NOW)
    assert "run as the user that owns" in caught.value.hint


def test_a_failed_opening_leaves_no_owner(path: Path) -> None:
    """A ledger that cannot be opened holds no lock and no file descriptor."""
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
    """A clean end leaves the database and nothing else to tidy up."""
    register(ledger, recording(1))
    assert row(ledger)["state"] == "pending"
    ledger.close()
    assert list(path.with_name("ledger.db.owners").iterdir()) == []


def test_a_ledger_of_a_newer_version_is_refused(path: Path) -> None:
    """An older recvault writes nothing into it, and says which one is to be run: exit 78."""
    Ledger.open(path, NOW).close()
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO _sqlite_migrations (migration_set, name) VALUES ('recvault', 'ninetyninth')")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"newer recvault \(ninetyninth\)"):
        Ledger.open(path, NOW)
    assert path.read_bytes() == before
