"""What the bucket must contain, by key: every recording ever archived, as an iterator that needs little memory.

No long query blocks a busy ledger: a snapshot of the keys is sorted in an anonymous database on disk, which is gone
when the process ends. The rows of these keys are read page by page, in their state at that time. `Archived` answers
which recordings of a list are archived. The ledger's file is not changed.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import quote

from recvault.errors import LedgerUnavailable
from recvault.ledger.rows import whole
from recvault.ledger.trouble import sound_values, sqlite_errors
from recvault.models import State, Window, stamp

_PAGE = 1000
_CACHE_KIB = 8192  # memory for the sorted keys

# A recording that was archived once keeps its key, whatever its state is now: its sidecar must be there.
_TAKE = """
    INSERT INTO temp.expected
    SELECT sidecar_key, id,
        (:sources IS NULL OR source IN (SELECT value FROM json_each(:sources)))
        AND (:since IS NULL OR created_at >= :since) AND (:until IS NULL OR created_at < :until)
    FROM (
        SELECT sidecar_key, id, source, created_at FROM main.recordings WHERE sidecar_key IS NOT NULL
        UNION ALL
        SELECT editions.sidecar_key, id, source, created_at FROM main.editions JOIN main.recordings USING (id)
    ) ORDER BY sidecar_key
"""
_NO_SUM = "SELECT 1 FROM main.recordings WHERE sidecar_key IS NOT NULL AND sidecar_sha256 IS NULL LIMIT 1"
_BETWEEN = """
    SELECT asked, recordings.id, source, provider, account_id, recording_id, state, next_attempt_at IS NOT NULL, key,
           iif(editions.id IS NULL, recordings.media, editions.media),
           iif(editions.id IS NULL, recordings.sidecar_sha256, editions.sidecar_sha256),
           editions.replaced, pruned_at IS NOT NULL
    FROM temp.expected CROSS JOIN main.recordings USING (id)
        LEFT JOIN main.editions ON editions.id = recordings.id AND editions.sidecar_key = key
    WHERE key > ? AND key < ? ORDER BY key LIMIT ?
"""
_CUTS = """
    SELECT key FROM (SELECT key, row_number() OVER (ORDER BY key) AS number FROM temp.expected WHERE asked)
    WHERE number % ? = 0
"""
_HIGHEST = "\U0010ffff"  # sorts after every key


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedMedium:
    """A medium as stated in its receipt."""

    key: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """A recording that was archived."""

    id: int
    source: str
    provider: str
    account_id: str
    recording_id: str
    state: State
    is_due: bool  # it is due again
    sidecar_key: str
    media: tuple[ExpectedMedium, ...]
    is_earlier: bool = False  # a later edition exists: the provider cannot serve this one again
    is_replaced: bool = False  # its media were lost, and are replaced by those of the later edition
    sidecar_sha256: str | None = None  # None: archived by an earlier version, and not learnt since
    is_pruned: bool = False  # recvault deleted it at its provider, which cannot serve it again
    asked: bool = True  # of the requested sources and time range

    @property
    def identity(self) -> tuple[str, str, str]:
        return (self.provider, self.account_id, self.recording_id)


class Expectations:
    """Every archived recording of a ledger, in the order of keys. A context manager; thread-safe."""

    def __init__(self, ledger: Path, sources: Collection[str] | None = None, window: Window | None = None) -> None:
        self._path = ledger
        self._lock = threading.Lock()
        asked = window or Window()
        with sqlite_errors(ledger), _room():
            address = f"file:{quote(str(ledger.absolute()))}?mode=ro"
            self._db = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
            try:
                self._take(sources, asked)
            except BaseException:
                self._db.close()
                raise

    def _take(self, sources: Collection[str] | None, window: Window) -> None:
        self._db.execute("PRAGMA temp_store=FILE")
        self._db.execute(f"PRAGMA temp.cache_size=-{_CACHE_KIB}")
        self._db.execute(
            "CREATE TABLE temp.expected (key TEXT, id INTEGER, asked INTEGER, PRIMARY KEY (key, id)) WITHOUT ROWID"
        )
        chosen = {
            "sources": None if sources is None else json.dumps(list(sources)),
            "since": stamp(window.since) if window.since else None,
            "until": stamp(window.until) if window.until else None,
        }
        self._db.execute(_TAKE, chosen)
        [self.count] = self._db.execute("SELECT count(*) FROM temp.expected WHERE asked").fetchone()
        self.has_unknown_sums = self._db.execute(_NO_SUM).fetchone() is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def cuts(self, every: int) -> list[str]:
        """Return every n-th key of the selection: the bounds of ranges with equal work."""
        with self._lock, sqlite_errors(self._path), _room():
            return [key for (key,) in self._db.execute(_CUTS, [every])]

    def between(self, after: str = "", until: str | None = None) -> Iterator[Expected]:
        """Yield those whose keys are after `after` and before `until`, in the order of keys."""
        while True:
            with self._lock, sqlite_errors(self._path):
                rows = self._db.execute(_BETWEEN, [after, until or _HIGHEST, _PAGE]).fetchall()
                with sound_values("an archived row"):
                    page = [_expected(row) for row in rows]
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1].sidecar_key


@contextlib.contextmanager
def _room() -> Iterator[None]:
    """Report a full disk where the keys are sorted: SQLite's message would blame the ledger's disk."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorname", "") != "SQLITE_FULL":
            raise
        message = "no space to sort the ledger's keys"
        raise LedgerUnavailable(message, "free space in /var/tmp, or set SQLITE_TMPDIR to another directory") from error


def _expected(row: tuple[object, ...]) -> Expected:
    asked, row_id, source, provider, account_id, recording_id, state, is_due, key, media, sum_, replaced, pruned = row
    assert isinstance(row_id, int)  # noqa: S101 - a primary key
    return Expected(
        id=row_id,
        source=str(source),
        provider=str(provider),
        account_id=str(account_id),
        recording_id=str(recording_id),
        state=State(str(state)),
        is_due=bool(is_due),
        sidecar_key=str(key),
        media=tuple(
            ExpectedMedium(key=each["key"], bytes=each["bytes"], sha256=each["sha256"])
            for each in (whole(str(media), str(key)) if media else ())
        ),
        is_earlier=replaced is not None,
        is_replaced=bool(replaced),
        sidecar_sha256=str(sum_) if sum_ else None,
        is_pruned=bool(pruned),
        asked=bool(asked),
    )


_ARCHIVED = """
    SELECT recording_id FROM recordings
    WHERE recording_id IN (SELECT value FROM json_each(?)) AND account_id=? AND provider=? AND state='archived'
"""


class Archived:
    """Answers which recordings are archived. Without a ledger none is. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    @property
    def is_known(self) -> bool:
        """Whether there is a ledger."""
        return self._path.exists()

    def of(self, provider: str, account_id: str, recording_ids: Iterable[str]) -> frozenset[str]:
        """Return those of an account's recordings that are archived."""
        if not self.is_known:
            return frozenset()
        asked = [json.dumps(list(recording_ids)), account_id, provider]
        with self._lock, sqlite_errors(self._path), closing(open_to_read(self._path)) as connection:
            return frozenset(name for (name,) in connection.execute(_ARCHIVED, asked))


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open a ledger read-only; the connection can change nothing."""
    # A reader in WAL mode creates files beside the ledger. If there are none, no writer is active, and the file is
    # opened as immutable.
    lone = not path.with_name(f"{path.name}-wal").exists()
    address = f"file:{quote(str(path.absolute()))}?mode=ro{'&immutable=1' if lone else ''}"
    return sqlite3.connect(address, uri=True)
