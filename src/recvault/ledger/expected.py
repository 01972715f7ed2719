"""What the bucket must contain, by key: every recording ever archived, as an iterator that needs little memory.

A snapshot, so that no long query blocks a busy ledger: the keys are sorted in an anonymous database on disk that ends
with this process. The rows behind them are read page by page, as they are by then. What of
a list is archived is asked beside it. Nothing about the ledger's file is changed.
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
_CACHE_KIB = 8192  # of the sorted keys, in memory

# A recording that was archived once keeps its key, whatever became of it: it is missed where it is not there.
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
           editions.replaced
    FROM temp.expected CROSS JOIN main.recordings USING (id)
        LEFT JOIN main.editions ON editions.id = recordings.id AND editions.sidecar_key = key
    WHERE key > ? AND key < ? ORDER BY key LIMIT ?
"""
_CUTS = """
    SELECT key FROM (SELECT key, row_number() OVER (ORDER BY key) AS number FROM temp.expected WHERE asked)
    WHERE number % ? = 0
"""
_HIGHEST = "\U0010ffff"  # beyond every key


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedMedium:
    """A medium as its receipt had it."""

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
    is_due: bool  # it was made due again, and waits for its turn
    sidecar_key: str
    media: tuple[ExpectedMedium, ...]
    is_earlier: bool = False  # there is a later edition: the provider cannot serve this one again
    is_replaced: bool = False  # its media were lost, and are stored under that other edition
    sidecar_sha256: str | None = None  # None: an earlier version archived it, and it was not learnt since
    asked: bool = True  # of a source and time that was asked for

    @property
    def identity(self) -> tuple[str, str, str]:
        return (self.provider, self.account_id, self.recording_id)


class Expectations:
    """Every archived recording of a ledger, in the order of keys. A context; thread-safe."""

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
        """Every n-th key of the selection: the bounds of ranges with equal work."""
        with self._lock, sqlite_errors(self._path), _room():
            return [key for (key,) in self._db.execute(_CUTS, [every])]

    def between(self, after: str = "", until: str | None = None) -> Iterator[Expected]:
        """Those whose keys are beyond `after` and below `until`, in order of keys."""
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
    """Report a full disk where keys are sorted: SQLite's message would blame the ledger's disk."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorname", "") != "SQLITE_FULL":
            raise
        message = "no space to sort the ledger's keys"
        raise LedgerUnavailable(message, "free space in /var/tmp, or set SQLITE_TMPDIR to another directory") from error


def _expected(row: tuple[object, ...]) -> Expected:
    asked, row_id, source, provider, account_id, recording_id, state, is_due, key, media, sum_, replaced = row
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
        asked=bool(asked),
    )


_ARCHIVED = """
    SELECT recording_id FROM recordings
    WHERE recording_id IN (SELECT value FROM json_each(?)) AND account_id=? AND provider=? AND state='archived'
"""


class Archived:
    """Read page by page. Without a ledger nothing is known. Thread-safe."""

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
