"""Move the rows of an account to another source's name: millions of them, in short transactions with pauses.

Open rows are found by an index, settled ones by ranges of ids. Whenever a move is interrupted, by a stop or a kill,
each row has one of the two names and every count is right; running it again moves the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from recvault.ledger import hours
from recvault.ledger.connection import Connection
from recvault.ledger.database import Database
from recvault.ledger.feeds import Feed
from recvault.ledger.lateness import Late, late_fact, offered_fact
from recvault.ledger.page import add_interval, forget_intervals, intervals

Pause = Callable[[float], bool]  # waits that many seconds; returns whether a stop was requested

_MOST = 500  # open rows that one transaction moves
_SPAN = 5000  # ids of settled rows that one transaction covers

_WAITING = """
    UPDATE recordings SET source=:to WHERE id IN (
        SELECT id FROM recordings WHERE source=:of AND account_id=:account AND next_attempt_at IS NOT NULL LIMIT :most
    )
"""
_SETTLED = """
    UPDATE recordings SET source=:to WHERE id > :after AND id <= :through AND source=:of AND account_id=:account
"""
_SHARE = (
    """
    UPDATE feeds AS mine SET
        watermark=max(coalesce(mine.watermark, old.watermark), coalesce(old.watermark, mine.watermark)),
        last_success_at=max(coalesce(mine.last_success_at, old.last_success_at),
                            coalesce(old.last_success_at, mine.last_success_at))
    FROM feeds AS old
    WHERE mine.source=:to AND mine.account_id=:account
        AND old.source=:of AND old.account_id=:account AND old.list=mine.list
    """,
    """
    INSERT OR IGNORE INTO feeds (source, account_id, list, provider, watermark, last_success_at, scan_seconds)
    SELECT :to, account_id, list, provider, watermark, last_success_at, scan_seconds FROM feeds
    WHERE source=:of AND account_id=:account
    """,
)
_FINISH = (
    "DELETE FROM feeds WHERE source=:of AND account_id=:account",
    "UPDATE OR IGNORE quarantine SET source=:to WHERE source=:of AND account_id=:account",
    "DELETE FROM quarantine WHERE source=:of AND account_id=:account",
    """
    INSERT INTO days SELECT :to, account_id, day, recordings, bytes, last_at FROM days
    WHERE source=:of AND account_id=:account
    ON CONFLICT DO UPDATE SET recordings=recordings + excluded.recordings, bytes=bytes + excluded.bytes,
        last_at=max(last_at, excluded.last_at)
    """,
    "DELETE FROM days WHERE source=:of AND account_id=:account",
    *hours.MOVE,
    "DELETE FROM tallies WHERE source=:of AND account_id=:account AND count=0",
)
_ANY_ROW = "SELECT 1 FROM tallies WHERE source=? AND account_id=? AND count > 0"
_ANY_ACCOUNT = "SELECT 1 FROM tallies WHERE source=:of UNION SELECT 1 FROM feeds WHERE source=:of"


@dataclass(frozen=True, slots=True)
class Move:
    """Moves everything of an account from one source name to another."""

    connection: Connection
    of: str
    to: str
    account_id: str
    pause: Pause
    sound: bool  # the old name's watermarks are valid for the new one

    def waiting(self) -> bool:
        """Move the open recordings and, if sound, the watermarks; False if a stop was requested."""
        moved, stopped = -1, False
        while moved and not stopped:
            moved, stopped = self._step(_WAITING, {"most": _MOST})
        if self.sound and not stopped:
            with self.connection.write() as db:
                for statement in _SHARE:
                    db.execute(statement, self._names)
        return not stopped

    def settled(self, seconds: float) -> bool:
        """Move the settled recordings, then counts and facts; False if it takes longer, or a stop was requested."""
        with self.connection.read() as db:
            [last] = db.execute("SELECT coalesce(max(id), 0) FROM recordings").fetchone()
        spent = 0.0  # counts only ranges that moved something, so that a later round gets past those already moved
        for after in range(0, last, _SPAN):
            began = time.monotonic()
            with self.connection.read() as db:
                if not has_rows(db, self.of, self.account_id):
                    break
            moved, stopped = self._step(_SETTLED, {"after": after, "through": after + _SPAN})
            spent += time.monotonic() - began if moved else 0.0
            if stopped or spent > seconds:
                return False
        self._finish()
        return True

    def _finish(self) -> None:
        with self.connection.write() as db:
            self._move_slices(db)
            self._move_facts(db)
            for statement in _FINISH:
                db.execute(statement, self._names)
            if not db.execute(_ANY_ACCOUNT, self._names).fetchone():
                closing = [f"closing:{self.to}", f"closing:{self.of}"]  # state of closed sub-accounts
                db.execute("UPDATE OR IGNORE facts SET name=? WHERE name=?", closing)
                db.execute("DELETE FROM facts WHERE name IN (?, ?)", [carrier_fact(self.of), closing[1]])

    @property
    def _names(self) -> dict[str, Any]:
        return {"of": self.of, "to": self.to, "account": self.account_id}

    def _step(self, change: str, bounds: dict[str, int]) -> tuple[int, bool]:
        """Run one transaction, then pause as long as it took, for other processes; return rows moved and stopped."""
        began = time.monotonic()
        with self.connection.write() as db:
            moved = int(db.execute(change, {**self._names, **bounds}).rowcount)
        return moved, self.pause(time.monotonic() - began) if moved else False

    def _move_slices(self, db: Database) -> None:
        """Move each list's intervals, merged with those of the new source."""
        asked = "SELECT DISTINCT list FROM slices WHERE source=:of AND account_id=:account"
        for (each,) in db.execute(asked, self._names).fetchall():
            old = Feed(self.of, "", self.account_id, each)
            if self.sound:
                for done in intervals(db, old):
                    add_interval(db, replace(old, source=self.to), done)
            forget_intervals(db, old)

    def _move_facts(self, db: Database) -> None:
        of, to = (late_fact(name, self.account_id) for name in (self.of, self.to))
        known = dict(db.execute("SELECT name, value FROM facts WHERE name IN (?, ?)", [of, to]).fetchall())
        if of in known:
            late = Late.from_json(known[of])
            put_fact(db, to, (late + Late.from_json(known[to]) if to in known else late).to_json())
        offered = [offered_fact(name, self.account_id) for name in (self.to, self.of)]
        db.execute("UPDATE OR IGNORE facts SET name=? WHERE name=?", offered)
        db.execute("DELETE FROM facts WHERE name IN (?, ?)", [offered[1], of])


def has_rows(db: Database, source: str, account_id: str) -> bool:
    """Whether an account has rows under a source name."""
    return db.execute(_ANY_ROW, [source, account_id]).fetchone() is not None


def put_fact(db: Database, name: str, value: str) -> None:
    """Store a fact; inside a transaction."""
    db.execute("INSERT INTO facts VALUES (?, ?) ON CONFLICT DO UPDATE SET value=excluded.value", [name, value])


def carrier_fact(source: str) -> str:
    """Return the name under which the ledger stores the meaning of a source name."""
    return f"carrier:{source}"
