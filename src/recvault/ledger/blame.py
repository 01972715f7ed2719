"""Decide whose fault a failure is, if that shows only later: from similar failures, or from the death of a process.

Invariants. A failure that is counted later is counted once, and only against a recording that is still failing. Time
in which the account's list was not answered is not counted as time in which a recording failed by itself.

The death of a process counts against no recording. A recording that was in two such processes in a row must run alone.
Only a process that dies with nothing else in it counts against its recording. Any other end of an attempt clears the
recording: kills from outside make nothing dead that can be archived.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta

from recvault.ledger.connection import Connection
from recvault.ledger.database import Database
from recvault.ledger.steps import Policy
from recvault.models import DRAINED, WORKER_CRASHED, WORKER_LOST, Recording, State, stamp

_MANY = 1000  # the most recordings that are counted
_FRESH = timedelta(days=1)  # an older error, of a list that is no longer read, says nothing about today
SELDOM = timedelta(days=2)  # a list that was not requested for longer counts as unanswered
_A_SECOND = 10.0  # recordings a second that become due again once a service works

_ALIKE = """
    SELECT count(*), max(since) FROM (
        SELECT coalesce(in_doubt_since, '9999') AS since FROM recordings INDEXED BY recordings_in_doubt
        WHERE source = ? AND reason = ? AND in_doubt AND NOT is_proven AND state = 'failing' LIMIT ?
    )
"""
_IS_PROVEN = "SELECT is_proven FROM recordings WHERE recording_id=? AND account_id=? AND provider=?"
_FAILS_SO = """
    SELECT 1 FROM recordings
    WHERE recording_id=? AND account_id=? AND provider=? AND reason=? AND in_doubt AND state = 'failing'
"""
_LIST_FAILS = """
    SELECT 1 FROM feeds WHERE source=? AND account_id=? AND list='account' AND error IS NOT NULL AND error_at > ?
"""
_HAS_LASTED = """
    SELECT 1 FROM recordings JOIN feeds USING (source, account_id)
    WHERE recording_id=:recording_id AND account_id=:account_id AND recordings.provider=:provider
        AND in_doubt AND in_doubt_since <= :bound
        AND list='account' AND error IS NULL AND answered_since <= :bound AND last_success_at >= :lately
"""
_COUNT = """
    UPDATE recordings SET faults = faults + 1, is_proven = max(is_proven, :proven)
    WHERE recording_id=:recording_id AND account_id=:account_id AND provider=:provider AND state='failing'
"""
_BURY = """
    UPDATE recordings SET state='dead', next_attempt_at=NULL, settled_at=:now
    WHERE recording_id=:recording_id AND account_id=:account_id AND provider=:provider AND state='failing'
        AND lease IS NULL AND faults >= :most
"""
_WAITING = """
    SELECT id FROM recordings INDEXED BY recordings_in_doubt
    WHERE source = ? AND in_doubt AND NOT is_proven AND state = 'failing' AND lease IS NULL AND next_attempt_at > ?
"""


@dataclass(frozen=True, slots=True)
class Alike:
    """The recordings of a source that fail for one reason, without those proven to fail by their own fault."""

    count: int  # at most 1000
    newest: str | None  # when the latest of them began to fail so

    def has_not_grown(self, at: datetime, policy: Policy) -> bool:
        """Whether none had joined for `give_up_after` at that time. A thousand or more are their source's problem."""
        return self.count < _MANY and (self.newest is None or self.newest <= stamp(at - policy.give_up_after))


class Blame:
    """Queries and verdicts about failures in an open ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def alike(self, source: str, reason: str) -> Alike:
        """Return the recordings of a source that fail for this reason and are not proven to fail by their own fault."""
        with self._connection.read() as db:
            count, newest = db.execute(_ALIKE, [source, reason, _MANY]).fetchone()
            return Alike(int(count), newest)

    def is_proven(self, recording: Recording) -> bool:
        """Whether it is proven to fail by its own fault."""
        with self._connection.read() as db:
            row = db.execute(_IS_PROVEN, _identity(recording)).fetchone()
            return bool(row and row[0])

    def fails_so(self, recording: Recording, reason: str) -> bool:
        """Whether it still fails for this reason."""
        with self._connection.read() as db:
            return db.execute(_FAILS_SO, [*_identity(recording), reason]).fetchone() is not None

    def list_fails(self, source: str, account_id: str, now: datetime) -> bool:
        """Whether the last attempt to read the account's list failed, within the last day."""
        with self._connection.read() as db:
            return db.execute(_LIST_FAILS, [source, account_id, stamp(now - _FRESH)]).fetchone() is not None

    def has_lasted(self, recording: Recording, at: datetime, policy: Policy) -> bool:
        """Whether it had failed for `give_up_after` at that time, and the account's list was answered all the while."""
        recording_id, account_id, provider = _identity(recording)
        names = {"recording_id": recording_id, "account_id": account_id, "provider": provider}
        times = {"bound": stamp(at - policy.give_up_after), "lately": stamp(at - SELDOM)}
        with self._connection.read() as db:
            return db.execute(_HAS_LASTED, {**names, **times}).fetchone() is not None

    def count(self, recording: Recording, now: datetime, policy: Policy, *, proven: bool) -> State:
        """Count its last failure as its own: dead if that reaches the limit and no attempt is running."""
        recording_id, account_id, provider = _identity(recording)
        names = {"recording_id": recording_id, "account_id": account_id, "provider": provider}
        with self._connection.write() as db:
            db.execute(_COUNT, {**names, "proven": proven})
            buried = db.execute(_BURY, {**names, "now": stamp(now), "most": policy.max_attempts}).rowcount
        return State.DEAD if buried else State.FAILING

    def hasten(self, source: str, now: datetime, policy: Policy) -> int:
        """Make what failed with a source due soon, spread over time, as the source works again; return how many."""
        with self._connection.write() as db:
            return _hasten(db, source, now, policy)


def _hasten(db: Database, source: str, now: datetime, policy: Policy) -> int:
    rows = db.execute(_WAITING, [source, stamp(now + policy.retry_base)]).fetchall()
    spread = min(policy.longest, max(policy.retry_base, timedelta(seconds=len(rows) / _A_SECOND)))
    sooner = [(stamp(now + spread * random.random()), row_id) for (row_id,) in rows]  # noqa: S311 - jitter, no secret
    db.conn.executemany("UPDATE recordings SET next_attempt_at = min(next_attempt_at, ?) WHERE id = ?", sooner)
    return len(rows)


def _identity(recording: Recording) -> tuple[str, str, str]:
    """Return the identity in the order of its index."""
    return (recording.recording_id, recording.account_id, recording.provider)


_OFTEN = 2  # deaths in a row after which a recording runs alone, as in the view `lone`
_MESSAGE = "the process that carried it out died while it ran alone: out of memory, or its media crash a library"

CROWD = """
    SELECT id FROM recordings WHERE source = :source AND next_attempt_at <= :now AND id NOT IN (SELECT id FROM lone)
    ORDER BY next_attempt_at LIMIT :limit
"""
LONE = """
    SELECT id FROM lone CROSS JOIN recordings USING (id) WHERE source = :source AND next_attempt_at <= :now
    ORDER BY next_attempt_at LIMIT :limit
"""
_GIVE_UP = """
    UPDATE recordings SET state = 'dead', lease = NULL, next_attempt_at = NULL, settled_at = :now
    WHERE id IN (SELECT id FROM lone) AND source = :source AND next_attempt_at <= :now
        AND faults >= :most AND reason = :reason
"""
_NOTE = """
    INSERT INTO suspects (id, deaths) VALUES (:id, :deaths)
    ON CONFLICT (id) DO UPDATE SET deaths = max(deaths + 1, excluded.deaths)
"""
_NOTE_ALL = """
    INSERT INTO suspects (id, deaths) SELECT id, 1 FROM recordings WHERE lease = :owner
    ON CONFLICT (id) DO UPDATE SET deaths = deaths + 1
"""
_LONE_OF = "SELECT id, faults FROM recordings WHERE lease = ? AND id IN (SELECT id FROM lone)"
_BLAME = """
    UPDATE recordings SET lease = NULL, may_have_put = 1, state = :state, faults = faults + 1, verdict = 'retry',
        reason = :reason, message = :message, failing_since = coalesce(failing_since, :now), next_attempt_at = :next
    WHERE id = :id
"""
_FREE = "UPDATE recordings SET lease = NULL, may_have_put = 1, next_attempt_at = ? WHERE lease = ?"


def suspects_are_there(db: Database) -> bool:
    """Whether any recording must run alone, which is rare."""
    return next(iter(db.execute("SELECT 1 FROM lone LIMIT 1")), None) is not None


def give_up_alone(db: Database, source: str, now: datetime, policy: Policy) -> None:
    """Make dead what crashed its process `max_attempts` times; inside a transaction."""
    values = {"source": source, "now": stamp(now), "most": policy.max_attempts, "reason": WORKER_CRASHED}
    db.execute(_GIVE_UP, values)


def judge_suspect(db: Database, row_id: int, reason: str) -> None:
    """After a failed attempt, note the death of its process, or clear the recording."""
    if reason in (WORKER_LOST, WORKER_CRASHED):  # reported by the parent process, which knows what ran there
        db.execute(_NOTE, {"id": row_id, "deaths": _OFTEN})
    elif reason != DRAINED:
        db.execute("DELETE FROM suspects WHERE id = ?", [row_id])


def free_suspects(db: Database, owner: str, now: datetime) -> int:
    """Free the leases of a dead process; return how many. A recording that ran alone in it is blamed."""
    lone = list(db.query(_LONE_OF, [owner]))
    for row in lone:
        wait = min(timedelta(hours=6), timedelta(seconds=30) * 2 ** min(row["faults"], 20))
        values = {"state": State.FAILING.value, "reason": WORKER_CRASHED, "message": _MESSAGE}
        db.execute(_BLAME, {**values, "id": row["id"], "now": stamp(now), "next": stamp(now + wait)})
    db.execute(_NOTE_ALL, {"owner": owner})
    freed = db.execute(_FREE, [stamp(now), owner])
    return len(lone) + int(freed.rowcount)
