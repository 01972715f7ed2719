"""The ledger's verbs: register, advance, claim, settle; and the queries of commands.

One connection per process, guarded by a lock: SQLite has one writer anyway, and every write is one short transaction.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

from recvault.ledger import editions, namesakes, page
from recvault.ledger.attempts import claim, job_of, reopen, settle
from recvault.ledger.blame import CROWD, LONE, SELDOM, Blame, free_suspects, give_up_alone, suspects_are_there
from recvault.ledger.call_lists import CallLists
from recvault.ledger.connection import Connection
from recvault.ledger.custody_records import CustodyRecords
from recvault.ledger.daemon_lock import running_daemon
from recvault.ledger.database import Database
from recvault.ledger.feeds import Feed
from recvault.ledger.large_sets import SidecarSums, learn
from recvault.ledger.leases import LEASE, Owner
from recvault.ledger.namesakes import Namesake
from recvault.ledger.notices import Notices
from recvault.ledger.page import Registered, add_interval, forget_intervals, intervals, keep_rejected, release_readable
from recvault.ledger.pruned import Pruned
from recvault.ledger.questions import Questions
from recvault.ledger.steps import Policy
from recvault.ledger.still_stored import StillStored, still_stored
from recvault.ledger.succession import Succession
from recvault.ledger.taking import Taking
from recvault.ledger.trouble import sound_values, sqlite_errors, stored_time
from recvault.ledger.uncalled import Uncalled
from recvault.ledger.uncatalogued import Uncatalogued
from recvault.ledger.unlisted import Unlisted
from recvault.models import Job, Outcome, Recording, Rejected, State, Window, stamp

_BRIEF = timedelta(hours=1)  # a list that failed no longer than this counts as answered


class Ledger:
    """Open with `Ledger.open`; close when done. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._connection = Connection(path)
        try:
            self._owner = Owner(path)
        except BaseException:
            self._connection.close()
            raise
        self.ask = Questions(self._connection)
        self.unlisted = Unlisted(self._connection)
        self.uncatalogued = Uncatalogued(self._connection)
        self.custody = CustodyRecords(self._connection)
        self.blame = Blame(self._connection)
        self.notices = Notices(self._connection)
        self.uncalled = Uncalled(self._connection)
        self.call_lists = CallLists(self._connection)
        self.pruned = Pruned(self._connection)
        self.succession = Succession(self._connection, self._owner)
        self.taking = Taking(self._connection, self._owner)
        self._born_at = ""

    @classmethod
    def open(cls, path: Path, now: datetime) -> Self:
        """Open or create the ledger, migrate it, and free the leases of dead processes."""
        ledger = cls(path)
        try:
            with ledger._connection.write() as db:
                db.execute("INSERT OR IGNORE INTO facts VALUES ('born_at', ?)", [stamp(now)])
            ledger._born_at = ledger.fact("born_at") or ""
            ledger.free_dead_leases(now)
        except BaseException:
            ledger.close()
            raise
        return ledger

    def close(self) -> None:
        """Release this process's leases and close the file."""
        self._owner.close()
        self._connection.close()

    @property
    def born_at(self) -> datetime:
        """When this ledger was created."""
        with sqlite_errors(self._connection.path):
            return stored_time(self._born_at)

    # -- discovery -----------------------------------------------------------------------------------------------------

    def register(
        self,
        feed: Feed,
        recordings: Iterable[Recording],
        rejected: Iterable[Rejected],
        now: datetime,
        recheck: timedelta,
    ) -> Registered:
        """Store a page in one transaction.

        A known row is changed only if the list has better information: it lists a gone recording as complete, or one
        kept elsewhere without a location; or it has the status of an open or dead one that was listed without.
        """
        listed = list(recordings)
        with self._connection.write() as db:
            if feed.is_named:
                namesakes.refuse(db, feed, listed)
            registered = page.write(db, feed, listed, now, recheck)
            release_readable(db, feed, listed)
            keep_rejected(db, feed, rejected, now)
        return registered

    def namesakes(self, feed: Feed) -> list[Namesake]:
        """Return recordings of the provider's other accounts, if this account has none yet."""
        with self._connection.read() as db:
            return namesakes.samples(db, feed)

    def watermark(self, feed: Feed) -> datetime | None:
        """Return the time before which everything that the provider lists is registered; None before the first scan."""
        with self._connection.read() as db:
            row = next(
                db.query("SELECT watermark FROM feeds WHERE source=? AND account_id=? AND list=?", feed.key), None
            )
            return stored_time(row["watermark"]) if row and row["watermark"] else None

    def note_scan_started(self, feed: Feed, now: datetime) -> None:
        """Record that a scan runs; `advance` or `note_scan_error` ends it. An interrupted one is overwritten."""
        with self._connection.write() as db:
            db.execute(
                """
                INSERT INTO feeds (source, account_id, list, provider, scan_started_at)
                VALUES (:source, :account_id, :list, :provider, :now)
                ON CONFLICT DO UPDATE SET scan_started_at=:now
                """,
                _named(feed, now),
            )

    def advance(self, feed: Feed, watermark: datetime | None, now: datetime) -> None:
        """Record a complete scan and move the watermark forward, never backward. None leaves the watermark alone."""
        mark = stamp(watermark) if watermark else None
        gaps = {"brief": stamp(now - _BRIEF), "seldom": stamp(now - SELDOM)}
        with self._connection.write() as db:
            db.execute(_ADVANCE, {**_named(feed, now), "watermark": mark, **gaps})
            db.execute(_END_SCAN, _named(feed, now))

    def reach(self, feed: Feed, watermark: datetime) -> None:
        """Move the watermark forward, never backward, during a scan."""
        move = "UPDATE feeds SET watermark=max(coalesce(watermark, ''), ?) WHERE source=? AND account_id=? AND list=?"
        with self._connection.write() as db:
            db.execute(move, [stamp(watermark), *feed.key])

    def note_scan_error(self, feed: Feed, error: str, now: datetime) -> None:
        """Record why a scan failed; the watermark stays.

        A command that runs beside a daemon records no error: the cause may be its own, such as a missing secret. The
        daemon's polls determine the source's state.
        """
        daemon = running_daemon(self._connection.path)
        with self._connection.write() as db:
            if daemon is None or daemon.pid == os.getpid():
                db.execute(_NOTE_ERROR, {**_named(feed, now), "error": error})
            db.execute(_END_SCAN, _named(feed, now))

    def slices(self, feed: Feed) -> list[Window]:
        """Return the intervals that an unfinished backfill has read completely."""
        with self._connection.read() as db:
            return intervals(db, feed)

    def add_slice(self, feed: Feed, done: Window) -> None:
        """Record that a slice was read completely."""
        with self._connection.write() as db:
            add_interval(db, feed, done)

    def forget_slices(self, feed: Feed) -> None:
        """Forget the intervals, as the backfill is finished: the next one starts over."""
        with self._connection.write() as db:
            forget_intervals(db, feed)

    def note_accounts(self, source: str, active: Collection[str], now: datetime) -> None:
        """Record a source's active accounts: the others' lists are closed, and their recordings stay."""
        with self._connection.write() as db:
            db.execute(
                """
                UPDATE feeds SET closed_at =
                    iif(account_id IN (SELECT value FROM json_each(:active)), NULL, coalesce(closed_at, :now))
                WHERE source = :source
                """,
                {"source": source, "active": json.dumps(list(active)), "now": stamp(now)},
            )

    # -- transfer ------------------------------------------------------------------------------------------------------

    def claim(self, source: str, now: datetime, limit: int) -> list[Job]:
        """Lease due recordings, oldest due first. The attempt is counted here, before the work."""
        with self._connection.write() as db:
            return self._claimed(db, CROWD, source, now, limit)

    def claim_alone(self, source: str, now: datetime, limit: int, policy: Policy) -> list[Job]:
        """Lease the due recordings that must run alone in a process."""
        with self._connection.read() as db:
            if not suspects_are_there(db):
                return []
        with self._connection.write() as db:
            give_up_alone(db, source, now, policy)
            return [replace(job, alone=True) for job in self._claimed(db, LONE, source, now, limit)]

    def _claimed(self, db: Database, due: str, source: str, now: datetime, limit: int) -> list[Job]:
        values = {"source": source, "now": stamp(now), "limit": limit}
        rows = list(db.query(claim(due), {"owner": self._owner.name, "until": stamp(now + LEASE), **values}))
        with sound_values("a listed recording"):  # a row that cannot be read rolls the claim back
            return [job_of(row, now) for row in rows]

    def settle(self, outcomes: Iterable[Outcome], now: datetime, policies: Mapping[str, Policy]) -> list[State]:
        """Store how attempts ended, all in one transaction; return the new states in order."""
        with self._connection.write() as db:
            return settle(db, list(outcomes), now, policies)

    def free_dead_leases(self, now: datetime) -> int:
        """Make due what dead processes had leased; return how many."""
        dead = self._owner.dead()
        with self._connection.write() as db:
            living = {self._owner.name, *self._owner.living()}
            holders = {
                row["lease"] for row in db.query("SELECT DISTINCT lease FROM recordings WHERE lease IS NOT NULL")
            }
            freed = 0
            for name in (holders - living) | set(dead):
                freed += free_suspects(db, name, now)
        return freed

    def bring_forward(self, source: str, now: datetime, longest: timedelta) -> int:
        """Make due what waits for a time further ahead than `longest`, which only a wrong clock can have set.

        A lease that ends too far ahead is shortened to the longest lease. Returns how many were made due.
        """
        times = {"source": source, "now": stamp(now), "last": stamp(now + longest), "lease": stamp(now + LEASE)}
        with self._connection.write() as db:
            db.execute(_SHORTEN_LEASES, times)
            return int(db.execute(_BRING_FORWARD, times).rowcount)

    def hasten(self, row_ids: Iterable[int], now: datetime) -> int:
        """Make due now what waits for its turn or for its provider; attempts and waiting times are kept."""
        due = """
            UPDATE recordings SET next_attempt_at=:now
            WHERE id=:id AND lease IS NULL AND state IN ('pending', 'not_ready') AND next_attempt_at > :now
        """
        with self._connection.write() as db:
            return sum(db.execute(due, {"id": row_id, "now": stamp(now)}).rowcount for row_id in row_ids)

    def retry(self, row_ids: Iterable[int] | None, now: datetime, but: Iterable[tuple[str, str]] = ()) -> int:
        """Make recordings due now and reset their attempts; None: all that are failing, dead or waiting.

        Recordings of the sources and accounts in `but` are skipped, because no source lists them. Returns how many.
        """
        values = {"now": stamp(now), "but": json.dumps(list(but))}
        due = """
            UPDATE recordings SET next_attempt_at=:now, watched_since=:now, faults=0, missing_since=NULL, is_proven=0,
                in_doubt=0, in_doubt_since=NULL, settled_at=NULL,
                state=iif(state IN ('dead', 'gone', 'external', 'accepted'), 'pending', state)
            WHERE lease IS NULL AND (source, account_id) NOT IN (
                SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:but)
            ) AND """
        with self._connection.write() as db:
            if row_ids is None:
                return int(db.execute(f"{due} id IN ({_RETRIABLE})", values).rowcount)
            live = "id=:id AND state IN ('pending', 'failing', 'dead', 'not_ready', 'gone', 'external', 'accepted')"
            return sum(db.execute(due + live, {**values, "id": row_id}).rowcount for row_id in row_ids)

    def accept(self, row_ids: Iterable[int], reason: str, now: datetime) -> list[int]:
        """Accept that these recordings can never be archived; returns those that were open or dead, and not leased.

        They stay counted and listed permanently, with the operator's reason; `retry` takes one back.
        """
        given = {"reason": reason, "now": stamp(now)}
        with self._connection.write() as db:
            return [row_id for row_id in row_ids if db.execute(_ACCEPT, {**given, "id": row_id}).rowcount]

    def ask_again(self, row_ids: Sequence[int] | None, now: datetime) -> int:
        """Make archived recordings that are suspect or lack a format due for another look; None: all of them."""
        with self._connection.write() as db:
            return editions.ask_again(db, row_ids, now)

    def reopen(self, row_ids: Iterable[int], now: datetime) -> int:
        """Make archived recordings whose objects are missing due again; return how many of these were archived."""
        with self._connection.write() as db:
            return reopen(db, row_ids, now)

    def still_stored(self, source: str | None, before: Callable[[str], datetime]) -> list[StillStored]:
        """Return what the providers still store. Reads every row, which an estimate may; see `still_stored`."""
        return still_stored(self._connection, source, before)

    def learn_sums(self, sums: SidecarSums) -> int:
        """Store the SHA-256 of sidecars that an earlier version archived; return how many were added."""
        return learn(self._connection, sums)

    def fact(self, name: str) -> str | None:
        """Return a stored fact, such as what a store enforces; None if it is not known."""
        with self._connection.read() as db:
            row = next(db.query("SELECT value FROM facts WHERE name=?", [name]), None)
        return row["value"] if row else None

    def remember(self, name: str, value: str) -> None:
        """Store a fact."""
        with self._connection.write() as db:
            db.execute("INSERT INTO facts VALUES (?, ?) ON CONFLICT DO UPDATE SET value=excluded.value", [name, value])


_ACCEPT = """
    UPDATE recordings SET state='accepted', next_attempt_at=NULL, failing_since=NULL, settled_at=:now,
        verdict=NULL, message=:reason || ' (before: ' || coalesce(reason || ': ' || message, state) || ')',
        reason='operator.accepted'
    WHERE id=:id AND lease IS NULL AND state IN ('pending', 'failing', 'not_ready', 'dead')
"""

# Each uses an index of open recordings: a scan of the archived ones would take minutes.
_RETRIABLE = """
    SELECT id FROM recordings WHERE failing_since IS NOT NULL AND state = 'dead'
    UNION ALL
    SELECT recordings.id FROM tallies CROSS JOIN recordings USING (source, account_id, state)
    WHERE tallies.state IN ('failing', 'not_ready') AND next_attempt_at IS NOT NULL
    UNION ALL
    SELECT recordings.id FROM tallies CROSS JOIN recordings USING (source, account_id, state)
    WHERE tallies.state = 'pending' AND next_attempt_at > :now
"""

# Both use the index of due recordings.
_BRING_FORWARD = """
    UPDATE recordings SET next_attempt_at = :now
    WHERE source = :source AND next_attempt_at > :last AND lease IS NULL
"""
_SHORTEN_LEASES = """
    UPDATE recordings SET next_attempt_at = :lease
    WHERE source = :source AND next_attempt_at > :lease AND lease IS NOT NULL
"""

# A list counts as answered throughout if it failed for no longer than _BRIEF or was not requested for up to SELDOM.
_ADVANCE = """
    INSERT INTO feeds (source, account_id, list, provider, watermark, last_success_at, answered_since)
    VALUES (:source, :account_id, :list, :provider, :watermark, :now, :now)
    ON CONFLICT DO UPDATE SET last_success_at=:now, error=NULL, error_at=NULL,
        watermark=max(coalesce(excluded.watermark, watermark), coalesce(watermark, excluded.watermark)),
        answered_since=iif(
            last_success_at >= iif(error IS NULL, :seldom, :brief), coalesce(min(:now, answered_since), :now), :now
        )
"""

_NOTE_ERROR = """
    INSERT INTO feeds (source, account_id, list, provider, error, error_at)
    VALUES (:source, :account_id, :list, :provider, :error, :now)
    ON CONFLICT DO UPDATE SET error=:error, error_at=:now
"""

# If the clock was set back meanwhile, a scan took 0 seconds, never fewer.
_END_SCAN = """
    UPDATE feeds SET scan_started_at=NULL,
        scan_seconds=max(0.0, round((julianday(:now) - julianday(scan_started_at)) * 86400, 3))
    WHERE source=:source AND account_id=:account_id AND list=:list AND scan_started_at IS NOT NULL
"""


def _named(feed: Feed, now: datetime) -> dict[str, str]:
    source, account_id, list_ = feed.key
    return {"source": source, "account_id": account_id, "list": list_, "provider": feed.provider, "now": stamp(now)}
