"""The reasons that a ledger knows, for a shell's completion: nothing is created, migrated, locked or waited for."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from recvault.ledger.backup import quoted

_SECONDS = 0.2


def reasons_at(ledger: Path) -> list[str]:
    """Why recordings are dead or failing, each reason once; none if the ledger cannot be read."""
    # Without a shared memory file nobody has the ledger open. Reading would create one, and it might be root's.
    alone = "" if ledger.with_name(f"{ledger.name}-shm").exists() else "&immutable=1"
    try:
        with closing(sqlite3.connect(f"file:{quoted(ledger)}?mode=ro{alone}", uri=True, timeout=_SECONDS)) as found:
            rows = found.execute("SELECT DISTINCT reason FROM recordings WHERE failing_since IS NOT NULL ORDER BY 1")
            return [reason for (reason,) in rows if isinstance(reason, str)]
    except (sqlite3.Error, OSError):
        return []
