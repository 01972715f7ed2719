"""Recordings that were under way when their process died: one of them may be why.

Invariants: one death costs nobody anything; whoever was there twice in a row is carried out alone; and only a process
that died with nothing else in it counts against the recording that was in it. Whatever else an attempt ends with clears
it: a kill from outside makes none dead that can be archived.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlite_utils import Database

from recvault.ledger.steps import Policy
from recvault.models import DRAINED, WORKER_CRASHED, WORKER_LOST, State, stamp

_OFTEN = 2  # deaths in a row, after which a recording is carried out alone: as the view `lone` has it
_MESSAGE = "the process that carried it out died, and nothing else was in it: memory, or its media crash a library"

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


def are_there(db: Database) -> bool:
    """Whether any recording is to be carried out alone, which is seldom so."""
    return next(iter(db.execute("SELECT 1 FROM lone LIMIT 1")), None) is not None


def give_up(db: Database, source: str, now: datetime, policy: Policy) -> None:
    """Those that ended their process as often as any may fail are dead; inside a transaction."""
    values = {"source": source, "now": stamp(now), "most": policy.max_attempts, "reason": WORKER_CRASHED}
    db.execute(_GIVE_UP, values)


def judge(db: Database, row_id: int, reason: str) -> None:
    """An attempt has failed: by its process's death, or in a way that clears it."""
    if reason in (WORKER_LOST, WORKER_CRASHED):  # seen by a process that lives on: it knows who was there
        db.execute(_NOTE, {"id": row_id, "deaths": _OFTEN})
    elif reason != DRAINED:
        db.execute("DELETE FROM suspects WHERE id = ?", [row_id])


def free(db: Database, owner: str, now: datetime) -> int:
    """Free what a dead process had leased. What it carried out alone is to blame; how many they were."""
    lone = list(db.query(_LONE_OF, [owner]))
    for row in lone:
        wait = min(timedelta(hours=6), timedelta(seconds=30) * 2 ** min(row["faults"], 20))
        values = {"state": State.FAILING.value, "reason": WORKER_CRASHED, "message": _MESSAGE}
        db.execute(_BLAME, {**values, "id": row["id"], "now": stamp(now), "next": stamp(now + wait)})
    db.execute(_NOTE_ALL, {"owner": owner})
    freed = db.execute(_FREE, [stamp(now), owner])
    return len(lone) + int(freed.rowcount)
