"""A damaged ledger is reported in one line that names `rebuild`, whatever happened to its files."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from ledger.processes import Start
from ledger.rows import FEED, NOW, POLICIES, failure, many, receipt, recording, register
from recvault.errors import ConfigError, LedgerDamaged, RecvaultError
from recvault.ledger import Ledger
from recvault.ledger.soundness import commits_beside, look, look_hard

PAGE = 4096


def full(path: Path, rows: int = 300) -> None:
    """Make a properly closed ledger with rows in each state."""
    ledger = Ledger.open(path, NOW)
    register(ledger, *many(rows))
    ledger.settle([failure(job) for job in ledger.claim("main", NOW, rows // 6)], NOW, POLICIES)
    ledger.settle([receipt(job) for job in ledger.claim("main", NOW, rows // 6)], NOW, POLICIES)
    ledger.advance(FEED, NOW, NOW)
    ledger.close()
    assert not wal(path).exists()


def use(path: Path, rows: int = 400) -> None:
    """Do what a daemon does in a day."""
    ledger = Ledger.open(path, NOW)
    try:
        register(ledger, *many(rows))
        ledger.settle([failure(job) for job in ledger.claim("main", NOW + timedelta(days=1), rows)], NOW, POLICIES)
        ledger.ask.failures()
        ledger.ask.feeds()
    finally:
        ledger.close()


def wal(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def killed(path: Path) -> None:
    """Make a ledger as left by kill -9: its newest commits are only in the WAL."""
    at_work = path.with_name("at-work.db")
    ledger = Ledger.open(at_work, NOW)
    register(ledger, *many(30))
    ledger.advance(FEED, NOW, NOW)
    for ending in ("", "-wal", ".commits"):
        shutil.copy(f"{at_work}{ending}", f"{path}{ending}")
    ledger.close()
    assert wal(path).stat().st_size > 0


def flip(body: bytes, first: int, count: int) -> bytes:
    return body[:first] + bytes(byte ^ 0xFF for byte in body[first : first + count]) + body[first + count :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "not SQLite": lambda _: b"this was a ledger once, and is none any longer\n" * 200,
    "a header alone": lambda body: body[:16] + b"\xff" * PAGE,
    "one byte of the header": lambda body: flip(body, 3, 1),
    "truncated": lambda body: body[: len(body) // 2 - 100],
    "truncated to a page": lambda body: body[:PAGE],
    "emptied": lambda _: b"",
    "every page": lambda body: flip(body, 4 * PAGE, len(body)),
    "the schema's page": lambda body: flip(body, 100, PAGE - 100),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_ledger_says_how_to_rebuild_it(path: Path, damage: str) -> None:
    """A damaged ledger exits 78 with a line that names the file and one that names `rebuild`."""
    full(path)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))

    with pytest.raises(LedgerDamaged, match=r"ledger\.db is damaged") as caught:
        use(path)

    assert (caught.value.exit_code, "recvault rebuild" in caught.value.hint) == (78, True)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_look_finds_it_too(path: Path, damage: str) -> None:
    """`check` reports it, and changes nothing."""
    full(path)
    spoiled = DAMAGES[damage](path.read_bytes())
    path.write_bytes(spoiled)

    for ask in (look, look_hard):
        with pytest.raises(LedgerDamaged, match=r"ledger\.db is damaged"):
            ask(path)

    assert path.read_bytes() == spoiled


def test_turned_bytes_never_end_in_a_traceback(path: Path) -> None:
    """A few changed bytes anywhere either do no harm, or are reported as damage or in SQLite's words."""
    full(path, 100)  # with fewer rows a third of the pages would be empty
    whole, count = path.read_bytes(), commits_beside(path).read_bytes()
    dice, damaged = random.Random(7), 0
    for _ in range(30):
        path.write_bytes(flip(whole, dice.randrange(len(whole)), dice.choice([1, 8, 64])))
        commits_beside(path).write_bytes(count)
        try:
            use(path, 110)
        except LedgerDamaged:
            damaged += 1
        except RecvaultError as error:
            assert "locked" not in error.message
        wal(path).unlink(missing_ok=True)
    assert damaged > 3


# -- the WAL -----------------------------------------------------------------------------------------------------------


def test_what_a_kill_left_in_the_wal_is_there(path: Path) -> None:
    """After a kill every commit is there, and no damage is reported."""
    killed(path)
    ledger = Ledger.open(path, NOW)
    assert (ledger.ask.standing("main", "AC1").pending, ledger.watermark(FEED)) == (30, NOW)
    ledger.close()


WALS: dict[str, Callable[[Path], object]] = {
    "gone": lambda path: path.unlink(),
    "emptied": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1000]),
    "a byte of its last commit": lambda path: path.write_bytes(flip(path.read_bytes(), path.stat().st_size - 99, 1)),
    "its header": lambda path: path.write_bytes(flip(path.read_bytes(), 0, 32)),
}


@pytest.mark.parametrize("damage", WALS)
def test_a_lost_or_spoiled_wal_shows(path: Path, damage: str) -> None:
    """A lost or corrupt WAL, which SQLite ignores silently, is detected by the count of commits."""
    killed(path)
    WALS[damage](wal(path))

    for ask in (look, lambda at: Ledger.open(at, NOW)):
        with pytest.raises(LedgerDamaged, match=r"\d+ of \d+ commits are missing") as caught:
            ask(path)
        assert (caught.value.exit_code, "recvault rebuild" in caught.value.hint) == (78, True)


def test_a_copy_from_a_backup_is_taken_where_it_is_meant(path: Path) -> None:
    """An older copy is refused, with the file to remove if it is intended."""
    full(path)
    older = path.read_bytes()
    use(path)
    path.write_bytes(older)

    with pytest.raises(LedgerDamaged, match="commits are missing") as caught:
        Ledger.open(path, NOW)
    assert f"remove {commits_beside(path)}" in caught.value.hint

    commits_beside(path).unlink()
    Ledger.open(path, NOW).close()


@pytest.mark.parametrize("moved", ["the file alone", "all its files"])
def test_a_ledger_that_was_set_aside_is_made_anew(path: Path, moved: str) -> None:
    """A missing ledger is no damage: a new one begins, whatever files were left beside it."""
    killed(path)
    for each in path.parent.glob("ledger.db*") if moved == "all its files" else [path]:
        each.rename(path.with_name(f"aside-{each.name}"))
    ledger = Ledger.open(path, NOW)
    assert ledger.ask.feeds() == []
    assert register(ledger, recording(1)).new == 1
    ledger.close()
    Ledger.open(path, NOW).close()


def test_a_first_opening_that_was_killed_is_no_damage(path: Path) -> None:
    """An empty file of an interrupted first start is no damage."""
    path.touch()
    assert look(path).rows == 0
    assert not look_hard(path)
    Ledger.open(path, NOW).close()


def test_two_processes_count_one_after_the_other(path: Path, start: Start) -> None:
    """A ledger written by several processes is never reported as lacking commits."""
    ledger = Ledger.open(path, NOW)
    for number in range(5):
        other = Ledger.open(path, NOW)
        register(other, *many(3, 10 * number))
        other.close()
        register(ledger, *many(3, 10 * number + 5))
    ledger.close()
    assert look(path).whole


# -- other files -------------------------------------------------------------------------------------------------------


def test_another_program_s_database_is_not_touched(path: Path) -> None:
    """Another program's SQLite file is a configuration error, and stays unchanged."""
    for table in ("recordings", "albums"):
        path.unlink(missing_ok=True)
        with contextlib.closing(sqlite3.connect(path)) as plain, plain:
            plain.execute(f"CREATE TABLE {table} (title TEXT)")
        before = path.read_bytes()

        with pytest.raises(ConfigError, match=f"another program's database: it contains {table}") as caught:
            Ledger.open(path, NOW)

        assert "ledger.path" in caught.value.hint
        assert path.read_bytes() == before


def test_a_directory_in_the_ledger_s_place_is_told(tmp_path: Path) -> None:
    """A directory in the ledger's place is a configuration error."""
    (tmp_path / "ledger.db").mkdir()
    with pytest.raises(ConfigError, match=r"ledger\.db cannot be used: it is a directory") as caught:
        Ledger.open(tmp_path / "ledger.db", NOW)
    assert caught.value.exit_code == 78


def test_a_look_refuses_a_newer_ledger(path: Path) -> None:
    """A newer version's ledger is refused, although sound."""
    Ledger.open(path, NOW).close()
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO _sqlite_migrations (migration_set, name) VALUES ('recvault', 'ninetyninth')")
    with pytest.raises(ConfigError, match="newer recvault"):
        look(path)


# -- looks -------------------------------------------------------------------------------------------------------------


def test_a_sound_ledger_is_looked_at_beside_its_writer(path: Path, ledger: Ledger) -> None:
    """A small ledger is checked completely, a large one by samples; a writer is not disturbed."""
    register(ledger, *many(300))
    assert (look(path).whole, look(path).rows) == (True, 300)
    assert (look(path, large=0).whole, look(path, large=0).rows) == (False, 300)
    assert look_hard(path)
    register(ledger, *many(300, 300))


def test_a_walk_that_takes_too_long_is_ended(path: Path, ledger: Ledger) -> None:
    """A check that takes too long ends without a verdict on the structure."""
    register(ledger, *many(3000))
    assert look(path, seconds=0).whole is False


def test_a_sample_finds_an_index_that_leads_astray(path: Path) -> None:
    """A row that its index does not find is detected by a sample, although every page is valid."""
    full(path)
    with contextlib.closing(sqlite3.connect(path)) as plain, plain:
        [(root,)] = plain.execute("SELECT rootpage FROM sqlite_master WHERE name='recordings_identity'").fetchall()
        [(other,)] = plain.execute("SELECT rootpage FROM sqlite_master WHERE name='recordings_due'").fetchall()
        plain.execute("PRAGMA writable_schema=ON")
        plain.execute(f"UPDATE sqlite_master SET rootpage={other} WHERE name='recordings_identity'")
    assert root != other
    with pytest.raises(LedgerDamaged):
        look(path, large=0)


def test_damage_that_a_query_meets_late_is_told_alike(path: Path) -> None:
    """A row that cannot be read is not claimed, and its ledger is reported as damaged."""
    full(path)
    with contextlib.closing(sqlite3.connect(path)) as plain, plain:
        plain.execute("UPDATE listed SET recording = replace(recording, '\"phase\"', '\"phrase\"')")
    ledger = Ledger.open(path, NOW)
    with pytest.raises(LedgerDamaged, match="a listed recording cannot be read"):
        ledger.claim("main", NOW + timedelta(days=1), 400)
    with pytest.raises(LedgerDamaged, match="a listed recording"):
        ledger.claim("main", NOW + timedelta(days=1), 400)  # none of them was leased
    ledger.close()


def test_a_bug_is_no_damage(ledger: Ledger) -> None:
    """SQLite's errors about our own statements are not reported as damage."""
    register(ledger, recording(1))
    with pytest.raises(sqlite3.IntegrityError), ledger._connection.write() as db:
        db.execute("INSERT INTO days (source) VALUES (NULL)")
        db.execute("INSERT INTO recordings (id) VALUES (1)")
    ledger.close()
    with pytest.raises(sqlite3.ProgrammingError):
        ledger.ask.feeds()
