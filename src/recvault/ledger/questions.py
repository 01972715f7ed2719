"""Queries of commands: counts, failures, one recording. Read only."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from recvault.ledger import editions, hours
from recvault.ledger.connection import Connection
from recvault.ledger.feeds import Feed, FeedStatus, StateCounts, standing, status_without_list, statuses
from recvault.ledger.rows import whole
from recvault.ledger.trouble import stored_day, stored_time
from recvault.models import SUSPECT, State, Window, stamp

Row = dict[str, Any]
_EVER = Window()
_FAILING = """
    FROM recordings WHERE failing_since IS NOT NULL
        AND (:sources IS NULL OR source IN (SELECT value FROM json_each(:sources)))
        AND (:reasons IS NULL OR reason IN (SELECT value FROM json_each(:reasons)))
"""

# Starts from the accounts that have any: a scan of all archived rows would take minutes.
_ACCEPTED = """
    SELECT recordings.source, provider, recordings.account_id, recording_id, message, settled_at AS accepted_at
    FROM tallies CROSS JOIN recordings USING (source, account_id, state)
    WHERE tallies.state = 'accepted' AND count > 0
        AND (:sources IS NULL OR recordings.source IN (SELECT value FROM json_each(:sources)))
    ORDER BY accepted_at, recordings.id
"""

# Few are: by the index of what is noted.
_SUSPECT = """
    SELECT source, account_id, count(*) FROM recordings INDEXED BY recordings_noted
    WHERE state = 'archived' AND reason = ? AND reason IS NOT NULL GROUP BY source, account_id
"""

_FIND = """
    SELECT recordings.*, told.recording AS told FROM recordings JOIN told USING (id)
    WHERE recording_id = :id AND (:source IS NULL OR source = :source)
"""

_BEGINNING = """
    SELECT recordings.*, told.recording AS told FROM recordings JOIN told USING (id)
    WHERE recording_id >= ? AND recording_id < ?
"""

_LIST = """
    SELECT created_at, source, provider, account_id, recording_id, state, reason, call_id, bytes, sidecar_key,
        settled_at
    FROM recordings WHERE (:call IS NULL OR call_id = :call)
        AND (:sources IS NULL OR source IN (SELECT value FROM json_each(:sources)))
        AND (:state IS NULL OR state = :state)
        AND (:since IS NULL OR created_at >= :since) AND (:until IS NULL OR created_at < :until)
    ORDER BY created_at DESC, id DESC LIMIT :limit
"""
_LIST_CALL = _LIST.replace(":call IS NULL OR ", "")  # else SQLite would not use its index

_UNARCHIVED = """
    SELECT recordings.id, told.recording FROM recordings JOIN told USING (id)
    WHERE source = ? AND state IN ('pending', 'failing', 'not_ready', 'dead', 'accepted')
        AND told.recording IS NOT NULL
"""
_ARCHIVED_MEDIA = """
    SELECT media, sidecar_key FROM recordings WHERE source = ? AND state = 'archived' AND media IS NOT NULL
"""
_OF_CALLS = """
    SELECT call_id, recording_id, state, media, sidecar_key FROM recordings
    WHERE call_id IN (SELECT value FROM json_each(:calls)) AND provider = :provider AND account_id = :account
"""

_ERASED = """
    SELECT created_at FROM recordings WHERE source = ? AND account_id = ? AND state = 'erased' ORDER BY created_at
"""
_UNCALLED = """
    SELECT 1 FROM recordings WHERE source = ? AND account_id = ? AND state = 'archived' AND call_id IS NULL
        AND created_at >= ? AND created_at < ? LIMIT 1
"""

_NEXT_DUE = """
    SELECT min((SELECT min(next_attempt_at) FROM recordings WHERE source = names.value AND next_attempt_at IS NOT NULL))
    FROM json_each(?) AS names
"""

_ARCHIVED_BETWEEN = """
    SELECT count(*) FROM recordings
    WHERE state = 'archived' AND created_at >= ? AND created_at < ? AND settled_at < ?
"""
# Every account with days has a tally of archived recordings, so its days are found by their key.
_DAYS = """
    SELECT days.source, days.account_id, days.day, days.recordings, days.bytes
    FROM tallies CROSS JOIN days USING (source, account_id)
    WHERE tallies.state = 'archived' AND days.day >= ?
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedDay:
    """What was archived of an account on one day, in UTC."""

    source: str
    account_id: str
    day: date
    recordings: int
    bytes: int


class Questions:
    """Queries of an open ledger; each is fast whatever the ledger's size, unless it says otherwise."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def standing(self, source: str, account_id: str) -> StateCounts:
        """Return an account's recordings by state, from tallies."""
        with self._connection.read() as db:
            return standing(db, source, account_id)

    def accounts(self, source: str) -> list[str]:
        """Return the accounts known under this source name."""
        with self._connection.read() as db:
            rows = db.query(
                "SELECT account_id FROM feeds WHERE source=:s UNION SELECT account_id FROM tallies WHERE source=:s",
                {"s": source},
            )
            return [row["account_id"] for row in rows]

    def feeds(self) -> list[FeedStatus]:
        """Return every feed with its watermark and counts."""
        with self._connection.read() as db:
            return statuses(db)

    def unread(self, feed: Feed) -> FeedStatus:
        """Return the status of an account without a feed: its recordings came by id, or from a time range."""
        with self._connection.read() as db:
            return status_without_list(db, feed)

    def next_due(self, sources: Collection[str]) -> datetime | None:
        """Return when the next recording of these sources is due or the first lease ends; None if nothing waits."""
        with self._connection.read() as db:
            [soonest] = db.execute(_NEXT_DUE, [json.dumps(list(sources))]).fetchone()
            return _moment(soonest)

    def days(self, since: date) -> list[ArchivedDay]:
        """Return what was archived of each account on each day since `since`."""
        with self._connection.read() as db:
            rows = db.execute(_DAYS, [since.isoformat()]).fetchall()
            return [
                ArchivedDay(
                    source=source, account_id=account_id, day=stored_day(day), recordings=recordings, bytes=size
                )
                for source, account_id, day, recordings, size in rows
            ]

    def hours(self, source: str, account_id: str, before: datetime) -> list[datetime]:
        """Return in which hours of the last weeks an account had recordings; none if one was after `before`."""
        with self._connection.read() as db:
            return hours.hours(db, source, account_id, before)

    def of_calls(self, provider: str, account_id: str, call_ids: Collection[str]) -> list[Row]:
        """Return the recordings of these calls: call, id, state, media, sidecar key."""
        with self._connection.read() as db:
            chosen = {"calls": json.dumps(list(call_ids)), "provider": provider, "account": account_id}
            return list(db.query(_OF_CALLS, chosen))

    def erased_at(self, source: str, account_id: str) -> list[datetime]:
        """Return when the erased recordings of an account were created: nothing else of them is known."""
        with self._connection.read() as db:
            if not standing(db, source, account_id).erased:
                return []  # the usual case, without a look at every row
            return [stored_time(at) for (at,) in db.execute(_ERASED, [source, account_id]).fetchall()]

    def has_uncalled(self, source: str, account_id: str, since: datetime, until: datetime) -> bool:
        """Whether an archived recording of that time has no call. It may read every row."""
        with self._connection.read() as db:
            chosen = [source, account_id, stamp(since), stamp(until)]
            return db.execute(_UNCALLED, chosen).fetchone() is not None

    def archived_between(self, since: datetime, until: datetime, before: datetime) -> int:
        """Count archived recordings created from `since` until before `until`, and archived before `before`.

        It reads every row, which a report may.
        """
        with self._connection.read() as db:
            return int(db.execute(_ARCHIVED_BETWEEN, [stamp(since), stamp(until), stamp(before)]).fetchone()[0])

    def last_success(self, feed: Feed) -> datetime | None:
        """Return when a feed was last listed completely."""
        with self._connection.read() as db:
            found = db.query(
                "SELECT last_success_at AS t FROM feeds WHERE source=? AND account_id=? AND list=?", feed.key
            )
            return _moment(next(found, {"t": None})["t"])

    def failures(
        self,
        limit: int | None = None,
        sources: Collection[str] | None = None,
        reasons: Collection[str] | None = None,
    ) -> list[Row]:
        """Return dead and failing recordings, longest failing first, of these sources and reasons; None: of all."""
        with self._connection.read() as db:
            return list(
                db.query(
                    f"""
                    SELECT source, provider, account_id, recording_id, state, verdict, reason, message, attempts,
                           failing_since, CASE WHEN lease IS NULL THEN next_attempt_at END AS next_attempt_at
                    {_FAILING} ORDER BY failing_since, id LIMIT :limit
                    """,
                    {"limit": -1 if limit is None else limit, **_chosen(sources, reasons)},
                )
            )

    def failure_reasons(
        self, sources: Collection[str] | None = None, reasons: Collection[str] | None = None
    ) -> list[Row]:
        """Dead and failing recordings by source, reason and state, most frequent first; each with the id and the
        message of the one that has failed longest."""
        counted = f"""
            SELECT source, reason, state, count(*) AS count, min(failing_since) AS failing_since, recording_id, message
            {_FAILING} GROUP BY source, reason, state ORDER BY count DESC, source, reason, state
        """
        with self._connection.read() as db:
            return list(db.query(counted, _chosen(sources, reasons)))

    def failing_ids(self, sources: Collection[str] | None, reasons: Collection[str] | None) -> list[int]:
        """Return the row ids of dead and failing recordings, of these sources and reasons; None: of all."""
        with self._connection.read() as db:
            return [row["id"] for row in db.query(f"SELECT id {_FAILING}", _chosen(sources, reasons))]

    def accepted(self, sources: Collection[str] | None = None) -> list[Row]:
        """Return the recordings that the operator accepted as lost: when, and why."""
        with self._connection.read() as db:
            return list(db.query(_ACCEPTED, _chosen(sources, None)))

    def failures_total(self, sources: Collection[str]) -> int:
        """Return how many recordings of these sources are dead or failing."""
        with self._connection.read() as db:
            return int(next(db.query(f"SELECT count(*) AS n {_FAILING}", _chosen(sources, None)))["n"])

    def suspects(self) -> dict[tuple[str, str], int]:
        """How many archived recordings are flagged, by source and account; only those that have any."""
        with self._connection.read() as db:
            rows = db.execute(_SUSPECT, [SUSPECT]).fetchall()
        return {(source, account_id): count for source, account_id, count in rows}

    def quarantined(self) -> list[Row]:
        """Return the rows that could not be read, with their bodies."""
        with self._connection.read() as db:
            return list(db.query("SELECT * FROM quarantine ORDER BY first_seen_at, id"))

    def find(self, recording_id: str, source: str | None = None) -> list[Row]:
        """Return the rows with a recording id; several if sources or accounts share it."""
        with self._connection.read() as db:
            rows = list(db.query(_FIND, {"id": recording_id, "source": source}))
        return [_whole(row) for row in rows]

    def recordings(
        self,
        *,
        call: str | None = None,
        sources: Collection[str] | None = None,
        window: Window = _EVER,
        state: State | None = None,
        limit: int | None = None,
    ) -> Iterator[Row]:
        """Yield recordings, the newest first. Keeps the connection until it is exhausted or closed."""
        chosen = {
            "call": call,
            "sources": _chosen(sources, None)["sources"],
            "state": state and state.value,
            "since": window.since and stamp(window.since),
            "until": window.until and stamp(window.until),
            "limit": -1 if limit is None else limit,
        }
        with self._connection.read() as db:
            yield from db.query(_LIST_CALL if call else _LIST, chosen)

    def unarchived(self, source: str) -> list[Row]:
        """Return the ids and listed facts of what the provider may still have. It reads every row of the source."""
        with self._connection.read() as db:
            return list(db.query(_UNARCHIVED, [source]))

    def archived_sums(self, source: str) -> Iterator[str]:
        """Yield the SHA-256 of each archived medium of a source. It reads every row of the source."""
        with self._connection.read() as db:
            for row in db.query(_ARCHIVED_MEDIA, [source]):
                yield from (each["sha256"] for each in whole(row["media"], row["sidecar_key"]))

    def inventory(self) -> dict[str, Any]:
        """Counts, facts and migrations, for a report of a fault."""
        with self._connection.read() as db:
            return {
                "sqlite": db.execute("SELECT sqlite_version()").fetchone()[0],
                "states": list(db.query("SELECT * FROM tallies ORDER BY source, account_id, state")),
                "feeds": list(db.query("SELECT * FROM feeds ORDER BY source, account_id, list")),
                "quarantined": db.execute("SELECT count(*) FROM quarantine").fetchone()[0],
                "facts": dict(db.execute("SELECT name, value FROM facts ORDER BY name").fetchall()),
                "migrations": [name for (name,) in db.execute("SELECT name FROM _sqlite_migrations").fetchall()],
            }

    def editions(self, row_id: int) -> list[Row]:
        """Return the editions that were archived before the current one of a row."""
        with self._connection.read() as db:
            return editions.of(db, row_id)

    def beginning(self, text: str) -> list[Row]:
        """Return the rows of recordings whose ids begin with a text."""
        with self._connection.read() as db:
            bounds = [text, f"{text}\U0010ffff"]
            return [_whole(row) for row in db.query(_BEGINNING, bounds)]


def _whole(row: Row) -> Row:
    """Return the row with its listed facts and its media in full."""
    row["recording"] = row.pop("told")
    if row["media"]:
        row["media"] = json.dumps(whole(row["media"], row["sidecar_key"]))
    return row


def _moment(text: str | None) -> datetime | None:
    return stored_time(text) if text else None


def _chosen(sources: Collection[str] | None, reasons: Collection[str] | None) -> dict[str, str | None]:
    """Return the parameters of `_FAILING`."""
    chosen = {"sources": sources, "reasons": reasons}
    return {name: None if names is None else json.dumps(list(names)) for name, names in chosen.items()}
