"""What a list told of each recording that is not archived: apart from the recordings, so that its room is used again.

A row that its own table held would leave a hole when it shrinks, two thirds of the file in all: SQLite gives back whole
pages only. Once a recording is archived its sidecar holds all this, and a trigger deletes it here. An earlier version
wrote it into the row: the view `told` has it wherever it stands.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlite_utils import Database

_KEEP = "INSERT INTO listed VALUES (?, ?) ON CONFLICT DO UPDATE SET recording=excluded.recording"


def keep(db: Database, told: Iterable[tuple[int, str]]) -> None:
    """Write down what is told of these rows, in place of what was; inside a transaction."""
    db.conn.executemany(_KEEP, told)
