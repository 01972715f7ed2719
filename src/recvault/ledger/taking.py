"""Take single recordings out of the queue for other work than a transfer, and give them back as they were."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from recvault.ledger.attempts import claim, job_of
from recvault.ledger.connection import Connection
from recvault.ledger.leases import LEASE, Owner
from recvault.ledger.trouble import sound_values
from recvault.models import Job, stamp

_FREE = """
    SELECT next_attempt_at FROM recordings WHERE id = ? AND lease IS NULL
        AND state IN ('pending', 'failing', 'not_ready', 'dead', 'external', 'gone', 'accepted')
"""
_GIVE_BACK = """
    UPDATE recordings SET lease = NULL, next_attempt_at = :before, attempts = attempts - 1,
        may_have_put = may_have_put OR :begun
    WHERE id = :id AND lease = :owner
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """A leased recording, and when it would have been due."""

    row_id: int
    job: Job
    due_at: str | None


class Taking:
    """Leases by row id. If this process dies, the recording is due again, like any other that it leased."""

    def __init__(self, connection: Connection, owner: Owner) -> None:
        self._connection, self._owner = connection, owner

    def take(self, row_id: int, now: datetime) -> Taken | None:
        """Lease a recording in any state but archived; None if it is archived or another process works on it."""
        with self._connection.write() as db:
            free = next(db.query(_FREE, [row_id]), None)
            if free is None:
                return None
            values = {"owner": self._owner.name, "until": stamp(now + LEASE), "id": row_id}
            [row] = db.query(claim("SELECT :id"), values)
            with sound_values("a listed recording"):
                return Taken(row_id, job_of(row, now), free["next_attempt_at"])

    def give_back(self, taken: Taken, *, begun: bool) -> None:
        """End a lease without a result. `begun`: objects of it may have been put."""
        values = {"id": taken.row_id, "owner": self._owner.name, "before": taken.due_at, "begun": begun}
        with self._connection.write() as db:
            db.execute(_GIVE_BACK, values)
