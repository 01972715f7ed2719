"""An archived recording becomes due again: its objects were found missing.

Invariant: only what is archived is reopened, and what it was archived as stays in its row: where its sidecar stood, and
its media's sums. What was archived once is never forgotten to have been, whether its provider still has it or not.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlite_utils import Database

from recvault.ledger import listed
from recvault.models import Phase, Recording, stamp, unstamp

REASON = "verify.missing"

_ARCHIVED = """
    SELECT id, provider, api, account_id, recording_id, created_at FROM recordings WHERE id = ? AND state = 'archived'
"""
# An attempt has been: the next one looks for what of it still stands.
_REOPEN = """
    UPDATE recordings SET state='pending', next_attempt_at=:now, watched_since=:now, settled_at=NULL, lease=NULL,
        attempts=max(attempts, 1), may_have_put=1, faults=0, verdict=NULL, reason=:reason,
        message='its objects were missing'
    WHERE id=:id
"""


def reopen(db: Database, row_ids: Iterable[int], now: datetime) -> int:
    """Make these due now, those of them that are archived; inside a transaction. How many they were."""
    reopened = 0
    for row_id in row_ids:
        row = next(db.query(_ARCHIVED, [row_id]), None)
        if row is None:
            continue
        db.execute(_REOPEN, {"id": row_id, "now": stamp(now), "reason": REASON})
        del row["id"]
        # Its provider's row went into the sidecar; all else is read anew by its id, as of any that is not final.
        known = Recording(
            **{**row, "created_at": unstamp(row["created_at"])}, status=None, phase=Phase.UNFINISHED, formats=()
        )
        listed.keep(db, [(row_id, known.to_json())])
        reopened += 1
    return reopened
