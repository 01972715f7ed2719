"""Editions of a recording that were archived before the current one; they stay in the bucket.

Invariant: every archived edition is expected in the bucket permanently, whatever was archived later.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from recvault.ledger.database import Database
from recvault.ledger.rows import keep_listed, whole
from recvault.models import FORMATS_MISSING, SUSPECT, Phase, Receipt, Recording, stamp, unstamp

SCHEMA = (
    """
    CREATE TABLE editions (
        id INTEGER NOT NULL,                -- of the recording's row
        sidecar_key TEXT NOT NULL,
        sidecar_sha256 TEXT,
        bytes INTEGER,
        media TEXT,
        settled_at TEXT,
        replaced INTEGER NOT NULL,          -- its media were lost, and the next edition replaces them
        unlisted INTEGER NOT NULL,          -- no manifest lists it yet
        PRIMARY KEY (id, sidecar_key)
    ) WITHOUT ROWID
    """,
    "ALTER TABLE recordings ADD COLUMN may_have_put INTEGER NOT NULL DEFAULT 0",  # set by attempts of this ledger
    "ALTER TABLE recordings ADD COLUMN looks TEXT",  # JSON of what was seen of incomplete media
    "UPDATE recordings SET may_have_put = 1 WHERE attempts > 0 AND state <> 'archived'",
    """UPDATE recordings SET reason = 'media.suspect' WHERE state = 'archived' AND media LIKE '%"suspect"%'""",
    "CREATE INDEX recordings_noted ON recordings (reason) WHERE state = 'archived' AND reason IS NOT NULL",
)

_KEEP = """
    INSERT OR IGNORE INTO editions
    SELECT id, sidecar_key, sidecar_sha256, bytes, media, coalesce(settled_at, :now), :replaced,
           id IN (SELECT id FROM unlisted)
    FROM recordings
    WHERE recording_id=:recording_id AND account_id=:account_id AND provider=:provider AND sidecar_key=:earlier
"""
_UNLISTED = """
    INSERT OR IGNORE INTO unlisted SELECT id FROM recordings
    WHERE recording_id=:recording_id AND account_id=:account_id AND provider=:provider
"""
_OF = "SELECT sidecar_key, sidecar_sha256, media, settled_at, replaced FROM editions WHERE id=? ORDER BY settled_at"

_MORE_MAY_COME = """
    SELECT id, provider, api, account_id, recording_id, created_at FROM recordings
    WHERE state = 'archived' AND reason IN (?, ?) AND lease IS NULL AND pruned_at IS NULL
"""
_DUE = """
    UPDATE recordings SET next_attempt_at=:now, watched_since=:now, faults=0, looks=NULL, may_have_put=0 WHERE id=:id
"""


def keep(db: Database, receipts: Iterable[Receipt], now: datetime) -> None:
    """Keep the current edition of rows that are about to get a later one; inside a transaction."""
    for each in receipts:
        if each.earlier is None:
            continue
        recording = each.recording
        identity = {
            "recording_id": recording.recording_id,
            "account_id": recording.account_id,
            "provider": recording.provider,
        }
        asked = {"earlier": each.earlier.sidecar_key, "replaced": each.earlier.replaced, "now": stamp(now)}
        db.execute(_KEEP, {**identity, **asked})
        db.execute(_UNLISTED, identity)


def of(db: Database, row_id: int) -> list[dict[str, Any]]:
    """Return the earlier editions of a row, oldest first, with their media in full."""
    return [
        {
            "sidecar_key": key,
            "sidecar_sha256": sha256,
            "media": whole(media, key) if media else [],
            "archived_at": settled_at,
            "replaced": bool(replaced),
        }
        for key, sha256, media, settled_at, replaced in db.execute(_OF, [row_id]).fetchall()
    ]


def ask_again(db: Database, row_ids: Sequence[int] | None, now: datetime) -> int:
    """Make archived recordings due again, because better media may exist; inside a transaction. Return how many.

    None: all that are suspect or lack a format. They stay archived in any case.
    """
    reasons = [SUSPECT, FORMATS_MISSING]
    if row_ids is None:
        found = list(db.query(_MORE_MAY_COME, reasons))
    else:
        found = [row for row_id in row_ids for row in db.query(f"{_MORE_MAY_COME} AND id = ?", [*reasons, row_id])]
    for row in found:
        db.execute(_DUE, {"now": stamp(now), "id": row["id"]})
        row_id = row.pop("id")
        # Only the sidecar has the provider's row: the recording is read again by id, like an unfinished one.
        known = Recording(
            **{**row, "created_at": unstamp(row["created_at"])}, status=None, phase=Phase.UNFINISHED, formats=()
        )
        keep_listed(db, [(row_id, known.to_json())])
    return len(found)
