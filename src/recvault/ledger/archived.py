"""Which recordings an existing ledger knows to be archived: read, and nothing about the file is changed."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from recvault.ledger.trouble import sqlite_errors

_ARCHIVED = """
    SELECT recording_id FROM recordings
    WHERE recording_id IN (SELECT value FROM json_each(?)) AND account_id=? AND provider=? AND state='archived'
"""


class Archived:
    """Asked page by page. Where no ledger was ever made, nothing is known. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    @property
    def is_known(self) -> bool:
        """Whether there is a ledger."""
        return self._path.exists()

    def of(self, provider: str, account_id: str, recording_ids: Iterable[str]) -> frozenset[str]:
        """Those of an account's recordings that are archived."""
        if not self.is_known:
            return frozenset()
        asked = [json.dumps(list(recording_ids)), account_id, provider]
        with self._lock, sqlite_errors(self._path), closing(open_to_read(self._path)) as connection:
            return frozenset(name for (name,) in connection.execute(_ARCHIVED, asked))


def open_to_read(path: Path) -> sqlite3.Connection:
    """A connection to a ledger that can change nothing."""
    # A reader of a WAL file makes files beside it; where no writer has made them already, none is at work, and
    # the file is taken as it is.
    lone = not path.with_name(f"{path.name}-wal").exists()
    address = f"file:{quote(str(path.absolute()))}?mode=ro{'&immutable=1' if lone else ''}"
    return sqlite3.connect(address, uri=True)
