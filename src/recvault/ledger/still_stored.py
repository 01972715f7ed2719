"""What the providers still store, as far as the ledger knows: sums by source, account and month."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from recvault.ledger.rows import whole
from recvault.models import SUSPECT, stamp

if TYPE_CHECKING:
    from recvault.ledger.connection import Connection

_TOGETHER = 2_000  # row ids read in one query: each is short, whatever the ledger's size
_LAST = "SELECT coalesce(max(id), 0) FROM recordings"
# A provider has nothing of what is gone, and keeps nothing of what is external.
_STORED = """
    SELECT source, provider, account_id, created_at, settled_at, state, reason, sidecar_key, media, bytes,
           told.recording AS told
    FROM recordings JOIN told USING (id)
    WHERE id > :after AND id <= :until AND pruned_at IS NULL AND state NOT IN ('gone', 'external')
        AND (:source IS NULL OR source = :source)
"""


@dataclass(slots=True, kw_only=True)
class StillStored:
    """Recordings of one month that their provider still stores."""

    source: str
    provider: str
    account_id: str
    month: str  # in which they were created, in UTC
    recordings: int = 0
    archived: int = 0
    minutes: int = 0  # each recording rounded up, as providers bill
    seconds: float = 0.0
    bytes: int = 0
    archived_bytes: int = 0  # in the bucket: of all formats
    unknown: int = 0  # of these recordings the ledger knows no duration
    prunable: int = 0  # archived, unflagged and old enough
    prunable_minutes: int = 0
    prunable_bytes: int = 0

    def add(self, row: dict[str, Any], before: str) -> None:
        """Count one recording."""
        seconds, size = _of_archived(row) if row["state"] == "archived" else _of_listed(row)
        minutes = max(1, -(-round(seconds) // 60)) if seconds else 0
        self.recordings += 1
        self.archived += row["state"] == "archived"
        self.unknown += seconds is None
        self.archived_bytes += (row["bytes"] or 0) if row["state"] == "archived" else 0
        self.minutes += minutes
        self.seconds += seconds or 0.0
        self.bytes += size
        is_old = max(row["created_at"], row["settled_at"] or "") < before
        if row["state"] == "archived" and row["reason"] != SUSPECT and is_old:
            self.prunable += 1
            self.prunable_minutes += minutes
            self.prunable_bytes += size


def still_stored(connection: Connection, source: str | None, before: Callable[[str], datetime]) -> list[StillStored]:
    """Return the sums of a source, or of all. Reads every row, in short queries.

    `before` says for a source since when its recordings are too young to be pruned.
    """
    found, asked = dict[tuple[str, ...], StillStored](), {"source": source}
    with connection.read() as db:
        last = int(db.execute(_LAST).fetchone()[0])
    for after in range(0, last, _TOGETHER):
        with connection.read() as db:
            rows = list(db.query(_STORED, {**asked, "after": after, "until": after + _TOGETHER}))
        for row in rows:
            key = (row["source"], row["provider"], row["account_id"], row["created_at"][:7])
            if key not in found:
                name, provider, account_id, month = key
                found[key] = StillStored(source=name, provider=provider, account_id=account_id, month=month)
            found[key].add(row, stamp(before(key[0])))
    return [found[key] for key in sorted(found)]


def _of_archived(row: dict[str, Any]) -> tuple[float | None, int]:
    """Return the duration as measured, and the bytes of the largest format: the provider stores the sound once."""
    media = whole(row["media"], row["sidecar_key"]) if row["media"] else []
    seconds = [each["duration_seconds"] for each in media if each["duration_seconds"] is not None]
    return max(seconds, default=None), max((each["bytes"] for each in media), default=0)


def _of_listed(row: dict[str, Any]) -> tuple[float | None, int]:
    """Return the duration and size that the provider stated."""
    told = json.loads(row["told"]) if row["told"] else {}
    seconds, size = told.get("duration_seconds"), told.get("size_bytes")
    return (float(seconds) if seconds is not None else None), int(size or 0)
