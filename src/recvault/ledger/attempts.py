"""An attempt, from the claim of a row as a job to its outcome; and what makes an archived recording due again.

A receipt is stored permanently; a failure is stored with its consequences.

Invariant: an archived recording stays archived; a late failure takes nothing back. Only `reopen` makes one pending
again, and its row keeps the sidecar's key and the media's hashes, whether the provider still has the recording or not.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from recvault.ledger import editions, steps, uncalled
from recvault.ledger.blame import judge_suspect
from recvault.ledger.database import Database
from recvault.ledger.rows import keep_listed, media_of, shorten
from recvault.ledger.steps import CONFIRM_AFTER, Policy
from recvault.ledger.trouble import sound_values, stored_time
from recvault.models import (
    DRAINED,
    Failure,
    Job,
    Look,
    Outcome,
    Phase,
    Receipt,
    Recording,
    State,
    Verdict,
    stamp,
    unstamp,
)

_CLAIM = """
    UPDATE recordings SET attempts = attempts + 1, lease = :owner, next_attempt_at = :until,
        may_have_put = may_have_put OR lease IS NOT NULL
    WHERE id IN (%s)
    RETURNING source, state, attempts, faults, created_at, watched_since, missing_since, settled_at, may_have_put,
        looks, sidecar_key, sidecar_sha256, media,
        (SELECT recording FROM told WHERE told.id = recordings.id) AS recording
"""


def claim(due: str) -> str:
    """Return the statement that leases the rows whose ids `due`, a SELECT, returns."""
    return _CLAIM % due


def job_of(row: dict[str, Any], now: datetime) -> Job:
    """Build the job of a leased row. Raises ValueError, KeyError or TypeError if the row is damaged."""
    recording = Recording.from_json(row["recording"])
    missing_since = stored_time(row["missing_since"]) if row["missing_since"] else None
    return Job(
        source=row["source"],
        recording=recording,
        attempt=row["attempts"],
        maybe_archived=bool(row["may_have_put"]),
        confirms=missing_since is not None and now - missing_since >= CONFIRM_AFTER,
        faults=row["faults"],
        watched_since=stored_time(row["watched_since"]),
        looks=_read_looks(row["looks"]),
        standing=_archived_as(row, recording) if row["sidecar_key"] else None,
        again=row["state"] == State.ARCHIVED,
    )


def write_looks(looks: Sequence[Look]) -> str | None:
    """Return the looks as stored in a row; None for none."""
    if not looks:
        return None
    return json.dumps([[each.media_format, each.bytes, each.sha256, stamp(each.seen_at)] for each in looks])


def _read_looks(text: str | None) -> tuple[Look, ...]:
    return tuple(
        Look(media_format=media_format, bytes=size, sha256=sha256, seen_at=unstamp(seen_at))
        for media_format, size, sha256, seen_at in json.loads(text or "[]")
    )


def _archived_as(row: dict[str, Any], recording: Recording) -> Receipt:
    """Return the receipt of what was archived before: its keys and hashes."""
    return Receipt(
        source=row["source"],
        recording=recording,
        sidecar_key=row["sidecar_key"],
        sidecar_sha256=row["sidecar_sha256"],
        media=media_of(row["media"], row["sidecar_key"]) if row["media"] else (),
        archived_at=unstamp(row["settled_at"] or row["created_at"]),
        already_archived=True,
    )


_CLOCKS_DIFFER = timedelta(days=1)  # the most that our clock and the provider's may differ

_STANDING = """
    SELECT id, state, lease, faults, watched_since, created_at, missing_since, failing_since,
        in_doubt, json_extract(told.recording, '$.status') AS told_status
    FROM recordings JOIN told USING (id) WHERE recording_id=? AND account_id=? AND provider=?
"""

# An archived recording is looked at again while better media may come; it stays archived. Setting its state, although
# unchanged, fires the trigger that deletes its listed facts.
_LOOK_AGAIN = "UPDATE recordings SET next_attempt_at=?, lease=NULL, faults=?, missing_since=? WHERE id=?"
_LOOKED = "UPDATE recordings SET next_attempt_at=NULL, lease=NULL, missing_since=NULL, state=state WHERE id=?"


def settle(db: Database, outcomes: Sequence[Outcome], now: datetime, policies: Mapping[str, Policy]) -> list[State]:
    """Store outcomes, inside a transaction; return the new states in order."""
    receipts = [outcome for outcome in outcomes if isinstance(outcome, Receipt)]
    _archive(db, receipts, now)
    uncalled.note(db, [each for each in receipts if each.source in policies and policies[each.source].call_facts], now)
    return [
        State.ARCHIVED if isinstance(outcome, Receipt) else _fail(db, outcome, now, policies[outcome.source])
        for outcome in outcomes
    ]


def _archive(db: Database, receipts: Sequence[Receipt], now: datetime) -> None:
    at = stamp(now)
    editions.keep(db, receipts, now)
    db.conn.executemany(
        """
        UPDATE recordings SET state='archived', next_attempt_at=NULL, lease=NULL, failing_since=NULL, verdict=NULL,
            looks=NULL, reason=?3, message=?4, sidecar_sha256=?5, bytes=?6, media=?7, recording=NULL,
            settled_at=iif(state='archived' AND sidecar_key=?1, settled_at, ?2), sidecar_key=?1
        WHERE recording_id=?8 AND account_id=?9 AND provider=?10
        """,
        [
            (
                *(each.sidecar_key, at, *(each.note or (None, None))),
                *(each.sidecar_sha256, each.bytes, shorten(each)),
                *_identity(each.recording),
            )
            for each in receipts
        ],
    )


def _fail(db: Database, failure: Failure, now: datetime, policy: Policy) -> State:
    with sound_values("the row of a recording under way"):
        row = next(db.query(_STANDING, _identity(failure.recording)))
    if row["state"] == State.ARCHIVED and row["lease"] is None:
        return State.ARCHIVED  # another attempt archived it: a late failure takes nothing back
    watched_since = _watched_since(row, now)
    if failure.verdict is Verdict.NOT_READY and row["in_doubt"] and row["failing_since"]:
        watched_since += max(timedelta(), now - stored_time(row["failing_since"]))  # nobody could look then
    step = steps.after(
        failure,
        faults=row["faults"],
        watched_since=watched_since,
        now=now,
        policy=policy,
        missing_since=_moment(row["missing_since"]),
        failing_since=_moment(row["failing_since"]),
    )
    _note_attempt(db, row["id"], failure)
    if row["state"] == State.ARCHIVED:
        if step.next_attempt_at is None:
            db.execute(_LOOKED, [row["id"]])
        else:
            missing = stamp(step.missing_since) if step.missing_since else None
            db.execute(_LOOK_AGAIN, [stamp(step.next_attempt_at), step.faults, missing, row["id"]])
        return State.ARCHIVED
    failing = step.state in (State.FAILING, State.DEAD)
    db.execute(
        """
        UPDATE recordings SET state=:state, next_attempt_at=:next, lease=NULL, faults=:faults, verdict=:verdict,
            watched_since=:watched, missing_since=:missing, reason=:reason, message=:message,
            is_proven=iif(reason IS :reason, is_proven, 0), in_doubt=:in_doubt,
            in_doubt_since=iif(
                :in_doubt, min(:now, coalesce(iif(failing_since IS NULL, NULL, in_doubt_since), :now)),
                iif(:drained, in_doubt_since, NULL)
            ),
            settled_at=iif(:next IS NULL, :now, NULL),
            failing_since=iif(:failing, coalesce(failing_since, :now), iif(:drained, failing_since, NULL))
        WHERE id=:id
        """,
        {
            "id": row["id"],
            "state": step.state.value,
            "watched": stamp(watched_since),
            "missing": stamp(step.missing_since) if step.missing_since else None,
            "next": stamp(step.next_attempt_at) if step.next_attempt_at else None,
            "faults": step.faults,
            "verdict": failure.verdict.value,
            "reason": failure.reason,
            "message": failure.message,
            "now": stamp(now),
            "failing": failing,
            "in_doubt": failure.doubt is not None and failure.counted,
            "drained": failure.reason == DRAINED,
        },
    )
    judge_suspect(db, row["id"], failure.reason)
    if failure.recording.status is not None or row["told_status"] is None:  # else the stored row has more
        keep_listed(db, [(row["id"], failure.recording.to_json())])
    return step.state


def _watched_since(row: dict[str, str], now: datetime) -> datetime:
    """Return when the wait began, at most `now`; if the clock was more than a day slow then, the date of creation."""
    watched_since, created_at = stored_time(row["watched_since"]), stored_time(row["created_at"])
    return min(now, created_at if created_at - watched_since > _CLOCKS_DIFFER else watched_since)


def _moment(text: str | None) -> datetime | None:
    return stored_time(text) if text else None


def _note_attempt(db: Database, row_id: int, failure: Failure) -> None:
    """Store that it may have left objects in the bucket, and what it saw of incomplete media."""
    if failure.may_have_put:
        db.execute("UPDATE recordings SET may_have_put=1 WHERE id=? AND NOT may_have_put", [row_id])
    if failure.looks:
        db.execute("UPDATE recordings SET looks=? WHERE id=?", [write_looks(failure.looks), row_id])


def _identity(recording: Recording) -> tuple[str, str, str]:
    """Return the identity in the order of its index."""
    return (recording.recording_id, recording.account_id, recording.provider)


REOPENED = "verify.missing"

_IS_ARCHIVED = """
    SELECT id, provider, api, account_id, recording_id, created_at FROM recordings WHERE id = ? AND state = 'archived'
        AND pruned_at IS NULL
"""
# As after an attempt, so that the next one looks for what is left in the bucket.
_REOPEN = """
    UPDATE recordings SET state='pending', next_attempt_at=:now, watched_since=:now, settled_at=NULL, lease=NULL,
        attempts=max(attempts, 1), may_have_put=1, faults=0, verdict=NULL, reason=:reason,
        message='its objects were missing'
    WHERE id=:id
"""


def reopen(db: Database, row_ids: Iterable[int], now: datetime) -> int:
    """Make those of these recordings that are archived due now, inside a transaction; return how many."""
    reopened = 0
    for row_id in row_ids:
        row = next(db.query(_IS_ARCHIVED, [row_id]), None)
        if row is None:
            continue
        db.execute(_REOPEN, {"id": row_id, "now": stamp(now), "reason": REOPENED})
        del row["id"]
        # Only the sidecar has the provider's row: the recording is read again by id, like an unfinished one.
        known = Recording(
            **{**row, "created_at": unstamp(row["created_at"])}, status=None, phase=Phase.UNFINISHED, formats=()
        )
        keep_listed(db, [(row_id, known.to_json())])
        reopened += 1
    return reopened
