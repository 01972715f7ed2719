"""A claimed row as a job: the recording, and what earlier attempts left of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from recvault.ledger.brief import media_of
from recvault.ledger.steps import CONFIRM_AFTER
from recvault.ledger.trouble import stored_time
from recvault.models import Job, Look, Receipt, Recording, State, stamp, unstamp

_CLAIM = """
    UPDATE recordings SET attempts = attempts + 1, lease = :owner, next_attempt_at = :until,
        may_have_put = may_have_put OR lease IS NOT NULL
    WHERE id IN (%s)
    RETURNING source, state, attempts, faults, created_at, watched_since, missing_since, settled_at, may_have_put,
        looks, sidecar_key, sidecar_sha256, media,
        (SELECT recording FROM told WHERE told.id = recordings.id) AS recording
"""


def claim(due: str) -> str:
    """What leases the rows of a statement, which selects their ids."""
    return _CLAIM % due


def job_of(row: dict[str, Any], now: datetime) -> Job:
    """Raises ValueError, KeyError or TypeError where the row's bytes have turned."""
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
        standing=_standing(row, recording) if row["sidecar_key"] else None,
        again=row["state"] == State.ARCHIVED,
    )


def write_looks(looks: Sequence[Look]) -> str | None:
    """As a row holds them; None for none."""
    if not looks:
        return None
    return json.dumps([[each.media_format, each.bytes, each.sha256, stamp(each.seen_at)] for each in looks])


def _read_looks(text: str | None) -> tuple[Look, ...]:
    return tuple(
        Look(media_format=media_format, bytes=size, sha256=sha256, seen_at=unstamp(seen_at))
        for media_format, size, sha256, seen_at in json.loads(text or "[]")
    )


def _standing(row: dict[str, Any], recording: Recording) -> Receipt:
    """As what it was archived before: its keys and sums."""
    return Receipt(
        source=row["source"],
        recording=recording,
        sidecar_key=row["sidecar_key"],
        sidecar_sha256=row["sidecar_sha256"],
        media=media_of(row["media"], row["sidecar_key"]) if row["media"] else (),
        archived_at=unstamp(row["settled_at"] or row["created_at"]),
        already_archived=True,
    )
