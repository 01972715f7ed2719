"""Which of custody's records manifests list. The bucket is the source: a new ledger reads them from the manifests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recvault.ledger.connection import Connection

SCHEMA = "CREATE TABLE listed_records (path TEXT PRIMARY KEY) WITHOUT ROWID"

_UNLISTED = """
    SELECT value FROM json_each(?) WHERE NOT EXISTS (SELECT 1 FROM listed_records WHERE path = value) ORDER BY key
"""


class CustodyRecords:
    """What an open ledger knows of custody's records."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def unlisted(self, paths: Sequence[str]) -> list[str]:
        """Return those of these paths that no manifest is known to list, in their order."""
        with self._connection.read() as db:
            return [path for (path,) in db.execute(_UNLISTED, [json.dumps(paths)]).fetchall()]

    def note_listed(self, paths: Iterable[str]) -> None:
        """Remember that manifests list these."""
        with self._connection.write() as db:
            db.conn.executemany("INSERT OR IGNORE INTO listed_records VALUES (?)", [(path,) for path in paths])
