"""The ledger's verbs: register, advance, claim, settle; and the questions that commands ask of it.

One connection a process, guarded by a lock: SQLite has one writer anyway, and every write is one short transaction.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

from sqlite_utils import Database

from recvault.ledger import steps
from recvault.ledger.connection import Connection
from recvault.ledger.leases import Owner
from recvault.ledger.questions import Feed, Questions, Row
from recvault.ledger.steps import Policy
from recvault.models import DRAINED, Failure, Job, Outcome, Phase, Receipt, Recording, Rejected, State, stamp, unstamp

LEASE = timedelta(hours=12)  # a backstop only: the leases of a process that ended are freed at once


@dataclass(frozen=True, slots=True)
class Registered:
    """What registering a page added, and how much of that has nothing to archive."""

    new: int = 0
    gone: int = 0
    external: int = 0


class Ledger:
    """Open with `Ledger.open`; close when done. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._connection = Connection(path)
        self._owner = Owner(path)
        self.ask = Questions(self._connection)
        self._born_at = ""

    @classmethod
    def open(cls, path: Path, now: datetime) -> Self:
        """Open or create, migrate, and free what dead processes still leased."""
        ledger = cls(path)
        try:
            with ledger._connection.write() as db:
                db.execute("INSERT OR IGNORE INTO facts VALUES ('born_at', ?)", [stamp(now)])
            ledger._born_at = ledger.fact("born_at") or ""
            ledger.free_dead_leases(now)
        except BaseException:
            ledger.close()
            raise
        return ledger

    def close(self) -> None:
        """Give up this process's leases and close the file."""
        self._owner.close()
        self._connection.close()

    # -- discovery -----------------------------------------------------------------------------------------------------

    def register(
        self,
        feed: Feed,
        recordings: Iterable[Recording],
        rejected: Iterable[Rejected],
        now: datetime,
        recheck: timedelta,
    ) -> Registered:
        """Write down a page in one transaction. A known row is left as it is, but where a list knows better.

        That is: one that was gone is listed as complete again; one that is not archived yet came from a list that
        tells no status (nor keys, nor channels), and stands in one that does.
        """
        listed = list(recordings)
        rows = [_new_row(feed, recording, now, recheck) for recording in listed]
        with self._connection.write() as db:
            before = _states(db, feed.source)
            db.conn.executemany(_REGISTER, rows)
            new = _states(db, feed.source) - before
            if new.total() < len(listed):
                db.conn.executemany(_REVIVE, [row for row in rows if row["state"] == State.PENDING])
                db.conn.executemany(_ENRICH, [row for row in rows if row["status"] is not None])
            self._release_quarantine(db, feed, listed)
            for unreadable in rejected:
                self._quarantine(db, feed, unreadable, now)
        return Registered(new=new.total(), gone=new[State.GONE], external=new[State.EXTERNAL])

    def watermark(self, feed: Feed) -> datetime | None:
        """Everything that the provider lists as created before it is registered; None before the first scan."""
        with self._connection.read() as db:
            row = next(
                db.query("SELECT watermark FROM feeds WHERE source=? AND account_id=? AND list=?", feed.key), None
            )
        return unstamp(row["watermark"]) if row and row["watermark"] else None

    def advance(self, feed: Feed, watermark: datetime | None, now: datetime) -> None:
        """Note a whole scan, and move the watermark forward, never backward. None leaves it alone."""
        mark = stamp(watermark) if watermark else None
        with self._connection.write() as db:
            db.execute(
                """
                INSERT INTO feeds (source, account_id, list, provider, watermark, last_success_at)
                VALUES (?, ?, ?, ?, ?, ?)
                ON CONFLICT DO UPDATE SET last_success_at=excluded.last_success_at, error=NULL, error_at=NULL,
                    watermark=max(coalesce(excluded.watermark, watermark), coalesce(watermark, excluded.watermark))
                """,
                [*feed.key, feed.provider, mark, stamp(now)],
            )

    def note_scan_error(self, feed: Feed, error: str, now: datetime) -> None:
        """Remember why a scan failed; the watermark stays."""
        with self._connection.write() as db:
            db.execute(
                """
                INSERT INTO feeds (source, account_id, list, provider, error, error_at) VALUES (?, ?, ?, ?, ?, ?)
                ON CONFLICT DO UPDATE SET error=excluded.error, error_at=excluded.error_at
                """,
                [*feed.key, feed.provider, error, stamp(now)],
            )

    # -- transfer ------------------------------------------------------------------------------------------------------

    def claim(self, source: str, now: datetime, limit: int) -> list[Job]:
        """Lease what is due, oldest due first. The attempt is counted here, before the work."""
        with self._connection.write() as db:
            rows = list(
                db.query(
                    """
                    UPDATE recordings SET attempts = attempts + 1, lease = :owner, next_attempt_at = :until
                    WHERE id IN (
                        SELECT id FROM recordings WHERE source = :source AND next_attempt_at <= :now
                        ORDER BY next_attempt_at LIMIT :limit
                    )
                    RETURNING source, attempts, recording, created_at
                    """,
                    {
                        "owner": self._owner.name,
                        "until": stamp(now + LEASE),
                        "source": source,
                        "now": stamp(now),
                        "limit": limit,
                    },
                )
            )
        return [self._job(row) for row in rows]

    def settle(self, outcomes: Iterable[Outcome], now: datetime, policies: Mapping[str, Policy]) -> list[State]:
        """Write down how attempts ended, all in one transaction; the new states, in order."""
        with self._connection.write() as db:
            return [
                self._settle_receipt(db, outcome, now)
                if isinstance(outcome, Receipt)
                else self._settle_failure(db, outcome, now, policies[outcome.source])
                for outcome in outcomes
            ]

    def free_dead_leases(self, now: datetime) -> int:
        """Make due what processes that no longer live had leased."""
        dead = self._owner.dead()
        with self._connection.write() as db:
            living = {self._owner.name, *self._owner.living()}
            holders = {
                row["lease"] for row in db.query("SELECT DISTINCT lease FROM recordings WHERE lease IS NOT NULL")
            }
            freed = 0
            for name in (holders - living) | set(dead):
                cursor = db.execute(
                    "UPDATE recordings SET lease=NULL, next_attempt_at=? WHERE lease=?", [stamp(now), name]
                )
                freed += cursor.rowcount
        return freed

    def retry(self, row_ids: Iterable[int] | None, now: datetime) -> int:
        """Make dead or waiting recordings due now, their faults forgiven; None: all that are failing or dead."""
        due = """
            UPDATE recordings SET next_attempt_at=:now, watched_since=:now, faults=0,
                state=iif(state IN ('dead', 'gone'), 'pending', state)
            WHERE lease IS NULL AND """
        with self._connection.write() as db:
            if row_ids is None:
                return int(db.execute(due + "state IN ('failing', 'dead', 'not_ready')", {"now": stamp(now)}).rowcount)
            live = "id=:id AND state IN ('pending', 'failing', 'dead', 'not_ready', 'gone')"
            return sum(db.execute(due + live, {"now": stamp(now), "id": row_id}).rowcount for row_id in row_ids)

    def fact(self, name: str) -> str | None:
        """A fact that was remembered, such as what a store enforces."""
        with self._connection.read() as db:
            row = next(db.query("SELECT value FROM facts WHERE name=?", [name]), None)
        return row["value"] if row else None

    def remember(self, name: str, value: str) -> None:
        """Remember a fact."""
        with self._connection.write() as db:
            db.execute("INSERT INTO facts VALUES (?, ?) ON CONFLICT DO UPDATE SET value=excluded.value", [name, value])

    # -- rows ----------------------------------------------------------------------------------------------------------

    def _job(self, row: Row) -> Job:
        recording = Recording.from_json(row["recording"])
        # What was created before this ledger was may stand in the bucket already: an earlier ledger could be lost.
        maybe_archived = row["attempts"] > 1 or row["created_at"] < self._born_at
        return Job(source=row["source"], recording=recording, attempt=row["attempts"], maybe_archived=maybe_archived)

    def _settle_receipt(self, db: Database, receipt: Receipt, now: datetime) -> State:
        media = json.dumps([asdict(medium) for medium in receipt.media])
        db.execute(
            """
            UPDATE recordings SET state='archived', next_attempt_at=NULL, lease=NULL, failing_since=NULL, verdict=NULL,
                reason=NULL, message=NULL, settled_at=?, sidecar_key=?, bytes=?, media=?, recording=NULL
            WHERE recording_id=? AND account_id=? AND provider=?
            """,
            [stamp(now), receipt.sidecar_key, receipt.bytes, media, *_identity(receipt.recording)],
        )
        return State.ARCHIVED

    def _settle_failure(self, db: Database, failure: Failure, now: datetime, policy: Policy) -> State:
        found = db.query(
            "SELECT state, faults, watched_since FROM recordings WHERE recording_id=? AND account_id=? AND provider=?",
            _identity(failure.recording),
        )
        row = next(iter(found))
        if row["state"] == State.ARCHIVED:
            return State.ARCHIVED  # another attempt committed it: a late failure takes nothing back
        step = steps.after(
            failure, faults=row["faults"], watched_since=unstamp(row["watched_since"]), now=now, policy=policy
        )
        failing = step.state in (State.FAILING, State.DEAD)
        db.execute(
            """
            UPDATE recordings SET state=:state, next_attempt_at=:next, lease=NULL, faults=:faults, verdict=:verdict,
                reason=:reason, message=:message, settled_at=iif(:next IS NULL, :now, NULL),
                recording=iif(:telling OR json_extract(recording, '$.status') IS NULL, :recording, recording),
                failing_since=iif(:failing, coalesce(failing_since, :now), iif(:drained, failing_since, NULL))
            WHERE recording_id=:id AND account_id=:account AND provider=:provider
            """,
            {
                "state": step.state.value,
                "next": stamp(step.next_attempt_at) if step.next_attempt_at else None,
                "faults": step.faults,
                "verdict": failure.verdict.value,
                "reason": failure.reason,
                "message": failure.message,
                "now": stamp(now),
                "recording": failure.recording.to_json(),
                "telling": failure.recording.status is not None,  # else a row that tells more stays
                "failing": failing,
                "drained": failure.reason == DRAINED,
                "id": failure.recording.recording_id,
                "account": failure.recording.account_id,
                "provider": failure.recording.provider,
            },
        )
        return step.state

    def _quarantine(self, db: Database, feed: Feed, row: Rejected, now: datetime) -> None:
        """Keep a row's body; where other fields of the same recording's changed meanwhile, its latest."""
        digest = hashlib.sha256(row.body.encode("utf-8", "replace")).hexdigest()
        if row.recording_id is not None:
            db.execute(
                "UPDATE OR REPLACE quarantine SET digest=?, body=? WHERE source=? AND account_id=? AND recording_id=?",
                [digest, row.body, feed.source, feed.account_id, row.recording_id],
            )
        db.execute(
            """
            INSERT INTO quarantine (source, account_id, recording_id, digest, body, reason, first_seen_at, last_seen_at)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT DO UPDATE SET last_seen_at=excluded.last_seen_at, reason=excluded.reason
            """,
            [feed.source, feed.account_id, row.recording_id, digest, row.body, row.reason, stamp(now), stamp(now)],
        )

    def _release_quarantine(self, db: Database, feed: Feed, recordings: Iterable[Recording]) -> None:
        """A row that can be read by now is quarantined no longer."""
        here = [feed.source, feed.account_id]
        kept = db.query("SELECT recording_id FROM quarantine WHERE source=? AND account_id=?", here)
        ids = {row["recording_id"] for row in kept}
        if readable := [(*here, r.recording_id) for r in recordings if r.recording_id in ids]:
            db.conn.executemany("DELETE FROM quarantine WHERE source=? AND account_id=? AND recording_id=?", readable)


_REGISTER = """
    INSERT INTO recordings (provider, account_id, recording_id, source, api, created_at, registered_at, watched_since,
                            state, next_attempt_at, settled_at, recording)
    VALUES (:provider, :account_id, :recording_id, :source, :api, :created_at, :registered_at, :registered_at,
            :state, :next_attempt_at, :settled_at, :recording)
    ON CONFLICT (recording_id, account_id, provider) DO NOTHING
"""

# A recording that answered 404 once and is listed as complete again was never gone. A list that has no statuses shows
# what is absent, too: it may contradict itself, not a list that knows.
_REVIVE = """
    UPDATE recordings SET state='pending', next_attempt_at=:next_attempt_at, settled_at=NULL, recording=:recording
    WHERE recording_id=:recording_id AND account_id=:account_id AND provider=:provider AND state='gone'
        AND (api=:api OR :status IS NOT NULL)
"""

# Twilio's 2008 rows tell no status, no channels and no keys: through them an encrypted recording looks like noise, and
# an absent one like one that is late. A transfer under way settles first; the row that tells more stays.
_ENRICH = """
    UPDATE recordings SET source=:source, api=:api, recording=:recording, faults=0, failing_since=NULL,
        state=iif(lease IS NULL, :state, state),
        next_attempt_at=iif(lease IS NULL, :next_attempt_at, next_attempt_at),
        settled_at=iif(lease IS NULL, :settled_at, settled_at)
    WHERE recording_id=:recording_id AND account_id=:account_id AND provider=:provider
        AND state IN ('pending', 'failing', 'not_ready', 'dead') AND json_extract(recording, '$.status') IS NULL
"""

_FIRST_STATE: Mapping[Phase, State] = {
    Phase.COMPLETE: State.PENDING,
    Phase.UNFINISHED: State.NOT_READY,
    Phase.GONE: State.GONE,
    Phase.EXTERNAL: State.EXTERNAL,
}


def _new_row(feed: Feed, recording: Recording, now: datetime, recheck: timedelta) -> Row:
    due = {Phase.COMPLETE: stamp(now), Phase.UNFINISHED: stamp(now + recheck)}.get(recording.phase)
    return {
        "provider": recording.provider,
        "account_id": recording.account_id,
        "recording_id": recording.recording_id,
        "source": feed.source,
        "api": recording.api,
        "status": recording.status,
        "created_at": stamp(recording.created_at),
        "registered_at": stamp(now),
        "state": _FIRST_STATE[recording.phase].value,
        "next_attempt_at": due,
        "settled_at": None if due else stamp(now),
        "recording": recording.to_json(),
    }


def _identity(recording: Recording) -> tuple[str, str, str]:
    """In the order of the identity index."""
    return (recording.recording_id, recording.account_id, recording.provider)


def _states(db: Database, source: str) -> Counter[str]:
    rows = db.query("SELECT state, sum(count) AS n FROM tallies WHERE source=? GROUP BY state", [source])
    return Counter({row["state"]: row["n"] for row in rows})
