"""Feeds, the lists that are polled: how far each was read, and how its account stands. Read only."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from recvault.ledger.database import Database
from recvault.ledger.leases import LEASE
from recvault.ledger.trouble import stored_time
from recvault.models import BY_CONFIGURATION, State

# Feeds besides the list itself: with errors and times of their own, without watermark.
ACCOUNTS = "accounts"
RECONCILE = "reconcile"
RECONCILE_PART = "reconcile-part"  # covers only the window that is listed again: not a complete reconcile
BACKFILL = "backfill"


_Leased = dict[tuple[str, str], tuple[str, str]]  # by source and account

_OPEN = (State.PENDING, State.FAILING, State.NOT_READY)
_OLDEST = """
    SELECT created_at, registered_at, state FROM recordings
    WHERE source=? AND account_id=? AND state=? AND next_attempt_at IS NOT NULL
    ORDER BY created_at LIMIT 1
"""
_SOONEST = """
    SELECT next_attempt_at FROM recordings
    WHERE source=? AND account_id=? AND next_attempt_at IS NOT NULL AND lease IS NULL
    ORDER BY next_attempt_at LIMIT 1
"""
# Few are leased at once, however many wait.
_LEASED = """
    SELECT source, account_id, next_attempt_at, recording_id FROM recordings INDEXED BY recordings_leased
    WHERE lease IS NOT NULL AND next_attempt_at IS NOT NULL
"""
# The oldest ones only: after an outage millions may be failing.
_FAILING = """
    SELECT reason FROM recordings INDEXED BY recordings_waiting
    WHERE source=? AND account_id=? AND state='failing' AND next_attempt_at IS NOT NULL ORDER BY created_at LIMIT 10000
"""
_QUARANTINED = "SELECT count(*) FROM quarantine WHERE source=? AND account_id=?"
_LAST_ARCHIVED = "SELECT last_at FROM days WHERE source=? AND account_id=? ORDER BY day DESC LIMIT 1"


@dataclass(frozen=True, slots=True)
class Feed:
    """One list of one account at one source: each has its watermark."""

    source: str
    provider: str
    account_id: str
    list: str = "account"
    is_named: bool = field(default=False, compare=False)  # the configuration names the account

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.source, self.account_id, self.list)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateCounts:
    """Recordings of an account by state. `pending` includes the failing ones."""

    pending: int = 0
    failing: int = 0
    not_ready: int = 0
    archived: int = 0
    gone: int = 0
    external: int = 0
    dead: int = 0
    accepted: int = 0
    erased: int = 0
    quarantined: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedStatus:
    """A feed as `status` shows it."""

    feed: Feed
    watermark: datetime | None = None
    last_success_at: datetime | None = None  # the last complete scan
    error: str | None = None  # of the last scan, if it failed, with what to do
    error_at: datetime | None = None
    scan_started_at: datetime | None = None  # of a scan that is running
    scan_seconds: float | None = None  # duration of the last scan, complete or not
    closed_at: datetime | None = None  # when a sub-account was first missing among the active ones
    standing: StateCounts = StateCounts()
    by_configuration: tuple[str, ...] = ()  # reasons of failing recordings that only the operator can change
    oldest_pending_at: datetime | None = None
    waiting_since: datetime | None = None  # registration of the oldest recording that could be archived now
    last_archived_at: datetime | None = None
    next_attempt_at: datetime | None = None
    transfer_since: datetime | None = None  # start of the longest running transfer
    transfer_of: str | None = None  # that transfer's recording id


def standing(db: Database, source: str, account_id: str) -> StateCounts:
    """Return an account's recordings by state, from tallies."""
    rows = db.query("SELECT state, count FROM tallies WHERE source=? AND account_id=?", [source, account_id])
    counts = {row["state"]: row["count"] for row in rows}
    counts["quarantined"] = _value(db, _QUARANTINED, [source, account_id])
    counts["pending"] = counts.get("pending", 0) + counts.get("failing", 0)
    return StateCounts(**counts)


def statuses(db: Database) -> list[FeedStatus]:
    """Return every feed with its watermark and counts."""
    leased = _leased(db)
    rows = list(db.query("SELECT * FROM feeds ORDER BY source, account_id, list"))
    return [_of_list(db, row, leased) for row in rows]


def status_without_list(db: Database, feed: Feed) -> FeedStatus:
    """Return the status of an account whose recordings came by id, or from a time range."""
    return _of_recordings(db, feed, _leased(db))


def _of_list(db: Database, row: dict[str, Any], leased: _Leased) -> FeedStatus:
    return replace(
        _of_recordings(db, Feed(row["source"], row["provider"], row["account_id"], row["list"]), leased),
        watermark=_moment(row["watermark"]),
        last_success_at=_moment(row["last_success_at"]),
        error=row["error"],
        error_at=_moment(row["error_at"]),
        scan_started_at=_moment(row["scan_started_at"]),
        scan_seconds=row["scan_seconds"],
        closed_at=_moment(row["closed_at"]),
    )


def _of_recordings(db: Database, feed: Feed, leased: _Leased) -> FeedStatus:
    here = [feed.source, feed.account_id]
    found = (db.execute(_OLDEST, [*here, state]).fetchone() for state in _OPEN)
    oldest = sorted(row for row in found if row)
    counts = standing(db, feed.source, feed.account_id)
    why = {reason for (reason,) in db.execute(_FAILING, here)} if counts.failing else set()
    until, transfer_of = leased.get((feed.source, feed.account_id), (None, None))
    registered = (registered_at for _, registered_at, state in oldest if state != State.NOT_READY)
    return FeedStatus(
        feed=feed,
        standing=counts,
        by_configuration=tuple(sorted(why.intersection(BY_CONFIGURATION))),
        oldest_pending_at=_moment(oldest[0][0] if oldest else None),
        waiting_since=_moment(next(registered, None)),
        last_archived_at=_moment(_value(db, _LAST_ARCHIVED, here)),
        next_attempt_at=_moment(_value(db, _SOONEST, here)),
        transfer_since=stored_time(until) - LEASE if until else None,
        transfer_of=transfer_of,
    )


def _leased(db: Database) -> _Leased:
    """Return for each account with leases the one that ends first: when it ends, and its recording."""
    found: _Leased = {}
    for source, account_id, *lease in db.execute(_LEASED).fetchall():
        key, (until, recording_id) = (source, account_id), lease
        found[key] = min((until, recording_id), found.get(key, (until, recording_id)))
    return found


def _value(db: Database, query: str, parameters: list[str]) -> Any:
    row = db.execute(query, parameters).fetchone()
    return row[0] if row else None


def _moment(text: str | None) -> datetime | None:
    return stored_time(text) if text else None
