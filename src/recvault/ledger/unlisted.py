"""Archived recordings that no manifest lists yet, and the end of each account's chain of manifests.

A trigger queues each recording in the transaction that archives it: none is left out, whatever clocks do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

from recvault.ledger.connection import Connection
from recvault.ledger.large_sets import LEARN
from recvault.ledger.rows import whole
from recvault.ledger.uncatalogued import LISTED
from recvault.models import stamp

COMPLETE_AT = "manifests.complete_at"  # the fact that says when manifests last listed all that was due
EVER = datetime(9999, 12, 31, tzinfo=UTC)  # after whatever any clock has said
_LAST = (1 << 63) - 1

_PAGE = """
    SELECT id, provider, account_id, sidecar_key, sidecar_sha256, media, settled_at
    FROM unlisted JOIN recordings USING (id)
    WHERE id > ? AND state = 'archived' AND settled_at < ? ORDER BY id LIMIT ?
"""
_EARLIER = """
    SELECT id, provider, account_id, editions.sidecar_key, editions.sidecar_sha256, editions.media, editions.settled_at
    FROM editions CROSS JOIN recordings USING (id)
    WHERE id > ? AND id <= ? AND editions.unlisted AND editions.settled_at < ? ORDER BY id
"""
_LISTED_EARLIER = "UPDATE editions SET unlisted = 0 WHERE id = ? AND sidecar_key = ?"
# One archived again meanwhile has a new sidecar, which no manifest lists yet.
_LISTED = """
    DELETE FROM unlisted WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM editions WHERE id = ?1 AND editions.unlisted)
        AND (SELECT settled_at FROM recordings WHERE recordings.id = ?1) IS ?2
"""
_REACHED = """
    INSERT INTO chains VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE
    SET number=excluded.number, sha256=excluded.sha256, through=excluded.through WHERE excluded.number > number
"""
_SURVEYED = "manifests:surveyed"
_SURVEY = {True: "INSERT OR IGNORE INTO facts VALUES (?, '1')", False: "DELETE FROM facts WHERE name=?"}


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlistedRow:
    """An archived recording as the ledger knows it."""

    id: int
    provider: str
    account_id: str
    sidecar_key: str
    media: Mapping[str, str]  # SHA-256 by key
    settled_at: str
    sidecar_sha256: str | None  # None: archived by an earlier version


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The newest manifest of an account that this ledger wrote, or found and took over."""

    provider: str
    account_id: str
    number: int
    sha256: str
    through: date


class Unlisted:
    """The queue and the chains of an open ledger. Each query is short, whatever the ledger's size."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def page(self, after: int, settled_before: datetime, limit: int) -> list[UnlistedRow]:
        """Return unlisted rows settled before a time, in the order of ids, beginning after `after`."""
        with self._connection.read() as db:
            rows = db.execute(_PAGE, [after, stamp(settled_before), limit]).fetchall()
            last = rows[-1][0] if len(rows) == limit else _LAST
            rows += db.execute(_EARLIER, [after, last, stamp(settled_before)]).fetchall()
        return [
            UnlistedRow(
                id=row_id,
                provider=provider,
                account_id=account_id,
                sidecar_key=key,
                media={medium["key"]: medium["sha256"] for medium in whole(media, key)},
                settled_at=settled_at,
                sidecar_sha256=sidecar_sha256,
            )
            for row_id, provider, account_id, key, sidecar_sha256, media, settled_at in sorted(rows)
        ]

    def note(self, listed: Iterable[UnlistedRow], chains: Iterable[Chain]) -> None:
        """Record that these rows are in manifests, and the new ends of chains: in one transaction.

        With one chain, the rows are those of its newest manifest.
        A sidecar's hash that the ledger lacks is taken from the manifest's line.
        """
        rows, chains = list(listed), list(chains)
        [number] = [each.number for each in chains] if len(chains) == 1 else [None]
        with self._connection.write() as db:
            db.conn.executemany(_LISTED_EARLIER, [(row.id, row.sidecar_key) for row in rows])
            db.conn.executemany(_LISTED, [(row.id, row.settled_at) for row in rows])
            if number is not None:
                db.conn.executemany(LISTED, [(number, row.id, row.sidecar_key) for row in rows])
            db.conn.executemany(LEARN, [(row.sidecar_sha256, row.id, row.sidecar_key) for row in rows])
            db.conn.executemany(
                _REACHED,
                [(each.provider, each.account_id, each.number, each.sha256, str(each.through)) for each in chains],
            )

    def chains(self) -> list[Chain]:
        """Return the chains of all accounts that have one."""
        with self._connection.read() as db:
            rows = db.execute("SELECT * FROM chains ORDER BY provider, account_id").fetchall()
        return [
            Chain(provider=provider, account_id=account, number=number, sha256=sha256, through=date.fromisoformat(day))
            for provider, account, number, sha256, day in rows
        ]

    @property
    def is_surveyed(self) -> bool:
        """Whether the bucket was searched for recordings that an earlier ledger archived."""
        with self._connection.read() as db:
            return db.execute("SELECT 1 FROM facts WHERE name=?", [_SURVEYED]).fetchone() is not None

    def note_surveyed(self, surveyed: bool) -> None:
        """Record whether the bucket was searched; False: it must be searched again."""
        with self._connection.write() as db:
            db.execute(_SURVEY[surveyed], [_SURVEYED])
